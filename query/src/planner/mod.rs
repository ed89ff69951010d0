//! Where are statements parsed and planned? On few threads with big stacks, each planning alone under a deadline.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_storage::{Code, Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::limits::{DEEP_STACK_BYTES, MAX_ABANDONED_PLANNERS, QUEUE_RETRY_AFTER};
use crate::runtime::lower_priority;

type Job = Box<dyn FnOnce() + Send>;

/// The pool. A planning cannot be stopped from outside: one that overruns is abandoned, its thread ends when it looks at its [`Waiter`],
/// and another takes its place, up to [`MAX_ABANDONED_PLANNERS`] at a time.
#[derive(Clone)]
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

/// Whether anybody waits for a planning. The planning looks here between its steps.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    gone: AtomicBool,
}

impl Waiter {
    /// The deadline has passed, or the statement was cancelled.
    pub(crate) fn has_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// The permit of a planning, and whether its caller still waits.
struct Ticket {
    state: Mutex<TicketState>,
    waiter: Arc<Waiter>,
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
        self.waiter.gone.store(true, Ordering::Relaxed);
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

    /// Runs `work` on a planner thread. `PLANNING_DEADLINE` when it takes too long, `QUERY_QUEUE_FULL` when no planner becomes free for
    /// as long; a panic is an `INTERNAL` error of this call only.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Waiter>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.permit().await?;
        let waiter = Arc::new(Waiter::default());
        let state = TicketState { permit: Some(permit), done: false, abandoned: false };
        let ticket = Arc::new(Ticket {
            state: Mutex::new(state),
            waiter: Arc::clone(&waiter),
            threads: Arc::clone(&self.threads),
        });
        let caller = Caller(Arc::clone(&ticket));
        let (answer, answered) = oneshot::channel();
        self.threads.start(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(|| work(&waiter))).unwrap_or_else(|_| Err(panicked()));
            ticket.done();
            // An abandoned planning has no receiver; its result is dropped here, on the big stack.
            drop(answer.send(result));
        }))?;
        let result = tokio::time::timeout(self.deadline, answered).await;
        drop(caller);
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::internal("a planner thread ended without an answer")),
            Err(_) => Err(Error::new(
                Code::PlanningDeadline,
                format!("planning took more than {} ms", self.deadline.as_millis()),
            )
            .hint("make the statement simpler: fewer terms, joins or subqueries")),
        }
    }

    /// Waits for a free planner. Nothing is wrong with a statement that finds none: it is told to come again.
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        match tokio::time::timeout(self.deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::new(Code::ShuttingDown, "the server is stopping")),
            Err(_) => Err(Error::new(
                Code::QueryQueueFull,
                format!("no planner was free within {} ms", self.deadline.as_millis()),
            )
            .hint("try again later, or send fewer statements at once")
            .retry_after(QUEUE_RETRY_AFTER)),
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

/// What a panic is to who asked. What it said may quote a value of a row, so it goes neither to them nor into the log above debug: the
/// process's panic hook writes it.
pub(crate) fn panicked() -> Error {
    Error::internal("the query met a fault in the engine")
}
