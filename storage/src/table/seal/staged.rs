//! What does a stream hand to a table's worker when all of its rows are in files, and what is it answered?

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;

use super::records::LayerFile;
use crate::dedup::{ClosedLayer, KeySnapshot};
use crate::error::Error;
use crate::ids::CommitSeq;
use crate::sealed::{FilePlace, SegmentFile};
use crate::table::prepare::PreparedRows;
use crate::table::request::RowsOutcome;

/// The keys of a table at one moment: of all entries that were decided by then.
#[derive(Debug, Clone)]
pub(crate) struct KeysSeen {
    pub(crate) snapshot: KeySnapshot,
    /// While it is the same the table has got more keys and forgotten none but old ones, whose rows are still there. It changes with a
    /// TRUNCATE and with another worker.
    pub(crate) id: u64,
}

/// A file of a stream, synced under a name that is on record. Its entry is not known yet.
#[derive(Debug)]
pub(crate) struct StagedFile {
    pub(crate) file: SegmentFile,
    pub(crate) place: Arc<FilePlace>,
    /// Rows whose keys came by another way since they were written.
    pub(crate) lost: RoaringBitmap,
}

/// Keys of a stream, and the file that they are in. Their entry is not known yet.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    pub(crate) file: LayerFile,
    pub(crate) layer: ClosedLayer,
}

/// All rows of a stream, ready to become one entry.
pub(crate) struct Staged {
    /// Who brings them and what is written with them; there are no rows in it.
    pub(crate) rows: PreparedRows,
    /// What they were cast to.
    pub(crate) schema: SchemaRef,
    pub(crate) files: Vec<StagedFile>,
    pub(crate) layers: Vec<StagedLayer>,
    /// No key of any row of the files that is not lost was among these. `None`: the table has no primary key, or there were no rows.
    pub(crate) seen: Option<KeysSeen>,
    /// Names that were recorded for files and layers.
    pub(crate) names: Vec<String>,
}

impl Staged {
    /// Rows that become rows of the table.
    pub(crate) fn n_accepted(&self) -> u64 {
        self.files.iter().map(|file| file.file.rows - file.lost.len()).sum()
    }
}

/// What becomes of a stream.
pub(crate) enum SegmentAnswer {
    /// It is part of the table, or was before.
    Stored(RowsOutcome),
    Refused(Error),
    /// Its keys must be compared with these first; nothing was changed.
    Behind(Box<Staged>, KeysSeen),
}

/// Files that became rows of the table with one entry, which is not built yet.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) seq: CommitSeq,
    pub(crate) files: Vec<SegmentFile>,
}
