//! What goes into admission and what comes out? Incoming rows, rules, admitted and rejected rows.

use arrow::array::RecordBatch;

/// What happens to a batch with bad rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Good rows are stored, bad ones kept in `system.rejected`.
    #[default]
    Keep,
    /// One bad row refuses the batch; nothing is stored.
    Abort,
}

/// Why a row was refused; the text stands in `system.rejected.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectCode {
    /// A NULL in a key, time or NOT NULL column.
    NullViolation,
    /// The value has another type and no exact conversion.
    TypeMismatch,
    /// The value does not fit the column's type.
    OutOfRange,
    /// The row could not be read: JSON or CSV syntax, duplicate names.
    Malformed,
    /// Event time further ahead than `max_future`.
    FutureTime,
    /// Event time further behind than `max_lateness`.
    LateTime,
    /// Event time further behind than `retention`: no query would see the row.
    Expired,
    /// No row: so many more rows of the batch were rejected than are kept. They are counted like the others.
    NotKept,
}

impl RejectCode {
    /// The closed list.
    pub const ALL: [RejectCode; 8] = [
        RejectCode::NullViolation,
        RejectCode::TypeMismatch,
        RejectCode::OutOfRange,
        RejectCode::Malformed,
        RejectCode::FutureTime,
        RejectCode::LateTime,
        RejectCode::Expired,
        RejectCode::NotKept,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            RejectCode::NullViolation => "NULL_VIOLATION",
            RejectCode::TypeMismatch => "TYPE_MISMATCH",
            RejectCode::OutOfRange => "OUT_OF_RANGE",
            RejectCode::Malformed => "MALFORMED",
            RejectCode::FutureTime => "FUTURE_TIME",
            RejectCode::LateTime => "LATE_TIME",
            RejectCode::Expired => "EXPIRED",
            RejectCode::NotKept => "NOT_KEPT",
        }
    }

    /// The code whose text is `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Its place in the batch as the client sent it, from 0.
    pub row: u64,
    pub column: Option<String>,
    pub code: RejectCode,
    pub message: String,
    /// The row as JSON, cut at 64 KiB.
    pub payload: String,
}

/// Rows as a client sent them, decoded.
#[derive(Debug, Clone)]
pub struct IncomingRows {
    pub batch: RecordBatch,
    /// The place of each row of `batch` in what the client sent; `None` when they are the same.
    pub row_numbers: Option<Vec<u64>>,
    /// Rows that could not even be decoded.
    pub rejected: Vec<RejectedRow>,
}

impl From<RecordBatch> for IncomingRows {
    fn from(batch: RecordBatch) -> Self {
        Self { batch, row_numbers: None, rejected: Vec::new() }
    }
}

/// What decides beside the table's definition.
#[derive(Debug, Clone, Default)]
pub struct AdmissionRules {
    /// The place of the batch's first row in the request: reasons number rows as the client sent them.
    pub first_row: u64,
    /// IANA zone or offset in which a time without an offset is read when the column is an instant; default UTC.
    pub time_zone: Option<String>,
    /// The stamp of this request: future and late are measured from it.
    pub now_us: i64,
    pub on_error: OnError,
    /// Input columns that the table does not have are dropped instead of refused.
    pub ignore_unknown_columns: bool,
}

/// What came out of a batch.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The good rows, exactly in the table's schema, in the order in which they came.
    pub rows: RecordBatch,
    /// The first of the others, ascending by row: at most [`crate::limits::MAX_REJECTED_BATCH_ROWS`].
    pub rejected: Vec<RejectedRow>,
    /// All of the others.
    pub n_rejected: u64,
    /// All rows that the client sent: good and rejected.
    pub received: u64,
    /// Of the rejected: behind `max_lateness`.
    pub late: u64,
    /// Of the rejected: ahead of `max_future`.
    pub future: u64,
    /// The largest event time of the good rows; `None` without rows or time column.
    pub max_event_time_us: Option<i64>,
    /// Decoded bytes of the good rows.
    pub bytes: u64,
}
