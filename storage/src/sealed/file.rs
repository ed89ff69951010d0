//! What is known of a settled file without opening it? Its name, its range of the log, its checksum, the bounds of its columns.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::bounds::ColumnBounds;
use super::place::FilePlace;
use crate::ids::{CommitSeq, SchemaId};

/// An immutable Parquet file of one table: its columns in order, then `_commit_seq` (INT64) if the table has system columns and the rows are
/// not all of one entry that was unknown when they were written.
///
/// Rows are in the order of the table's `sort_by`; in a file without a bucket the time column comes first.
#[derive(Debug, Clone)]
pub struct SegmentFile {
    /// Without a folder; unique for ever.
    pub name: String,
    /// Of the whole file.
    pub bytes: u64,
    /// In the file, deleted ones included.
    pub rows: u64,
    /// XXH3-64 of the whole file.
    pub checksum: u64,
    /// The schema that its rows have: later ones add columns at the end.
    pub schema: SchemaId,
    /// Of its rows' entries, both included.
    pub min_seq: CommitSeq,
    pub max_seq: CommitSeq,
    /// All rows came with this entry, at this moment (microseconds since 1970), and the file has no `_commit_seq`. `None`: the file says it for
    /// each row.
    pub entry: Option<(CommitSeq, i64)>,
    /// Hours since 1970 of the event time of all its rows. `None`: they are of several hours, or the table has no time column.
    pub hour: Option<i64>,
    /// By column of the table at `schema`.
    pub columns: Vec<ColumnBounds>,
    /// Microseconds since 1970.
    pub created_at_us: i64,
    /// The filters of its row groups by primary key; `None`: there are none.
    pub sidecar: Option<Sidecar>,
}

/// A file beside a settled file, with filters of its row groups by primary key. No version of this program writes one yet; records and
/// tags have a place for it, so that the first that does is read by this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    pub name: String,
    pub bytes: u64,
    /// XXH3-64 of the whole file.
    pub checksum: u64,
}

/// A file as one version of a table has it.
#[derive(Debug, Clone)]
pub struct FileRef {
    pub file: Arc<SegmentFile>,
    pub place: Arc<FilePlace>,
    /// Row numbers that are deleted.
    pub deleted: Option<Arc<RoaringBitmap>>,
}

impl FileRef {
    /// Rows that a reader sees.
    pub fn live_rows(&self) -> u64 {
        self.file.rows - self.n_deleted()
    }

    pub fn n_deleted(&self) -> u64 {
        self.deleted.as_ref().map_or(0, |rows| rows.len())
    }
}
