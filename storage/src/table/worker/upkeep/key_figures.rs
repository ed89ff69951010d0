//! What do others know of a table's keys? The runs, to ask them before the worker's turn, and what the engine needs to share memory out.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::dedup::{DedupStats, KeyIndex, RunSet};

/// Kept by the worker, read by everybody.
#[derive(Default)]
pub(crate) struct KeyFigures {
    runs: ArcSwap<RunSet>,
    held: Mutex<KeysHeld>,
}

/// Figures of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeysHeld {
    /// Memory of closed layers, and of the open one.
    pub(crate) closed_bytes: u64,
    pub(crate) open_bytes: u64,
    /// Memory of the filters of runs.
    pub(crate) filter_bytes: u64,
    /// Its last batch was refused for want of memory.
    pub(crate) is_short: bool,
    /// A job is making layers fewer, or takes them to disk.
    pub(crate) is_busy: bool,
    /// Uptime from which a job that failed may be tried again.
    pub(crate) retry_at: Option<Duration>,
    /// Uptime when the worker was last asked to look at its keys.
    pub(crate) asked_at: Option<Duration>,
}

impl KeyFigures {
    /// The worker's index is like this now; `stats` are its own.
    pub(crate) fn note(&self, keys: &KeyIndex, stats: &DedupStats) {
        {
            let mut held = self.held.lock();
            (held.closed_bytes, held.open_bytes) = (stats.closed_bytes, stats.open_bytes);
            (held.filter_bytes, held.is_short) = (keys.filter_bytes(), keys.is_short());
        }
        if self.runs.load().version() != keys.runs_version() {
            self.runs.store(Arc::new(keys.run_set()));
        }
    }

    /// There is no worker any more, and no index.
    pub(crate) fn clear(&self) {
        self.runs.store(Arc::default());
        *self.held.lock() = KeysHeld::default();
    }

    pub(crate) fn note_jobs(&self, is_busy: bool, retry_at: Option<Duration>) {
        let mut held = self.held.lock();
        (held.is_busy, held.retry_at) = (is_busy, retry_at);
    }

    pub(crate) fn note_asked(&self, uptime: Duration) {
        self.held.lock().asked_at = Some(uptime);
    }

    pub(crate) fn held(&self) -> KeysHeld {
        *self.held.lock()
    }

    /// Runs that may be asked; the worker knows whether they are still the right ones.
    pub(crate) fn runs(&self) -> Arc<RunSet> {
        self.runs.load_full()
    }
}
