//! What do builds and publishes hand to a table's worker, and what does it hand them?

use std::sync::Arc;

use crate::catalog::TableDef;
use crate::dedup::ClosedLayer;
use crate::env::Moment;
use crate::ids::CommitSeq;
use crate::realtime::RealtimePart;
use crate::sealed::{FilePlace, SegmentFile};

use super::epoch::KeyEpoch;
use super::records::{Gone, LayerFile, PublishedFile, Settled};
use super::times::Arrivals;
use crate::table::handle::Shared;
use crate::table::snapshot::TableSnapshot;

/// What a table's Delta table holds after a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// `None`: nothing of the table was ever sealed, and nothing had to be.
    pub delta_version: Option<u64>,
    /// All entries up to and with this one are in that version.
    pub through: CommitSeq,
    /// Rows that a reader of that version sees.
    pub rows: u64,
    pub files: u64,
    /// URL of the table's folder.
    pub location: String,
}

/// A key layer that was closed with a prefix of the log and has no file yet.
#[derive(Debug, Clone)]
pub(crate) struct OpenLayer {
    /// The last entry whose keys it has.
    pub(crate) through: CommitSeq,
    /// When the last of its keys came.
    pub(crate) at: Moment,
    pub(crate) layer: Arc<ClosedLayer>,
    pub(crate) epoch: KeyEpoch,
}

/// A prefix of the log, closed: nothing is added to these parts and layers any more.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// Which closing this is: a later TRUNCATE or a new worker knows it no more.
    pub(crate) id: u64,
    /// Both included.
    pub(crate) from: CommitSeq,
    pub(crate) through: CommitSeq,
    /// When the last of its entries came.
    pub(crate) at: Moment,
    pub(crate) parts: Vec<Arc<RealtimePart>>,
    pub(crate) layers: Vec<OpenLayer>,
    pub(crate) def: Arc<TableDef>,
    /// When its entries came.
    pub(crate) arrivals: Arrivals,
}

/// A prefix that is in files, all of them synced under names that are on record.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) id: u64,
    pub(crate) from: CommitSeq,
    pub(crate) through: CommitSeq,
    pub(crate) at: Moment,
    pub(crate) files: Vec<(SegmentFile, Arc<FilePlace>)>,
    pub(crate) layers: Vec<LayerFile>,
    /// Rows that are in none of the files: they were past this retention (microseconds).
    pub(crate) expired: u64,
    pub(crate) retention_us: Option<i64>,
    /// Names that were recorded for the files and layers, those that were not used among them.
    pub(crate) used_names: Vec<String>,
}

/// A commit of the Delta table that was found where it belongs.
#[derive(Debug)]
pub(crate) struct PublishOutcome {
    pub(crate) after: Settled,
    pub(crate) published: Vec<PublishedFile>,
    pub(crate) removed: Vec<String>,
}

/// What was ever decided about rows of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowCounts {
    /// As the ledger says.
    pub(crate) accepted: u64,
    /// `None`: they were not counted from the beginning.
    pub(crate) gone: Option<Gone>,
}

/// Both sides of a table's accounts, of one moment.
pub(crate) struct Books {
    pub(crate) counts: RowCounts,
    pub(crate) snapshot: TableSnapshot,
}

impl Books {
    /// What is visible now beside what was counted.
    pub(crate) fn new(counts: RowCounts, shared: &Shared) -> Self {
        Self { counts, snapshot: TableSnapshot::new(shared.version.load_full()) }
    }
}
