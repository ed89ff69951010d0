//! What came of a workload? Figures, the marks they are held against, and where the time went.

use serde_json::{Map, Value, json};

use crate::server::CpuByThread;
use crate::yardsticks::{Quantiles, Yardsticks};

/// Rows per CPU second of the server that are to be acknowledged with fsync.
const MARK_ROWS_PER_CPU_S: f64 = 600_000.0;
/// A row is to be visible within so many p99 of fdatasync, and this many milliseconds more.
const MARK_FRESHNESS: (f64, f64) = (4.0, 20.0);

/// What a workload measured.
pub struct Outcome {
    pub rows: u64,
    pub wall_s: f64,
    pub server_cpu_s: f64,
    pub cpu_by_thread: CpuByThread,
    /// From when a batch was due to its acknowledgement; only of paced workloads.
    pub ack: Option<Quantiles>,
    /// From when a batch was due to the first answer that has its row.
    pub freshness: Option<Quantiles>,
    pub memory_limit: u64,
    /// Seconds in the log's writes and syncs, and how many there were.
    pub log_writes: (f64, u64),
}

/// Prints one workload as one line. `peak` is the server's largest resident set, in bytes.
pub fn print(name: &str, outcome: &Outcome, (before, after): (&Yardsticks, &Yardsticks), peak: u64) {
    let mut marks = Map::new();
    let rows_per_cpu_s = outcome.rows as f64 / outcome.server_cpu_s;
    if outcome.ack.is_none() {
        let met = rows_per_cpu_s >= MARK_ROWS_PER_CPU_S;
        marks.insert("rows_per_server_cpu_s".into(), json!({ "mark": MARK_ROWS_PER_CPU_S, "met": met }));
    }
    if let Some(freshness) = &outcome.freshness {
        // The sync that the machine can do is the better of the two, so that a disturbed yardstick excuses nothing.
        let fdatasync_p99_ms = before.fdatasync.p99_ms.min(after.fdatasync.p99_ms);
        let mark = MARK_FRESHNESS.0 * fdatasync_p99_ms + MARK_FRESHNESS.1;
        marks.insert("freshness_p99_ms".into(), json!({ "mark": mark, "met": freshness.p99_ms <= mark }));
    }
    let met = peak <= outcome.memory_limit;
    marks.insert("rss_peak_bytes".into(), json!({ "mark": outcome.memory_limit, "met": met }));
    let (log_s, n_log) = outcome.log_writes;
    let report: Value = json!({
        "workload": name,
        "rows": outcome.rows,
        "wall_s": outcome.wall_s,
        "rows_per_s": outcome.rows as f64 / outcome.wall_s,
        "server_cpu_s": outcome.server_cpu_s,
        "rows_per_server_cpu_s": rows_per_cpu_s,
        "server_cpu_s_by_thread": outcome.cpu_by_thread,
        "log_writes": { "n": n_log, "mean_ms": if n_log > 0 { log_s * 1e3 / n_log as f64 } else { 0.0 } },
        "ack": outcome.ack,
        "freshness": outcome.freshness,
        "rss_peak_bytes": peak,
        "marks": marks,
        "yardsticks": { "before": before, "after": after },
    });
    #[expect(clippy::print_stdout, reason = "the report is this program's output")]
    {
        println!("{report}");
    }
}
