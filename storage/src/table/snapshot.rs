//! What does a reader see? One immutable version of a table; holding it holds memory, never a lock.

use std::sync::Arc;

use crate::catalog::TableDef;
use crate::ids::{CommitSeq, CommitToken, LogId, SHARD_ZERO};
use crate::memory::MemoryLedger;
use crate::realtime::{Realtime, RealtimePart};

/// A state of a table, published whole. Transitions make a new one.
#[derive(Clone)]
pub(crate) struct TableVersion {
    pub(crate) def: Arc<TableDef>,
    pub(crate) log: LogId,
    pub(crate) upper: CommitSeq,
    pub(crate) realtime: Realtime,
}

impl TableVersion {
    pub(crate) fn empty(def: Arc<TableDef>, log: LogId) -> Self {
        Self { def, log, upper: CommitSeq(0), realtime: Realtime::empty() }
    }

    /// The state after the entry `upper`, which brought `realtime`.
    pub(crate) fn with_entry(&self, upper: CommitSeq, realtime: Realtime) -> Self {
        Self { upper, realtime, ..self.clone() }
    }

    /// The same rows in another shape.
    pub(crate) fn with_realtime(&self, realtime: Realtime) -> Self {
        Self { realtime, ..self.clone() }
    }

    /// Charges each part that is not charged yet: it stays charged until the last snapshot that has it is gone, whatever became of the
    /// table.
    pub(crate) fn charge_to(&self, memory: &Arc<MemoryLedger>) {
        self.realtime.parts().iter().for_each(|part| part.charge_to(memory));
    }
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

    /// Both are of one version.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.version, &other.version)
    }

    pub fn def(&self) -> &Arc<TableDef> {
        &self.version.def
    }

    /// All rows of entries up to and with this one are in the snapshot.
    pub fn upper(&self) -> CommitSeq {
        self.version.upper
    }

    pub fn token(&self) -> CommitToken {
        CommitToken { table: self.version.def.id, shard: SHARD_ZERO, log: self.version.log, seq: self.version.upper }
    }

    /// Exact number of rows.
    pub fn n_rows(&self) -> u64 {
        self.version.realtime.n_rows()
    }

    /// The realtime rows: sorted runs, then the tail. Each part's rows have the columns of `def().arrow_schema`.
    pub fn parts(&self) -> &[Arc<RealtimePart>] {
        self.version.realtime.parts()
    }
}
