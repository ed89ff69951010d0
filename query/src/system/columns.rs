//! Which columns do system tables have? The contract of console, command line and benches.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Names of all system tables, sorted.
pub const TABLE_NAMES: [&str; 13] = [
    "columns",
    "events",
    "jobs",
    "ledger",
    "metrics",
    "producers",
    "queries",
    "rejected",
    "segments",
    "settings",
    "tables",
    "tokens",
    "users",
];

/// Whether only admins of the server read this system table, because it is about everybody's tables and callers. Of the others each caller
/// reads the rows about what they see.
pub fn is_admin_table(name: &str) -> bool {
    matches!(name, "events" | "metrics" | "settings" | "users")
}

/// Types of system columns.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Int,
    /// Numbers that clients choose and that may pass 2^63.
    Unsigned,
    Float,
    Bool,
    /// An instant, microseconds, UTC.
    Time,
}

use Kind::{Bool, Float, Int, Text, Time, Unsigned};

type Column = (&'static str, Kind, bool);

/// A column that always has a value.
const fn full(name: &'static str, kind: Kind) -> Column {
    (name, kind, false)
}

/// A column that is NULL where there is nothing to say.
const fn some(name: &'static str, kind: Kind) -> Column {
    (name, kind, true)
}

const TABLES: &[Column] = &[
    full("id", Text),
    full("schema", Text),
    full("name", Text),
    some("location", Text),
    some("key_columns", Text),
    some("time_column", Text),
    some("sort_by", Text),
    full("options", Text),
    full("realtime_rows", Int),
    full("built_rows", Int),
    full("sealed_rows", Int),
    full("deleted_rows", Int),
    full("sealed_files", Int),
    full("realtime_bytes", Int),
    full("sealed_bytes", Int),
    full("commit_seq", Int),
    some("delta_version", Int),
    some("watermark", Time),
    some("last_write_at", Time),
    some("last_seal_at", Time),
    full("dedup_class", Text),
    full("dedup_keys", Int),
    full("dedup_bytes", Int),
    full("health", Text),
    some("health_reason", Text),
];

const COLUMNS: &[Column] = &[
    full("table_id", Text),
    full("name", Text),
    full("position", Int),
    full("sql_type", Text),
    full("arrow_type", Text),
    full("delta_type", Text),
    full("nullable", Bool),
    some("default", Text),
    some("comment", Text),
];

const SEGMENTS: &[Column] = &[
    full("table_id", Text),
    full("id", Text),
    full("kind", Text),
    some("path", Text),
    some("min_time", Time),
    some("max_time", Time),
    some("min_seq", Int),
    some("max_seq", Int),
    full("rows", Int),
    full("deleted", Int),
    full("bytes", Int),
    some("checksum", Text),
    some("delta_version", Int),
    some("created_at", Time),
    some("damage", Text),
    some("damaged_at", Time),
];

const PRODUCERS: &[Column] = &[
    full("table_id", Text),
    full("producer", Text),
    full("epoch", Unsigned),
    full("last_sequence", Unsigned),
    full("last_commit_seq", Int),
    full("last_seen_at", Time),
    full("rows", Int),
    full("duplicates", Int),
    full("repeated", Int),
    full("rejected", Int),
    full("principal", Text),
];

const LEDGER: &[Column] = &[
    full("table_id", Text),
    full("producer", Text),
    full("minute", Time),
    full("received", Int),
    full("accepted", Int),
    full("duplicate", Int),
    full("repeated", Int),
    full("rejected", Int),
    full("late", Int),
    full("future", Int),
    full("bytes", Int),
];

const REJECTED: &[Column] = &[
    full("table_id", Text),
    some("producer", Text),
    some("sequence", Unsigned),
    full("row", Int),
    some("column", Text),
    full("code", Text),
    full("message", Text),
    full("payload", Text),
    full("received_at", Time),
    full("expires_at", Time),
];

const QUERIES: &[Column] = &[
    full("query_id", Text),
    full("principal", Text),
    full("interface", Text),
    full("sql", Text),
    full("state", Text),
    full("started_at", Time),
    full("planned_ms", Float),
    full("ran_ms", Float),
    full("cpu_ms", Float),
    full("rows_read_realtime", Int),
    full("rows_read_sealed", Int),
    full("files_pruned", Int),
    full("files_read", Int),
    full("rows_out", Int),
    full("bytes_out", Int),
    full("memory_peak", Int),
    full("spilled", Int),
    some("pinned_bytes", Int),
    some("error_code", Text),
];

const JOBS: &[Column] = &[
    full("id", Int),
    full("kind", Text),
    full("table_id", Text),
    full("state", Text),
    full("cause", Text),
    some("progress", Float),
    some("started_at", Time),
    some("ended_at", Time),
    some("error", Text),
];

const SETTINGS: &[Column] =
    &[full("name", Text), full("value", Text), full("origin", Text), full("default", Text), full("reloadable", Bool)];

const METRICS: &[Column] = &[full("at", Time), full("name", Text), full("labels", Text), full("value", Float)];

const EVENTS: &[Column] = &[
    full("at", Time),
    full("level", Text),
    full("kind", Text),
    some("table_id", Text),
    some("principal", Text),
    full("message", Text),
    full("details", Text),
];

/// Nothing of a secret, its hash neither.
const TOKENS: &[Column] = &[
    full("id", Text),
    full("user_name", Text),
    full("label", Text),
    full("grants", Text),
    full("created_at", Time),
    some("expires_at", Time),
];

const USERS: &[Column] = &[
    full("name", Text),
    full("grants", Text),
    full("disabled", Bool),
    full("created_at", Time),
    full("changed_at", Time),
];

/// Schemas in the order of [`TABLE_NAMES`].
static SCHEMAS: LazyLock<[SchemaRef; TABLE_NAMES.len()]> = LazyLock::new(|| {
    [COLUMNS, EVENTS, JOBS, LEDGER, METRICS, PRODUCERS, QUERIES, REJECTED, SEGMENTS, SETTINGS, TABLES, TOKENS, USERS]
        .map(schema_of)
});

/// The schema of a system table.
pub(super) fn schema(name: &str) -> Option<SchemaRef> {
    let at = TABLE_NAMES.iter().position(|&table| table == name)?;
    Some(Arc::clone(&SCHEMAS[at]))
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    let field = |&(name, kind, nullable): &Column| Field::new(name, data_type(kind), nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Text => DataType::Utf8,
        Int => DataType::Int64,
        Unsigned => DataType::UInt64,
        Float => DataType::Float64,
        Bool => DataType::Boolean,
        Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}
