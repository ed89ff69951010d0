//! What does a process hold open? The engine: catalog, log writer, one worker a table, memory, housekeeping.

mod access;
mod alter;
mod attach;
mod create;
mod housekeep;
mod keys;
mod losses;
mod options;
mod scrub;
mod seal;
mod upkeep;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::access::{OwnKey, load_accounts};
pub use self::create::StagedTable;
use self::create::{ComingNames, coming};
pub use self::options::EngineOptions;
use crate::access::Accounts;
use crate::attaching::{check_place, parts_of};
pub use crate::catalog::View;
use crate::catalog::{TableDef, check_name, dropped_from_disk, view_from_disk};
use crate::env::{DurableLocalStore, Env, Moment};
use crate::error::{Code, Error, Result};
use crate::ids::{LogId, TableId, array};
use crate::log::{Family, LogWriter, Store, meta_key, write};
use crate::memory::MemoryLedger;
use crate::publishing::check_local_log_end;
use crate::scrub::ScrubOptions;
use crate::sealed::{FileStores, OtherStores, StorePlace};
use crate::sealing::clean_unborn;
use crate::table::{
    DISK_FORMAT, FORMAT, Gate, GateLimits, Replayed, Shared, SharedParts, Table, TableSnapshot, Write, create_view,
    drop_table, drop_view, first_start, supervise, uptime,
};

/// The schema that is always there.
const DEFAULT_SCHEMA: &str = "public";

/// What the start found, a line a table for the log and `/readyz`.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    pub lines: Vec<String>,
}

/// Names to tables and views: immutable, swapped whole.
#[derive(Clone, Default)]
struct Names {
    tables: BTreeMap<(String, String), Table>,
    views: BTreeMap<(String, String), View>,
}

impl Names {
    /// A folder in which one name means two things was not written by this program as it should be: neither is believed.
    fn check_unique(&self, kind: &str, schema: &str, name: &str) -> Result<()> {
        let key = (schema.to_owned(), name.to_owned());
        if !self.tables.contains_key(&key) && !self.views.contains_key(&key) {
            return Ok(());
        }
        Err(Error::new(
            Code::LogDamaged,
            format!("the folder defines the name '{schema}.{name}' twice, once as a {kind}"),
        )
        .hint("nothing was changed; restore the folder from a backup"))
    }
}

/// One open data folder. Everything that changes a table goes through its worker; the catalog through one lock.
pub struct Engine {
    parts: SharedParts,
    log: Arc<LogWriter>,
    names: ArcSwap<Names>,
    accounts: parking_lot::RwLock<Accounts>,
    own_key: OwnKey,
    epoch: AtomicU64,
    /// Held while the catalog changes. It is taken behind `attaching` and `removing`, and nobody waits for a store with it in hand.
    changing: Mutex<()>,
    /// Names of tables that are attached or brought back, which takes longer than anybody may hold `changing`.
    coming: Arc<ComingNames>,
    /// Held while users, tokens and sessions change: they do not wait for the catalog, which may wait for a store elsewhere.
    changing_accounts: Mutex<()>,
    /// Held while files of a dropped table are removed.
    removing: Mutex<()>,
    /// Held while a table is attached: two of one Delta table would take it from each other.
    attaching: Mutex<()>,
    /// Tables that this process dropped: one that comes back waits for its worker to end.
    dropped: parking_lot::Mutex<BTreeMap<TableId, Weak<Shared>>>,
    /// The same, as long as somebody may read their files.
    readers: parking_lot::Mutex<Vec<housekeep::Readers>>,
    /// Where tables are, conditional puts work.
    store_is_checked: AtomicBool,
    /// Delta tables are asked whether their logs are whole; not before losses are accepted, if they are to be.
    asks_logs: AtomicBool,
    background: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Opens or creates a data folder: takes its lock, replays the log. Blocks; call it outside async code, inside a runtime's context.
    pub fn open(options: EngineOptions) -> Result<(Arc<Engine>, Recovery)> {
        let store = Store::open(&options.data_dir)?;
        let log = LogWriter::start(Arc::clone(&store), options.env.clone())?;
        let opened = Self::open_with(options, store, Arc::clone(&log));
        if opened.is_err() {
            // Its thread holds the folder.
            log.close();
        }
        opened
    }

    fn open_with(options: EngineOptions, store: Arc<Store>, log: Arc<LogWriter>) -> Result<(Arc<Engine>, Recovery)> {
        let memory = MemoryLedger::with_keys(options.memory_limit, options.key_memory);
        let place = StorePlace::of(&options.data_dir, &options.tables)?;
        let log_id = identify(&options.data_dir, &store, &options.env, &place)?;
        let unrecorded = check_place(&store, &options.data_dir, &place)?;
        let local = Arc::new(DurableLocalStore::open(&options.data_dir, &options.env)?);
        let tables = Arc::new(options.open_tables(&local)?);
        if let Some(record) = unrecorded {
            write(&store, &options.env, &["records"], &[record], true)?;
        }
        let other_stores = Arc::new(OtherStores::new(&options.data_dir, &local, &options.tables, &tables));
        let stores = FileStores { local, tables: Arc::clone(&tables.store) };
        let limits = GateLimits {
            min_free_bytes: options.min_free_bytes,
            max_unpublished_bytes: options.max_unpublished_bytes,
            max_key_disk_bytes: options.max_key_disk_bytes,
        };
        let gate = Gate::new(options.data_dir, limits, &memory, &options.env);
        let uptime_before_us = match store.get(Family::Meta, meta_key::UPTIME)? {
            Some(bytes) => u64::from_be_bytes(array(&bytes)),
            None => 0,
        };
        let parts = SharedParts {
            log_id,
            uptime_before_us,
            store,
            memory,
            env: options.env,
            gate,
            tables,
            stores,
            other_stores,
            accepts_loss: options.accept_data_loss,
            log,
        };
        let mut names = Names::default();
        let mut recovery = Recovery::default();
        for record in parts.store.scan(Family::Meta, &[meta_key::TABLE])? {
            let def = TableDef::from_disk(&record?.1)?;
            names.check_unique("table", &def.schema_name, &def.name)?;
            parts.gate.note_stamp(def.created_at_us);
            let started = parts.env.clock.uptime();
            let (table, replayed) = start_table(&parts, def)?;
            recovery.lines.push(recovery_line(&table, replayed, parts.env.clock.uptime() - started));
            names.tables.insert(name_of(&table.def()), table);
        }
        for record in parts.store.scan(Family::Meta, &[meta_key::VIEW])? {
            let view = view_from_disk(&record?.1)?;
            names.check_unique("view", &view.schema_name, &view.name)?;
            names.views.insert((view.schema_name.clone(), view.name.clone()), view);
        }
        for record in parts.store.scan(Family::Meta, &[meta_key::DROPPED])? {
            // One that cannot be read stays on disk, and housekeeping says so.
            if let Ok((_, dropped_at)) = dropped_from_disk(&record?.1) {
                parts.gate.note_stamp(dropped_at.wall_us);
            }
        }
        clean_unborn(&parts.store, &parts.env, &parts.gate.folder)?;
        let names = ArcSwap::from_pointee(names);
        let accounts = parking_lot::RwLock::new(load_accounts(&parts.store)?);
        let own_key = OwnKey::load(&parts.store)?;
        let engine = Arc::new_cyclic(|engine: &Weak<Engine>| Engine {
            log: Arc::clone(&parts.log),
            parts,
            names,
            accounts,
            own_key,
            epoch: AtomicU64::new(1),
            changing: Mutex::new(()),
            coming: Arc::default(),
            changing_accounts: Mutex::new(()),
            removing: Mutex::new(()),
            attaching: Mutex::new(()),
            dropped: parking_lot::Mutex::new(BTreeMap::new()),
            readers: parking_lot::Mutex::default(),
            store_is_checked: AtomicBool::new(false),
            asks_logs: AtomicBool::new(!options.accept_data_loss),
            background: background(engine, options.seals_by_itself, options.scrub),
        });
        Ok((engine, recovery))
    }

    /// Counts catalog changes: what was planned under another number must be planned again.
    pub fn catalog_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Names of schemas that hold user tables or views; `public` is always there. Sorted.
    pub fn schemas(&self) -> Vec<String> {
        let names = self.names.load();
        let mut schemas: Vec<_> =
            names.tables.keys().chain(names.views.keys()).map(|(schema, _)| schema.clone()).collect();
        schemas.push(DEFAULT_SCHEMA.to_owned());
        schemas.sort();
        schemas.dedup();
        schemas
    }

    /// All tables, sorted by schema and name.
    pub fn tables(&self) -> Vec<Table> {
        self.names.load().tables.values().cloned().collect()
    }

    pub fn table(&self, schema: &str, name: &str) -> Option<Table> {
        self.names.load().tables.get(&(schema.to_owned(), name.to_owned())).cloned()
    }

    /// Snapshots of the tables with these names (schema and table), all of one moment: what was acknowledged before a row of one of them
    /// is in the others. `None` where there is no such table.
    ///
    /// Without a lock, because a reader that is put to sleep must not hold up tables that publish. A version is immutable and is held
    /// here, so versions that are found unchanged by a second reading were all current between the two. When one was published
    /// meanwhile, both readings are repeated: somebody else got on.
    pub fn snapshots(&self, names: &[(String, String)]) -> Vec<Option<TableSnapshot>> {
        loop {
            let known = self.names.load_full();
            let tables: Vec<Option<&Table>> = names.iter().map(|name| known.tables.get(name)).collect();
            let read = |table: &Option<&Table>| table.map(Table::snapshot);
            let first: Vec<Option<TableSnapshot>> = tables.iter().map(read).collect();
            let unchanged = tables.iter().map(read).zip(&first).all(|pair| match pair {
                (Some(second), Some(first)) => second.is(first),
                _ => true,
            });
            if unchanged && Arc::ptr_eq(&known, &self.names.load_full()) {
                return first;
            }
        }
    }

    /// Hides a table at once; what it holds stays on disk for seven days. `TABLE_NOT_FOUND` if there is none.
    pub async fn drop_table(self: &Arc<Self>, schema: &str, name: &str) -> Result<()> {
        let (engine, schema, name) = (Arc::clone(self), schema.to_owned(), name.to_owned());
        to_its_end(async move {
            let _changing = engine.changing.lock().await;
            let table = engine.table(&schema, &name).ok_or_else(|| {
                Error::new(Code::TableNotFound, format!("table '{schema}.{name}' not found"))
                    .hint("SHOW TABLES lists what there is")
            })?;
            engine.hide(&table).await?;
            table.close("it was dropped");
            engine.note_dropped(&table);
            Ok(())
        })
        .await
    }

    /// The caller holds `changing`.
    async fn hide(&self, table: &Table) -> Result<()> {
        self.parts.gate.check_space(Write::Freeing)?;
        let now = self.now();
        self.log.commit(drop_table(&table.def(), now)).await?;
        self.parts.gate.note_stamp(now.wall_us);
        self.change(|names| {
            names.tables.remove(&name_of(&table.def()));
        });
        let def = table.def();
        tracing::info!(table_id = %def.id, schema = def.schema_name, table = def.name, "a table was dropped");
        Ok(())
    }

    pub fn views(&self) -> Vec<View> {
        self.names.load().views.values().cloned().collect()
    }

    pub fn view(&self, schema: &str, name: &str) -> Option<View> {
        self.names.load().views.get(&(schema.to_owned(), name.to_owned())).cloned()
    }

    /// Creates or replaces a view. `INVALID_NAME`, or `TABLE_EXISTS` if the name is taken by what may not be replaced.
    pub async fn create_view(self: &Arc<Self>, view: View, or_replace: bool) -> Result<()> {
        check_name("schema", &view.schema_name)?;
        check_name("view", &view.name)?;
        let engine = Arc::clone(self);
        to_its_end(async move {
            let _changing = engine.changing.lock().await;
            if !or_replace || engine.view(&view.schema_name, &view.name).is_none() {
                engine.check_free(&view.schema_name, &view.name)?;
            }
            engine.parts.gate.check_space(Write::Small)?;
            engine.log.commit(create_view(&view)).await?;
            engine.change(|names| {
                names.views.insert((view.schema_name.clone(), view.name.clone()), view.clone());
            });
            Ok(())
        })
        .await
    }

    pub async fn drop_view(self: &Arc<Self>, schema: &str, name: &str) -> Result<()> {
        let (engine, schema, name) = (Arc::clone(self), schema.to_owned(), name.to_owned());
        to_its_end(async move {
            let _changing = engine.changing.lock().await;
            if engine.view(&schema, &name).is_none() {
                return Err(Error::new(Code::ViewNotFound, format!("view '{schema}.{name}' not found"))
                    .hint("SHOW TABLES lists what there is"));
            }
            engine.parts.gate.check_space(Write::Freeing)?;
            engine.log.commit(drop_view(&schema, &name)).await?;
            engine.change(|names| {
                names.views.remove(&(schema, name));
            });
            Ok(())
        })
        .await
    }

    pub fn memory(&self) -> &Arc<MemoryLedger> {
        &self.parts.memory
    }

    pub fn env(&self) -> &Env {
        &self.parts.env
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.parts.gate.folder
    }

    /// `None` while ingest is open, else why it is not (free space, memory, the clock, shutdown). For `/readyz`.
    pub fn ingest_blocked(&self) -> Option<Error> {
        self.parts.gate.check(false).err()
    }

    /// Whether a stream of rows may begin to be written into files: that takes no memory that rows hold.
    pub fn can_stage(&self) -> bool {
        self.parts.gate.check(true).is_ok()
    }

    /// Free bytes on the data folder's file system below which rows are refused. Nobody else may bring it there either.
    pub fn min_free_bytes(&self) -> u64 {
        self.parts.gate.min_free_bytes
    }

    /// Refuses what comes, answers what is in flight, syncs and closes the log.
    pub async fn shutdown(&self) -> Result<()> {
        self.parts.gate.closing.store(true, Ordering::Release);
        self.background.iter().for_each(JoinHandle::abort);
        let _changing = (self.changing.lock().await, self.changing_accounts.lock().await);
        let dropped: Vec<_> = self.dropped.lock().values().filter_map(Weak::upgrade).map(Table::new).collect();
        for table in self.tables() {
            table.close("the server is shutting down");
        }
        for table in self.tables().iter().chain(&dropped) {
            table.closed().await;
            seal::quiet(&table.shared).await;
        }
        if self.parts.gate.has_space(Write::Freeing) {
            self.log.commit(uptime(self.now().uptime_us)).await?;
        }
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || log.close())
            .await
            .map_err(|e| Error::ended_early("the closing of the log", &e))
    }

    fn check_free(&self, schema: &str, name: &str) -> Result<()> {
        let names = self.names.load();
        let key = (schema.to_owned(), name.to_owned());
        let taken = match (names.tables.contains_key(&key), names.views.contains_key(&key)) {
            (true, _) => "table",
            (_, true) => "view",
            _ if self.coming.lock().contains_key(&key) => return Err(coming(schema, name)),
            _ => return Ok(()),
        };
        Err(Error::new(Code::TableExists, format!("{taken} '{schema}.{name}' exists"))
            .hint("choose another name, or use IF NOT EXISTS"))
    }

    /// Now, on the folder's clocks.
    fn now(&self) -> Moment {
        let clock = &self.parts.env.clock;
        Moment {
            wall_us: clock.now_us(),
            uptime_us: self.parts.uptime_before_us.saturating_add(clock.uptime().as_micros() as u64),
        }
    }

    /// Swaps the names. The caller holds `changing`.
    fn change(&self, apply: impl FnOnce(&mut Names)) {
        let mut names = Names::clone(&self.names.load());
        apply(&mut names);
        self.names.store(Arc::new(names));
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

/// Runs a change of the catalog to its end, whether or not the caller still waits: what the log has and what memory has never part.
async fn to_its_end<T: Send + 'static>(change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(change).await.unwrap_or_else(|e| Err(Error::ended_early("a change of the catalog", &e)))
}

fn name_of(def: &TableDef) -> (String, String) {
    (def.schema_name.clone(), def.name.clone())
}

/// What an engine does by itself.
fn background(engine: &Weak<Engine>, seals: bool, options: ScrubOptions) -> Vec<JoinHandle<()>> {
    let mut tasks =
        vec![tokio::spawn(housekeep::housekeep(engine.clone())), tokio::spawn(losses::check_logs(engine.clone()))];
    if seals {
        tasks.push(tokio::spawn(seal::seal(engine.clone())));
        tasks.push(tokio::spawn(upkeep::upkeep(engine.clone())));
        tasks.push(tokio::spawn(scrub::scrub(engine.clone(), options)));
        tasks.push(tokio::spawn(scrub::suspects(engine.clone())));
    }
    tasks
}

/// Opens a table. `LOG_BEHIND`: its Delta table, on the local disk, has more of its log than the log has.
fn start_table(parts: &SharedParts, def: TableDef) -> Result<(Table, Replayed)> {
    let shared = Shared::new(parts_of(parts, def.id)?, Arc::new(def));
    if !parts.accepts_loss {
        check_local_log_end(&shared)?;
    }
    let replayed = supervise(&shared, &parts.log)?;
    Ok((Table::new(shared), replayed))
}

fn recovery_line(table: &Table, replayed: Replayed, took: Duration) -> String {
    let def = table.def();
    format!(
        "table {}.{}: {} entries through {}, {} rows, {} keys, {} producers in {:.3} s",
        def.schema_name,
        def.name,
        replayed.entries,
        replayed.last_seq,
        replayed.rows,
        replayed.keys,
        replayed.producers,
        took.as_secs_f64()
    )
}

/// The folder's log id; minted when the folder is new. `place` goes on record with it.
fn identify(folder: &Path, store: &Arc<Store>, env: &Env, place: &StorePlace) -> Result<LogId> {
    match store.get(Family::Meta, meta_key::FORMAT)? {
        Some(format) if format == FORMAT => {
            let bytes = store.get(Family::Meta, meta_key::LOG_ID)?.unwrap_or_default();
            let id = Uuid::from_slice(&bytes).map_err(|e| {
                Error::new(Code::LogDamaged, format!("the data folder's log id cannot be read: {e}"))
                    .hint("nothing was changed; restore the folder from a backup")
            })?;
            Ok(LogId(id))
        }
        Some(format) => Err(Error::new(
            Code::LogUnknownVersion,
            format!(
                "the data folder {} has disk format {}, and this program, Tidewater {}, reads disk format {DISK_FORMAT}",
                folder.display(),
                String::from_utf8_lossy(&format),
                env!("CARGO_PKG_VERSION")
            ),
        )
        .hint("nothing was changed; start the version of Tidewater that wrote this folder, or a newer one")),
        None => {
            let log_id = LogId(env.rng.uuid());
            let commit = first_start(log_id, place.to_disk());
            write(store, env, &[commit.kind], &commit.ops, commit.sync)?;
            Ok(log_id)
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("tables", &self.names.load().tables.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
