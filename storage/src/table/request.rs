//! What may be asked of a table, and what is answered?

use crate::admission::{IncomingRows, OnError, RejectedRow};
use crate::catalog::Durability;
use crate::ids::CommitToken;
pub use crate::producers::{ProducerBatch, SequenceMode};

/// An HTTP `Idempotency-Key`: 1 to 128 bytes, remembered for 24 hours.
#[derive(Debug, Clone)]
pub struct IdempotencyKey(pub String);

/// A batch to store, all of it at once.
#[derive(Debug, Clone)]
pub struct RowsRequest {
    /// One or more batches that are committed together (several only for statements). Columns match by name.
    pub rows: Vec<IncomingRows>,
    pub producer: Option<ProducerBatch>,
    pub idempotency_key: Option<IdempotencyKey>,
    /// Who asks.
    pub principal: String,
    pub on_error: OnError,
    /// May only ask for more than the table's own level.
    pub durability: Option<Durability>,
    /// IANA zone or offset in which a time without an offset is read when the column is an instant; default UTC.
    pub time_zone: Option<String>,
    /// Refuse unless the table's schema id is this.
    pub expected_schema: Option<u32>,
    /// Input columns that the table does not have are dropped instead of refused.
    pub ignore_unknown_columns: bool,
    /// A statement (INSERT, bulk append): may hold up to [`crate::limits::MAX_STATEMENT_ROWS_BYTES`].
    pub statement: bool,
    /// Its caller waited for memory for it ([`crate::memory::MemoryLedger::space_for_rows`]): that rows hold all of theirs by now does not
    /// refuse it. Who sends batches in order needs that, lest the first waits for those behind it.
    pub has_space: bool,
}

impl RowsRequest {
    /// Rows without a producer, with the defaults of every interface: bad rows are kept, the table's own durability holds.
    pub fn new(principal: impl Into<String>, rows: Vec<IncomingRows>) -> Self {
        Self {
            rows,
            producer: None,
            idempotency_key: None,
            principal: principal.into(),
            on_error: OnError::Keep,
            durability: None,
            time_zone: None,
            expected_schema: None,
            ignore_unknown_columns: false,
            statement: false,
            has_space: false,
        }
    }
}

/// The answer to a batch. It rests on `token`: the log is synced through it.
#[derive(Debug, Clone, PartialEq)]
pub struct RowsOutcome {
    pub received: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// The batch was here before; nothing was stored now. The counts are those of the first answer; once they are forgotten only
    /// `received` is known.
    pub repeated: bool,
    /// The first rejected rows, ascending.
    pub row_errors: Vec<RejectedRow>,
    pub token: CommitToken,
    pub durability: Durability,
}

/// What a producer learns when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    pub epoch: u64,
    pub last_sequence: u64,
    /// It was here before.
    pub known: bool,
}

/// Figures of one table for `system.tables`.
#[derive(Debug, Clone, Default)]
pub struct TableStats {
    pub realtime_rows: u64,
    pub realtime_bytes: u64,
    /// In files that are not in the Delta table yet, without deleted ones.
    pub built_rows: u64,
    /// In files of the Delta table, without deleted ones.
    pub sealed_rows: u64,
    /// In files, and not seen any more.
    pub deleted_rows: u64,
    pub sealed_files: u64,
    pub sealed_bytes: u64,
    /// All entries through this one are in it.
    pub sealed_through: u64,
    /// The last settled version.
    pub delta_version: Option<u64>,
    /// When it was committed, microseconds.
    pub last_seal_us: Option<i64>,
    /// When the oldest of its rows came that the Delta table does not have, microseconds; of rows that were built together, when they were.
    pub unsealed_since_us: Option<i64>,
    /// In files that are built and not in the Delta table yet.
    pub unpublished_bytes: u64,
    pub commit_seq: u64,
    /// Smallest, over producers active in the last minute, of the largest accepted event time. Microseconds.
    pub watermark_us: Option<i64>,
    pub last_write_us: Option<i64>,
    /// `none`, `dense` or `sparse`.
    pub dedup_class: &'static str,
    pub dedup_keys: u64,
    pub dedup_bytes: u64,
    /// Takes requests.
    pub healthy: bool,
    /// Files that only those miss who need them; those of the Delta log other engines do.
    pub damaged_files: u64,
    /// Why it is not healthy, or which files are damaged.
    pub health_reason: Option<String>,
}
