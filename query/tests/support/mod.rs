//! What do the tests of the query engine share? A data folder with an engine over it, and rows as text.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use tidewater_query::{
    Error, Interface, Planned, PlannedKind, Principal, QueryEngine, QueryEngineOptions, QueryStream, RunOptions,
    Session, SystemSources,
};
use tidewater_storage::{Engine, EngineOptions};
use tokio::runtime::Runtime;

/// An engine over a new data folder.
pub struct Fixture {
    pub engine: Arc<QueryEngine>,
    pub runtime: Runtime,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(2, 4, 16)
    }

    pub fn with(threads: usize, max_running: usize, max_waiting: usize) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let storage = {
            let _context = runtime.enter();
            Engine::open(EngineOptions::temporary(Arc::clone(&dir), 2 << 30)).expect("a data folder").0
        };
        let options = QueryEngineOptions {
            spill_dir: dir.path().join("spill"),
            max_spill_bytes: 1 << 30,
            threads,
            max_running,
            max_waiting,
            slow_query: None,
            sources: SystemSources {
                settings: Arc::new(Vec::new),
                metrics: Arc::new(String::new),
                events: Arc::new(Vec::new),
            },
        };
        let engine = QueryEngine::new(storage, options).expect("an engine");
        Self { engine, runtime }
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn admin(&self) -> Session {
        self.engine.session(Principal::admin("admin"), Interface::Internal)
    }

    /// Plans with default options.
    pub async fn plan(&self, session: &Session, sql: &str) -> Result<Planned, Error> {
        self.engine.plan(session, sql, None, RunOptions::default()).await
    }

    /// The running result of a query.
    pub async fn start(&self, session: &Session, sql: &str) -> Result<QueryStream, Error> {
        match self.plan(session, sql).await?.kind {
            PlannedKind::Rows { pending, .. } => pending.start().await,
            PlannedKind::Update(_) => panic!("{sql} gives no rows"),
        }
    }

    /// Runs anything, and gives its rows as text.
    pub async fn run(&self, session: &Session, sql: &str) -> Result<Vec<String>, Error> {
        match self.plan(session, sql).await?.kind {
            PlannedKind::Rows { pending, .. } => Ok(render(&collect(pending.start().await?).await?)),
            PlannedKind::Update(_) => Ok(Vec::new()),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let storage = Arc::clone(self.engine.storage());
        self.runtime.block_on(async {
            self.engine.shutdown(std::time::Duration::ZERO).await;
            storage.shutdown().await.expect("the log closes");
        });
    }
}

pub async fn collect(mut stream: QueryStream) -> Result<Vec<RecordBatch>, Error> {
    let schema = stream.schema();
    let mut out = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        assert_eq!(batch.schema(), schema, "every batch has the announced schema");
        assert!(batch.num_rows() <= 8192);
        out.push(batch);
    }
    Ok(out)
}

/// Rows as text, columns joined by `|`.
pub fn render(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut out = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref() as &dyn Array, &options).expect("printable"))
            .collect();
        for row in 0..batch.num_rows() {
            out.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    out
}
