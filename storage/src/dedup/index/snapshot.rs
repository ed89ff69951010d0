//! What was closed at one moment? A part of the index that other threads may ask while the worker goes on.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;

use super::claim::Parts;
use super::state::KeyIndex;
use crate::dedup::canonical::Keys;
use crate::dedup::cold::ColdRun;
use crate::dedup::layer::ClosedLayer;
use crate::error::Result;

/// The closed layers and runs of one moment: the keys of all entries through [`KeySnapshot::through`] that are remembered. It keeps
/// what it names in memory, and charged, while it lives.
///
/// Who checks a stream's keys with it asks [`KeyIndex::probe_new`] for those that came since, and starts again when the table forgot
/// keys (TRUNCATE, the end of a `dedup_window`) in between.
#[derive(Debug, Clone)]
pub struct KeySnapshot {
    pub(super) runs: Vec<Arc<ColdRun>>,
    pub(super) closed: Vec<Arc<ClosedLayer>>,
    through: u64,
}

impl KeyIndex {
    /// What is closed now.
    pub fn snapshot(&self) -> KeySnapshot {
        KeySnapshot { runs: self.runs.clone(), closed: self.closed.clone(), through: self.through }
    }
}

impl KeySnapshot {
    /// The last entry whose keys are in it.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Which keys are in it; `None`: none of them.
    ///
    /// # Errors
    /// As [`KeyIndex::look_up`].
    pub fn probe(&self, keys: &Keys) -> Result<Option<BooleanBuffer>> {
        let runs = self.runs.iter().map(|run| &**run).collect();
        let closed = self.closed.iter().map(|layer| &**layer).collect();
        Ok(Parts { runs, closed, open: None }.probe(keys)?.finish())
    }
}

#[cfg(test)]
impl KeySnapshot {
    /// The ranges of the log of its layers.
    pub(in crate::dedup) fn spans(&self) -> Vec<(u64, u64)> {
        self.closed.iter().map(|layer| (layer.from(), layer.through())).collect()
    }
}
