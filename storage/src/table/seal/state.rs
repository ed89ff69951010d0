//! What does a worker know of building and publishing? What is decided: the log has it, or will have it before anything that follows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::epoch::{KeyEpoch, oldest_keys};
use super::records::{Base, BuiltRange, Gone, LayerFile, PublishedFile, Settled};
use super::request::OpenLayer;
use super::staged::OpenSegment;
use super::times::Arrivals;
use crate::env::Moment;
use crate::ids::CommitSeq;
use crate::sealed::SegmentFile;

/// What others need to know of it: whether there is something to build or publish, and figures for system tables.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SealFigures {
    pub(crate) settled: Option<Settled>,
    /// Something is built that Delta's log does not say.
    pub(crate) is_unpublished: bool,
    /// A TRUNCATE or files of a stream, which Delta's log does not say, are not built yet.
    pub(crate) has_changes: bool,
    /// The last TRUNCATE that Delta's log does not have.
    pub(crate) truncated: Option<CommitSeq>,
    /// The last entry that is built.
    pub(crate) built_through: CommitSeq,
    /// When the first entry had come at the latest that is not, microseconds.
    pub(crate) open_since_us: Option<i64>,
    /// In Delta's log.
    pub(crate) n_published: u64,
    /// Bytes of files that are built and not published.
    pub(crate) unpublished_bytes: u64,
    /// When the last key came of those that are forgotten next.
    pub(crate) oldest_keys: Option<Moment>,
}

/// Part of a worker's state.
pub(crate) struct SealState {
    pub(crate) base: Base,
    /// Ascending; each begins behind the one before.
    pub(crate) ranges: VecDeque<BuiltRange>,
    /// Files of streams whose entries are not built: their range is recorded with the next build. Ascending.
    pub(crate) segments: Vec<OpenSegment>,
    /// By name; those that a TRUNCATE hides stay until Delta's log has them no more.
    pub(crate) published: HashMap<String, PublishedFile>,
    pub(crate) settled: Option<Settled>,
    /// Published files of entries before this one are gone, and Delta's log does not know yet.
    pub(crate) truncated: Option<CommitSeq>,
    /// All deleted rows, by file.
    pub(crate) deleted: HashMap<String, Arc<RoaringBitmap>>,
    /// Files whose deleted rows stand in entries of the log only.
    pub(crate) unrecorded: HashSet<String>,
    /// Closed key layers that have no file yet.
    pub(crate) layers: Vec<OpenLayer>,
    pub(crate) layer_files: Vec<LayerFile>,
    /// Of keys that come now.
    pub(crate) key_epoch: KeyEpoch,
    /// Published files that a commit on its way removes: nothing is deleted from them until it is settled.
    pub(crate) leaving: HashSet<String>,
    /// Rows that left the table. `None`: they were not counted from the beginning, because the table was attached, or an older version of this
    /// program made it.
    pub(crate) gone: Option<Gone>,
    /// The closing that is being built.
    pub(crate) frozen: Option<FrozenMark>,
    /// Of entries that are not built.
    pub(crate) arrivals: Arrivals,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct FrozenMark {
    pub(crate) id: u64,
}

impl SealState {
    pub(crate) fn empty() -> Self {
        Self {
            base: Base::FIRST,
            ranges: VecDeque::new(),
            segments: Vec::new(),
            published: HashMap::new(),
            settled: None,
            truncated: None,
            deleted: HashMap::new(),
            unrecorded: HashSet::new(),
            layers: Vec::new(),
            layer_files: Vec::new(),
            key_epoch: KeyEpoch::default(),
            leaving: HashSet::new(),
            gone: None,
            frozen: None,
            arrivals: Arrivals::default(),
        }
    }

    /// The last entry that is built.
    pub(crate) fn built_through(&self) -> CommitSeq {
        CommitSeq(self.base.seq.0.saturating_sub(1))
    }

    /// Is hidden by a TRUNCATE.
    pub(crate) fn is_hidden(&self, file: &PublishedFile) -> bool {
        self.truncated.is_some_and(|truncated| file.file.max_seq < truncated)
    }

    /// A published file that may be replaced: Delta's log says all that is to be said of it, and no commit is on its way that removes it.
    pub(crate) fn quiet(&self, name: &str) -> Option<&PublishedFile> {
        let file = self.published.get(name).filter(|file| !self.is_hidden(file))?;
        let n_deleted = self.deleted.get(name).map_or(0, |rows| rows.len());
        (file.n_deleted() == n_deleted && !self.leaving.contains(name)).then_some(file)
    }

    /// Rows of a published file that readers see.
    pub(crate) fn live_rows(&self, name: &str) -> u64 {
        let Some(file) = self.published.get(name).filter(|file| !self.is_hidden(file)) else { return 0 };
        file.file.rows - self.deleted.get(name).map_or(0, |rows| rows.len())
    }

    /// Rows of a file that is there, deleted ones included.
    pub(crate) fn rows_of(&self, name: &str) -> Option<u64> {
        match self.published.get(name) {
            Some(file) => (!self.is_hidden(file)).then_some(file.file.rows),
            None => self.unpublished().find(|file| file.name == name).map(|file| file.rows),
        }
    }

    /// Files that are on the local disk only.
    fn unpublished(&self) -> impl Iterator<Item = &SegmentFile> {
        let segments = self.segments.iter().flat_map(|segment| &segment.files);
        self.ranges.iter().flat_map(|range| &range.files).chain(segments)
    }

    /// The files of streams through this entry: they go where the built range goes that it ends.
    pub(crate) fn take_segments(&mut self, through: CommitSeq) -> Vec<SegmentFile> {
        let n_built = self.segments.partition_point(|segment| segment.seq <= through);
        self.segments.drain(..n_built).flat_map(|segment| segment.files).collect()
    }

    /// `forgets`: the table has a finite `dedup_window`.
    pub(crate) fn figures(&self, forgets: bool) -> SealFigures {
        let built = self.built_through();
        let is_truncate_due = self.truncated.is_some_and(|truncated| truncated <= built);
        let has_deleted = || {
            self.deleted.iter().any(|(name, rows)| {
                self.published.get(name).is_some_and(|file| !self.is_hidden(file) && rows.len() > file.n_deleted())
            })
        };
        SealFigures {
            settled: self.settled,
            // Also a commit that an earlier process sent: what it removes is waited for.
            is_unpublished: !self.ranges.is_empty() || is_truncate_due || has_deleted() || !self.leaving.is_empty(),
            has_changes: self.truncated.is_some_and(|truncated| truncated > built) || !self.segments.is_empty(),
            truncated: self.truncated,
            built_through: built,
            open_since_us: self.arrivals.first_us(),
            n_published: self.published.len() as u64,
            unpublished_bytes: self.unpublished().map(SegmentFile::all_bytes).sum(),
            // Kept for ever, layers are many.
            oldest_keys: forgets.then(|| oldest_keys(&self.layer_files)).flatten(),
        }
    }
}
