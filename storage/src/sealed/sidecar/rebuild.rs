//! What were the bytes of a sidecar that is damaged? They follow from the keys of its file's rows, in their order.

use arrow::array::ArrayRef;

use super::form::{DirectoryBuilder, encode_filter};
use super::hash::key_hashes;
use crate::error::{Error, Result};
use crate::limits::FILTER_ROWS;

/// A sidecar in memory, as the file's writer makes it: a byte or two a row. One that an earlier version wrote had other blocks.
#[derive(Default)]
pub(crate) struct Rebuild {
    filters: Vec<u8>,
    directory: DirectoryBuilder,
    /// Of the rows that have no filter yet.
    hashes: Vec<u64>,
}

impl Rebuild {
    /// The keys of the next rows: columns in the order of the PRIMARY KEY, in the table's types.
    pub(crate) fn add(&mut self, key: &[ArrayRef]) -> Result<()> {
        self.hashes.extend(key_hashes(key)?);
        while self.hashes.len() >= FILTER_ROWS {
            let behind = self.hashes.split_off(FILTER_ROWS);
            self.put(behind)?;
        }
        Ok(())
    }

    /// The filter of the next block; `behind` are the hashes of what follows it.
    fn put(&mut self, behind: Vec<u64>) -> Result<()> {
        let mut hashes = std::mem::replace(&mut self.hashes, behind);
        let rows = u32::try_from(hashes.len());
        let rows = rows.map_err(|_| Error::internal(format!("a block of {} rows is too large", hashes.len())))?;
        let filter = encode_filter(&mut hashes);
        self.filters.extend_from_slice(&filter);
        self.directory.add(rows, &filter)
    }

    /// All bytes of the sidecar.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        if !self.hashes.is_empty() {
            self.put(Vec::new())?;
        }
        let Self { mut filters, directory, .. } = self;
        filters.extend(directory.finish());
        Ok(filters)
    }
}
