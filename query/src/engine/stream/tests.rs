//! Does a source that does not come to its end ever look as if it had?

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use tidewater_storage::{Code, EngineOptions};

use super::expiry::Expiry;
use super::{PendingQuery, Terms, run_to_end};
use crate::admission::Class;
use crate::engine::job::{Job, PlannedRows, Work};
use crate::engine::{QueryEngine, QueryEngineOptions, SystemSources};
use crate::limits::{MAX_STATEMENT_TIMEOUT, RESULT_QUEUE_BATCHES};
use crate::registry::{Running, StopReason};
use crate::session::{Interface, Principal};
use crate::wire_types::wire_schema;

/// What a source does behind its second batch.
#[derive(Debug, Clone, Copy)]
enum Then {
    End,
    Fail,
    /// There are as many batches as the queue takes, and then an error.
    FailBehindAFullQueue,
    Panic,
    Wait,
    /// The same batch again and again.
    GoOn,
}

#[derive(Debug)]
struct Source {
    schema: SchemaRef,
    then: Then,
}

impl PartitionStream for Source {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, then) = (Arc::clone(&self.schema), self.then);
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1]))]).expect("a batch");
        if let Then::GoOn = then {
            let endless = futures::stream::repeat_with(move || Ok(batch.clone()));
            return Box::pin(RecordBatchStreamAdapter::new(schema, endless));
        }
        let n_batches = if let Then::FailBehindAFullQueue = then { RESULT_QUEUE_BATCHES } else { 2 };
        let batches: Vec<Result<RecordBatch, DataFusionError>> = (0..n_batches).map(|_| Ok(batch.clone())).collect();
        let batches = futures::stream::iter(batches);
        let rest = futures::stream::once(async move {
            match then {
                Then::End | Then::GoOn => None,
                Then::Fail | Then::FailBehindAFullQueue => Some(Err(DataFusionError::Execution("out of rows".into()))),
                Then::Panic => panic!("out of luck"),
                Then::Wait => std::future::pending().await,
            }
        });
        let all = batches.chain(rest.filter_map(futures::future::ready));
        Box::pin(RecordBatchStreamAdapter::new(schema, all))
    }
}

struct Fixture {
    engine: Arc<QueryEngine>,
}

impl Fixture {
    /// Must be called inside of a runtime.
    fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let options = EngineOptions::temporary(Arc::clone(&dir), 2 << 30);
        let (storage, _) = tidewater_storage::Engine::open(options).expect("a data folder");
        let options = QueryEngineOptions {
            spill_dir: dir.path().join("spill"),
            max_spill_bytes: 1 << 30,
            threads: 2,
            max_running: 2,
            max_waiting: 2,
            slow_query: None,
            sources: SystemSources {
                settings: Arc::new(Vec::new),
                metrics: Arc::new(String::new),
                events: Arc::new(Vec::new),
            },
        };
        Self { engine: QueryEngine::new(storage, options).expect("an engine") }
    }

    /// A statement whose plan is such a source.
    async fn planned(&self, then: Then) -> (PlannedRows, Running) {
        let engine = &self.engine;
        let session = engine.session(Principal::admin("admin"), Interface::Internal);
        let job = Job {
            contexts: Arc::clone(&engine.contexts),
            handle: engine.runtime.of(Class::Tables).clone(),
            session: session.clone(),
            sql: "SELECT 1".into(),
            pool: engine.memory.query_pool(),
            planner: engine.planner.clone(),
            only_updates: false,
        };
        let work = engine.planner.run(move |waiter| job.plan(None, waiter)).await.expect("planned");
        let Work::Rows(planned) = work else { panic!("a SELECT gives rows") };
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let source: Arc<dyn PartitionStream> = Arc::new(Source { schema: Arc::clone(&schema), then });
        let plan = StreamingTableExec::try_new(schema, vec![source], None, std::iter::empty(), false, None);
        let planned = PlannedRows { plan: Arc::new(plan.expect("a plan")), ..planned };
        let running = engine.registry.begin(&session, "SELECT 1", None, engine.memory.query_pool()).expect("a new id");
        (planned, running)
    }

    /// The same, ready to be started; nobody is waited for longer than `patience`.
    async fn pending(&self, then: Then, patience: Duration) -> PendingQuery {
        let (planned, running) = self.planned(then).await;
        let engine = &self.engine;
        let terms = Terms {
            schema: wire_schema(&planned.plan.schema()),
            admission: Arc::clone(&engine.admission),
            handle: engine.runtime.of(Class::Tables).clone(),
            upkeep: engine.runtime.upkeep().clone(),
            timeout: MAX_STATEMENT_TIMEOUT,
            patience,
            max_rows: 0,
        };
        PendingQuery::new(running, super::Source::Plan(planned), terms)
    }

    /// Batches that came, and the error after them.
    async fn run(&self, then: Then) -> (usize, Option<Code>) {
        let (planned, running) = self.planned(then).await;
        let batches = run_to_end(planned, running.query(), self.engine.runtime.of(Class::Tables));
        let all: Vec<_> = batches.collect().await;
        let n_batches = all.iter().filter(|batch| batch.is_ok()).count();
        (n_batches, all.into_iter().find_map(Result::err).map(|error| error.code()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_says_how_it_ends() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(Then::End).await, (2, None));
    assert_eq!(fixture.run(Then::Fail).await, (2, Some(Code::QueryFailed)));
    // An unwinding task closes its end of the channel some time before anybody knows of the panic.
    for _ in 0..50 {
        assert_eq!(fixture.run(Then::Panic).await, (2, Some(Code::Internal)));
    }
}

/// <https://github.com/apache/doris/pull/60282>
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_whose_task_is_gone_has_not_ended() {
    let fixture = Fixture::new();
    let (planned, running) = fixture.planned(Then::Wait).await;
    let mut batches = run_to_end(planned, running.query(), fixture.engine.runtime.of(Class::Tables));
    for _ in 0..2 {
        assert!(batches.next().await.expect("a batch").is_ok());
    }
    fixture.engine.runtime.stop();
    let last = batches.next().await.expect("not the end");
    assert_eq!(last.expect_err("not a batch").code(), Code::Internal);
    assert!(batches.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_query_that_nobody_starts_ends_and_says_why() {
    let fixture = Fixture::new();
    let pending = fixture.pending(Then::End, Duration::from_millis(1)).await;
    // It is over, and its snapshots are gone, although somebody still has it.
    fixture.engine.registry.idle().await;
    let error = pending.start().await.err().expect("nobody started it in time");
    assert_eq!(error.code(), Code::TicketExpired, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_nobody_reads_ends_and_says_why() {
    let fixture = Fixture::new();
    let pending = fixture.pending(Then::GoOn, Duration::from_millis(500)).await;
    let mut batches = pending.start().await.expect("started");
    fixture.engine.registry.idle().await;
    let last = loop {
        match batches.next().await.expect("not the end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(last.code(), Code::ResultStalled, "{last}");
}

/// Once with rows to come, and once while it waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_query_has_ended_when_its_reader_hears_of_it() {
    let fixture = Fixture::new();
    for then in [Then::GoOn, Then::Wait].into_iter().cycle().take(20) {
        let pending = fixture.pending(then, Duration::from_secs(60)).await;
        let query = Arc::clone(&pending.query);
        let mut batches = pending.start().await.expect("started");
        assert!(batches.next().await.expect("a batch").is_ok());
        query.stop(StopReason::Cancelled("admin".into()));
        let last = loop {
            match batches.next().await.expect("not the end") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(last.code(), Code::QueryCancelled, "{last}");
        assert!(fixture.engine.registry.running().is_empty(), "{then:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_nobody_takes_in_time_is_not_the_end_of_the_rows() {
    let fixture = Fixture::new();
    let pending = fixture.pending(Then::FailBehindAFullQueue, Duration::from_millis(500)).await;
    let query = Arc::clone(&pending.query);
    let batches = pending.start().await.expect("started");
    let told = tokio::time::timeout(Duration::from_secs(60), query.stopped()).await.expect("the reader is told");
    assert_eq!(told.code(), Code::ResultStalled, "{told}");
    let all: Vec<_> = batches.collect().await;
    let last = all.into_iter().next_back().expect("not the end");
    assert_eq!(last.expect_err("not a batch").code(), Code::ResultStalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_threads_are_stopped_has_not_ended() {
    // Once with rows to come, once with an error that waits for space in the queue: a query that failed holds no shutdown up.
    for then in [Then::Wait, Then::FailBehindAFullQueue] {
        let fixture = Fixture::new();
        let pending = fixture.pending(then, Duration::from_secs(60)).await;
        let mut batches = pending.start().await.expect("started");
        if let Then::Wait = then {
            for _ in 0..2 {
                assert!(batches.next().await.expect("a batch").is_ok());
            }
        } else {
            fixture.engine.registry.idle().await;
        }
        fixture.engine.runtime.stop();
        let all: Vec<_> = batches.collect().await;
        assert!(all.last().is_some_and(Result::is_err), "{then:?}");
    }
}

#[tokio::test]
async fn what_is_put_off_comes_later() {
    let (happened, seen) = tokio::sync::oneshot::channel();
    let (begun, patience) = (tokio::time::Instant::now(), Duration::from_millis(500));
    let expire = move || {
        let _ = happened.send(tokio::time::Instant::now());
    };
    let expiry = Expiry::start(&tokio::runtime::Handle::current(), patience, expire);
    expiry.put_off(begun + patience + Duration::from_millis(200));
    assert!(seen.await.expect("it happens") - begun >= patience + Duration::from_millis(200));
}
