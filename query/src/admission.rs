//! May this query run now? Slots for running queries, a bounded queue in front of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::unnest::UnnestExec;
use tidewater_storage::{Code, Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{MAX_METADATA_LEAVES, METADATA_SLOTS, QUEUE_RETRY_AFTER};

/// What a query waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Reads tables, or makes many rows out of nothing.
    Tables,
    /// Reads system tables only, or values that stand in the statement: has slots of its own, so that a full server can be looked at.
    Metadata,
}

/// What a plan waits for that scans no table of users. Rows that a series, a recursion or a product makes are work like any other, and
/// would hold the few slots from which a full server is looked at.
pub(crate) fn class_of(plan: &Arc<dyn ExecutionPlan>) -> Class {
    let mut leaves = 0;
    match is_small(plan, &mut leaves) && leaves <= MAX_METADATA_LEAVES {
        true => Class::Metadata,
        false => Class::Tables,
    }
}

fn is_small(plan: &Arc<dyn ExecutionPlan>, leaves: &mut usize) -> bool {
    let children = plan.children();
    if children.is_empty() {
        *leaves += 1;
        // System tables and `information_schema`, values, and no rows or one.
        return plan.is::<StreamingTableExec>()
            || plan.downcast_ref::<DataSourceExec>().is_some_and(|scan| scan.data_source().is::<MemorySourceConfig>())
            || plan.is::<PlaceholderRowExec>()
            || plan.is::<EmptyExec>()
            || plan.is::<ExplainExec>();
    }
    let multiplies = plan.is::<CrossJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.is::<RecursiveQueryExec>()
        || plan.is::<UnnestExec>();
    let before = *leaves;
    let is_small = !multiplies && children.into_iter().all(|child| is_small(child, leaves));
    // Two system tables side by side are a look; rows that meet rows that met rows are work.
    let is_join = plan.is::<HashJoinExec>() || plan.is::<SortMergeJoinExec>();
    is_small && !(is_join && *leaves - before > 2)
}

pub(crate) struct Admission {
    tables: Arc<Semaphore>,
    metadata: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_running: usize,
    max_waiting: usize,
    max_wait: Duration,
}

/// A place to run; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// One more waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        crate::metrics::waits_no_more();
    }
}

impl Admission {
    pub(crate) fn new(max_running: usize, max_waiting: usize, max_wait: Duration) -> Self {
        Self {
            tables: Arc::new(Semaphore::new(max_running.max(1))),
            metadata: Arc::new(Semaphore::new(METADATA_SLOTS)),
            waiting: AtomicUsize::new(0),
            max_running: max_running.max(1),
            max_waiting,
            max_wait,
        }
    }

    /// Waits for a slot in order of arrival. `QUERY_QUEUE_FULL` when too many wait, or after `max_wait`.
    pub(crate) async fn admit(&self, class: Class) -> Result<Slot> {
        let slots = match class {
            Class::Tables => &self.tables,
            Class::Metadata => &self.metadata,
        };
        if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
            return Ok(Slot { _permit: permit });
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(self.full(format!("{} queries run and {} wait", self.max_running, self.max_waiting)));
        }
        crate::metrics::waits();
        let waiting = Waiting(&self.waiting);
        let acquired = tokio::time::timeout(self.max_wait, Arc::clone(slots).acquire_owned()).await;
        drop(waiting);
        match acquired {
            Ok(Ok(permit)) => Ok(Slot { _permit: permit }),
            Ok(Err(_)) => Err(Error::new(Code::ShuttingDown, "the server is stopping")),
            Err(_) => Err(self.full(format!("no query ended within {} s", self.max_wait.as_secs()))),
        }
    }

    fn full(&self, what: String) -> Error {
        Error::new(Code::QueryQueueFull, what)
            .hint("try again later, or run fewer queries at once")
            .retry_after(QUEUE_RETRY_AFTER)
    }

    /// No query is admitted any more.
    pub(crate) fn close(&self) {
        self.tables.close();
        self.metadata.close();
    }
}
