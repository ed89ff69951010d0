//! Which queries run, and which ran? Their state, what they used, and how they are stopped.

mod recent;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_storage::env::Env;
use tidewater_storage::{Code, Error, Result};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::recent::CONSOLE_MARK;
use self::recent::Recent;
use crate::engine::{Canceled, QueryInfo, QueryState, RunSummary};
use crate::limits::{CANCEL_MEMORY, KEPT_SQL_BYTES, MAX_STALL, MAX_STATEMENT_TIMEOUT};
use crate::memory::QueryPool;
use crate::provider::StatementCatalog;
use crate::runtime::Meter;
use crate::session::{Principal, Session};
use crate::slow_log::SlowLog;
use crate::system::QueryListing;

/// Why a query was stopped from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// By this principal.
    Cancelled(String),
    /// The reader has gone.
    Dropped,
    Deadline(Duration),
    /// Which memory is short.
    Memory(&'static str),
    /// Its reader stopped reading.
    Stalled,
    /// It was planned, and nobody started it.
    Unfetched,
    Shutdown,
}

impl StopReason {
    pub(crate) fn error(&self) -> Error {
        match self {
            StopReason::Cancelled(by) => Error::new(Code::QueryCancelled, format!("the query was cancelled by {by}")),
            StopReason::Dropped => Error::new(Code::QueryCancelled, "the query was cancelled: its reader has gone"),
            StopReason::Deadline(limit) => {
                Error::new(Code::QueryDeadline, format!("the query did not end within {limit:?}"))
                    .hint("filter more, or raise statement_timeout (at most one hour)")
            }
            StopReason::Memory(why) => Error::new(Code::QueryMemory, format!("the query was stopped because {why}"))
                .hint("filter or aggregate earlier, read results as they come, or raise memory.limit"),
            StopReason::Stalled => Error::new(
                Code::ResultStalled,
                format!("the query was stopped because nobody read its result for {} s", MAX_STALL.as_secs()),
            )
            .hint("read results as they come, or fetch less"),
            StopReason::Unfetched => Error::new(
                Code::TicketExpired,
                format!("the query was planned, and nobody fetched its result within {} s", MAX_STALL.as_secs()),
            )
            .hint("run it again and fetch its result at once"),
            StopReason::Shutdown => Error::new(Code::ShuttingDown, "the query was stopped because the server stops")
                .hint("send it again when the server is back"),
        }
    }

    fn state(&self) -> QueryState {
        match self {
            StopReason::Cancelled(_) | StopReason::Dropped | StopReason::Shutdown => QueryState::Cancelled,
            _ => QueryState::Failed,
        }
    }
}

/// What became of a query's freedom to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Stopped(StopReason),
    /// Its change is with storage: it ends when that is done, and its answer says how.
    Committing,
}

/// A statement from its arrival to its end.
pub(crate) struct Query {
    id: String,
    session: Session,
    sql: String,
    started_at_us: i64,
    arrived: Duration,
    /// No snapshot of it outlives this.
    until: Instant,
    env: Env,
    cancel: CancellationToken,
    /// Decided once, but for a commit that came to nothing.
    fate: Mutex<Option<Fate>>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) pool: Arc<QueryPool>,
    pub(crate) rows_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) spilled: AtomicU64,
    planned_us: AtomicU64,
    /// Let go at the end: it holds the snapshots.
    catalog: Mutex<Option<Arc<StatementCatalog>>>,
    progress: Mutex<Progress>,
}

/// Where it stands, on the monotonic clock.
struct Progress {
    state: QueryState,
    running_since: Option<Duration>,
    ran: Option<Duration>,
    error_code: Option<String>,
    /// Copied when the catalog is let go at the end.
    last: Option<RunSummary>,
}

impl Query {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Who asked, with the rights that they had then.
    pub(crate) fn principal(&self) -> &Principal {
        &self.session.principal
    }

    /// An error once the caller may not go on with it: rights may be taken back at any time.
    pub(crate) fn check_caller(&self) -> Result<()> {
        self.session.check_caller().map_err(|error| error.with("query_id", &self.id))
    }

    /// The statement ends by then, however long it waited for its turn, its fetch or its reader.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Asks the query to stop; the first reason counts. A query whose change is being committed goes on.
    pub(crate) fn stop(&self, reason: StopReason) {
        let mut fate = self.fate.lock();
        if fate.is_none() {
            *fate = Some(Fate::Stopped(reason));
            drop(fate);
            self.pool.stop();
            self.cancel.cancel();
        }
    }

    /// From here on nothing stops the query: whoever asks for that is told so, instead of a stop that the change outlives. An error if
    /// it was stopped before.
    pub(crate) fn begin_commit(&self) -> Result<()> {
        self.check_caller()?;
        let mut fate = self.fate.lock();
        if let Some(Fate::Stopped(reason)) = &*fate {
            return Err(reason.error().with("query_id", &self.id));
        }
        *fate = Some(Fate::Committing);
        Ok(())
    }

    /// Storage refused the change, and the statement begins anew: it may be stopped again.
    pub(crate) fn give_commit_up(&self) {
        let mut fate = self.fate.lock();
        if *fate == Some(Fate::Committing) {
            *fate = None;
        }
    }

    fn stop_reason(&self) -> Option<StopReason> {
        match &*self.fate.lock() {
            Some(Fate::Stopped(reason)) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Resolves when the query is to stop, with the error that its reader gets.
    pub(crate) async fn stopped(&self) -> Error {
        self.cancel.cancelled().await;
        self.stop_error()
    }

    /// As [`Self::stopped`], owned.
    pub(crate) fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// It came to the end of its rows.
    pub(crate) fn is_finished(&self) -> bool {
        self.progress.lock().state == QueryState::Finished
    }

    pub(crate) fn stop_error(&self) -> Error {
        match &*self.fate.lock() {
            Some(Fate::Stopped(reason)) => reason.error().with("query_id", &self.id),
            Some(Fate::Committing) => StopReason::Dropped.error().with("query_id", &self.id),
            None => Error::internal("a query was stopped without a reason").with("query_id", &self.id),
        }
    }

    pub(crate) fn set_state(&self, state: QueryState) {
        let mut progress = self.progress.lock();
        if state == QueryState::Running && progress.running_since.is_none() {
            progress.running_since = Some(self.env.clock.uptime());
        }
        progress.state = state;
    }

    pub(crate) fn set_planned(&self, took: Duration) {
        self.planned_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn set_catalog(&self, catalog: Arc<StatementCatalog>) {
        *self.catalog.lock() = Some(catalog);
    }

    pub(crate) fn memory_held(&self) -> u64 {
        self.pool.held()
    }

    /// Memory of rows that it reads and that their tables have let go.
    pub(crate) fn memory_kept(&self) -> u64 {
        self.catalog.lock().as_ref().map_or(0, |catalog| catalog.kept_bytes())
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let progress = self.progress.lock();
        self.summary_of(&progress)
    }

    fn summary_of(&self, progress: &Progress) -> RunSummary {
        if let Some(last) = &progress.last {
            return last.clone();
        }
        let ran =
            progress.ran.or_else(|| progress.running_since.map(|since| self.env.clock.uptime().saturating_sub(since)));
        let catalog = self.catalog.lock().clone();
        RunSummary {
            rows_out: self.rows_out.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            planned_ms: self.planned_us.load(Ordering::Relaxed) as f64 / 1e3,
            ran_ms: ran.map_or(0.0, |ran| ran.as_micros() as f64 / 1e3),
            cpu_ms: self.meter.busy_ms(),
            memory_peak: self.pool.peak(),
            spilled: self.spilled.load(Ordering::Relaxed),
            ..catalog.map(|catalog| RunSummary::of_scans(&catalog)).unwrap_or_default()
        }
    }

    fn info(&self) -> QueryInfo {
        let progress = self.progress.lock();
        QueryInfo {
            query_id: self.id.clone(),
            principal: self.session.principal.name.clone(),
            interface: self.session.interface,
            sql: self.sql.clone(),
            state: progress.state,
            started_at_us: self.started_at_us,
            summary: self.summary_of(&progress),
            pinned_bytes: self.catalog.lock().as_ref().map(|catalog| catalog.pinned_bytes()),
            error_code: progress.error_code.clone(),
        }
    }
}

/// A query that counts as running until this is dropped or ended.
pub(crate) struct Running {
    query: Arc<Query>,
    registry: Arc<Registry>,
    ended: bool,
}

impl Running {
    pub(crate) fn query(&self) -> &Arc<Query> {
        &self.query
    }

    /// The query has ended, well or not.
    pub(crate) fn end(mut self, outcome: Result<(), &Error>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Result<(), &Error>) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.query.pool.stop();
        let state = match (outcome, self.query.stop_reason()) {
            (Ok(()), _) => QueryState::Finished,
            (Err(_), Some(reason)) => reason.state(),
            (Err(_), None) => QueryState::Failed,
        };
        self.registry.end(&self.query, state, outcome.err().map(|e| e.code()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.query.stop(StopReason::Dropped);
        let error = self.query.stop_error();
        self.finish(Err(&error));
    }
}

/// All queries that run, and those that ended lately.
pub(crate) struct Registry {
    env: Env,
    slow_log: SlowLog,
    /// Told whenever a query ends.
    ended: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: HashMap<String, Arc<Query>>,
    recent: Recent,
    /// Id, who owned it, and until when a repeated cancel is answered.
    cancelled: VecDeque<(String, String, Duration)>,
}

impl Registry {
    pub(crate) fn new(env: Env, slow_log: SlowLog) -> Arc<Self> {
        Arc::new(Self { env, slow_log, ended: Notify::new(), state: Mutex::default() })
    }

    /// A statement has arrived. `QUERY_EXISTS` if one of that id runs.
    pub(crate) fn begin(
        self: &Arc<Self>,
        session: &Session,
        sql: &str,
        id: Option<String>,
        pool: Arc<QueryPool>,
    ) -> Result<Running> {
        let id = match id {
            Some(id) if id.is_empty() || id.len() > 128 => {
                return Err(Error::new(Code::InvalidRequest, "a query id has 1 to 128 bytes").hint("use a UUID"));
            }
            Some(id) => id,
            None => self.env.rng.uuid().to_string(),
        };
        let query = Arc::new(Query {
            id: id.clone(),
            session: session.clone(),
            sql: kept(sql),
            started_at_us: self.env.clock.now_us(),
            arrived: self.env.clock.uptime(),
            until: Instant::now() + MAX_STATEMENT_TIMEOUT,
            env: self.env.clone(),
            cancel: CancellationToken::new(),
            fate: Mutex::new(None),
            meter: Meter::new(Arc::clone(&self.env.clock)),
            pool,
            rows_out: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            planned_us: AtomicU64::new(0),
            catalog: Mutex::new(None),
            progress: Mutex::new(Progress {
                state: QueryState::Planning,
                running_since: None,
                ran: None,
                error_code: None,
                last: None,
            }),
        });
        let mut state = self.state.lock();
        if state.running.contains_key(&id) {
            return Err(Error::new(Code::QueryExists, format!("a query with the id {id} runs already"))
                .hint("use a new UUID for each query"));
        }
        state.running.insert(id, Arc::clone(&query));
        crate::metrics::running(state.running.len());
        drop(state);
        Ok(Running { query, registry: Arc::clone(self), ended: false })
    }

    fn end(&self, query: &Arc<Query>, ended: QueryState, code: Option<Code>) {
        let info = {
            let mut progress = query.progress.lock();
            progress.ran = progress.running_since.map(|since| self.env.clock.uptime().saturating_sub(since));
            progress.state = ended;
            progress.error_code = code.map(|code| code.to_string());
            let last = query.summary_of(&progress);
            progress.last = Some(last);
            drop(progress);
            let catalog = query.catalog.lock().take();
            drop(catalog);
            query.info()
        };
        let now = self.env.clock.uptime();
        let took = now.saturating_sub(query.arrived);
        crate::metrics::ended(query.session.interface, code, took);
        self.slow_log.note(&info, took);
        let mut state = self.state.lock();
        state.running.remove(&query.id);
        crate::metrics::running(state.running.len());
        state.recent.push(query.session.principal.clone(), info);
        if matches!(query.stop_reason(), Some(StopReason::Cancelled(_))) {
            let until = now + CANCEL_MEMORY;
            state.cancelled.push_back((query.id.clone(), query.session.principal.name.clone(), until));
        }
        while state.cancelled.front().is_some_and(|(_, _, until)| *until < now) {
            state.cancelled.pop_front();
        }
        drop(state);
        self.ended.notify_waiters();
    }

    /// Resolves when nothing runs.
    pub(crate) async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // From here on no end is missed, also one between the look and the wait.
            ended.as_mut().enable();
            if self.state.lock().running.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Stops a query that the principal may stop.
    pub(crate) fn cancel(&self, principal: &Principal, id: &str) -> Result<Canceled> {
        let mine = |owner: &str| principal.is_admin() || owner == principal.name;
        let state = self.state.lock();
        // Of others' queries nobody learns that they run.
        if let Some(query) = state.running.get(id).filter(|query| mine(&query.principal().name)) {
            let again = query.is_stopped();
            query.stop(StopReason::Cancelled(principal.name.clone()));
            return Ok(match query.is_stopped() {
                _ if again => Canceled::Already,
                true => Canceled::Stopped,
                false => Canceled::TooLate,
            });
        }
        let now = self.env.clock.uptime();
        if state.cancelled.iter().any(|(known, owner, until)| known == id && *until >= now && mine(owner)) {
            return Ok(Canceled::Already);
        }
        Err(Error::new(Code::QueryNotFound, format!("no query with the id {id} runs")).hint("it may have ended"))
    }

    /// The running query that has most of something, of those that are not being stopped.
    pub(crate) fn largest(&self, of: impl Fn(&Query) -> u64) -> Option<Arc<Query>> {
        self.running().into_iter().filter(|query| !query.is_stopped()).max_by_key(|query| of(query))
    }

    pub(crate) fn running(&self) -> Vec<Arc<Query>> {
        self.state.lock().running.values().cloned().collect()
    }
}

impl QueryListing for Registry {
    /// Statements hold other people's data: only an admin sees everybody's, and a token for less only those that it could have run.
    fn visible_to(&self, principal: &Principal) -> Vec<QueryInfo> {
        let sees =
            |owner: &Principal| principal.is_admin() || (owner.name == principal.name && principal.still_has(owner));
        let state = self.state.lock();
        let running: Vec<_> = state.running.values().filter(|query| sees(query.principal())).cloned().collect();
        let ended: Vec<_> = state.recent.iter().filter(|(owner, _)| sees(owner)).cloned().collect();
        drop(state);
        let mut all: Vec<QueryInfo> = running.iter().map(|query| query.info()).collect();
        all.extend(ended.iter().map(|(_, info)| QueryInfo::clone(info)));
        all.sort_by(|a, b| b.started_at_us.cmp(&a.started_at_us).then_with(|| a.query_id.cmp(&b.query_id)));
        all
    }
}

/// As much of a statement's text as is kept with it.
fn kept(sql: &str) -> String {
    if sql.len() <= KEPT_SQL_BYTES {
        return sql.to_string();
    }
    let mut end = KEPT_SQL_BYTES;
    while !sql.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &sql[..end])
}
