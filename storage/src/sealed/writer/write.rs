//! How is a settled file written? Chunk by chunk, row group by row group, with the bounds of its columns found on the way.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use roaring::RoaringTreemap;

use super::filters::FilterWriter;
use super::layout::{PAGE_ROWS, ROW_GROUP_BYTES, has_nan, properties};
use super::output::{Output, parquet_error};
use super::plan::{PlannedFile, SourceRows, batch_bytes, order_of};
use super::rows::{joined_rows, joined_seqs, places};
use crate::catalog::TableDef;
use crate::error::{Error, Result};
use crate::ids::CommitSeq;
use crate::sealed::bounds::BoundsBuilder;
use crate::sealed::file::SegmentFile;
use crate::sealed::stamps;
use crate::sealed::types::{stored_schema, to_stored_rows};
use crate::untrusted::SUMS;

/// Rows are joined and encoded in chunks of about so many bytes at most.
const CHUNK_BYTES: usize = 64 << 20;

/// About what [`write_file`] holds at its peak for a file of so many rows and decoded bytes: a chunk, the same in the file's types and in
/// pages, and the row group that is being encoded.
pub(in crate::sealed) fn writing_bytes(n_rows: u64, bytes: u64) -> u64 {
    let row_bytes = bytes / n_rows.max(1);
    let chunk = (row_bytes * PAGE_ROWS as u64).min(CHUNK_BYTES as u64);
    3 * chunk + bytes.min(ROW_GROUP_BYTES as u64)
}

/// Writes a new file of planned rows, and its sidecar beside it, and syncs them; blocks. The caller syncs the folder, and deletes what an
/// error leaves behind (`DISK_FULL` and `FOLDER_UNUSABLE` for the disk, and what `target.go_on` says). `name` is the file's own in every
/// folder.
pub(crate) fn write_file(
    target: Target<'_>,
    name: String,
    planned: &PlannedFile,
    sources: &[SourceRows],
    created_at_us: i64,
    entries: Entries,
) -> Result<SegmentFile> {
    if planned.rows.is_empty() {
        return Err(without_rows(target.path));
    }
    let mut file = FileWriter::create(target, &planned.rows, sources, &|at| has_nan(sources, at), entries)?;
    for rows in planned.rows.chunks(chunk_rows(sources)) {
        file.write(sources, rows)?;
    }
    file.finish(name, sources.iter().flat_map(|source| source.stamps.iter().copied()), created_at_us)
}

fn without_rows(path: &Path) -> Error {
    Error::internal(format!("{} would have no rows", path.display()))
}

/// How many rows are joined at once.
fn chunk_rows(sources: &[SourceRows]) -> usize {
    let bytes: u64 = sources.iter().map(|source| batch_bytes(&source.rows)).sum();
    let n_rows: u64 = sources.iter().map(|source| source.rows.num_rows() as u64).sum();
    let row_bytes = usize::try_from(bytes / n_rows.max(1)).unwrap_or(usize::MAX).max(1);
    // A power of two, so that chunks end where pages end.
    1 << (CHUNK_BYTES / row_bytes).clamp(1, PAGE_ROWS).ilog2()
}

/// Whether it is known with which entries the rows came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entries {
    Known,
    /// All are of one entry that is not known yet: the file has neither `_commit_seq` nor stamps, and what is returned has 0 in the place
    /// of sequences and no `entry`, for the caller to fill in. Sequences and stamps of the sources are not read, but to order equal rows.
    Unknown,
}

/// Whether a file may grow by about so many bytes. Asked before every chunk of rows, for it and for what waits to be written; an error ends
/// the file (`SHUTTING_DOWN` when nobody needs it any more, `DISK_FULL`).
pub(crate) type GoOn<'a> = dyn Fn(u64) -> Result<()> + 'a;

/// Where a file is written, and what of.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a Path,
    /// Of all its rows; see [`PlannedFile`].
    pub(crate) hour: Option<i64>,
    pub(crate) def: &'a TableDef,
    pub(crate) go_on: &'a GoOn<'a>,
}

/// A file that is being written; its rows come in their order, from pieces that need not be there all at once.
pub(crate) struct FileWriter<'a> {
    target: Target<'a>,
    entries: Entries,
    stored: SchemaRef,
    parquet: ArrowWriter<Output>,
    bounds: Vec<BoundsBuilder>,
    /// `None`: the file has no sidecar.
    filters: Option<FilterWriter>,
    /// Entries that have a row in the file, if they are known.
    seqs: RoaringTreemap,
    n_rows: u64,
    /// A row group ends with the rows with which it takes so much, encoded.
    group_bytes: usize,
}

impl<'a> FileWriter<'a> {
    /// A file that begins with the rows `first` of `sources`: they decide how it is laid out, and are not written yet. `has_nan` says of
    /// each column whether any row of the whole file may have a NaN there. Errors are those of [`write_file`].
    pub(crate) fn begin(
        target: Target<'a>,
        first: &[(u32, u32)],
        sources: &[SourceRows],
        has_nan: &dyn Fn(usize) -> bool,
    ) -> Result<Self> {
        Self::create(target, first, sources, has_nan, Entries::Known)
    }

    fn create(
        target: Target<'a>,
        first: &[(u32, u32)],
        sources: &[SourceRows],
        has_nan: &dyn Fn(usize) -> bool,
        entries: Entries,
    ) -> Result<Self> {
        let Target { path, hour, def, .. } = target;
        let stored = match entries {
            Entries::Known => stored_schema(def),
            Entries::Unknown => Arc::new(Schema::new(stored_schema(def).fields()[..def.columns.len()].to_vec())),
        };
        let properties = properties(path, first, &order_of(hour, def), sources, def, &stored, has_nan)?;
        let output = Output::create(path)?;
        let parquet = ArrowWriter::try_new(output, Arc::clone(&stored), Some(properties));
        let parquet = parquet.map_err(|e| parquet_error(path, e))?;
        let bounds = def.columns.iter().map(|_| BoundsBuilder::new()).collect();
        let filters = FilterWriter::create(path, def)?;
        let (seqs, group_bytes) = (RoaringTreemap::new(), ROW_GROUP_BYTES);
        Ok(Self { target, entries, stored, parquet, bounds, filters, seqs, n_rows: 0, group_bytes })
    }

    /// With smaller row groups, where memory for them is small.
    pub(crate) fn with_groups_of(self, bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { group_bytes: self.group_bytes.min(bytes), ..self }
    }

    /// The next rows: places (source, row).
    pub(crate) fn write(&mut self, sources: &[SourceRows], rows: &[(u32, u32)]) -> Result<()> {
        let Target { path, def, go_on, .. } = self.target;
        let places = places(rows);
        let batch = match joined_rows(sources, def, &places) {
            Err(ArrowError::OffsetOverflowError(_)) if rows.len() > 1 => {
                let (front, back) = rows.split_at(rows.len() / 2);
                self.write(sources, front)?;
                return self.write(sources, back);
            }
            joined => joined?,
        };
        // A row group is written at once, when it ends.
        go_on(self.parquet.in_progress_size() as u64 + batch_bytes(&batch))?;
        for (bounds, column) in self.bounds.iter_mut().zip(batch.columns()) {
            bounds.add(column)?;
        }
        if let Some(filters) = self.filters.take() {
            self.filters = filters.with(&batch)?;
        }
        let seqs = joined_seqs(sources, &places);
        if self.entries == Entries::Known {
            for seq in seqs.values() {
                let seq = u64::try_from(*seq).map_err(|_| Error::internal(format!("{seq} is no place in a log")))?;
                self.seqs.insert(seq);
            }
        }
        self.n_rows += rows.len() as u64;
        let batch = to_stored_rows(&batch, seqs, &self.stored)?;
        self.parquet.write(&batch).map_err(|e| self.parquet.inner().error(path, e))?;
        if self.parquet.in_progress_size() >= self.group_bytes {
            self.parquet.flush().map_err(|e| self.parquet.inner().error(path, e))?;
        }
        Ok(())
    }

    /// `stamps` are (seq, stamp µs) of all entries that have a row in the file, at least; in any order, some perhaps twice.
    pub(crate) fn finish(
        mut self,
        name: String,
        stamps: impl Iterator<Item = (i64, i64)>,
        created_at_us: i64,
    ) -> Result<SegmentFile> {
        let Target { path, hour, def, .. } = self.target;
        if self.n_rows == 0 {
            return Err(without_rows(path));
        }
        if self.entries == Entries::Known {
            let stamps = stamps::encode(&self.own_stamps(stamps)?)?;
            self.parquet.append_key_value_metadata(KeyValue::new(stamps::STAMPS.to_owned(), stamps));
        }
        // What is buffered belongs to the columns.
        self.parquet.flush().map_err(|e| self.parquet.inner().error(path, e))?;
        self.parquet.sync().map_err(|e| self.parquet.inner().error(path, e.into()))?;
        let sums = self.parquet.inner_mut().begin_tail();
        self.parquet.append_key_value_metadata(KeyValue::new(SUMS.to_owned(), sums));
        self.parquet.finish().map_err(|e| self.parquet.inner().error(path, e))?;
        let output = self.parquet.inner();
        output.sync(path)?;
        let sidecar = self.filters.take().map(|filters| filters.finish(&name)).transpose()?.flatten();
        Ok(SegmentFile {
            name,
            bytes: output.bytes(),
            rows: self.n_rows,
            checksum: output.checksum(),
            schema: def.schema_id,
            min_seq: CommitSeq(self.seqs.min().unwrap_or_default()),
            max_seq: CommitSeq(self.seqs.max().unwrap_or_default()),
            entry: None,
            hour,
            columns: self.bounds.into_iter().map(BoundsBuilder::finish).collect(),
            created_at_us,
            sidecar,
            tail: output.tail(),
        })
    }

    /// When the entries came that have a row in the file.
    fn own_stamps(&self, all: impl Iterator<Item = (i64, i64)>) -> Result<Vec<(i64, i64)>> {
        let mut stamps: Vec<(i64, i64)> =
            all.filter(|(seq, _)| u64::try_from(*seq).is_ok_and(|seq| self.seqs.contains(seq))).collect();
        stamps.sort_unstable();
        stamps.dedup_by_key(|(seq, _)| *seq);
        if stamps.len() as u64 != self.seqs.len() {
            return Err(Error::internal(format!(
                "{} of {} entries of a file have a stamp",
                stamps.len(),
                self.seqs.len()
            )));
        }
        Ok(stamps)
    }
}
