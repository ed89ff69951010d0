//! Which metrics are there? Every one that the process exports, and no other: `docs/metrics.md` is this list.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for a restart.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A metric: its name (the unit stands last, before `_total`), what tells its series apart, and what it says.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

use Kind::{Counter, Gauge, Histogram};

/// All metrics, in the order of documentation.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("tidewater_build_info", Gauge, &["version", "commit", "disk_format"], "1; its labels say which program this is"),
    metric("tidewater_uptime_seconds", Gauge, &[], "time since the process began"),
    // Rows that come in.
    metric("tidewater_ingest_rows_total", Counter, &["table", "outcome"], "rows that were answered, ever: accepted, duplicate (the key was known), repeated (the batch was known) or rejected"),
    metric("tidewater_ingest_late_rows_total", Counter, &["table"], "those of the rejected rows whose event time is past max_lateness or retention"),
    metric("tidewater_ingest_future_rows_total", Counter, &["table"], "those of the rejected rows whose event time is past max_future"),
    metric("tidewater_ingest_bytes_total", Counter, &["table"], "decoded bytes of the accepted rows, ever"),
    metric("tidewater_ack_seconds", Histogram, &[], "from a decoded batch to its acknowledgement: cast, deduplicated, durable and visible; without the way to the client"),
    metric("tidewater_refused_batches_total", Counter, &["code"], "whole batches that a table refused, by the reason of the error"),
    metric("tidewater_log_write_seconds", Histogram, &[], "one write of the log with its sync"),
    metric("tidewater_log_group_bytes", Histogram, &[], "bytes of one write of the log"),
    // Tables.
    metric("tidewater_tables", Gauge, &[], "tables that there are"),
    metric("tidewater_table_rows", Gauge, &["table", "half"], "rows by where they are: realtime (memory and log), built (files that are not published), sealed (the Delta table)"),
    metric("tidewater_table_bytes", Gauge, &["table", "half"], "the same in bytes: memory, files on the local disk, files of the Delta table"),
    metric("tidewater_table_deleted_rows", Gauge, &["table"], "rows in files that DELETE hides until the files are merged"),
    metric("tidewater_table_sealed_files", Gauge, &["table"], "files of the Delta table"),
    metric("tidewater_table_damaged_files", Gauge, &["table"], "files that are not what was written, or missing: queries that need them fail, and other engines if they are of the Delta log"),
    metric("tidewater_table_healthy", Gauge, &["table"], "1: the table takes requests; 0: it does not (system.tables.health_reason)"),
    metric("tidewater_table_seal_lag_seconds", Gauge, &["table"], "how long the oldest row waits that the Delta table does not have; 0: it has all"),
    metric("tidewater_table_last_write_timestamp_seconds", Gauge, &["table"], "when rows last came, seconds since 1970; no series before the first"),
    metric("tidewater_table_watermark_timestamp_seconds", Gauge, &["table"], "event time through which all active producers have come, seconds since 1970; no series without producers in the last minute"),
    metric("tidewater_table_dedup_keys", Gauge, &["table"], "primary keys that are remembered"),
    metric("tidewater_table_dedup_bytes", Gauge, &["table"], "memory that they take"),
    // Storage.
    metric("tidewater_unpublished_bytes", Gauge, &[], "files that are built and not in their Delta table yet"),
    metric("tidewater_unpublished_limit_bytes", Gauge, &[], "beyond it rows are refused (storage.max_unpublished)"),
    metric("tidewater_damaged_files_total", Counter, &[], "files that were found damaged since the start"),
    metric("tidewater_expired_rows_total", Counter, &[], "rows that left because they were past their retention, since the start"),
    metric("tidewater_housekeeping_runs_total", Counter, &[], "hourly rounds of housekeeping since the start"),
    metric("tidewater_disk_free_bytes", Gauge, &[], "free on the file system of the data folder"),
    metric("tidewater_disk_floor_bytes", Gauge, &[], "below it rows are refused (storage.min_free)"),
    metric("tidewater_dedup_disk_bytes", Gauge, &[], "disk that primary keys take"),
    metric("tidewater_dedup_disk_limit_bytes", Gauge, &[], "disk that they may take (dedup.disk)"),
    metric("tidewater_pinned_bytes", Gauge, &[], "memory and files that only readers of older versions keep"),
    metric("tidewater_memory_limit_bytes", Gauge, &[], "memory.limit as it is in force"),
    metric("tidewater_memory_used_bytes", Gauge, &["share"], "memory that is held, by share of the limit"),
    metric("tidewater_memory_share_bytes", Gauge, &["share"], "memory that may be held, by share"),
    // Queries.
    metric("tidewater_queries_total", Counter, &["interface", "outcome"], "statements that ended; outcome is ok or the reason of the error"),
    metric("tidewater_query_seconds", Histogram, &["interface"], "from a statement's arrival to its end: its wait for its turn and for its reader are in it"),
    metric("tidewater_queries_running", Gauge, &[], "statements that are planned, wait or run"),
    metric("tidewater_queries_waiting", Gauge, &[], "those that wait for their turn"),
    metric("tidewater_flight_sessions", Gauge, &[], "sessions of Flight SQL that are open; those that nobody uses for half an hour are not"),
    metric("tidewater_prepared_statements", Gauge, &[], "statements that clients of Flight SQL have prepared and not closed; those of connections that have ended stay for a minute"),
    metric("tidewater_planned_queries", Gauge, &[], "queries of Flight SQL that wait to be fetched, for a minute at most"),
    // Requests.
    metric("tidewater_errors_total", Counter, &["code"], "errors that were answered on any interface, by their reason"),
    metric("tidewater_logins_failed_total", Counter, &["by"], "attempts that were not let in: by password, token, session, certificate, unreadable; limited: not looked at, too many wrong passwords before"),
    metric("tidewater_tls_certificate_expiry_timestamp_seconds", Gauge, &[], "with TLS: when the certificate ends, seconds since 1970"),
    // The process.
    metric("process_resident_memory_bytes", Gauge, &[], "memory of the process as the system counts it"),
    metric("process_cpu_seconds_total", Counter, &[], "processor time, user and system"),
    metric("process_threads", Gauge, &[], "threads"),
    metric("process_open_fds", Gauge, &[], "open files and connections"),
    metric("process_max_fds", Gauge, &[], "how many may be open"),
];
