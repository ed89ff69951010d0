//! What is sent at once? Consecutive rows of a file, known by their numbers and not by how the file was cut.
//!
//! The sequence of a chunk is the number of its last row in the file, and a producer's sequences only have to grow. So the
//! server's last sequence says exactly which rows are stored, and a resumed load goes on behind them wherever it cuts: after another
//! `--chunk-rows`, another release, or a change of the table no row is lost and none is stored twice. All that the numbers of
//! the rows depend on (the bytes, the form they are read in, the rules of [`crate::formats::records`]) is in the producer's name.

use std::collections::VecDeque;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

/// A chunk with more decoded bytes is halved until its parts have less. Half of what the server takes, because the types of
/// the table may be wider than those of the file.
const MAX_CHUNK_BYTES: usize = 8 << 20;

/// Batches of a reader, as it happens to give them.
pub(super) type Batches = Box<dyn Iterator<Item = anyhow::Result<RecordBatch>> + Send>;

/// Consecutive rows of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk<T> {
    /// Rows of the file before them.
    pub(super) before: u64,
    pub(super) n_rows: u64,
    /// What is to be sent; `None` if an earlier run has stored these rows.
    pub(super) content: Option<T>,
}

impl<T> Chunk<T> {
    /// The number of its last row, from 1.
    pub(super) fn sequence(&self) -> u64 {
        self.before + self.n_rows
    }

    /// Of `n_rows` rows behind `before` those that are among the first `stored`, if there are any.
    pub(super) fn stored(before: u64, n_rows: u64, stored: u64) -> Option<Self> {
        let n_rows = stored.saturating_sub(before).min(n_rows);
        (n_rows > 0).then_some(Self { before, n_rows, content: None })
    }
}

/// Rows of files that have a schema (Parquet, Arrow): `chunk_rows` at once, whatever the sizes of the batches that come in; chunks of wide
/// rows are halved.
pub(super) struct RowChunks {
    batches: Batches,
    schema: SchemaRef,
    chunk_rows: usize,
    /// What was read and not given out, with its number of rows.
    waiting: VecDeque<RecordBatch>,
    n_waiting: usize,
    ready: VecDeque<Chunk<RecordBatch>>,
    /// Rows of the file that are in chunks.
    n_cut: u64,
    stored: u64,
    ended: bool,
}

impl RowChunks {
    pub(super) fn new(batches: Batches, schema: SchemaRef, chunk_rows: usize) -> Self {
        Self {
            batches,
            schema,
            chunk_rows: chunk_rows.max(1),
            waiting: VecDeque::new(),
            n_waiting: 0,
            ready: VecDeque::new(),
            n_cut: 0,
            stored: 0,
            ended: false,
        }
    }

    /// The first `stored` rows need not be sent.
    pub(super) fn behind(self, stored: u64) -> Self {
        Self { stored, ..self }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        while self.n_waiting < self.chunk_rows && !self.ended {
            match self.batches.next().transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => {
                    self.n_waiting += batch.num_rows();
                    self.waiting.push_back(batch);
                }
                None => self.ended = true,
            }
        }
        let n_rows = self.n_waiting.min(self.chunk_rows);
        if n_rows > 0 {
            let rows = self.take(n_rows)?;
            let stored = Chunk::stored(self.n_cut, n_rows as u64, self.stored);
            let n_stored = stored.as_ref().map_or(0, |chunk| chunk.n_rows);
            self.ready.extend(stored);
            self.halve(self.n_cut + n_stored, rows.slice(n_stored as usize, n_rows - n_stored as usize));
            self.n_cut += n_rows as u64;
        }
        Ok(())
    }

    /// The first `n_rows` waiting rows as one batch.
    fn take(&mut self, n_rows: usize) -> anyhow::Result<RecordBatch> {
        let (mut parts, mut missing) = (Vec::new(), n_rows);
        while missing > 0
            && let Some(batch) = self.waiting.pop_front()
        {
            let n = batch.num_rows().min(missing);
            if n < batch.num_rows() {
                self.waiting.push_front(batch.slice(n, batch.num_rows() - n));
            }
            parts.push(batch.slice(0, n));
            missing -= n;
        }
        self.n_waiting -= n_rows;
        match parts.as_slice() {
            [whole] => Ok(whole.clone()),
            parts => Ok(concat_batches(&self.schema, parts)?),
        }
    }

    fn halve(&mut self, before: u64, rows: RecordBatch) {
        let n_rows = rows.num_rows();
        if n_rows > 1 && decoded_bytes(&rows) > MAX_CHUNK_BYTES {
            let half = n_rows.div_ceil(2);
            self.halve(before, rows.slice(0, half));
            self.halve(before + half as u64, rows.slice(half, n_rows - half));
        } else if n_rows > 0 {
            self.ready.push_back(Chunk { before, n_rows: n_rows as u64, content: Some(rows) });
        }
    }
}

impl Iterator for RowChunks {
    type Item = anyhow::Result<Chunk<RecordBatch>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty()
            && let Err(error) = self.fill()
        {
            self.ended = true;
            self.n_waiting = 0;
            self.waiting.clear();
            return Some(Err(error));
        }
        self.ready.pop_front().map(Ok)
    }
}

fn decoded_bytes(rows: &RecordBatch) -> usize {
    let of = |column: &dyn Array| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    rows.columns().iter().map(|column| of(column.as_ref())).sum()
}
