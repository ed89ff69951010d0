//! Which rows does a DELETE have so far? Their numbers by file, in memory that counts for the statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use roaring::RoaringBitmap;
use tidewater_storage::{Error, Result};

use crate::error::OrError;
use crate::memory::QueryPool;

/// What one row takes at most, until it is measured: it may be the only one of its container.
const ROW_BYTES: usize = 64;

/// After so many rows their sets are measured, since most rows take a few bits: at most 4 MiB are held for nothing.
const MEASURED_ROWS: usize = 1 << 16;

/// A container beside its values.
const CONTAINER_BYTES: usize = 64;

pub(super) struct Addresses {
    files: BTreeMap<usize, RoaringBitmap>,
    held: MemoryReservation,
    unmeasured: usize,
}

/// Rows by file, and the memory that they hold.
pub(super) type RowsByFile = (Vec<(usize, RoaringBitmap)>, MemoryReservation);

impl Addresses {
    pub(super) fn new(pool: &Arc<QueryPool>) -> Self {
        let pool = Arc::clone(pool) as Arc<dyn MemoryPool>;
        Self { files: BTreeMap::new(), held: MemoryConsumer::new("delete").register(&pool), unmeasured: 0 }
    }

    /// Takes a batch of a file's place and a row's number; a row may come more than once.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let wrong = || Error::internal(format!("the addresses of rows are {:?}", batch.schema()));
        let [files, rows] = batch.columns() else { return Err(wrong()) };
        let files = files.as_primitive_opt::<Int32Type>().filter(|files| files.null_count() == 0).ok_or_else(wrong)?;
        let rows = rows.as_primitive_opt::<Int64Type>().filter(|rows| rows.null_count() == 0).ok_or_else(wrong)?;
        self.make_place(batch.num_rows())?;
        let (files, rows) = (files.values(), rows.values());
        let mut at = 0;
        while at < files.len() {
            let file = files[at];
            let end = files[at..].iter().position(|other| *other != file).map_or(files.len(), |n| at + n);
            let file = usize::try_from(file).map_err(|_| wrong())?;
            let numbers: Vec<u32> = rows[at..end].iter().filter_map(|row| u32::try_from(*row).ok()).collect();
            if numbers.len() != end - at {
                return Err(Error::internal("the number of a row is not one"));
            }
            self.files.entry(file).or_default().extend(numbers);
            at = end;
        }
        Ok(())
    }

    fn make_place(&mut self, n_rows: usize) -> Result<()> {
        if self.unmeasured + n_rows > MEASURED_ROWS {
            self.held.try_resize(self.bytes()).or_error()?;
            self.unmeasured = 0;
        }
        self.held.try_grow(n_rows * ROW_BYTES).or_error()?;
        self.unmeasured += n_rows;
        Ok(())
    }

    /// Containers grow by doubling.
    fn bytes(&self) -> usize {
        let bytes = |rows: &RoaringBitmap| {
            2 * rows.serialized_size() + rows.statistics().n_containers as usize * CONTAINER_BYTES
        };
        self.files.values().map(bytes).sum()
    }

    /// All rows, as small as they get.
    pub(super) fn finish(mut self) -> Result<RowsByFile> {
        for rows in self.files.values_mut() {
            rows.optimize();
        }
        self.held.try_resize(self.bytes()).or_error()?;
        Ok((self.files.into_iter().collect(), self.held))
    }
}

#[cfg(test)]
mod tests;
