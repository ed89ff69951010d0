//! Which runs are there, for those who ask them before the worker's turn? Reading a disk is for the caller's thread, deciding is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::buffer::BooleanBuffer;

use super::claim::{Known, Parts, Settled};
use super::state::KeyIndex;
use crate::dedup::canonical::Keys;
use crate::dedup::cold::ColdRun;
use crate::error::Result;

/// Numbers of sets of runs, unique in the process: an index that is opened again never has a number of the one before.
static LAST_ID: AtomicU64 = AtomicU64::new(0);

pub(super) fn next_id() -> u64 {
    LAST_ID.fetch_add(1, Ordering::Relaxed) + 1
}

/// The runs of one moment. Cheap to clone; keeps their files open and, as long as the index does, their filters in memory.
#[derive(Debug, Clone, Default)]
pub struct RunSet {
    version: u64,
    /// The same for sets of runs that have the same keys.
    keys_id: u64,
    runs: Vec<Arc<ColdRun>>,
}

/// Which of a batch's keys are in the runs of a [`RunSet`].
#[derive(Debug)]
pub struct FoundInRuns {
    keys_id: u64,
    found: Option<BooleanBuffer>,
}

impl RunSet {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Changes with every run that comes or goes: see [`KeyIndex::runs_version`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Asks all runs. Blocks: reads pages of files that filters do not rule out.
    ///
    /// # Errors
    /// As [`KeyIndex::look_up`].
    pub fn look_up(&self, keys: &Keys) -> Result<FoundInRuns> {
        let runs = self.runs.iter().map(|run| &**run).collect();
        let found = Parts { runs, closed: Vec::new(), open: None }.probe(keys)?.finish();
        Ok(FoundInRuns { keys_id: self.keys_id, found })
    }
}

impl KeyIndex {
    /// Of [`KeyIndex::run_set`].
    pub fn runs_version(&self) -> u64 {
        self.runs_version
    }

    /// The runs of this moment.
    pub fn run_set(&self) -> RunSet {
        RunSet { version: self.runs_version, keys_id: self.run_keys_id, runs: self.runs.clone() }
    }

    /// As [`KeyIndex::look_up`], with what was found in a set of runs before. If the runs have the same keys as then, no disk is asked: the
    /// claim looks at the layers in memory by itself. Otherwise `found` is of no use, and the runs are asked here.
    ///
    /// # Errors
    /// As [`KeyIndex::look_up`].
    pub fn look_up_with(&self, keys: &Keys, found: Option<FoundInRuns>) -> Result<Known> {
        match found {
            Some(FoundInRuns { keys_id, found }) if keys_id == self.run_keys_id && !self.runs.is_empty() => {
                Ok(Known { generation: self.generation, settled: Settled::InRuns(found) })
            }
            _ => self.look_up(keys),
        }
    }

    /// A run came or went. `same_keys`: together they have the keys that they had.
    pub(super) fn note_runs(&mut self, same_keys: bool) {
        self.runs_version = next_id();
        if !same_keys {
            self.run_keys_id = self.runs_version;
        }
    }
}
