//! Which rows of a batch are bad, and why? One reason a row: the first that is found.

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;

use super::rows::{OnError, RejectCode, RejectedRow};
use crate::catalog::TableDef;
use crate::error::{Code, Error, RowFault};
use crate::limits::{MAX_REJECTED_BATCH_ROWS, ROW_ERRORS_IN_ANSWER};

/// Bad rows that the error of an aborted batch lists.
const ROWS_IN_MESSAGE: usize = 10;

/// Bad rows whose reasons are kept when the batch is aborted anyway.
const ROWS_OF_ABORTED: usize = 1000;

/// One value in a message has at most this many characters.
const SHOWN_CHARS: usize = 60;

/// A bad row of the decoded batch.
pub(super) struct Refusal {
    pub row: usize,
    pub column: usize,
    pub code: RejectCode,
    pub message: String,
}

/// Collects bad rows column by column: all are counted, the first have their reasons kept.
pub(super) struct Refusals {
    n_rows: usize,
    /// One flag a row; empty until the first bad row.
    bad: Vec<bool>,
    n_bad: usize,
    n_late: u64,
    n_future: u64,
    /// The reasons of so many rows, the first of the batch, are kept.
    max_kept: usize,
    /// No row behind this one is among them any more.
    kept_through: usize,
    /// Up to twice as many as are kept: they come column by column, and are cut now and then.
    list: Vec<Refusal>,
}

impl Refusals {
    pub fn new(n_rows: usize, on_error: OnError) -> Self {
        let max_kept = match on_error {
            OnError::Keep => MAX_REJECTED_BATCH_ROWS,
            OnError::Abort => ROWS_OF_ABORTED,
        };
        Self {
            n_rows,
            bad: Vec::new(),
            n_bad: 0,
            n_late: 0,
            n_future: 0,
            max_kept,
            kept_through: usize::MAX,
            list: Vec::new(),
        }
    }

    /// Notes that `row` is bad, unless it already is. The message is made only when it is kept.
    pub fn add(&mut self, row: usize, column: usize, code: RejectCode, message: &dyn Fn() -> String) {
        if self.bad.is_empty() {
            self.bad = vec![false; self.n_rows];
        }
        if std::mem::replace(&mut self.bad[row], true) {
            return;
        }
        self.n_bad += 1;
        self.n_late += u64::from(code == RejectCode::LateTime);
        self.n_future += u64::from(code == RejectCode::FutureTime);
        if row > self.kept_through {
            return;
        }
        self.list.push(Refusal { row, column, code, message: message() });
        if self.list.len() >= 2 * self.max_kept {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.list.len() <= self.max_kept {
            return;
        }
        self.list.select_nth_unstable_by_key(self.max_kept, |refusal| refusal.row);
        self.list.truncate(self.max_kept);
        self.kept_through = self.list.iter().map(|refusal| refusal.row).max().unwrap_or(0);
    }

    pub fn len(&self) -> usize {
        self.n_bad
    }

    /// Of all bad rows: those behind `max_lateness`.
    pub fn n_late(&self) -> u64 {
        self.n_late
    }

    /// Of all bad rows: those ahead of `max_future`.
    pub fn n_future(&self) -> u64 {
        self.n_future
    }

    /// True for good rows; `None` when all are.
    pub fn good(&self) -> Option<BooleanArray> {
        (self.n_bad > 0).then(|| BooleanArray::new(BooleanBuffer::from_iter(self.bad.iter().map(|bad| !bad)), None))
    }

    /// The first bad rows, ascending.
    pub fn into_sorted(mut self) -> Vec<Refusal> {
        self.cut();
        self.list.sort_unstable_by_key(|refusal| refusal.row);
        self.list
    }
}

/// The error of a batch that is refused whole because rows of it are bad.
///
/// `rejected` holds the first bad rows, ascending; `n_bad` of `received` are bad.
pub(super) fn bad_rows(def: &TableDef, rejected: &[RejectedRow], n_bad: usize, received: u64) -> Error {
    let mut message = format!("{n_bad} of {received} rows for the table '{}' are bad, so none was stored", def.name);
    for row in rejected.iter().take(ROWS_IN_MESSAGE) {
        let column = row.column.as_deref().map(|name| format!(", column '{name}'")).unwrap_or_default();
        message.push_str(&format!("; row {}{column}: {} ({})", row.row, row.message, row.code.as_str()));
    }
    if n_bad > ROWS_IN_MESSAGE {
        message.push_str(&format!("; and {} more", n_bad - ROWS_IN_MESSAGE));
    }
    let faults = rejected.iter().take(ROW_ERRORS_IN_ANSWER).map(|row| RowFault {
        row: row.row,
        column: row.column.clone(),
        code: row.code.as_str(),
        message: row.message.clone(),
    });
    let error = Error::new(Code::BadRows, message)
        .with("rejected", n_bad)
        .with("received", received)
        .with_rows(faults.collect());
    match rejected.first() {
        Some(first) => {
            let error = error.with("row", first.row).with("reject_code", first.code.as_str());
            match &first.column {
                Some(column) => error.with("column", column),
                None => error,
            }
        }
        None => error,
    }
    .hint(
        "correct these rows and send all again; ingest by gRPC, HTTP and the command line can store the good ones: on_error = \
         keep",
    )
}

/// `text` cut to what a message shows.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
