//! How is a sidecar written? Beside its file, a filter as soon as a block of rows is complete.

use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};

use super::output::Output;
use crate::catalog::TableDef;
use crate::error::{Error, Result};
use crate::limits::FILTER_ROWS;
use crate::sealed::file::Sidecar;
use crate::sealed::sidecar::{DirectoryBuilder, encode_filter, key_hashes, local_sidecar_of, sidecar_of};

/// What a row of the block that is being written takes here: its hash, and in the end what its filter is made in.
const ROW_BYTES: u64 = 8 + 28;

/// The filters of a file that is being written.
pub(super) struct FilterWriter {
    path: PathBuf,
    /// The key's columns.
    key: Vec<usize>,
    output: Output,
    directory: DirectoryBuilder,
    /// Of the rows that have no filter yet.
    hashes: Vec<u64>,
}

/// About what filters of so many rows hold at their peak.
pub(super) fn filtering_bytes(n_rows: u64, def: &TableDef) -> u64 {
    if def.key.is_empty() { 0 } else { n_rows.min(FILTER_ROWS as u64) * ROW_BYTES }
}

impl FilterWriter {
    /// Beside a file at this path; `None`: the table has no primary key.
    pub(super) fn create(file: &Path, def: &TableDef) -> Result<Option<Self>> {
        if def.key.is_empty() {
            return Ok(None);
        }
        let path = local_sidecar_of(file);
        let output = Output::create(&path)?;
        let (key, directory) = (def.key.clone(), DirectoryBuilder::default());
        Ok(Some(Self { path, key, output, directory, hashes: Vec::new() }))
    }

    /// With the next rows, in the table's types. `None`: they are more than readers would find filters of; there is no sidecar then.
    pub(super) fn with(mut self, rows: &RecordBatch) -> Result<Option<Self>> {
        let key: Vec<ArrayRef> = self.key.iter().map(|&column| ArrayRef::clone(rows.column(column))).collect();
        self.hashes.extend(key_hashes(&key)?);
        while self.hashes.len() >= FILTER_ROWS {
            if self.directory.is_full() {
                return Ok(self.given_up());
            }
            let behind = self.hashes.split_off(FILTER_ROWS);
            self.put(behind)?;
        }
        Ok(Some(self))
    }

    fn given_up<T>(self) -> Option<T> {
        // It belongs to a name that is on record: what stays is deleted with it.
        let _ = std::fs::remove_file(&self.path);
        None
    }

    /// Writes the filter of the next block; `behind` are the hashes of what follows it.
    fn put(&mut self, behind: Vec<u64>) -> Result<()> {
        let mut hashes = std::mem::replace(&mut self.hashes, behind);
        let rows = u32::try_from(hashes.len());
        let rows = rows.map_err(|_| Error::internal(format!("a block of {} rows is too large", hashes.len())))?;
        let filter = encode_filter(&mut hashes);
        self.output.put(&self.path, &filter)?;
        self.directory.add(rows, &filter)
    }

    /// Writes what is left and syncs it, but for its name; `file` is the name of its file. `None` as above.
    pub(super) fn finish(mut self, file: &str) -> Result<Option<Sidecar>> {
        if !self.hashes.is_empty() {
            if self.directory.is_full() {
                return Ok(self.given_up());
            }
            self.put(Vec::new())?;
        }
        self.output.put(&self.path, &self.directory.finish())?;
        self.output.sync(&self.path)?;
        let (bytes, checksum) = (self.output.bytes(), self.output.checksum());
        Ok(Some(Sidecar { name: sidecar_of(file), bytes, checksum }))
    }
}
