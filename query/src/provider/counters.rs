//! How many rows and files did a statement read from each half? Shared by all its scans.

use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use parking_lot::Mutex;

/// Under this name the reader of a file counts the rows that its filters dropped.
const DROPPED_BY_FILTERS: &str = "pushdown_rows_pruned";

/// Rows that the scans of one statement looked at, after pruning and before filters; and the files of which they are.
#[derive(Debug, Default)]
pub struct ScanCounters {
    rows_read_realtime: AtomicU64,
    /// Rows that came out of files.
    rows_out_sealed: AtomicU64,
    /// Where each scan of files counts those that did not.
    scans_sealed: Mutex<Vec<ExecutionPlanMetricsSet>>,
    files_pruned: AtomicU64,
    files_read: AtomicU64,
}

impl ScanCounters {
    pub fn rows_read_realtime(&self) -> u64 {
        self.rows_read_realtime.load(Ordering::Relaxed)
    }

    pub fn rows_read_sealed(&self) -> u64 {
        let scans = self.scans_sealed.lock().clone();
        let dropped_by = |scan: &ExecutionPlanMetricsSet| {
            scan.clone_inner().sum_by_name(DROPPED_BY_FILTERS).map_or(0, |rows| rows.as_usize() as u64)
        };
        self.rows_out_sealed.load(Ordering::Relaxed) + scans.iter().map(dropped_by).sum::<u64>()
    }

    /// Files that were ruled out without being opened: by their bounds when the query was planned, or because they hold no key that was
    /// asked for.
    pub fn files_pruned(&self) -> u64 {
        self.files_pruned.load(Ordering::Relaxed)
    }

    /// Files that were opened, each once for every scan.
    pub fn files_read(&self) -> u64 {
        self.files_read.load(Ordering::Relaxed)
    }

    pub(crate) fn add_realtime(&self, rows: usize) {
        self.rows_read_realtime.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn add_files_pruned(&self, files: usize) {
        self.files_pruned.fetch_add(files as u64, Ordering::Relaxed);
    }

    /// A scan of files was planned, which counts in `metrics` what its filters drop.
    pub(super) fn add_sealed_scan(&self, metrics: ExecutionPlanMetricsSet) {
        self.scans_sealed.lock().push(metrics);
    }

    pub(super) fn add_sealed_rows(&self, rows: usize) {
        self.rows_out_sealed.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn add_file_read(&self) {
        self.files_read.fetch_add(1, Ordering::Relaxed);
    }
}
