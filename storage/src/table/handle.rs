//! How do others reach a table? A cheap handle: reads see the published version, changes wait in the worker's queue.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admission::ledger::Ledger;
use crate::catalog::TableDef;
use crate::dedup::{KeyIndex, KeySpec};
use crate::env::{Env, Moment};
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, CommitToken, LogId, ProducerId};
use crate::limits::{LARGE_BATCH_BYTES, LARGE_BATCH_ROWS};
use crate::log::{LogWriter, Op, Store};
use crate::memory::{Charge, MemoryLedger, Share};
use crate::producers::Activity;
use crate::sealed::{FilePlace, FileStores, OtherStores, TablesStore};
use crate::table::gate::Gate;
use crate::table::places::{Held, Places};
use crate::table::prepare::{PreparedRows, prepare};
use crate::table::request::{IdempotencyKey, ProducerInfo, RowsOutcome, RowsRequest};
use crate::table::seal::{Folders, Quarantine, SealFigures};
use crate::table::snapshot::{OldVersions, TableSnapshot, TableVersion};
use crate::table::system::Jobs;
use crate::table::worker::{IdempotencyKeys, KeyFigures, TableRequest, closed};

/// Requests that wait, beside their bytes: a bound for tiny ones.
pub(crate) const QUEUE_REQUESTS: usize = 1024;

/// What the handle, the worker and recovery share.
pub(crate) struct Shared {
    pub(crate) log_id: LogId,
    /// Uptime of the folder before this process, microseconds.
    pub(crate) uptime_before_us: u64,
    pub(crate) def: Arc<TableDef>,
    pub(crate) spec: Option<KeySpec>,
    pub(crate) store: Arc<Store>,
    pub(crate) memory: Arc<MemoryLedger>,
    pub(crate) env: Env,
    pub(crate) gate: Arc<Gate>,
    pub(crate) folders: Folders,
    /// Held by who builds, and by who publishes: one of each at a time.
    pub(crate) building: tokio::sync::Mutex<()>,
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// Held by who takes published files away, or puts others in their place.
    pub(crate) compacting: tokio::sync::Mutex<()>,
    /// Held by who stores rejected rows again: a record is read and rewritten by one at a time.
    pub(crate) replaying: tokio::sync::Mutex<()>,
    /// How often it was opened from its log. What was read before that is not known to be as it was.
    pub(crate) opened: AtomicU64,
    frozen_ids: AtomicU64,
    /// What there is to build and publish.
    pub(crate) sealing: Mutex<SealFigures>,
    /// The newest checkpoint that this process made.
    pub(crate) checkpointed: Mutex<Option<u64>>,
    /// The oldest version that this process left in the Delta log.
    pub(crate) first_version: Mutex<Option<u64>>,
    /// Uptime when the last publish began.
    pub(crate) last_publish: Mutex<Option<Duration>>,
    /// Files that are damaged.
    pub(crate) quarantine: Arc<Quarantine>,
    /// Held by who merges files, or waits for its turn; the names of those that are left alone until the next start, as too large for memory.
    pub(crate) merging: tokio::sync::Mutex<HashSet<String>>,
    /// Uptime when a build last failed, and a publish.
    pub(crate) failed_build: Mutex<Option<Duration>>,
    pub(crate) failed_publish: Mutex<Option<Duration>>,
    /// Built files, as versions and readers hold them.
    built_places: Mutex<HashMap<String, Weak<FilePlace>>>,
    /// Whoever builds or publishes ends soon.
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) log: Arc<LogWriter>,
    pub(crate) version: ArcSwap<TableVersion>,
    pub(crate) old_versions: OldVersions,
    pub(crate) visible: watch::Sender<CommitSeq>,
    /// A worker runs, or is being started again.
    pub(crate) running: watch::Sender<bool>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) activity: Activity,
    pub(crate) jobs: Mutex<Jobs>,
    pub(super) figures: Mutex<Figures>,
    /// What others know of its keys.
    pub(crate) keys: KeyFigures,
    pub(crate) queue: ArcSwapOption<mpsc::Sender<TableRequest>>,
    /// What waits in the queue.
    places: Places,
    /// Why the queue is closed.
    pub(crate) closed_reason: Mutex<Option<String>>,
    /// What nobody but an operator can mend closed it: the answer to whoever asks.
    stopped: Mutex<Option<(Code, String, String)>>,
    /// It is closed for good: whoever opens the table again after a failure finds this.
    closing: AtomicBool,
    /// Its Delta table was asked whether it has more of the log than the log has.
    pub(crate) log_is_checked: AtomicBool,
}

/// What an engine gives to each of its tables.
#[derive(Clone)]
pub(crate) struct SharedParts {
    pub(crate) log_id: LogId,
    pub(crate) uptime_before_us: u64,
    pub(crate) store: Arc<Store>,
    pub(crate) memory: Arc<MemoryLedger>,
    pub(crate) env: Env,
    pub(crate) gate: Arc<Gate>,
    /// Where Delta tables are.
    pub(crate) tables: Arc<TablesStore>,
    pub(crate) stores: FileStores,
    /// Where tables are that are elsewhere.
    pub(crate) other_stores: Arc<OtherStores>,
    /// A table whose log lost entries is opened: somebody goes on with what its Delta table has.
    pub(crate) accepts_loss: bool,
    pub(crate) log: Arc<LogWriter>,
}

#[derive(Default)]
pub(super) struct Figures {
    pub(super) last_write_us: Option<i64>,
    pub(super) dedup_class: &'static str,
    pub(super) dedup_keys: u64,
    pub(super) dedup_bytes: u64,
    wants_build: bool,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts, def: Arc<TableDef>) -> Arc<Self> {
        let SharedParts { log_id, uptime_before_us, store, memory, env, gate, tables, stores, log, .. } = parts;
        let quarantine = Arc::<Quarantine>::default();
        Arc::new(Self {
            folders: Folders::new(&gate.folder, &def, &tables, &stores),
            building: tokio::sync::Mutex::new(()),
            publishing: tokio::sync::Mutex::new(()),
            compacting: tokio::sync::Mutex::new(()),
            replaying: tokio::sync::Mutex::new(()),
            opened: AtomicU64::new(0),
            frozen_ids: AtomicU64::new(0),
            sealing: Mutex::new(SealFigures::default()),
            checkpointed: Mutex::new(None),
            first_version: Mutex::new(None),
            last_publish: Mutex::new(None),
            merging: tokio::sync::Mutex::new(HashSet::new()),
            failed_build: Mutex::new(None),
            failed_publish: Mutex::new(None),
            built_places: Mutex::new(HashMap::new()),
            stopping: Arc::default(),
            log,
            version: ArcSwap::from_pointee(TableVersion::empty(
                Arc::clone(&def),
                log_id,
                stores,
                Arc::clone(&quarantine),
            )),
            quarantine,
            old_versions: OldVersions::default(),
            visible: watch::Sender::new(CommitSeq(0)),
            running: watch::Sender::new(false),
            spec: KeySpec::new(&def),
            ledger: Mutex::new(Ledger::default()),
            activity: Activity::default(),
            jobs: Mutex::new(Jobs::default()),
            figures: Mutex::new(Figures { dedup_class: "none", ..Figures::default() }),
            keys: KeyFigures::default(),
            queue: ArcSwapOption::empty(),
            places: Places::of_table(),
            closed_reason: Mutex::new(None),
            stopped: Mutex::new(None),
            closing: AtomicBool::new(false),
            log_is_checked: AtomicBool::new(false),
            log_id,
            uptime_before_us,
            def,
            store,
            memory,
            env,
            gate,
        })
    }

    /// A group became visible.
    pub(crate) fn note_publish(&self, stamp_us: i64, keys: Option<&KeyIndex>) {
        self.gate.note_stamp(stamp_us);
        self.figures.lock().last_write_us = Some(stamp_us).filter(|stamp| *stamp > 0);
        self.note_keys(keys);
    }

    /// What the key index holds, and wants.
    pub(crate) fn note_keys(&self, keys: Option<&KeyIndex>) {
        let mut figures = self.figures.lock();
        if let Some(keys) = keys {
            let stats = keys.stats();
            (figures.dedup_class, figures.dedup_keys, figures.dedup_bytes) = (stats.class, stats.keys, stats.bytes);
            figures.wants_build = keys.wants_build();
            self.keys.note(keys, &stats);
        }
    }

    /// Takes no more requests, for good. What is in the queue is answered.
    pub(crate) fn close(&self, reason: &str) {
        self.closing.store(true, Ordering::SeqCst);
        self.stopping.store(true, Ordering::SeqCst);
        *self.closed_reason.lock() = Some(reason.to_owned());
        self.queue.store(None);
    }

    /// Closes the table for what an operator must mend: that is the answer to all that comes. Queries go on. One that is closed stays so.
    pub(crate) fn stop(&self, why: &Error) {
        if self.is_closing() {
            return;
        }
        let hint = why.hint_text().unwrap_or_default().to_owned();
        *self.stopped.lock() = Some((why.code(), why.message().to_owned(), hint));
        self.close(&why.to_string());
        tracing::error!(table_id = %self.def.id, table = %self.def.name, reason = %why, "the table takes no requests any more");
    }

    /// Memory for keys is nearly used up, and only a build lets some of them go to disk.
    pub(crate) fn wants_build(&self) -> bool {
        self.figures.lock().wants_build
    }

    /// Where a built file is. It is known here as long as somebody holds it.
    pub(crate) fn built_place(&self, name: &str) -> Arc<FilePlace> {
        let mut places = self.built_places.lock();
        // A worker that opens the table again finds what older versions hold: the file goes with the last of all of them.
        if let Some(held) = places.get(name).and_then(Weak::upgrade).filter(|place| !place.is_let_go()) {
            return held;
        }
        let place = Arc::new(self.folders.built_place(name));
        places.retain(|_, place| place.strong_count() > 0);
        places.insert(name.to_owned(), Arc::downgrade(&place));
        place
    }

    /// A version or a reader may still open it.
    pub(crate) fn is_built_file_held(&self, name: &str) -> bool {
        self.built_places.lock().get(name).is_some_and(|place| place.strong_count() > 0)
    }

    /// Now, on the folder's clocks.
    pub(crate) fn now(&self) -> Moment {
        let clock = &self.env.clock;
        Moment {
            wall_us: clock.now_us(),
            uptime_us: self.uptime_before_us.saturating_add(clock.uptime().as_micros() as u64),
        }
    }

    /// A new name for a closed prefix.
    pub(crate) fn next_frozen_id(&self) -> u64 {
        self.frozen_ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A commit of the Delta table is planned or on its way.
    pub(crate) fn is_publishing(&self) -> bool {
        self.publishing.try_lock().is_err()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(crate) async fn send(&self, request: TableRequest) -> Result<()> {
        // A table that is opened again after a failure has its queue for a moment, even if it was closed meanwhile.
        let queue = self.queue.load_full().filter(|_| !self.is_closing());
        let sent = match queue {
            Some(queue) => queue.send(request).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(self.closed()) }
    }

    pub(crate) fn closed(&self) -> Error {
        self.stopped().unwrap_or_else(|| closed(&self.def.name, self.closed_reason.lock().clone()))
    }

    /// What an operator must mend before the table takes requests again.
    pub(crate) fn stopped(&self) -> Option<Error> {
        let (code, message, hint) = self.stopped.lock().clone()?;
        Some(Error::new(code, message).hint(hint).with("table", &self.def.name))
    }
}

/// A batch that passed admission and waits to be submitted. Made in parallel; submitted in the producer's order.
pub struct PreparedWrite {
    rows: Box<PreparedRows>,
    memory: Charge,
    /// Uptime when somebody began to wait for it.
    since: Option<Duration>,
}

impl PreparedWrite {
    pub(crate) fn new(rows: PreparedRows, memory: Charge) -> Self {
        Self { rows: Box::new(rows), memory, since: None }
    }

    /// Admission refused it: it is answered with that, unless it was committed before.
    pub fn is_refused(&self) -> bool {
        self.rows.refusal.is_some()
    }

    /// Records that become durable in the same commit.
    pub(crate) fn with_records(mut self, records: Vec<Op>) -> Self {
        self.rows.records = records;
        self
    }
}

/// A batch that stands in the worker's queue. Batches of one caller are decided in the order in which they were submitted.
pub struct PendingWrite {
    shared: Arc<Shared>,
    answer: oneshot::Receiver<Result<RowsOutcome>>,
    since: Option<Duration>,
}

impl PendingWrite {
    /// Waits until the batch is durable, deduplicated and visible.
    pub async fn outcome(self) -> Result<RowsOutcome> {
        let outcome = self.answer.await.unwrap_or_else(|_| Err(self.shared.closed()));
        if let (Ok(_), Some(since)) = (&outcome, self.since) {
            metrics::histogram!("tidewater_ack_seconds").record(self.shared.env.clock.uptime().saturating_sub(since));
        }
        outcome
    }
}

/// A handle to a table. Cheap to clone; all changes go through its worker.
#[derive(Clone)]
pub struct Table {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let def = &self.shared.def;
        write!(f, "Table({}.{} {})", def.schema_name, def.name, def.id)
    }
}

impl Table {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Takes no more requests; what is in the queue is answered.
    pub(crate) fn close(&self, reason: &str) {
        self.shared.close(reason);
    }

    /// Returns when everything that was in the queue is answered.
    pub(crate) async fn closed(&self) {
        let mut running = self.shared.running.subscribe();
        // The sender lives as long as the table.
        let _ = running.wait_for(|running| !running).await;
    }

    /// Asks the worker to keep its records within their limits. A closed table does not.
    pub(crate) async fn housekeep(&self) {
        let _ = self.shared.send(TableRequest::Housekeep).await;
    }

    pub fn def(&self) -> Arc<TableDef> {
        Arc::clone(&self.shared.version.load().def)
    }

    /// What is visible now. Holds memory until dropped.
    pub fn snapshot(&self) -> TableSnapshot {
        TableSnapshot::new(self.shared.version.load_full())
    }

    /// Bytes of memory and of the local disk that only readers of older versions keep.
    pub fn pinned_bytes(&self) -> u64 {
        self.shared.old_versions.pinned_bytes(&self.shared.version.load())
    }

    /// Stores a batch: durable, deduplicated and visible when this returns.
    pub async fn write(&self, request: RowsRequest) -> Result<RowsOutcome> {
        let prepared = self.prepare(request).await?;
        self.submit(prepared).await?.outcome().await
    }

    /// Casts, admits, hashes and compresses a batch.
    pub async fn prepare(&self, request: RowsRequest) -> Result<PreparedWrite> {
        let shared = &self.shared;
        let since = Some(shared.env.clock.uptime());
        shared.gate.check(request.has_space)?;
        let bytes: usize = request.rows.iter().map(|r| r.batch.get_array_memory_size()).sum();
        // The rows once more: cast to the table's types, or written out to be compressed.
        let memory = shared.memory.charge(Share::Realtime, 2 * bytes as u64);
        let def = self.def();
        let now_us = shared.env.clock.now_us().max(shared.gate.newest_stamp_us());
        let n_rows: usize = request.rows.iter().map(|r| r.batch.num_rows()).sum();
        // Keys on disk are asked here, in parallel and before the worker's turn.
        let runs = shared.keys.runs();
        let (rows, mut memory) = if bytes >= LARGE_BATCH_BYTES || n_rows >= LARGE_BATCH_ROWS || !runs.is_empty() {
            let task_shared = Arc::clone(shared);
            // The memory goes with the rows: they are there until the task ends, whether or not the caller waits.
            tokio::task::spawn_blocking(move || {
                let mut rows = prepare(&def, task_shared.spec.as_ref(), request, now_us)?;
                rows.look_up(&runs);
                Ok::<_, Error>((rows, memory))
            })
            .await
            .map_err(|e| Error::ended_early("the preparing of a batch", &e))??
        } else {
            (prepare(&def, shared.spec.as_ref(), request, now_us)?, memory)
        };
        memory.resize((bytes as u64).max(rows.held_bytes()));
        Ok(PreparedWrite { since, ..PreparedWrite::new(rows, memory) })
    }

    /// Puts a prepared batch into the worker's queue. Waits for a place there first (32 MiB a table, a quarter of the memory for realtime
    /// rows in all): in the order of submitting, so that batches that were prepared early never hold the place of one that must go
    /// before them. From here on the batch is stored or refused whether or not the caller waits for the outcome.
    pub async fn submit(&self, prepared: PreparedWrite) -> Result<PendingWrite> {
        self.submit_after(prepared, || Ok(())).await
    }

    /// The same; `begin` is asked once there is a place, and its error is the last that takes the batch back.
    pub async fn submit_after(
        &self,
        prepared: PreparedWrite,
        begin: impl FnOnce() -> Result<()>,
    ) -> Result<PendingWrite> {
        let shared = &self.shared;
        let places = &shared.gate.places;
        let held = match Held::try_take(&shared.places, places, prepared.memory) {
            Ok(held) => held,
            Err(memory) => Held::take(&shared.places, places, memory).await.map_err(|_| shared.closed())?,
        };
        // With the place in hand: of two that are submitted at once, one at least sees the other.
        shared.gate.check_again(held.others(places))?;
        begin()?;
        let (answer, receiver) = oneshot::channel();
        shared.send(TableRequest::Rows { rows: prepared.rows, held, answer }).await?;
        Ok(PendingWrite { shared: Arc::clone(shared), answer: receiver, since: prepared.since })
    }

    /// Fences older clients of this producer and says where it stopped. `reset` lets it start at any number.
    pub async fn init_producer(&self, id: ProducerId, reset: bool, principal: &str) -> Result<ProducerInfo> {
        let (answer, receiver) = oneshot::channel();
        let principal = principal.to_owned();
        self.shared.send(TableRequest::InitProducer { id, reset, principal, answer }).await?;
        receiver.await.unwrap_or_else(|_| Err(self.shared.closed()))
    }

    /// Where a producer stands, without fencing anybody.
    pub async fn producer(&self, id: &ProducerId) -> Result<Option<ProducerInfo>> {
        let (answer, receiver) = oneshot::channel();
        self.shared.send(TableRequest::LookUpProducer { id: id.clone(), answer }).await?;
        let info = receiver.await.unwrap_or_else(|_| Err(self.shared.closed()))?;
        Ok(info.known.then_some(info))
    }

    /// How many rows were accepted under an idempotency key; `None` if it is not known.
    pub async fn accepted_under(&self, principal: &str, key: &IdempotencyKey) -> Result<Option<u64>> {
        let (answer, receiver) = oneshot::channel();
        let suffix = IdempotencyKeys::suffix(principal, &key.0);
        self.shared.send(TableRequest::LookUpKey { suffix, answer }).await?;
        receiver.await.map_err(|_| self.shared.closed())
    }

    /// Forgets rows and keys, keeps producers' positions. Returns the rows that went.
    pub async fn truncate(&self) -> Result<(u64, CommitToken)> {
        let (answer, receiver) = oneshot::channel();
        self.shared.send(TableRequest::Truncate { answer }).await?;
        receiver.await.unwrap_or_else(|_| Err(self.shared.closed()))
    }

    /// Sends a request that is answered by its own sender.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> TableRequest) -> Result<T> {
        let (answer, receiver) = oneshot::channel();
        self.shared.send(request(answer)).await?;
        receiver.await.unwrap_or_else(|_| Err(self.shared.closed()))
    }

    /// URL of the table's Delta folder.
    pub fn location(&self) -> String {
        self.shared.folders.location().to_string()
    }

    /// Returns when `token` is visible; the caller bounds the wait. A token of another table or log is `INVALID_COMMIT_TOKEN`.
    pub async fn wait_visible(&self, token: &CommitToken) -> Result<()> {
        if token.table != self.shared.def.id || token.log != self.shared.log_id {
            return Err(Error::new(
                Code::InvalidCommitToken,
                format!("the commit token is not of table {}", self.shared.def.name),
            )
            .hint("pass a token that a write to this table returned, from this server"));
        }
        let mut visible = self.shared.visible.subscribe();
        visible.wait_for(|seq| *seq >= token.seq).await.map_err(|_| self.shared.closed())?;
        Ok(())
    }
}
