//! What do callers hand in and get back? The public types of the query engine.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, SecondsFormat};
use tidewater_storage::ids::CommitToken;

use super::stream::PendingQuery;
use crate::provider::StatementCatalog;
use crate::session::Interface;

/// One row of `system.settings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    pub name: String,
    pub value: String,
    /// `default`, `file`, `env` or `flag`.
    pub origin: String,
    pub default: String,
    pub reloadable: bool,
}

/// What the query engine shows in `system` but does not own.
#[derive(Clone)]
pub struct SystemSources {
    pub settings: Arc<dyn Fn() -> Vec<SettingRow> + Send + Sync>,
    /// The text that `/metrics` serves (Prometheus exposition format).
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What happened lately, newest first.
    pub events: Arc<dyn Fn() -> Vec<EventRow> + Send + Sync>,
}

/// One row of `system.events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub at_us: i64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The part of the program that says it: `storage.table.recover`.
    pub kind: String,
    pub table_id: Option<String>,
    pub principal: Option<String>,
    pub message: String,
    /// A JSON object with everything else.
    pub details: String,
}

pub struct QueryEngineOptions {
    /// Folder for spill files; emptied at start.
    pub spill_dir: std::path::PathBuf,
    pub max_spill_bytes: u64,
    /// Threads that run queries; their own runtime, lower priority.
    pub threads: usize,
    /// Queries that run at once, and that wait.
    pub max_running: usize,
    pub max_waiting: usize,
    /// Statements that took so long are logged; `None`: none.
    pub slow_query: Option<std::time::Duration>,
    pub sources: SystemSources,
}

/// Values for `$1`, `?`: a row for each execution; columns by position.
#[derive(Debug, Clone)]
pub struct Parameters(pub RecordBatch);

/// Per-request options.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A UUID of the client's choosing; `QUERY_EXISTS` if one of that id runs.
    pub query_id: Option<String>,
    /// The statement starts after these are visible (waits up to 10 s, then `NOT_YET_VISIBLE`).
    pub min_commit: Vec<CommitToken>,
    /// Sooner than the session's `statement_timeout`.
    pub timeout: Option<std::time::Duration>,
    /// A statement that answers with rows is refused before anything runs (`INVALID_STATEMENT`).
    pub only_updates: bool,
}

/// What preparing tells.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Wire schema of the result; no fields for DDL and DML.
    pub dataset_schema: SchemaRef,
    /// One nullable field a parameter, named `1`, `2`, …; type Null when unknown.
    pub parameter_schema: SchemaRef,
    /// DDL or DML.
    pub is_update: bool,
    /// Planning it is running it, so it must not be planned for its schema or more than once: DDL, DML, and CALL, which answers with rows.
    pub runs_when_planned: bool,
}

/// What a DDL or DML statement did.
#[derive(Debug, Clone, Default)]
pub struct UpdateOutcome {
    /// Rows that changed; 0 for DDL.
    pub affected: u64,
    /// For the user: `3 rows, 1 duplicate key dropped`.
    pub notices: Vec<String>,
    pub token: Option<CommitToken>,
    /// What SET or RESET changed: names, and values as SET takes them.
    pub settings: Vec<(&'static str, String)>,
    /// Nothing was to be done: what IF NOT EXISTS makes was there, or nothing of what IF EXISTS drops.
    pub is_unchanged: bool,
}

/// A statement that was planned (SELECT) or run (DDL, DML, CALL).
pub struct Planned {
    pub query_id: String,
    pub kind: PlannedKind,
}

pub enum PlannedKind {
    /// Planned physically, its snapshots pinned; wire schema of the result. `start` runs it. Of CALL: it was run, and `start` gives the
    /// answer.
    Rows { schema: SchemaRef, pending: PendingQuery },
    /// DDL or DML; it was run.
    Update(UpdateOutcome),
}

#[derive(Debug, Clone, Default)]
pub struct RunSummary {
    pub rows_out: u64,
    pub bytes_out: u64,
    pub rows_read_realtime: u64,
    /// From files, and of these from files that are built and not in the Delta table yet.
    pub rows_read_sealed: u64,
    pub rows_read_built: u64,
    /// Bytes of files that were fetched, as they are stored.
    pub bytes_read: u64,
    /// How far its scans have come, 0.0 to 1.0; `None`: it reads no table.
    pub fraction: Option<f64>,
    /// Files that their bounds ruled out, and files that were opened.
    pub files_pruned: u64,
    pub files_read: u64,
    pub planned_ms: f64,
    pub ran_ms: f64,
    pub cpu_ms: f64,
    pub memory_peak: u64,
    pub spilled: u64,
    /// The snapshot of each table that it reads, in the order of their names.
    pub tables: Vec<TableFreshness>,
}

impl RunSummary {
    /// What the scans of a statement have done so far.
    pub(crate) fn of_scans(catalog: &StatementCatalog) -> Self {
        let read = catalog.metrics();
        Self {
            rows_read_realtime: read.rows_read_realtime(),
            rows_read_sealed: read.rows_read_sealed(),
            rows_read_built: read.rows_read_built(),
            bytes_read: read.bytes_read(),
            fraction: read.fraction(),
            files_pruned: read.files_pruned(),
            files_read: read.files_read(),
            tables: catalog.freshness(),
            ..Self::default()
        }
    }
}

/// How fresh what a query sees of one table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFreshness {
    pub schema: String,
    pub name: String,
    /// Where the snapshot stands: the query sees all rows of entries up to this one.
    pub token: CommitToken,
    /// Event time through which all producers had come that were active within the minute before, microseconds since 1970; the query sees
    /// all rows that it stands on. `None`: no producer was, or the table has no time column.
    pub watermark_us: Option<i64>,
}

impl TableFreshness {
    /// The watermark in RFC 3339, in UTC and with microseconds.
    pub fn watermark(&self) -> Option<String> {
        let at = DateTime::from_timestamp_micros(self.watermark_us?)?;
        Some(at.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryState {
    Planning,
    Waiting,
    Running,
    Finished,
    Failed,
    Cancelled,
}

/// A running query, or one that ended lately.
#[derive(Debug, Clone)]
pub struct QueryInfo {
    pub query_id: String,
    pub principal: String,
    pub interface: Interface,
    pub sql: String,
    pub state: QueryState,
    pub started_at_us: i64,
    pub summary: RunSummary,
    /// Memory, and local files that their tables have let go, of the snapshots that it holds; `None` once it has ended.
    pub pinned_bytes: Option<u64>,
    pub error_code: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canceled {
    /// It was running or pending and stops now.
    Stopped,
    /// It was cancelled before (within the last minute).
    Already,
    /// Its change is being committed, so it goes on; its own answer says what came of it.
    TooLate,
}
