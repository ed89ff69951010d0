//! How does a statement run? Parse, plan on big stacks, admit, stream, account.

mod access;
mod api;
mod change;
mod context;
mod deed;
mod job;
mod params;
mod reach;
mod run;
mod show;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use api::{
    Canceled, EventRow, Parameters, Planned, PlannedKind, Prepared, QueryEngineOptions, QueryInfo, QueryState,
    RunOptions, RunSummary, SettingRow, SystemSources, TableFreshness, UpdateOutcome,
};
pub use stream::{PendingQuery, QueryStream, QueryThreads, QueryWatch};
use tidewater_storage::{Engine, Result};

use self::context::Contexts;
use crate::admission::Admission;
use crate::limits::{MAX_QUEUE_WAIT, PLANNERS, PLANNING_DEADLINE};
use crate::memory::{QueryMemory, resident_bytes, watch};
use crate::planner::Planner;
use crate::registry::{Registry, StopReason};
use crate::runtime::{MAX_TABLE_THREADS, QueryRuntime};
use crate::session::{DESCRIPTIONS, Interface, Principal, Session, VisibleCatalog, change};
use crate::slow_log::SlowLog;
use crate::system::{QueryListing, SystemState};

/// Runs statements. One for a process.
pub struct QueryEngine {
    storage: Arc<Engine>,
    contexts: Arc<Contexts>,
    registry: Arc<Registry>,
    planner: Planner,
    runtime: QueryRuntime,
    admission: Arc<Admission>,
    memory: Arc<QueryMemory>,
    closing: AtomicBool,
}

impl QueryEngine {
    /// Threads of all queries over tables together; one query cannot use more.
    pub const MAX_THREADS: usize = MAX_TABLE_THREADS;

    /// Starts the threads for queries and empties the folder for spill files. `INVALID_CONFIG` if the system does not grant the threads;
    /// call it inside async code, or that error may not come back.
    pub fn new(storage: Arc<Engine>, options: QueryEngineOptions) -> Result<Arc<Self>> {
        let registry = Registry::new(storage.env().clone(), SlowLog::new(options.slow_query));
        let system = SystemState {
            storage: Arc::clone(&storage),
            sources: options.sources.clone(),
            queries: Arc::clone(&registry) as Arc<dyn QueryListing>,
        };
        let runtime = QueryRuntime::new(options.threads, options.max_running)?;
        let memory = QueryMemory::new(Arc::clone(storage.memory()));
        runtime.upkeep().spawn(watch(Arc::downgrade(&registry), Arc::clone(&memory), resident_bytes));
        Ok(Arc::new(Self {
            contexts: Arc::new(Contexts::new(Arc::clone(&storage), Arc::new(system), &options)?),
            planner: Planner::new(PLANNERS, PLANNING_DEADLINE),
            admission: Arc::new(Admission::new(options.max_running, options.max_waiting, MAX_QUEUE_WAIT)),
            memory,
            closing: AtomicBool::new(false),
            storage,
            registry,
            runtime,
        }))
    }

    /// A session with default settings.
    pub fn session(&self, principal: Principal, interface: Interface) -> Session {
        Session::new(principal, interface)
    }

    /// Sets one setting of a session as `SET name = value` does; `None` resets it. `INVALID_SETTING` otherwise.
    pub fn set(&self, session: &Session, name: &str, value: Option<&str>) -> Result<()> {
        if let Some(value) = value {
            session.check_types(name, value)?;
        }
        let visible = VisibleCatalog::new(&self.storage, &session.principal);
        let known = |schema: &str| matches!(schema, "system" | "information_schema") || visible.has_schema(schema);
        let mut settings = session.settings.lock();
        if value.is_none() && name.eq_ignore_ascii_case("all") {
            return DESCRIPTIONS.iter().try_for_each(|(name, _)| change(&mut settings, name, None, &known));
        }
        change(&mut settings, name, value, &known)
    }

    /// Sets what an earlier SET of the same client came to. Its schema was there then: whether it still is, the statement will find.
    pub fn restore(&self, session: &Session, name: &str, value: &str) -> Result<()> {
        session.check_types(name, value)?;
        session.settings.lock().restore(name, Some(value))
    }

    /// Stops a query of this principal (an admin: of anybody). `QUERY_NOT_FOUND` if none of that id is known.
    pub fn cancel(&self, principal: &Principal, query_id: &str) -> Result<Canceled> {
        self.registry.cancel(principal, query_id)
    }

    /// Running and recent queries, newest first; an admin sees everybody's.
    pub fn queries(&self, principal: &Principal) -> Vec<QueryInfo> {
        self.registry.visible_to(principal)
    }

    /// The storage behind it.
    pub fn storage(&self) -> &Arc<Engine> {
        &self.storage
    }

    /// Refuses new queries, waits `grace` for the running ones, then cancels them.
    pub async fn shutdown(&self, grace: Duration) {
        self.closing.store(true, Ordering::Release);
        if tokio::time::timeout(grace, self.registry.idle()).await.is_err() {
            for query in self.registry.running() {
                query.stop(StopReason::Shutdown);
            }
            // What is stopped lets go at its next yield; a computation that never yields is left behind.
            drop(tokio::time::timeout(Duration::from_secs(1), self.registry.idle()).await);
        }
        self.admission.close();
        self.runtime.stop();
    }
}
