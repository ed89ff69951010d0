//! What does a process hold open? The engine: catalog, log writer, one worker a table, memory, housekeeping.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use crate::catalog::View;
use crate::catalog::{NewTable, TableDef, check_name, define, dropped_from_disk, view_from_disk};
use crate::env::{Env, Moment};
use crate::error::{Code, Error, Result};
use crate::ids::{LogId, SHARD_ZERO, array};
use crate::limits::{DROPPED_TABLE_TTL_S, MAX_TABLES, MEMTABLE_BYTES, MIN_FREE_BYTES};
use crate::log::{Family, LogWriter, Store, TABLE_STATE, after_prefix, log_prefix, meta_key, state_prefix};
use crate::memory::{MemoryLedger, Share};
use crate::table::{
    FORMAT, Gate, Places, Replayed, Shared, SharedParts, Table, create_table, create_view, drop_table, drop_view,
    first_start, purge_table, supervise, uptime,
};

/// The schema that is always there.
const DEFAULT_SCHEMA: &str = "public";

/// How often ledgers are rolled up and rejected rows forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);

/// The first time is soon after the start: a server may be started often and never run for an hour.
const FIRST_HOUSEKEEPING: Duration = Duration::from_secs(10);

/// How to open a data folder.
pub struct EngineOptions {
    pub data_dir: PathBuf,
    /// Bytes for the whole process; see [`crate::memory`].
    pub memory_limit: u64,
    /// Ingest stops below this many free bytes on the data folder's file system; at least two memtables.
    pub min_free_bytes: u64,
    pub env: Env,
}

impl EngineOptions {
    /// The defaults of the limits, in the real world.
    pub fn new(data_dir: impl Into<PathBuf>, memory_limit: u64) -> Self {
        Self { data_dir: data_dir.into(), memory_limit, min_free_bytes: MIN_FREE_BYTES, env: Env::system() }
    }
}

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
    epoch: AtomicU64,
    /// Held while the catalog changes.
    changing: Mutex<()>,
    housekeeping: JoinHandle<()>,
}

impl Engine {
    /// Opens or creates a data folder: takes its lock, replays the log. Blocks; call it outside async code, inside a runtime's context.
    pub fn open(options: EngineOptions) -> Result<(Arc<Engine>, Recovery)> {
        let memory = MemoryLedger::new(options.memory_limit);
        let store = Store::open(&options.data_dir)?;
        let log = LogWriter::start(Arc::clone(&store), options.env.clone())?;
        let log_id = identify(&store, &options.env)?;
        let gate = Arc::new(Gate {
            folder: options.data_dir,
            min_free_bytes: options.min_free_bytes.max(2 * MEMTABLE_BYTES as u64),
            memory: Arc::clone(&memory),
            env: options.env.clone(),
            closing: AtomicBool::new(false),
            places: Places::of_all(&memory),
        });
        let uptime_before_us = match store.get(Family::Meta, meta_key::UPTIME)? {
            Some(bytes) => u64::from_be_bytes(array(&bytes)),
            None => 0,
        };
        let parts = SharedParts { log_id, uptime_before_us, store, memory, env: options.env, gate };
        let mut names = Names::default();
        let mut recovery = Recovery::default();
        for record in parts.store.scan(Family::Meta, &[meta_key::TABLE])? {
            let def = TableDef::from_disk(&record?.1)?;
            names.check_unique("table", &def.schema_name, &def.name)?;
            let started = parts.env.clock.uptime();
            let (table, replayed) = start_table(&parts, &log, def)?;
            recovery.lines.push(recovery_line(&table, replayed, parts.env.clock.uptime() - started));
            names.tables.insert(name_of(&table.def()), table);
        }
        for record in parts.store.scan(Family::Meta, &[meta_key::VIEW])? {
            let view = view_from_disk(&record?.1)?;
            names.check_unique("view", &view.schema_name, &view.name)?;
            names.views.insert((view.schema_name.clone(), view.name.clone()), view);
        }
        let names = ArcSwap::from_pointee(names);
        let engine = Arc::new_cyclic(|engine: &std::sync::Weak<Engine>| Engine {
            parts,
            log,
            names,
            epoch: AtomicU64::new(1),
            changing: Mutex::new(()),
            housekeeping: tokio::spawn(housekeep(engine.clone())),
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

    /// Creates a table and returns it with notices for the user. `TABLE_EXISTS` if the name (of a table or view) is taken.
    pub async fn create_table(self: &Arc<Self>, new: NewTable) -> Result<(Table, Vec<String>)> {
        let (def, notices) = define(new, &self.parts.env)?;
        let engine = Arc::clone(self);
        to_its_end(async move {
            let _changing = engine.changing.lock().await;
            engine.check_free(&def.schema_name, &def.name)?;
            if engine.names.load().tables.len() >= MAX_TABLES {
                return Err(Error::new(Code::TooManyTables, format!("there are {MAX_TABLES} tables already"))
                    .hint("drop tables that are not needed"));
            }
            // Started first: from the commit on nothing can fail.
            let (parts, log, record) = (engine.parts.clone(), Arc::clone(&engine.log), create_table(&def));
            let (table, _) = tokio::task::spawn_blocking(move || start_table(&parts, &log, def))
                .await
                .map_err(|e| Error::internal(format!("the table could not be started: {e}")))??;
            if let Err(e) = engine.log.commit(record).await {
                table.close("it could not be created");
                return Err(e);
            }
            engine.change(|names| {
                names.tables.insert(name_of(&table.def()), table.clone());
            });
            Ok((table, notices))
        })
        .await
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
            Ok(())
        })
        .await
    }

    /// Drops a table that was made for rows that could not be stored: only this one, whatever has its name by now, and only if nothing was
    /// ever written to it. Returns whether it is gone.
    pub async fn drop_table_if_empty(self: &Arc<Self>, table: &Table) -> Result<bool> {
        let (engine, table) = (Arc::clone(self), table.clone());
        to_its_end(async move {
            let _changing = engine.changing.lock().await;
            let (schema, name) = name_of(&table.def());
            if engine.table(&schema, &name).is_none_or(|named| named.def().id != table.def().id) {
                return Ok(false);
            }
            let is_empty = table.close_if_empty().await?;
            if is_empty {
                engine.hide(&table).await?;
            }
            Ok(is_empty)
        })
        .await
    }

    /// The caller holds `changing`.
    async fn hide(&self, table: &Table) -> Result<()> {
        self.log.commit(drop_table(&table.def(), self.now())).await?;
        self.change(|names| {
            names.tables.remove(&name_of(&table.def()));
        });
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

    /// `None` while ingest is open, else why it is not (free space, memory, shutdown). For `/readyz`.
    pub fn ingest_blocked(&self) -> Option<Error> {
        self.parts.gate.check(i64::MIN).err()
    }

    /// Refuses what comes, answers what is in flight, syncs and closes the log.
    pub async fn shutdown(&self) -> Result<()> {
        self.parts.gate.closing.store(true, Ordering::Release);
        self.housekeeping.abort();
        let _changing = self.changing.lock().await;
        for table in self.tables() {
            table.close("the server is shutting down");
        }
        for table in self.tables() {
            table.closed().await;
        }
        self.log.commit(uptime(self.now().uptime_us)).await?;
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || log.close())
            .await
            .map_err(|e| Error::internal(format!("the log could not be closed: {e}")))
    }

    /// Removes what was dropped long ago by both clocks, and notes the uptime that this is measured by.
    async fn purge_dropped(&self) -> Result<()> {
        let now = self.now();
        self.log.commit(uptime(now.uptime_us)).await?;
        let dropped: Vec<_> = self.parts.store.scan(Family::Meta, &[meta_key::DROPPED])?.collect::<Result<_>>()?;
        for (_, record) in dropped {
            let (def, dropped_at) = match dropped_from_disk(&record) {
                Ok(dropped) => dropped,
                Err(e) => {
                    tracing::warn!(reason = %e, "a dropped table stays on disk");
                    continue;
                }
            };
            if !dropped_at.is_older_than(DROPPED_TABLE_TTL_S, now) {
                continue;
            }
            self.log.commit(purge_table(def.id)).await?;
            tracing::info!(table = %def.id, name = def.name, "a dropped table is gone for good");
            let store = Arc::clone(&self.parts.store);
            let mut ranges = vec![(Family::Log, log_prefix(def.id, SHARD_ZERO))];
            ranges.extend(TABLE_STATE.map(|kind| (Family::State, state_prefix(kind, def.id, SHARD_ZERO))));
            let reclaim = move || {
                ranges.iter().try_for_each(|(family, prefix)| store.reclaim(*family, prefix, &after_prefix(prefix)))
            };
            tokio::task::spawn_blocking(reclaim)
                .await
                .map_err(|e| Error::internal(format!("the space of a dropped table was not given back: {e}")))??;
        }
        Ok(())
    }

    fn check_free(&self, schema: &str, name: &str) -> Result<()> {
        let names = self.names.load();
        let key = (schema.to_owned(), name.to_owned());
        let taken = match (names.tables.contains_key(&key), names.views.contains_key(&key)) {
            (true, _) => "table",
            (_, true) => "view",
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
    tokio::spawn(change)
        .await
        .unwrap_or_else(|e| Err(Error::internal(format!("a change of the catalog ended early: {e}"))))
}

fn name_of(def: &TableDef) -> (String, String) {
    (def.schema_name.clone(), def.name.clone())
}

fn start_table(parts: &SharedParts, log: &Arc<LogWriter>, def: TableDef) -> Result<(Table, Replayed)> {
    let shared = Shared::new(parts.clone(), Arc::new(def));
    let replayed = supervise(&shared, log)?;
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

/// The folder's log id; minted when the folder is new.
fn identify(store: &Arc<Store>, env: &Env) -> Result<LogId> {
    match store.get(Family::Meta, meta_key::FORMAT)? {
        Some(format) if format == FORMAT => {
            let bytes = store.get(Family::Meta, meta_key::LOG_ID)?.unwrap_or_default();
            Ok(LogId(Uuid::from_bytes(array(&bytes))))
        }
        Some(format) => Err(Error::new(
            Code::LogUnknownVersion,
            format!("the data folder has format {}, this program reads 1", String::from_utf8_lossy(&format)),
        )
        .hint("start the version of Tidewater that wrote this folder, or a newer one")),
        None => {
            let log_id = LogId(env.rng.uuid());
            let commit = first_start(log_id);
            store.write(&commit.ops, commit.sync)?;
            store.note_acknowledged()?;
            Ok(log_id)
        }
    }
}

async fn housekeep(engine: std::sync::Weak<Engine>) {
    // Not at once: the engine that this holds weakly is still being made.
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_HOUSEKEEPING, HOUSEKEEPING);
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        for table in engine.tables() {
            table.housekeep().await;
        }
        if let Err(e) = engine.purge_dropped().await {
            tracing::warn!(reason = %e, "dropped tables stay on disk");
        }
        for share in Share::ALL {
            metrics::gauge!("tidewater_memory_bytes", "share" => share.name()).set(engine.memory().used(share) as f64);
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
