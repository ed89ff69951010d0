//! How do results reach their reader? A task on the query runtime pushes batches through a bounded channel; the reader's side keeps the
//! deadline even when that task is busy.

mod ending;
mod expiry;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;
use tidewater_storage::{Code, Error, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::AbortOnDropHandle;

use self::ending::Ending;
use self::expiry::Expiry;
use super::job::PlannedRows;
use super::{QueryState, RunSummary};
use crate::admission::{Admission, Slot};
use crate::error::OrError;
use crate::limits::{BATCH_ROWS, LET_GO_WAIT, LOOK_AGAIN, RESULT_QUEUE_BATCHES};
use crate::planner::panicked;
use crate::registry::{Query, Running, StopReason};
use crate::runtime::{DropOnQueryThread, metered};
use crate::session::Principal;
use crate::wire_types::to_wire;

/// What a query sends.
pub(super) enum Source {
    Plan(PlannedRows),
    /// Ready: sent without a slot.
    Batch(RecordBatch),
}

/// How a query is to run.
pub(super) struct Terms {
    pub(super) schema: SchemaRef,
    pub(super) admission: Arc<Admission>,
    /// Where it runs, and where its end is waited for.
    pub(super) handle: Handle,
    pub(super) upkeep: Handle,
    pub(super) timeout: Duration,
    /// Nobody starts it, or reads on, for so long: it ends. [`crate::limits::MAX_STALL`].
    pub(super) patience: Duration,
    pub(super) max_rows: u64,
}

/// A planned query that waits to be started. Dropping it releases its snapshots; so does a minute in which nobody starts it, wherever it is
/// kept meanwhile.
pub struct PendingQuery {
    query: Arc<Query>,
    /// Taken by its start, or by its end because nobody started it.
    waiting: Arc<Mutex<Option<Waiting>>>,
    terms: Terms,
    expiry: Expiry,
}

struct Waiting {
    running: Running,
    source: DropOnQueryThread<Source>,
}

impl PendingQuery {
    pub(super) fn new(running: Running, source: Source, terms: Terms) -> Self {
        let query = Arc::clone(running.query());
        let source = DropOnQueryThread::new(source, terms.handle.clone());
        let waiting = Arc::new(Mutex::new(Some(Waiting { running, source })));
        // What is dropped goes at once.
        let (expires, watched, patience) = (Arc::downgrade(&waiting), Arc::clone(&query), terms.patience);
        let expiry = Expiry::start(&terms.upkeep, patience, move || {
            let Some(waiting) = expires.upgrade() else { return };
            let expired = {
                let mut waiting = waiting.lock();
                if waiting.is_some() {
                    // Before it is seen to be gone: who starts it now is told why.
                    watched.stop(StopReason::Unfetched);
                }
                waiting.take()
            };
            if let Some(Waiting { running, source }) = expired {
                drop(source);
                running.end(Err(&watched.stop_error()));
            }
        });
        Self { query, waiting, terms, expiry }
    }

    /// Whether `caller`, who may be somebody else or may have lost grants since the query was planned, may have its rows.
    /// `PERMISSION_DENIED` if not.
    pub fn check_caller(&self, caller: &Principal) -> Result<()> {
        caller.check_still_has(self.query.principal())
    }

    /// Has it wait for its start as long as at its beginning, but not for longer than snapshots are kept. Returns how long that is.
    pub fn renew(&self) -> Duration {
        let now = Instant::now();
        let until = (now + self.terms.patience).min(self.query.until());
        self.expiry.put_off(until);
        until.saturating_duration_since(now)
    }

    /// Tells what the query sees and does, also once it was started.
    pub fn watch(&self) -> QueryWatch {
        QueryWatch(Arc::clone(&self.query))
    }

    /// Admits and starts the query. `TICKET_EXPIRED`: it waited for too long.
    pub async fn start(self) -> Result<QueryStream> {
        let Self { query, waiting, terms, .. } = self;
        let taken = waiting.lock().take();
        let Some(Waiting { running, source }) = taken else { return Err(query.stop_error()) };
        let deadline = (Instant::now() + terms.timeout).min(query.until());
        let Some(source) = source.take() else {
            return Err(Error::internal("a query was started twice"));
        };
        let slot = match admit(&source, &terms.admission, &query, deadline, terms.timeout).await {
            Ok(slot) => slot,
            Err(error) => {
                drop(DropOnQueryThread::new(source, terms.handle));
                running.end(Err(&error));
                return Err(error.with("query_id", query.id()));
            }
        };
        query.set_state(QueryState::Running);
        let (sender, receiver) = mpsc::channel(RESULT_QUEUE_BATCHES);
        let pump = Arc::new(Pump {
            query: Arc::clone(&query),
            schema: Arc::clone(&terms.schema),
            sender,
            max_rows: terms.max_rows,
            deadline,
            timeout: terms.timeout,
            patience: terms.patience,
        });
        // It begins at once, and not when its keeper has: a thread that must wake up first takes longer than many a query.
        let pumping = Arc::clone(&pump);
        let work = metered(Arc::clone(&query.meter), async move { pumping.pump(source).await });
        let work = AbortOnDropHandle::new(terms.handle.spawn(work));
        let ending = Ending::of(running);
        terms.upkeep.spawn(pump.run(work, slot, ending.clone()));
        let threads = QueryThreads(terms.handle);
        Ok(QueryStream {
            threads,
            stopped: Box::pin(query.cancellation().cancelled_owned()),
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            timeout: terms.timeout,
            look_again: Instant::now() + LOOK_AGAIN,
            query,
            schema: terms.schema,
            receiver,
            ending,
            ended: false,
        })
    }
}

/// Tells of a query whose rows go elsewhere. It keeps no snapshot from being let go.
#[derive(Clone)]
pub struct QueryWatch(Arc<Query>);

impl QueryWatch {
    /// What the query has done so far; final once its rows have ended. Its tables are pinned, and known, when it is planned.
    pub fn summary(&self) -> RunSummary {
        self.0.summary()
    }
}

/// Waits for a slot, for the deadline, or for a cancel.
async fn admit(
    source: &Source,
    admission: &Admission,
    query: &Query,
    deadline: Instant,
    timeout: Duration,
) -> Result<Option<Slot>> {
    let Source::Plan(plan) = source else { return Ok(None) };
    query.set_state(QueryState::Waiting);
    tokio::select! {
        biased;
        error = query.stopped() => Err(error),
        slot = admission.admit(plan.class) => slot.map(Some),
        () = tokio::time::sleep_until(deadline) => {
            query.stop(StopReason::Deadline(timeout));
            Err(query.stop_error())
        }
    }
}

/// One running query.
struct Pump {
    query: Arc<Query>,
    schema: SchemaRef,
    sender: mpsc::Sender<Result<RecordBatch>>,
    max_rows: u64,
    deadline: Instant,
    timeout: Duration,
    patience: Duration,
}

impl Pump {
    /// Waits for the end of `work`, which is the query's, or for its stop, then lets everything go, and only then tells the reader. Runs
    /// where no query does: a computation may hold all threads there and see neither.
    async fn run(self: Arc<Self>, mut work: AbortOnDropHandle<Result<()>>, slot: Option<Slot>, ending: Ending) {
        let outcome = tokio::select! {
            biased;
            error = self.query.stopped() => Err(error),
            () = tokio::time::sleep_until(self.deadline) => {
                self.query.stop(StopReason::Deadline(self.timeout));
                Err(self.query.stop_error())
            }
            done = &mut work => match done {
                Ok(outcome) => outcome,
                Err(ended) if ended.is_panic() => Err(panicked()),
                Err(_) => Err(StopReason::Shutdown.error()),
            },
        };
        // Also at a good end: with LIMIT, joins of other partitions may be at work for nobody.
        self.query.pool.stop();
        if !work.is_finished() {
            work.abort();
            // It lets go at its next yield; what never yields is left behind.
            drop(tokio::time::timeout(LET_GO_WAIT, &mut work).await);
        }
        drop(slot);
        match outcome {
            Ok(()) => ending.end(Ok(())),
            Err(error) => {
                ending.end(Err(&error));
                let error = if error.metadata().iter().any(|(key, _)| *key == "query_id") {
                    error
                } else {
                    error.with("query_id", self.query.id())
                };
                // A reader that has gone needs no error; one that does not read is told so, or it would take the rows before for all.
                if tokio::time::timeout(self.patience, self.sender.send(Err(error))).await.is_err() {
                    self.query.stop(StopReason::Stalled);
                }
            }
        }
    }

    async fn pump(&self, source: Source) -> Result<()> {
        let mut planned = match source {
            Source::Batch(batch) => return self.send(batch).await,
            Source::Plan(planned) => planned,
        };
        loop {
            let rest = planned.rest.take();
            self.execute(planned).await?;
            match rest {
                Some(rest) => planned = rest.next().await?,
                None => return Ok(()),
            }
        }
    }

    async fn execute(&self, planned: PlannedRows) -> Result<()> {
        let plan = Arc::clone(&planned.plan);
        let mut batches = execute_stream(planned.plan, planned.task).or_error()?;
        let outcome = loop {
            match batches.next().await {
                Some(Ok(batch)) => {
                    if let Err(error) = self.send(batch).await {
                        break Err(error);
                    }
                }
                Some(Err(error)) => break Err(error).or_error(),
                None => break Ok(()),
            }
        };
        self.query.spilled.fetch_add(spilled_bytes(&plan), Ordering::Relaxed);
        outcome
    }

    /// Sends a batch in parts of at most [`BATCH_ROWS`] rows.
    async fn send(&self, batch: RecordBatch) -> Result<()> {
        let rows = self.query.rows_out.load(Ordering::Relaxed) + batch.num_rows() as u64;
        if self.max_rows > 0 && rows > self.max_rows {
            return Err(Error::new(
                Code::ResultTooLarge,
                format!("the result has more than {} rows, the cap of this session", self.max_rows),
            )
            .hint("add LIMIT, or raise max_rows"));
        }
        for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let part = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
            let part = to_wire(part, &self.schema)?;
            self.query.rows_out.fetch_add(part.num_rows() as u64, Ordering::Relaxed);
            self.query.bytes_out.fetch_add(bytes_of(&part), Ordering::Relaxed);
            match tokio::time::timeout(self.patience, self.sender.send(Ok(part))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    self.query.stop(StopReason::Dropped);
                    return Err(self.query.stop_error());
                }
                Err(_) => {
                    self.query.stop(StopReason::Stalled);
                    return Err(self.query.stop_error());
                }
            }
        }
        Ok(())
    }
}

fn bytes_of(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0) as u64).sum()
}

/// What all operators of a plan have spilled.
fn spilled_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0) as u64;
    own + plan.children().into_iter().map(spilled_bytes).sum::<u64>()
}

/// Batches of wire types, at most 8,192 rows each. Dropping the stream cancels the query.
pub struct QueryStream {
    query: Arc<Query>,
    schema: SchemaRef,
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    deadline: Pin<Box<Sleep>>,
    timeout: Duration,
    /// When the caller's rights are looked at again.
    look_again: Instant,
    ending: Ending,
    ended: bool,
    threads: QueryThreads,
}

/// Where the rows of an answer are put into their form: beside the queries, below the threads that acknowledge ingest.
#[derive(Clone)]
pub struct QueryThreads(Handle);

impl QueryThreads {
    /// Runs `work`, which may take its time, on a thread of its own.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.0.spawn_blocking(work).await.map_err(|ended| match ended.is_panic() {
            true => panicked(),
            false => StopReason::Shutdown.error(),
        })
    }
}

impl QueryStream {
    pub fn threads(&self) -> &QueryThreads {
        &self.threads
    }

    pub fn query_id(&self) -> &str {
        self.query.id()
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// What the query has done so far; final once the stream has ended.
    pub fn summary(&self) -> RunSummary {
        self.query.summary()
    }

    /// The reader hears of the end when it is one everywhere.
    fn fail(&mut self, error: Error) -> Poll<Option<Result<RecordBatch>>> {
        self.ended = true;
        self.ending.end(Err(&error));
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        if now >= this.look_again {
            this.look_again = now + LOOK_AGAIN;
            if let Err(error) = this.query.check_caller() {
                // From here on it computes for nobody.
                this.query.stop(StopReason::Dropped);
                return this.fail(error);
            }
        }
        // The query may be in one long computation and not see its stop: the reader does not wait for it.
        if this.deadline.as_mut().poll(cx).is_ready() {
            this.query.stop(StopReason::Deadline(this.timeout));
        }
        if this.stopped.as_mut().poll(cx).is_ready() {
            return this.fail(this.query.stop_error());
        }
        match this.receiver.poll_recv(cx) {
            Poll::Ready(Some(Ok(batch))) => Poll::Ready(Some(Ok(batch))),
            // Who keeps the query is gone, with what it had to say: the threads were stopped.
            Poll::Ready(None) if !this.query.is_finished() => {
                this.fail(StopReason::Shutdown.error().with("query_id", this.query.id()))
            }
            Poll::Ready(last) => {
                this.ended = true;
                Poll::Ready(last)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for QueryStream {
    fn drop(&mut self) {
        if !self.ended {
            self.query.stop(StopReason::Dropped);
        }
    }
}

/// What the task of a source sends: batches, then either an error or that there are no more. A channel that is closed without is that of a
/// task that did not come to its end, and what it gave before is not all.
type Sent = Result<Option<RecordBatch>>;

/// The batches of a plan that runs on the query runtime for a statement of ours. Ends with an error when the statement is stopped, and
/// when the task ends in any way but at the end of its rows.
pub(super) fn run_to_end(
    planned: PlannedRows,
    query: &Arc<Query>,
    handle: &Handle,
) -> BoxStream<'static, Result<RecordBatch>> {
    let (sender, receiver) = mpsc::channel::<Sent>(RESULT_QUEUE_BATCHES);
    let owner = Arc::clone(query);
    let batches_to = sender.clone();
    let work = async move {
        let mut batches = execute_stream(planned.plan, planned.task).or_error()?;
        while let Some(batch) = batches.next().await {
            if batches_to.send(Ok(Some(batch.or_error()?))).await.is_err() {
                break;
            }
        }
        Ok::<_, Error>(None)
    };
    let stoppable = async move {
        let last: Sent = tokio::select! {
            biased;
            // The reader sees it, too.
            _ = owner.stopped() => return,
            done = AssertUnwindSafe(work).catch_unwind() => done.unwrap_or_else(|_| Err(panicked())),
        };
        // A reader that has gone needs no end.
        drop(sender.send(last).await);
    };
    handle.spawn(metered(Arc::clone(&query.meter), stoppable));
    let reader = SourceReader { receiver, query: Arc::clone(query) };
    futures::stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct SourceReader {
    receiver: mpsc::Receiver<Sent>,
    query: Arc<Query>,
}

impl SourceReader {
    async fn next(&mut self) -> Sent {
        match self.receiver.recv().await {
            // Rows of a statement that is stopped go nowhere.
            Some(Ok(_)) | None if self.query.is_stopped() => Err(self.query.stop_error()),
            Some(sent) => sent,
            None => Err(Error::internal("the rows of the statement ended before all of them had come")),
        }
    }
}
