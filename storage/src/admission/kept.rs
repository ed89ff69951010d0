//! How many of a batch's rejected rows are kept? The first, up to two limits; the rest is counted, and the last record says how many.

use super::rejected::RejectedBlock;
use super::rows::{RejectCode, RejectedRow};
use crate::error::Result;
use crate::limits::{
    MAX_REJECTED_BATCH_BYTES, MAX_REJECTED_BATCH_ROWS, MAX_REJECTED_MESSAGE_BYTES, ROW_ERRORS_IN_ANSWER,
};

/// The rejected rows of one batch, as admission finds them.
#[derive(Debug)]
pub(crate) struct RejectedBatch {
    kept: Vec<RejectedRow>,
    n_rejected: u64,
    /// Bytes of payloads that may still be kept.
    payload_left: usize,
}

/// The same for the log and for the answer.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    /// All that were rejected, kept or not.
    pub(crate) n_rejected: u64,
    /// The first of them, without payloads; the last one says how many are not kept if there are such.
    pub(crate) first: Vec<RejectedRow>,
    pub(crate) blocks: Vec<RejectedBlock>,
}

impl RejectedBatch {
    pub(crate) fn new() -> Self {
        Self { kept: Vec::new(), n_rejected: 0, payload_left: MAX_REJECTED_BATCH_BYTES }
    }

    /// Adds rows that stand behind all in here: `rows` are the first of `n_rejected`.
    pub(crate) fn add(&mut self, rows: Vec<RejectedRow>, n_rejected: u64) {
        // What is missing is always the end: behind a row that was not kept there is none.
        let free = if self.n_more() == 0 { MAX_REJECTED_BATCH_ROWS - self.kept.len() } else { 0 };
        self.n_rejected += n_rejected;
        for mut row in rows.into_iter().take(free) {
            row.message.truncate(row.message.floor_char_boundary(MAX_REJECTED_MESSAGE_BYTES));
            match self.payload_left.checked_sub(row.payload.len()) {
                Some(left) => self.payload_left = left,
                None => {
                    self.payload_left = 0;
                    row.payload = String::new();
                }
            }
            self.kept.push(row);
        }
    }

    /// Rejected rows that are not kept.
    fn n_more(&self) -> u64 {
        self.n_rejected - self.kept.len() as u64
    }

    /// Encodes what is kept.
    pub(crate) fn finish(mut self, producer: &str, sequence: u64) -> Result<Rejections> {
        let without_payload = |row: &RejectedRow| RejectedRow {
            row: row.row,
            column: row.column.clone(),
            code: row.code,
            message: row.message.clone(),
            payload: String::new(),
        };
        let n_more = self.n_more();
        let mut first: Vec<_> = self.kept.iter().take(ROW_ERRORS_IN_ANSWER).map(without_payload).collect();
        if n_more > 0 {
            let note = RejectedRow {
                row: self.kept.last().map_or(0, |row| row.row + 1),
                column: None,
                code: RejectCode::NotKept,
                message: format!(
                    "{n_more} more rows of the batch were rejected: {MAX_REJECTED_BATCH_ROWS} are kept, all are counted"
                ),
                payload: String::new(),
            };
            first.truncate(ROW_ERRORS_IN_ANSWER - 1);
            first.push(note.clone());
            self.kept.push(note);
        }
        Ok(Rejections {
            n_rejected: self.n_rejected,
            first,
            blocks: RejectedBlock::encode(producer, sequence, self.kept)?,
        })
    }
}

impl Rejections {
    /// What they hold until the batch is answered.
    pub(crate) fn bytes(&self) -> usize {
        let row = |row: &RejectedRow| size_of::<RejectedRow>() + row.message.len();
        self.blocks.iter().map(RejectedBlock::bytes).sum::<usize>() + self.first.iter().map(row).sum::<usize>()
    }
}
