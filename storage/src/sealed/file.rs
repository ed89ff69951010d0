//! What is known of a settled file without opening it? Its name, its range of the log, its checksum, the bounds of its columns.

use std::sync::Arc;

use object_store::path::Path;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use super::bounds::ColumnBounds;
use super::place::FilePlace;
use crate::ids::{CommitSeq, SchemaId};

/// An immutable Parquet file of one table: its columns in order, then `_commit_seq` (INT64) if the table has system columns and the rows are
/// not all of one entry that was unknown when they were written.
///
/// Rows are in the order of the table's `sort_by`; in a file of several hours by hour first, by time if `sort_by` is empty.
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
    /// The filters of its row groups by primary key. `None`: there are none, and any row group may hold any key.
    pub sidecar: Option<Sidecar>,
    /// `None`: the file was written before there were any, and a part of it cannot be tested by itself.
    pub tail: Option<Tail>,
}

impl SegmentFile {
    /// With its sidecar.
    pub fn all_bytes(&self) -> u64 {
        self.bytes + self.sidecar.as_ref().map_or(0, |sidecar| sidecar.bytes)
    }
}

/// The end of a file, behind its columns: its page index, and its footer with a checksum of each block before it
/// (see [`crate::untrusted::Sums`]). Who has tested the tail can test each part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    pub bytes: u64,
    /// XXH3-64.
    pub checksum: u64,
}

impl Tail {
    /// Whether these bytes are the ones that were written.
    pub fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && xxh3_64(bytes) == self.checksum
    }
}

/// A file beside a settled file, with filters of its row groups by primary key (see [`super::sidecar`]). Files that were written before
/// there were any have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Its place in the Delta folder; unique for ever.
    pub name: String,
    pub bytes: u64,
    /// XXH3-64 of the whole file.
    pub checksum: u64,
}

impl Sidecar {
    /// Whether these bytes are the ones that were written. Another file's sidecar is whole as well, and would deny keys that are there.
    pub fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && xxh3_64(bytes) == self.checksum
    }
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

    /// The file's sidecar, and its path in the file's own store. Who cannot read it goes on without it: one that is damaged is left behind
    /// when its file is published.
    pub fn sidecar(&self) -> Option<(&Sidecar, Path)> {
        let sidecar = self.file.sidecar.as_ref()?;
        Some((sidecar, self.place.path_beside(&sidecar.name)))
    }
}
