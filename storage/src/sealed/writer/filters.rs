//! How is a sidecar written? Beside its file, a filter as soon as a row group is complete.

use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use parquet::file::metadata::RowGroupMetaData;

use super::layout::LONG_TEXT_ROWS;
use super::output::Output;
use crate::catalog::TableDef;
use crate::error::{Error, Result};
use crate::limits::RUN_ROWS;
use crate::sealed::file::Sidecar;
use crate::sealed::sidecar::{DirectoryBuilder, encode_filter, key_hashes, local_sidecar_of, sidecar_of};

/// What a row of the row group that is being written takes here: its hash, and in the end what its filter is made in.
const ROW_BYTES: u64 = 8 + 28;

/// The filters of a file that is being written.
pub(super) struct FilterWriter {
    path: PathBuf,
    /// The key's columns.
    key: Vec<usize>,
    output: Output,
    directory: DirectoryBuilder,
    /// Row groups that have their filter.
    n_row_groups: usize,
    /// Of the rows behind them.
    hashes: Vec<u64>,
}

/// About what filters of so many rows hold at their peak.
pub(super) fn filtering_bytes(n_rows: u64, def: &TableDef) -> u64 {
    if def.key.is_empty() {
        return 0;
    }
    let may_be_long = def.columns.iter().any(|column| matches!(column.data_type, DataType::Utf8 | DataType::Binary));
    let of_row_group = if may_be_long { LONG_TEXT_ROWS } else { RUN_ROWS };
    n_rows.min(of_row_group as u64) * ROW_BYTES
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
        Ok(Some(Self { path, key, output, directory, n_row_groups: 0, hashes: Vec::new() }))
    }

    /// The next rows, in the table's types.
    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let key: Vec<ArrayRef> = self.key.iter().map(|&column| ArrayRef::clone(rows.column(column))).collect();
        self.hashes.extend(key_hashes(&key)?);
        Ok(())
    }

    /// `row_groups` are all that are complete. `None`: they are more than readers would find filters of; there is no sidecar then.
    pub(super) fn with(mut self, row_groups: &[RowGroupMetaData]) -> Result<Option<Self>> {
        for row_group in row_groups.get(self.n_row_groups..).unwrap_or_default() {
            if self.directory.is_full() {
                // It belongs to a name that is on record: what stays is deleted with it.
                let _ = std::fs::remove_file(&self.path);
                return Ok(None);
            }
            let rows = u32::try_from(row_group.num_rows()).ok().filter(|rows| *rows as usize <= self.hashes.len());
            let rows = rows.ok_or_else(|| {
                let (wanted, there) = (row_group.num_rows(), self.hashes.len());
                Error::internal(format!("a row group has {wanted} rows, and there are {there} keys for it"))
            })?;
            let behind = self.hashes.split_off(rows as usize);
            let filter = encode_filter(&mut std::mem::replace(&mut self.hashes, behind));
            self.output.put(&self.path, &filter)?;
            self.directory.add(rows, &filter)?;
            self.n_row_groups += 1;
        }
        Ok(Some(self))
    }

    /// Writes what is left and syncs it, but for its name; `file` is the name of its file.
    pub(super) fn finish(mut self, file: &str) -> Result<Sidecar> {
        if !self.hashes.is_empty() {
            return Err(Error::internal(format!("{} rows of {file} are in no row group", self.hashes.len())));
        }
        self.output.put(&self.path, &self.directory.finish())?;
        self.output.sync(&self.path)?;
        Ok(Sidecar { name: sidecar_of(file), bytes: self.output.bytes(), checksum: self.output.checksum() })
    }
}
