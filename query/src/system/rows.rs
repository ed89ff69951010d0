//! Which rows do system tables have? Each table's columns from storage, settings, metrics and running queries.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::ScalarValue;
use tidewater_storage::catalog::{ColumnDef, TableDef, delta_type};
use tidewater_storage::sealed::FileRef;
use tidewater_storage::{Damage, LedgerRow, RejectedRecord, Result, Table, TableSnapshot};

use super::{SystemState, accounts, prometheus};
use crate::engine::{QueryInfo, QueryState};
use crate::provider::{max_of, min_of};
use crate::session::{Principal, Role, VisibleCatalog};

/// Columns of batches, in the order of the table's schema.
pub(super) type Batches = Box<dyn Iterator<Item = Result<Vec<ArrayRef>>> + Send>;

/// Tables of users one after another, each by pages: they may have many rows that only storage holds.
fn paged(tables: Vec<Table>, pages: fn(Table) -> Batches) -> Batches {
    Box::new(tables.into_iter().flat_map(pages))
}

/// The rows of a system table now, of those about tables only what the caller sees. Tables of users are read one after another, as the
/// reader asks for more.
pub(super) fn batches(name: &str, state: &Arc<SystemState>, principal: &Principal) -> Batches {
    let visible = VisibleCatalog::new(&state.storage, principal);
    let each = |rows: fn(&Table) -> Result<Vec<ArrayRef>>| -> Batches {
        Box::new(visible.tables().into_iter().map(move |table| rows(&table)))
    };
    let once = |rows: Vec<ArrayRef>| -> Batches { Box::new(std::iter::once(Ok(rows))) };
    match name {
        "tables" => each(tables),
        "columns" => each(columns),
        "segments" => each(segments),
        "producers" => each(producers),
        "ledger" => paged(visible.tables(), |table| {
            let id = table.def().id.to_string();
            Box::new(table.ledger_pages().map(move |page| page.map(|rows| ledger(&id, &rows))))
        }),
        // Whoever writes into a table mends what it refused; who only reads it was never to see those rows.
        "rejected" => paged(visible.tables_as(Role::Writer), |table| {
            let id = table.def().id.to_string();
            Box::new(table.rejected_pages().map(move |page| page.map(|rows| rejected(&id, &rows))))
        }),
        "jobs" => each(jobs),
        "queries" => once(queries(&state.queries.visible_to(principal))),
        "tokens" => once(accounts::tokens(&state.storage, principal)),
        "users" => once(accounts::users(&state.storage)),
        "events" => once(events(&(state.sources.events)())),
        "settings" => once(settings(&(state.sources.settings)())),
        "metrics" => once(metrics(&(state.sources.metrics)(), state.storage.env().clock.now_us())),
        _ => Box::new(std::iter::empty()),
    }
}

fn tables(table: &Table) -> Result<Vec<ArrayRef>> {
    let def = table.def();
    let stats = table.stats();
    let snapshot_names = |columns: &[usize]| names(&def, columns);
    let health = match (stats.healthy, stats.damaged_files) {
        (false, _) => "failed",
        (true, 0) => "ok",
        (true, _) => "damaged",
    };
    Ok(vec![
        text([def.id.to_string()]),
        text([&def.schema_name]),
        text([&def.name]),
        opt_text([Some(table.location())]),
        opt_text([snapshot_names(&def.key)]),
        opt_text([def.options.time_column.map(|column| def.columns[column].name.as_str())]),
        opt_text([snapshot_names(&def.options.sort_by)]),
        text([options(&def)]),
        int([stats.realtime_rows]),
        int([stats.built_rows]),
        int([stats.sealed_rows]),
        int([stats.deleted_rows]),
        int([stats.sealed_files]),
        int([stats.realtime_bytes]),
        int([stats.sealed_bytes]),
        int([stats.commit_seq]),
        opt_int([stats.delta_version.and_then(|version| i64::try_from(version).ok())]),
        opt_time([stats.watermark_us]),
        opt_time([stats.last_write_us]),
        opt_time([stats.last_seal_us]),
        text([stats.dedup_class]),
        int([stats.dedup_keys]),
        int([stats.dedup_bytes]),
        text([health]),
        opt_text([stats.health_reason]),
    ])
}

/// Column names as in an option: `a, b`; `None` for none.
fn names(def: &TableDef, columns: &[usize]) -> Option<String> {
    let names: Vec<&str> = columns.iter().map(|&column| def.columns[column].name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// All options as a JSON object, with the values that CREATE TABLE takes.
fn options(def: &TableDef) -> String {
    let options = def.options_text().into_iter().map(|(name, value)| (name, value.into()));
    serde_json::Value::Object(options.collect()).to_string()
}

fn columns(table: &Table) -> Result<Vec<ArrayRef>> {
    let def = table.def();
    let columns = &def.columns;
    Ok(vec![
        text(columns.iter().map(|_| def.id.to_string())),
        text(columns.iter().map(|column| &column.name)),
        int(1..=columns.len() as u64),
        text(columns.iter().map(ColumnDef::sql_type)),
        text(columns.iter().map(|column| column.data_type.to_string())),
        text(columns.iter().map(|column| delta_type(&column.data_type))),
        Arc::new(columns.iter().map(|column| Some(column.nullable)).collect::<BooleanArray>()),
        opt_text(columns.iter().map(|_| None::<&str>)),
        opt_text(columns.iter().map(|column| column.comment.as_deref())),
    ])
}

/// A row of `system.segments`.
struct Segment {
    id: String,
    kind: &'static str,
    path: Option<String>,
    /// Event times and entries, both ends included.
    times: Option<(i64, i64)>,
    seqs: Option<(i64, i64)>,
    /// Without deleted ones.
    rows: u64,
    deleted: u64,
    bytes: u64,
    checksum: Option<String>,
    created_us: Option<i64>,
    damage: Option<Damage>,
}

/// The fresh rows of a table, if it has any, as one segment; and its files, the built ones first.
fn segments(table: &Table) -> Result<Vec<ArrayRef>> {
    let snapshot = table.snapshot();
    let def = snapshot.def();
    let damage = |file: &FileRef| snapshot.quarantine().damage(&file.file.name);
    let files = snapshot.files().iter().map(|file| settled(file, def, damage(file)));
    let rows: Vec<Segment> = fresh(&snapshot).into_iter().chain(files).collect();
    Ok(vec![
        text(rows.iter().map(|_| def.id.to_string())),
        text(rows.iter().map(|row| &row.id)),
        text(rows.iter().map(|row| row.kind)),
        opt_text(rows.iter().map(|row| row.path.as_deref())),
        opt_time(rows.iter().map(|row| row.times.map(|times| times.0))),
        opt_time(rows.iter().map(|row| row.times.map(|times| times.1))),
        opt_int(rows.iter().map(|row| row.seqs.map(|seqs| seqs.0))),
        opt_int(rows.iter().map(|row| row.seqs.map(|seqs| seqs.1))),
        int(rows.iter().map(|row| row.rows)),
        int(rows.iter().map(|row| row.deleted)),
        int(rows.iter().map(|row| row.bytes)),
        opt_text(rows.iter().map(|row| row.checksum.as_deref())),
        // Which version of the Delta table a file came with, only its log says.
        opt_int(rows.iter().map(|_| None)),
        opt_time(rows.iter().map(|row| row.created_us)),
        opt_text(rows.iter().map(|row| row.damage.as_ref().map(|damage| damage.reason.as_str()))),
        opt_time(rows.iter().map(|row| row.damage.as_ref().map(|damage| damage.found_at_us))),
    ])
}

fn fresh(snapshot: &TableSnapshot) -> Option<Segment> {
    let parts = snapshot.parts();
    let rows: u64 = parts.iter().map(|part| part.n_rows() as u64).sum();
    let stamps = || parts.iter().flat_map(|part| part.stamps.iter());
    let seqs = || stamps().map(|stamp| stamp.0);
    (rows > 0).then(|| Segment {
        id: "realtime".to_owned(),
        kind: "realtime",
        path: None,
        times: time_range(snapshot),
        seqs: seqs().min().zip(seqs().max()),
        rows,
        deleted: 0,
        bytes: parts.iter().map(|part| part.bytes).sum(),
        checksum: None,
        created_us: stamps().map(|stamp| stamp.1).min(),
        damage: None,
    })
}

fn settled(file: &FileRef, def: &TableDef, damage: Option<Damage>) -> Segment {
    let known = &*file.file;
    let time = def.options.time_column.and_then(|column| known.columns.get(column));
    let us = |bound: &Option<ArrayRef>| {
        let bound = bound.as_ref()?.as_primitive_opt::<TimestampMicrosecondType>()?;
        bound.iter().next().flatten()
    };
    Segment {
        id: known.name.clone(),
        kind: if file.place.is_published { "sealed" } else { "built" },
        path: Some(file.place.path.to_string()),
        times: time.and_then(|time| us(&time.min).zip(us(&time.max))),
        seqs: Some((known.min_seq.0 as i64, known.max_seq.0 as i64)),
        rows: file.live_rows(),
        deleted: file.n_deleted(),
        bytes: known.bytes,
        checksum: Some(format!("{:016x}", known.checksum)),
        created_us: Some(known.created_at_us),
        damage,
    }
}

/// Smallest and largest event time of the snapshot's fresh rows, in microseconds.
fn time_range(snapshot: &TableSnapshot) -> Option<(i64, i64)> {
    let column = snapshot.def().options.time_column?;
    let us = |value: ScalarValue| match value {
        ScalarValue::TimestampMicrosecond(us, _) => us,
        _ => None,
    };
    let parts = || snapshot.parts().iter().filter_map(|part| part.rows.columns().get(column));
    let min = parts().filter_map(|values| us(min_of(values).ok()?)).min()?;
    let max = parts().filter_map(|values| us(max_of(values).ok()?)).max()?;
    Some((min, max))
}

fn producers(table: &Table) -> Result<Vec<ArrayRef>> {
    let id = table.def().id.to_string();
    let rows = table.producers()?;
    Ok(vec![
        text(rows.iter().map(|_| &id)),
        text(rows.iter().map(|row| &row.producer)),
        unsigned(rows.iter().map(|row| Some(row.epoch))),
        unsigned(rows.iter().map(|row| Some(row.last_sequence))),
        int(rows.iter().map(|row| row.last_commit_seq)),
        opt_time(rows.iter().map(|row| Some(row.last_seen_us))),
        int(rows.iter().map(|row| row.rows)),
        int(rows.iter().map(|row| row.duplicates)),
        int(rows.iter().map(|row| row.repeated)),
        int(rows.iter().map(|row| row.rejected)),
        text(rows.iter().map(|row| &row.principal)),
    ])
}

fn ledger(id: &str, rows: &[LedgerRow]) -> Vec<ArrayRef> {
    vec![
        text(rows.iter().map(|_| id)),
        text(rows.iter().map(|row| &row.producer)),
        opt_time(rows.iter().map(|row| Some(row.minute_us))),
        int(rows.iter().map(|row| row.received)),
        int(rows.iter().map(|row| row.accepted)),
        int(rows.iter().map(|row| row.duplicate)),
        int(rows.iter().map(|row| row.repeated)),
        int(rows.iter().map(|row| row.rejected)),
        int(rows.iter().map(|row| row.late)),
        int(rows.iter().map(|row| row.future)),
        int(rows.iter().map(|row| row.bytes)),
    ]
}

fn rejected(id: &str, rows: &[RejectedRecord]) -> Vec<ArrayRef> {
    vec![
        text(rows.iter().map(|_| id)),
        opt_text(rows.iter().map(|row| row.producer.as_deref())),
        unsigned(rows.iter().map(|row| row.sequence)),
        int(rows.iter().map(|row| row.row)),
        opt_text(rows.iter().map(|row| row.column.as_deref())),
        text(rows.iter().map(|row| row.code.as_str())),
        text(rows.iter().map(|row| &row.message)),
        text(rows.iter().map(|row| &row.payload)),
        opt_time(rows.iter().map(|row| Some(row.received_us))),
        opt_time(rows.iter().map(|row| Some(row.expires_us))),
    ]
}

fn jobs(table: &Table) -> Result<Vec<ArrayRef>> {
    let id = table.def().id.to_string();
    let rows = table.jobs();
    Ok(vec![
        int(rows.iter().map(|row| row.id)),
        text(rows.iter().map(|row| row.kind)),
        text(rows.iter().map(|_| &id)),
        text(rows.iter().map(|row| row.state)),
        text(rows.iter().map(|row| row.cause)),
        Arc::new(rows.iter().map(|row| row.progress).collect::<Float64Array>()),
        opt_time(rows.iter().map(|row| row.started_us)),
        opt_time(rows.iter().map(|row| row.ended_us)),
        opt_text(rows.iter().map(|row| row.error.as_deref())),
    ])
}

fn queries(rows: &[QueryInfo]) -> Vec<ArrayRef> {
    vec![
        text(rows.iter().map(|row| &row.query_id)),
        text(rows.iter().map(|row| &row.principal)),
        text(rows.iter().map(|row| row.interface.as_str())),
        text(rows.iter().map(|row| &row.sql)),
        text(rows.iter().map(|row| state(row.state))),
        opt_time(rows.iter().map(|row| Some(row.started_at_us))),
        float(rows.iter().map(|row| row.summary.planned_ms)),
        float(rows.iter().map(|row| row.summary.ran_ms)),
        float(rows.iter().map(|row| row.summary.cpu_ms)),
        int(rows.iter().map(|row| row.summary.rows_read_realtime)),
        int(rows.iter().map(|row| row.summary.rows_read_sealed)),
        int(rows.iter().map(|row| row.summary.files_pruned)),
        int(rows.iter().map(|row| row.summary.files_read)),
        int(rows.iter().map(|row| row.summary.rows_out)),
        int(rows.iter().map(|row| row.summary.bytes_out)),
        int(rows.iter().map(|row| row.summary.memory_peak)),
        int(rows.iter().map(|row| row.summary.spilled)),
        opt_int(rows.iter().map(|row| row.pinned_bytes.and_then(|bytes| i64::try_from(bytes).ok()))),
        opt_text(rows.iter().map(|row| row.error_code.as_deref())),
    ]
}

fn state(state: QueryState) -> &'static str {
    match state {
        QueryState::Planning => "planning",
        QueryState::Waiting => "waiting",
        QueryState::Running => "running",
        QueryState::Finished => "finished",
        QueryState::Failed => "failed",
        QueryState::Cancelled => "cancelled",
    }
}

fn settings(rows: &[crate::engine::SettingRow]) -> Vec<ArrayRef> {
    vec![
        text(rows.iter().map(|row| &row.name)),
        text(rows.iter().map(|row| &row.value)),
        text(rows.iter().map(|row| &row.origin)),
        text(rows.iter().map(|row| &row.default)),
        Arc::new(rows.iter().map(|row| Some(row.reloadable)).collect::<BooleanArray>()),
    ]
}

fn events(rows: &[crate::engine::EventRow]) -> Vec<ArrayRef> {
    vec![
        opt_time(rows.iter().map(|row| Some(row.at_us))),
        text(rows.iter().map(|row| &row.level)),
        text(rows.iter().map(|row| &row.kind)),
        opt_text(rows.iter().map(|row| row.table_id.as_deref())),
        opt_text(rows.iter().map(|row| row.principal.as_deref())),
        text(rows.iter().map(|row| &row.message)),
        text(rows.iter().map(|row| &row.details)),
    ]
}

fn metrics(exposition: &str, now_us: i64) -> Vec<ArrayRef> {
    let samples = prometheus::samples(exposition);
    let labels = samples.iter().map(|sample| {
        let labels = sample.labels.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        serde_json::Value::Object(labels.collect()).to_string()
    });
    vec![
        opt_time(samples.iter().map(|_| Some(now_us))),
        text(samples.iter().map(|sample| &sample.name)),
        text(labels),
        float(samples.iter().map(|sample| sample.value)),
    ]
}

pub(super) fn text<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn opt_text<T: AsRef<str>>(values: impl IntoIterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

/// Counts as BIGINT: every client reads it, and none of them comes near its end.
fn int(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.into_iter().map(|value| i64::try_from(value).unwrap_or(i64::MAX))))
}

fn opt_int(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn unsigned(values: impl IntoIterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<UInt64Array>())
}

fn float(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

pub(super) fn opt_time(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
