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
use crate::catalog::{NewTable, TableDef, define, view_from_disk};
use crate::env::Env;
use crate::error::{Code, Error, Result};
use crate::ids::{LogId, array};
use crate::limits::{MAX_TABLES, MEMTABLE_BYTES, MIN_FREE_BYTES};
use crate::log::{Family, LogWriter, Store, meta_key};
use crate::memory::{MemoryLedger, Share};
use crate::table::{
    FORMAT, Gate, Replayed, Shared, SharedParts, Table, create_table, create_view, drop_table, drop_view, first_start,
    supervise,
};

/// The schema that is always there.
const DEFAULT_SCHEMA: &str = "public";

/// How often ledgers are rolled up and rejected rows forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);

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
        });
        let parts = SharedParts { log_id, store, memory, env: options.env, gate };
        let mut names = Names::default();
        let mut recovery = Recovery::default();
        for record in parts.store.scan(Family::Meta, &[meta_key::TABLE])? {
            let def = TableDef::from_disk(&record?.1)?;
            let started = parts.env.clock.uptime();
            let (table, replayed) = start_table(&parts, &log, def)?;
            recovery.lines.push(recovery_line(&table, replayed, parts.env.clock.uptime() - started));
            names.tables.insert(name_of(&table.def()), table);
        }
        for record in parts.store.scan(Family::Meta, &[meta_key::VIEW])? {
            let view = view_from_disk(&record?.1)?;
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
    pub async fn create_table(&self, new: NewTable) -> Result<(Table, Vec<String>)> {
        let (def, notices) = define(new, &self.parts.env)?;
        let _changing = self.changing.lock().await;
        self.check_free(&def.schema_name, &def.name)?;
        if self.names.load().tables.len() >= MAX_TABLES {
            return Err(Error::new(Code::TooManyTables, format!("there are {MAX_TABLES} tables already"))
                .hint("drop tables that are not needed"));
        }
        self.log.commit(create_table(&def)).await?;
        let (parts, log) = (self.parts.clone(), Arc::clone(&self.log));
        let (table, _) = tokio::task::spawn_blocking(move || start_table(&parts, &log, def))
            .await
            .map_err(|e| Error::internal(format!("the table could not be started: {e}")))??;
        self.change(|names| {
            names.tables.insert(name_of(&table.def()), table.clone());
        });
        Ok((table, notices))
    }

    /// Hides a table at once; what it holds stays on disk. `TABLE_NOT_FOUND` if there is none.
    pub async fn drop_table(&self, schema: &str, name: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        let table = self.table(schema, name).ok_or_else(|| {
            Error::new(Code::TableNotFound, format!("table '{schema}.{name}' not found"))
                .hint("SHOW TABLES lists what there is")
        })?;
        self.log.commit(drop_table(&table.def(), self.parts.env.clock.now_us())).await?;
        self.change(|names| {
            names.tables.remove(&(schema.to_owned(), name.to_owned()));
        });
        table.close("it was dropped");
        Ok(())
    }

    pub fn views(&self) -> Vec<View> {
        self.names.load().views.values().cloned().collect()
    }

    pub fn view(&self, schema: &str, name: &str) -> Option<View> {
        self.names.load().views.get(&(schema.to_owned(), name.to_owned())).cloned()
    }

    pub async fn create_view(&self, view: View, or_replace: bool) -> Result<()> {
        let _changing = self.changing.lock().await;
        if !or_replace || self.view(&view.schema_name, &view.name).is_none() {
            self.check_free(&view.schema_name, &view.name)?;
        }
        self.log.commit(create_view(&view)).await?;
        self.change(|names| {
            names.views.insert((view.schema_name.clone(), view.name.clone()), view.clone());
        });
        Ok(())
    }

    pub async fn drop_view(&self, schema: &str, name: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        if self.view(schema, name).is_none() {
            return Err(Error::new(Code::ViewNotFound, format!("view '{schema}.{name}' not found"))
                .hint("SHOW TABLES lists what there is"));
        }
        self.log.commit(drop_view(schema, name)).await?;
        self.change(|names| {
            names.views.remove(&(schema.to_owned(), name.to_owned()));
        });
        Ok(())
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
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || log.close())
            .await
            .map_err(|e| Error::internal(format!("the log could not be closed: {e}")))
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

    /// Swaps the names. The caller holds `changing`.
    fn change(&self, apply: impl FnOnce(&mut Names)) {
        let mut names = Names::clone(&self.names.load());
        apply(&mut names);
        self.names.store(Arc::new(names));
        self.epoch.fetch_add(1, Ordering::Release);
    }
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
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        for table in engine.tables() {
            table.housekeep().await;
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
