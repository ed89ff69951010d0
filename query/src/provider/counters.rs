//! How many rows and files did a statement read from each half? Shared by all its scans.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, Metric};
use parking_lot::Mutex;

use super::realtime::RealtimeSource;
use super::sealed;

/// Under this name the reader of a file counts the rows that its filters dropped, and under this label it says of which file.
const DROPPED_BY_FILTERS: &str = "pushdown_rows_pruned";
const OF_FILE: &str = "filename";

/// Under this name it counts the bytes that it fetched.
const BYTES_READ: &str = "bytes_scanned";

/// Rows that the scans of one statement looked at, after pruning and before filters; and the files of which they are.
#[derive(Debug, Default)]
pub struct ScanCounters {
    rows_read_realtime: AtomicU64,
    /// Rows that came out of files, and those of them that came out of built ones.
    rows_out_sealed: AtomicU64,
    rows_out_built: AtomicU64,
    /// Where each scan of files counts those that did not.
    scans_sealed: Mutex<SealedScans>,
    files_pruned: AtomicU64,
    files_read: AtomicU64,
    /// Rows that lie before the scans of the plan, and those of them that were read or passed over.
    rows_to_pass: AtomicU64,
    rows_passed: AtomicU64,
    /// Executions that are still to come behind the one that runs, and those that have ended.
    executions_to_come: AtomicU64,
    executions_ended: AtomicU64,
}

/// The scans of files of the execution that runs, and what those of earlier ones came to.
#[derive(Debug, Clone, Default)]
struct SealedScans {
    running: Vec<SealedScan>,
    ended: Sums,
}

impl SealedScans {
    fn sum(&self) -> Sums {
        self.running.iter().fold(self.ended, |sum, scan| sum.plus(scan.sums()))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    dropped: u64,
    dropped_built: u64,
    bytes: u64,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            dropped: self.dropped + other.dropped,
            dropped_built: self.dropped_built + other.dropped_built,
            bytes: self.bytes + other.bytes,
        }
    }
}

#[derive(Debug, Clone)]
struct SealedScan {
    metrics: ExecutionPlanMetricsSet,
    /// Paths of those of its files that are built.
    built: Arc<HashSet<String>>,
}

impl SealedScan {
    fn sums(&self) -> Sums {
        let is_any = |_: &Metric| true;
        Sums {
            dropped: self.sum(DROPPED_BY_FILTERS, is_any),
            dropped_built: match self.built.is_empty() {
                true => 0,
                false => self.sum(DROPPED_BY_FILTERS, |metric| self.is_of_built(metric)),
            },
            bytes: self.sum(BYTES_READ, is_any),
        }
    }

    /// The sum of a metric over what `counts`.
    fn sum(&self, name: &str, counts: impl Fn(&Metric) -> bool) -> u64 {
        let sum = self.metrics.clone_inner().sum(|metric| metric.value().name() == name && counts(metric));
        sum.map_or(0, |sum| sum.as_usize() as u64)
    }

    fn is_of_built(&self, metric: &Metric) -> bool {
        metric.labels().iter().any(|label| label.name() == OF_FILE && self.built.contains(label.value()))
    }
}

/// Rows that lie before the scans of a plan: those of zones and files that nothing has ruled out.
pub(crate) fn rows_to_pass(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = plan.downcast_ref::<DataSourceExec>().map_or(0, |scan| {
        let source = scan.data_source();
        let fresh = source.downcast_ref::<RealtimeSource>().map(|source| source.n_candidates() as u64);
        fresh.or_else(|| sealed::rows_to_pass(source)).unwrap_or(0)
    });
    own + plan.children().into_iter().map(rows_to_pass).sum::<u64>()
}

impl ScanCounters {
    pub fn rows_read_realtime(&self) -> u64 {
        self.rows_read_realtime.load(Ordering::Relaxed)
    }

    /// From files of either kind.
    pub fn rows_read_sealed(&self) -> u64 {
        self.rows_out_sealed.load(Ordering::Relaxed) + self.sealed_scans().dropped
    }

    /// Those of [`Self::rows_read_sealed`] that are in files which were built and are not in the Delta table yet.
    pub fn rows_read_built(&self) -> u64 {
        self.rows_out_built.load(Ordering::Relaxed) + self.sealed_scans().dropped_built
    }

    /// Bytes of files that were fetched, as they are stored.
    pub fn bytes_read(&self) -> u64 {
        self.sealed_scans().bytes
    }

    /// How far the scans have come, 0.0 to 1.0: rows that they read or passed over, of all that lie before them. `None`: there are none.
    pub fn fraction(&self) -> Option<f64> {
        let total = self.rows_to_pass.load(Ordering::Relaxed);
        let passed = self.rows_passed.load(Ordering::Relaxed);
        let ended = self.executions_ended.load(Ordering::Relaxed);
        let all = ended + 1 + self.executions_to_come.load(Ordering::Relaxed);
        (total > 0).then(|| (ended as f64 + (passed as f64 / total as f64).min(1.0)) / all as f64)
    }

    fn sealed_scans(&self) -> Sums {
        let scans = self.scans_sealed.lock().clone();
        scans.sum()
    }

    /// The statement is bound to several rows of parameters: so many executions follow the first.
    pub(crate) fn set_executions_to_come(&self, executions: usize) {
        self.executions_to_come.store(executions as u64, Ordering::Relaxed);
    }

    /// An execution has ended and another follows: of its scans only the sums are kept, for there may be any number of them.
    pub(crate) fn end_execution(&self) {
        let mut scans = self.scans_sealed.lock();
        *scans = SealedScans { running: Vec::new(), ended: scans.sum() };
        drop(scans);
        self.rows_to_pass.store(0, Ordering::Relaxed);
        self.rows_passed.store(0, Ordering::Relaxed);
        self.executions_ended.fetch_add(1, Ordering::Relaxed);
        self.executions_to_come.fetch_sub(1, Ordering::Relaxed);
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
        self.add_passed(rows as u64);
    }

    /// A plan is made. A statement may have several that run together.
    pub(crate) fn add_rows_to_pass(&self, rows: u64) {
        self.rows_to_pass.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows that need not be read any more.
    pub(super) fn add_passed(&self, rows: u64) {
        self.rows_passed.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn add_files_pruned(&self, files: usize) {
        self.files_pruned.fetch_add(files as u64, Ordering::Relaxed);
    }

    /// A scan of files was planned, which counts in `metrics` what its filters drop. `built`: the paths of its built files.
    pub(super) fn add_sealed_scan(&self, metrics: ExecutionPlanMetricsSet, built: HashSet<String>) {
        self.scans_sealed.lock().running.push(SealedScan { metrics, built: Arc::new(built) });
    }

    /// Rows came out of a file.
    pub(super) fn add_sealed_rows(&self, rows: usize, is_built: bool) {
        self.rows_out_sealed.fetch_add(rows as u64, Ordering::Relaxed);
        if is_built {
            self.rows_out_built.fetch_add(rows as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn add_file_read(&self) {
        self.files_read.fetch_add(1, Ordering::Relaxed);
    }
}
