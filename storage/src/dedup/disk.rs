//! What may keys take on disk? One budget for the key runs of all tables of an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes the files of key runs take, and may take. The files of key layers, which memory bounds, are not counted.
#[derive(Debug)]
pub struct DiskBudget {
    max_bytes: u64,
    used: AtomicU64,
    /// Of them, those of runs that are being merged into others: as many go when these are there.
    copies: AtomicU64,
}

impl DiskBudget {
    pub fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { max_bytes, used: AtomicU64::new(0), copies: AtomicU64::new(0) })
    }

    /// For an index whose keys stay in memory, or whose files somebody else counts.
    pub fn unlimited() -> Arc<Self> {
        Self::new(u64::MAX)
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Bytes of runs that are there and, as estimated, of those that are being written. Files that were replaced count no more, although
    /// they go a moment later.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that runs may still take.
    pub(super) fn left(&self) -> u64 {
        self.max_bytes.saturating_sub(self.used())
    }

    /// Bytes that runs may still take when no run is being merged any more.
    pub(super) fn left_in_the_end(&self) -> u64 {
        let copies = self.copies.load(Ordering::Relaxed);
        self.max_bytes.saturating_sub(self.used().saturating_sub(copies))
    }

    /// Counts `bytes` until what is returned is dropped. Never fails: who begins to write asks [`Self::left`] before.
    pub(super) fn charge(self: &Arc<Self>, bytes: u64) -> DiskCharge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        DiskCharge { budget: Arc::clone(self), bytes, is_copy: false }
    }

    /// The same for a run of keys that other runs have until it is there.
    pub(super) fn charge_copy(self: &Arc<Self>, bytes: u64) -> DiskCharge {
        self.copies.fetch_add(bytes, Ordering::Relaxed);
        let mut charge = self.charge(bytes);
        charge.is_copy = true;
        charge
    }
}

/// Bytes that are counted; given back when dropped.
#[derive(Debug)]
pub(super) struct DiskCharge {
    budget: Arc<DiskBudget>,
    bytes: u64,
    is_copy: bool,
}

impl DiskCharge {
    /// Counts `bytes` from now on.
    pub(super) fn resize(&mut self, bytes: u64) {
        debug_assert!(!self.is_copy, "what a merge takes stays as it was estimated");
        if bytes >= self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for DiskCharge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.is_copy {
            self.budget.copies.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
