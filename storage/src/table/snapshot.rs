//! What does a reader see? One immutable version of a table; holding it holds memory, never a lock.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::catalog::TableDef;
use crate::ids::{CommitSeq, CommitToken, LogId, SHARD_ZERO};
use crate::memory::MemoryLedger;
use crate::realtime::{Realtime, RealtimePart};
use crate::sealed::{FileRef, FileStores};
use crate::table::Shared;
use crate::table::seal::{Files, Quarantine, event_times};

/// A state of a table, published whole. Transitions make a new one.
#[derive(Clone)]
pub(crate) struct TableVersion {
    pub(crate) def: Arc<TableDef>,
    pub(crate) log: LogId,
    pub(crate) upper: CommitSeq,
    /// Entries that are not built.
    pub(crate) realtime: Realtime,
    /// All entries before.
    pub(crate) files: Files,
    pub(crate) stores: FileStores,
    pub(crate) quarantine: Arc<Quarantine>,
}

impl TableVersion {
    pub(crate) fn empty(def: Arc<TableDef>, log: LogId, stores: FileStores, quarantine: Arc<Quarantine>) -> Self {
        Self { def, log, upper: CommitSeq(0), realtime: Realtime::empty(), files: Files::default(), stores, quarantine }
    }

    pub(crate) fn n_rows(&self) -> u64 {
        self.realtime.n_rows() + self.files.live_rows()
    }

    pub(crate) fn with_files(&self, files: Files) -> Self {
        Self { files, ..self.clone() }
    }

    pub(crate) fn with_def(&self, def: Arc<TableDef>) -> Self {
        Self { def, ..self.clone() }
    }

    /// The state after the entry `upper`, which brought `realtime`.
    pub(crate) fn with_entry(&self, upper: CommitSeq, realtime: Realtime) -> Self {
        Self { upper, realtime, ..self.clone() }
    }

    /// The same rows in another shape.
    pub(crate) fn with_realtime(&self, realtime: Realtime) -> Self {
        Self { realtime, ..self.clone() }
    }

    /// It has taken the place of `old`: what it has is charged to the table, and what it has not to the readers of older versions, until
    /// the last of them is gone.
    pub(crate) fn replaces(&self, old: &Self, memory: &Arc<MemoryLedger>) {
        let (parts, old) = (self.realtime.parts(), old.realtime.parts());
        parts.iter().for_each(|part| part.charge_to(memory));
        // Mostly the last few are others.
        let n_same = parts.iter().zip(old).take_while(|(new, old)| Arc::ptr_eq(new, old)).count();
        let is_there = |part: &Arc<RealtimePart>| parts[n_same..].iter().any(|own| Arc::ptr_eq(own, part));
        old[n_same..].iter().filter(|part| !is_there(part)).for_each(|part| part.let_go());
    }
}

impl Drop for Shared {
    /// The table is gone, and its readers may not be.
    fn drop(&mut self) {
        self.version.load().realtime.parts().iter().for_each(|part| part.let_go());
    }
}

/// Versions of a table that are not current any more, as far as somebody still reads them.
#[derive(Default)]
pub(crate) struct OldVersions(Mutex<Vec<Weak<TableVersion>>>);

impl OldVersions {
    /// Another version has taken its place.
    pub(crate) fn note(&self, old: &Arc<TableVersion>) {
        let mut versions = self.0.lock();
        versions.retain(|version| version.strong_count() > 0);
        // Mostly the caller alone has it, and it is gone in a moment.
        if Arc::strong_count(old) > 1 {
            versions.push(Arc::downgrade(old));
        }
    }

    /// Bytes of memory and of the local disk that none but these keep: `current` does not need them.
    pub(crate) fn pinned_bytes(&self, current: &TableVersion) -> u64 {
        let old: Vec<Arc<TableVersion>> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        let needed: HashSet<_> = current.realtime.parts().iter().map(Arc::as_ptr).collect();
        let mut parts = HashMap::new();
        let mut files = HashMap::new();
        for version in &old {
            let own = version.realtime.parts().iter().filter(|part| !needed.contains(&Arc::as_ptr(part)));
            parts.extend(own.map(|part| (Arc::as_ptr(part), part.bytes)));
            files.extend(let_go(&version.files).map(|file| (file.file.name.as_str(), file.file.bytes)));
        }
        parts.values().sum::<u64>() + files.values().sum::<u64>()
    }
}

/// Built files that the table does not need where they are any more: they go with the last who may read them.
fn let_go(files: &Files) -> impl Iterator<Item = &FileRef> {
    files.refs().iter().filter(|file| file.place.is_let_go())
}

/// One consistent state of a table: every row once.
#[derive(Clone)]
pub struct TableSnapshot {
    version: Arc<TableVersion>,
}

impl TableSnapshot {
    pub(crate) fn new(version: Arc<TableVersion>) -> Self {
        Self { version }
    }

    /// The same files, and none of the fresh rows: who reads files for long keeps no memory of the table.
    pub(crate) fn without_fresh_rows(&self) -> Self {
        Self::new(Arc::new(self.version.with_realtime(Realtime::empty())))
    }

    /// Both are of one version.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.version, &other.version)
    }

    pub fn def(&self) -> &Arc<TableDef> {
        &self.version.def
    }

    /// Bytes of memory and of the local disk that are not given back as long as somebody has the snapshot: all fresh rows of it, also those
    /// that the table still has, and files that the table has let go.
    pub fn pinned_bytes(&self) -> u64 {
        let files = let_go(&self.version.files).map(|file| file.file.bytes);
        self.version.realtime.bytes() + files.sum::<u64>()
    }

    /// Bytes of fresh rows of it that the table has let go: they are charged to queries as long as somebody has them.
    pub fn kept_bytes(&self) -> u64 {
        self.parts().iter().filter(|part| part.is_let_go()).map(|part| part.bytes).sum()
    }

    /// All rows of entries up to and with this one are in the snapshot.
    pub fn upper(&self) -> CommitSeq {
        self.version.upper
    }

    pub fn token(&self) -> CommitToken {
        CommitToken { table: self.version.def.id, shard: SHARD_ZERO, log: self.version.log, seq: self.version.upper }
    }

    /// Rows whose event time is before this (microseconds since 1970; a TIMESTAMP is taken as UTC) are past the table's `retention` at
    /// `now_us`, the stamp of a statement: no statement sees them, wherever they still are. `None`: the table keeps all rows.
    pub fn retention_cut(&self, now_us: i64) -> Option<i64> {
        let def = &self.version.def;
        def.options.time_column?;
        def.options.retention_us.map(|retention| now_us.saturating_sub(retention))
    }

    /// Within which event times all rows of a file are, deleted ones among them; microseconds since 1970, both included. `None`: the table
    /// has no time column, or nothing is known.
    pub fn event_times(&self, file: &FileRef) -> Option<(i64, i64)> {
        event_times(&file.file, &self.version.def)
    }

    /// Exact number of rows, of both halves.
    pub fn n_rows(&self) -> u64 {
        self.version.n_rows()
    }

    /// The settled rows: files that are built, then files of the Delta table. What [`Self::parts`] has is in none of them.
    pub fn files(&self) -> &[FileRef] {
        self.version.files.refs()
    }

    /// Which of the files are damaged, now: what is found later holds for this snapshot, too.
    pub fn quarantine(&self) -> &Arc<Quarantine> {
        &self.version.quarantine
    }

    /// Where the files are.
    pub fn stores(&self) -> &FileStores {
        &self.version.stores
    }

    /// The realtime rows: sorted runs, then the tail. Each part's rows have the first columns of `def().arrow_schema`, in order: columns
    /// that were added since are missing, and NULL.
    pub fn parts(&self) -> &[Arc<RealtimePart>] {
        self.version.realtime.parts()
    }
}
