//! Where do queries run? On their own threads, below those that acknowledge ingest, with their time accounted.

mod stoppable;

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll};

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidewater_storage::env::Clock;
use tidewater_storage::{Code, Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};

pub(crate) use self::stoppable::stoppable;

use crate::admission::Class;
use crate::limits::{DEEP_STACK_BYTES, METADATA_SLOTS, QUERY_NICE};

/// Threads of queries over tables. Every partition of every running query has one up to here, since a join may hold a thread between two
/// batches. Beyond that they wait for each other: more threads than the system grants a process would be none at all.
pub(crate) const MAX_TABLE_THREADS: usize = 256;

/// Threads of queries over system tables, for which the same holds.
const MAX_METADATA_THREADS: usize = 64;

/// What must not wait for any query: deadlines, and the look at the process's memory.
const UPKEEP_THREADS: usize = 1;

/// The runtimes of all queries; the operating system shares the cores among their threads. Queries that hold all threads of one hold none
/// of another, so a full server can be looked at. Dropping them does not wait.
pub(crate) struct QueryRuntime {
    tables: Part,
    metadata: Part,
    upkeep: Part,
}

impl QueryRuntime {
    /// For `max_running` queries of `partitions` partitions.
    pub(crate) fn new(partitions: usize, max_running: usize) -> Result<Self> {
        trace_spawned_tasks();
        Ok(Self {
            tables: Part::start("query", n_threads(partitions, max_running, MAX_TABLE_THREADS))?,
            metadata: Part::start("query-metadata", n_threads(partitions, METADATA_SLOTS, MAX_METADATA_THREADS))?,
            upkeep: Part::start("query-upkeep", UPKEEP_THREADS)?,
        })
    }

    /// Where most queries run.
    pub(crate) fn handle(&self) -> &Handle {
        self.of(Class::Tables)
    }

    /// Where queries of `class` run.
    pub(crate) fn of(&self, class: Class) -> &Handle {
        match class {
            Class::Tables => &self.tables.handle,
            Class::Metadata => &self.metadata.handle,
        }
    }

    /// Where nothing runs that takes long.
    pub(crate) fn upkeep(&self) -> &Handle {
        &self.upkeep.handle
    }

    /// Stops all tasks without waiting for them.
    pub(crate) fn stop(&self) {
        self.tables.stop();
        self.metadata.stop();
        self.upkeep.stop();
    }
}

/// One for each partition of `n_queries` queries, at most `max`.
fn n_threads(partitions: usize, n_queries: usize, max: usize) -> usize {
    partitions.max(1).saturating_mul(n_queries.max(1)).min(max)
}

/// Threads with a scheduler of their own.
struct Part {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

impl Part {
    /// `INVALID_CONFIG` if the system does not grant so many threads.
    fn start(name: &str, n_threads: usize) -> Result<Self> {
        let build = || {
            Builder::new_multi_thread()
                .worker_threads(n_threads)
                .thread_name(name)
                .thread_stack_size(DEEP_STACK_BYTES)
                .on_thread_start(lower_priority)
                .enable_all()
                .build()
        };
        // Tokio panics for a thread that it does not get.
        let runtime = match catch_unwind(AssertUnwindSafe(build)) {
            Ok(built) => {
                built.map_err(|source| Error::internal("the runtime for queries could not be made").source(source))?
            }
            Err(panic) => {
                let why = panic.downcast_ref::<String>().map_or("the system refuses them", String::as_str);
                return Err(Error::new(
                    Code::InvalidConfig,
                    format!("{n_threads} threads for queries could not be started: {why}"),
                )
                .hint("lower query.threads or query.max_running, or let the process have more (ulimit -u, TasksMax, pids.max)"));
            }
        };
        Ok(Self { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)) })
    }

    fn stop(&self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts the calling thread below those of the ingest path. Without the right to do so it stays where it is.
pub(crate) fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, QUERY_NICE) {
        tracing::debug!(%error, "a query thread keeps its priority");
    }
}

/// Drops `value` on a query thread: dropping a deep plan recurses, and only those threads have the stack for it.
pub(crate) struct DropOnQueryThread<T: Send + 'static> {
    value: Option<T>,
    handle: Handle,
}

impl<T: Send + 'static> DropOnQueryThread<T> {
    pub(crate) fn new(value: T, handle: Handle) -> Self {
        Self { value: Some(value), handle }
    }

    pub(crate) fn take(mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T: Send + 'static> Drop for DropOnQueryThread<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.handle.spawn(async move { drop(value) });
        }
    }
}

/// Time that the tasks of one query have spent on threads, by wall clock within each poll: on a busy machine it includes what other
/// processes took meanwhile.
pub(crate) struct Meter {
    busy_ns: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Meter {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { busy_ns: AtomicU64::new(0), clock })
    }

    pub(crate) fn busy_ms(&self) -> f64 {
        self.busy_ns.load(Ordering::Relaxed) as f64 / 1e6
    }

    fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.uptime();
        let out = work();
        let spent = self.clock.uptime().saturating_sub(start);
        self.busy_ns.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        out
    }
}

tokio::task_local! {
    static METER: Arc<Meter>;
}

/// A future whose polls count for a meter, together with every task that it spawns through DataFusion.
pub(crate) fn metered<F: Future>(meter: Arc<Meter>, future: F) -> impl Future<Output = F::Output> {
    let metered = Metered { meter: Arc::clone(&meter), future: Box::pin(future) };
    METER.scope(meter, metered)
}

struct Metered<F> {
    meter: Arc<Meter>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let future = this.future.as_mut();
        this.meter.measure(|| future.poll(cx))
    }
}

/// DataFusion's operators spawn tasks; this hands them the meter of the query that spawned them.
struct MeterSpawnedTasks;

impl JoinSetTracer for MeterSpawnedTasks {
    fn trace_future(&self, fut: BoxFuture<'static, Box<dyn Any + Send>>) -> BoxFuture<'static, Box<dyn Any + Send>> {
        match METER.try_with(Arc::clone) {
            Ok(meter) => metered(meter, fut).boxed(),
            Err(_) => fut,
        }
    }

    fn trace_block(
        &self,
        work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
    ) -> Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> {
        match METER.try_with(Arc::clone) {
            Ok(meter) => Box::new(move || meter.measure(work)),
            Err(_) => work,
        }
    }
}

fn trace_spawned_tasks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if set_join_set_tracer(&MeterSpawnedTasks).is_err() {
            tracing::warn!("another tracer of tasks is set: the time of queries is counted for their first task only");
        }
    });
}

#[cfg(test)]
mod tests;
