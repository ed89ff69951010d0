//! Where is a file cut? At the same rows every time: a chunk's number must mean the same rows in every run.

use std::collections::VecDeque;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

/// A chunk with more decoded bytes is halved until its parts have less. Half of what the server takes, because the types of
/// the table may be wider than those of the file.
const MAX_CHUNK_BYTES: usize = 8 << 20;

/// Batches of a reader, as it happens to give them.
pub type Batches = Box<dyn Iterator<Item = anyhow::Result<RecordBatch>> + Send>;

/// Chunks of exactly `chunk_rows` rows (the last one of what is left), whatever the sizes of the batches that come in;
/// chunks of wide rows are halved.
pub struct Chunks {
    batches: Batches,
    schema: SchemaRef,
    chunk_rows: usize,
    /// What was read and not given out, with its number of rows.
    waiting: VecDeque<RecordBatch>,
    n_waiting: usize,
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl Chunks {
    pub fn new(batches: Batches, schema: SchemaRef, chunk_rows: usize) -> Self {
        Self {
            batches,
            schema,
            chunk_rows: chunk_rows.max(1),
            waiting: VecDeque::new(),
            n_waiting: 0,
            ready: VecDeque::new(),
            ended: false,
        }
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
            let chunk = self.take(n_rows)?;
            self.halve(chunk);
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

    fn halve(&mut self, chunk: RecordBatch) {
        let n_rows = chunk.num_rows();
        if n_rows <= 1 || decoded_bytes(&chunk) <= MAX_CHUNK_BYTES {
            self.ready.push_back(chunk);
            return;
        }
        let half = n_rows.div_ceil(2);
        self.halve(chunk.slice(0, half));
        self.halve(chunk.slice(half, n_rows - half));
    }
}

impl Iterator for Chunks {
    type Item = anyhow::Result<RecordBatch>;

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
