//! Where are statements parsed and planned? On few threads with big stacks, each planning alone under a deadline.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_storage::{Code, Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::limits::{DEEP_STACK_BYTES, MAX_ABANDONED_PLANNERS};
use crate::runtime::lower_priority;

type Job = Box<dyn FnOnce() + Send>;

/// The pool. A planning cannot be stopped from outside: one that overruns is abandoned, its thread ends when it ends, and another
/// takes its place, up to [`MAX_ABANDONED_PLANNERS`] at a time.
pub(crate) struct Planner {
    permits: Arc<Semaphore>,
    deadline: Duration,
    threads: Arc<Threads>,
}

struct Threads {
    idle: Mutex<Vec<SyncSender<Job>>>,
    max_idle: usize,
    abandoned: AtomicUsize,
}

/// The permit of a planning, and whether its caller still waits.
struct Ticket {
    state: Mutex<TicketState>,
    threads: Arc<Threads>,
}

struct TicketState {
    permit: Option<OwnedSemaphorePermit>,
    done: bool,
    abandoned: bool,
}

impl Ticket {
    /// The thread has ended its planning.
    fn done(&self) {
        let mut state = self.state.lock();
        state.done = true;
        state.permit = None;
        if state.abandoned {
            self.threads.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The caller has gone. Its permit goes to the next planning unless too many abandoned ones still run.
    fn abandon(&self) {
        let mut state = self.state.lock();
        if state.done {
            return;
        }
        state.abandoned = true;
        if self.threads.abandoned.fetch_add(1, Ordering::Relaxed) < MAX_ABANDONED_PLANNERS {
            state.permit = None;
        }
    }
}

/// Abandons the planning when the caller's future is dropped, too.
struct Caller(Arc<Ticket>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Planner {
    pub(crate) fn new(planners: usize, deadline: Duration) -> Self {
        let threads = Threads { idle: Mutex::default(), max_idle: planners, abandoned: AtomicUsize::new(0) };
        Self { permits: Arc::new(Semaphore::new(planners)), deadline, threads: Arc::new(threads) }
    }

    /// Runs `work` on a planner thread. `PLANNING_DEADLINE` when it takes too long; a panic is an `INTERNAL` error of this call only.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let overrun = || {
            Error::new(Code::PlanningDeadline, format!("planning took more than {} ms", self.deadline.as_millis()))
                .hint("make the statement simpler: fewer terms, joins or subqueries")
        };
        let permit = tokio::time::timeout(self.deadline, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| overrun())?
            .map_err(|_| Error::new(Code::ShuttingDown, "the server is stopping"))?;
        let state = TicketState { permit: Some(permit), done: false, abandoned: false };
        let ticket = Arc::new(Ticket { state: Mutex::new(state), threads: Arc::clone(&self.threads) });
        let caller = Caller(Arc::clone(&ticket));
        let (answer, answered) = oneshot::channel();
        self.threads.start(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
            ticket.done();
            // An abandoned planning has no receiver; its result is dropped here, on the big stack.
            drop(answer.send(result));
        }))?;
        let result = tokio::time::timeout(self.deadline, answered).await;
        drop(caller);
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::internal("a planner thread ended without an answer")),
            Err(_) => Err(overrun()),
        }
    }
}

impl Threads {
    /// Hands a job to an idle thread, or to a new one.
    fn start(self: &Arc<Self>, job: Job) -> Result<()> {
        let idle = self.idle.lock().pop();
        let job = match idle {
            Some(thread) => match thread.try_send(job) {
                Ok(()) => return Ok(()),
                Err(std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job)) => job,
            },
            None => job,
        };
        let pool = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("planner".into())
            .stack_size(DEEP_STACK_BYTES)
            .spawn(move || work_through(&pool, job))
            .map(drop)
            .map_err(|source| Error::internal("no thread could be started for planning").source(source))
    }
}

/// The life of a planner thread: jobs until the pool has gone or has enough idle threads.
fn work_through(pool: &Weak<Threads>, first: Job) {
    lower_priority();
    first();
    loop {
        let (sender, jobs) = sync_channel::<Job>(1);
        match pool.upgrade() {
            Some(pool) => {
                let mut idle = pool.idle.lock();
                if idle.len() >= pool.max_idle {
                    return;
                }
                idle.push(sender);
            }
            None => return,
        }
        match jobs.recv() {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

/// What a panic said, as an error of ours.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().map(|s| (*s).to_string());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = said, "a query panicked");
    Error::internal(format!("the query failed inside the engine: {said}"))
}
