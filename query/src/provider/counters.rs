//! How many rows did a statement read from each half? Shared by all its scans.

use std::sync::atomic::{AtomicU64, Ordering};

/// Rows that the scans of one statement looked at, after pruning and before filters.
#[derive(Debug, Default)]
pub struct ScanCounters {
    rows_read_realtime: AtomicU64,
    rows_read_sealed: AtomicU64,
}

impl ScanCounters {
    pub fn rows_read_realtime(&self) -> u64 {
        self.rows_read_realtime.load(Ordering::Relaxed)
    }

    pub fn rows_read_sealed(&self) -> u64 {
        self.rows_read_sealed.load(Ordering::Relaxed)
    }

    pub(crate) fn add_realtime(&self, rows: usize) {
        self.rows_read_realtime.fetch_add(rows as u64, Ordering::Relaxed);
    }
}
