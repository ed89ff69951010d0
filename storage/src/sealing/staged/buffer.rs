//! Which rows of a stream wait to become its next file? As many as memory allows and one file holds.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::error::Result;
use crate::limits::{STAGED_FILE_BYTES, STAGED_FILE_ROWS, TAIL_BATCH_ROWS};

/// Rows in the order in which they came, all of one schema.
#[derive(Default)]
pub(super) struct Buffer {
    batches: Vec<RecordBatch>,
    /// Behind them; joined when they are many, because each piece costs a file as much as many rows do.
    small: Vec<RecordBatch>,
    n_small: usize,
    n_rows: usize,
    bytes: u64,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Decoded.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// It is time to write a file.
    pub(super) fn is_full(&self) -> bool {
        self.n_rows >= STAGED_FILE_ROWS || self.bytes >= STAGED_FILE_BYTES
    }

    /// With so many rows more, of so many bytes, one file would have too many.
    pub(super) fn overflows_with(&self, n_rows: usize, bytes: u64) -> bool {
        self.n_rows + n_rows > STAGED_FILE_ROWS || self.bytes.saturating_add(bytes) > STAGED_FILE_BYTES
    }

    /// Puts rows of so many bytes behind the others.
    pub(super) fn add(&mut self, rows: RecordBatch, bytes: u64) -> Result<()> {
        let n_rows = rows.num_rows();
        self.n_rows += n_rows;
        self.bytes += bytes;
        if n_rows >= TAIL_BATCH_ROWS {
            self.join_small()?;
            self.batches.push(rows);
            return Ok(());
        }
        self.small.push(rows);
        self.n_small += n_rows;
        if self.n_small >= TAIL_BATCH_ROWS { self.join_small() } else { Ok(()) }
    }

    fn join_small(&mut self) -> Result<()> {
        match self.small.as_slice() {
            [] => return Ok(()),
            [only] => self.batches.push(only.clone()),
            [first, ..] => self.batches.push(concat_batches(&first.schema(), &self.small)?),
        }
        self.small.clear();
        self.n_small = 0;
        Ok(())
    }

    /// All rows, in pieces.
    pub(super) fn into_batches(mut self) -> Result<Vec<RecordBatch>> {
        self.join_small()?;
        Ok(self.batches)
    }
}
