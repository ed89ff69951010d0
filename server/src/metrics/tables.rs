//! How are the tables doing, as numbers? Looked up when somebody asks, so that a table that is dropped leaves no series behind.

use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::Mutex;
use tidewater_storage::admission::ledger::Counts;
use tidewater_storage::ids::TableId;
use tidewater_storage::{Table, TableStats};

use super::text::Text;

/// A figure of a table.
type Of<T, V = u64> = fn(&T) -> V;

/// More tables than this have no series of their own: a server with ten thousand must not make a Prometheus hold a quarter of a million. Those
/// that were made last are summed under [`OTHERS`].
pub(super) const MAX_TABLES: usize = 1_000;

/// No table has this name: it has no schema.
const OTHERS: &str = "(others)";

/// The counters of [`OTHERS`], for the life of the process, as those of the recorder.
static COUNTED: LazyLock<Mutex<Others>> = LazyLock::new(Mutex::default);

const US_PER_S: f64 = 1e6;

/// One table, or the sum of many.
struct Seen {
    name: String,
    counts: Counts,
    stats: TableStats,
}

/// Returns the bytes of all files that are built and not published.
pub(super) fn write(text: &mut Text, mut tables: Vec<Table>, now_us: i64) -> u64 {
    text.single("tidewater_tables", tables.len());
    // Whoever has a series of its own keeps it while newer tables come.
    if tables.len() > MAX_TABLES {
        tables.sort_by_key(|table| (table.def().created_at_us, table.def().id));
    }
    let mut seen: Vec<Seen> = tables.iter().take(MAX_TABLES).map(Seen::of).collect();
    let others = tables.get(MAX_TABLES..).unwrap_or_default();
    if let Some(sum) = others.iter().map(Seen::of).reduce(Seen::and) {
        let of_each = others.iter().map(|table| (table.def().id, table.def().created_at_us, table.counts()));
        seen.push(Seen { counts: COUNTED.lock().count(of_each, now_us), ..sum });
    }
    outcomes(text, &seen);
    let counters: [(&str, Of<Counts>); 3] = [
        ("tidewater_ingest_late_rows_total", |counts| counts.late),
        ("tidewater_ingest_future_rows_total", |counts| counts.future),
        ("tidewater_ingest_bytes_total", |counts| counts.bytes),
    ];
    for (name, value) in counters {
        each(text, name, &seen, |table| Some(value(&table.counts) as f64));
    }
    halves(text, &seen);
    let gauges: [(&str, Of<TableStats>); 6] = [
        ("tidewater_table_deleted_rows", |stats| stats.deleted_rows),
        ("tidewater_table_sealed_files", |stats| stats.sealed_files),
        ("tidewater_table_damaged_files", |stats| stats.damaged_files),
        ("tidewater_table_healthy", |stats| u64::from(stats.healthy)),
        ("tidewater_table_dedup_keys", |stats| stats.dedup_keys),
        ("tidewater_table_dedup_bytes", |stats| stats.dedup_bytes),
    ];
    for (name, value) in gauges {
        each(text, name, &seen, |table| Some(value(&table.stats) as f64));
    }
    each(text, "tidewater_table_seal_lag_seconds", &seen, |table| {
        let waits_us = table.stats.unsealed_since_us.map_or(0, |since_us| now_us.saturating_sub(since_us).max(0));
        Some(waits_us as f64 / US_PER_S)
    });
    let seconds = |at_us: Option<i64>| at_us.map(|at_us| at_us as f64 / US_PER_S);
    each(text, "tidewater_table_last_write_timestamp_seconds", &seen, |table| seconds(table.stats.last_write_us));
    each(text, "tidewater_table_watermark_timestamp_seconds", &seen, |table| seconds(table.stats.watermark_us));
    seen.iter().map(|table| table.stats.unpublished_bytes).sum()
}

fn outcomes(text: &mut Text, seen: &[Seen]) {
    const NAME: &str = "tidewater_ingest_rows_total";
    text.begin(NAME);
    for Seen { name, counts, .. } in seen {
        for (outcome, n) in [
            ("accepted", counts.accepted),
            ("duplicate", counts.duplicate),
            ("repeated", counts.repeated),
            ("rejected", counts.rejected),
        ] {
            text.sample(NAME, &[("table", name.as_str()), ("outcome", outcome)], n);
        }
    }
}

fn halves(text: &mut Text, seen: &[Seen]) {
    let figures: [(&str, Of<TableStats, [u64; 3]>); 2] = [
        ("tidewater_table_rows", |stats| [stats.realtime_rows, stats.built_rows, stats.sealed_rows]),
        ("tidewater_table_bytes", |stats| [stats.realtime_bytes, stats.unpublished_bytes, stats.sealed_bytes]),
    ];
    for (name, values) in figures {
        text.begin(name);
        for table in seen {
            for (half, value) in ["realtime", "built", "sealed"].into_iter().zip(values(&table.stats)) {
                text.sample(name, &[("table", table.name.as_str()), ("half", half)], value);
            }
        }
    }
}

fn each(text: &mut Text, name: &str, seen: &[Seen], value: impl Fn(&Seen) -> Option<f64>) {
    text.begin(name);
    for table in seen {
        if let Some(value) = value(table) {
            text.sample(name, &[("table", table.name.as_str())], value);
        }
    }
}

/// What came to the tables without series of their own since the first look. A sum of what they have would go back whenever one is dropped,
/// or gets a series of its own, and whoever reads counters takes that for a restart, and all that is left for new.
#[derive(Debug, Default)]
pub(super) struct Others {
    total: Counts,
    /// At the last look.
    counts: HashMap<TableId, Counts>,
    looked_us: Option<i64>,
}

impl Others {
    /// `tables`: each with when it was made and what it counts. One that was there before it was first seen here counts from now on.
    pub(super) fn count(&mut self, tables: impl Iterator<Item = (TableId, i64, Counts)>, now_us: i64) -> Counts {
        let mut counts = HashMap::new();
        for (id, created_at_us, now) in tables {
            let is_new = self.looked_us.is_some_and(|looked_us| created_at_us >= looked_us);
            let unseen = if is_new { Counts::default() } else { now };
            self.total += &growth(&now, self.counts.get(&id).unwrap_or(&unseen));
            counts.insert(id, now);
        }
        self.counts = counts;
        self.looked_us = Some(now_us);
        self.total
    }
}

fn growth(now: &Counts, before: &Counts) -> Counts {
    let of = |count: fn(&Counts) -> u64| count(now).saturating_sub(count(before));
    Counts {
        received: of(|counts| counts.received),
        accepted: of(|counts| counts.accepted),
        duplicate: of(|counts| counts.duplicate),
        repeated: of(|counts| counts.repeated),
        rejected: of(|counts| counts.rejected),
        late: of(|counts| counts.late),
        future: of(|counts| counts.future),
        bytes: of(|counts| counts.bytes),
    }
}

impl Seen {
    fn of(table: &Table) -> Self {
        let def = table.def();
        Self { name: format!("{}.{}", def.schema_name, def.name), counts: table.counts(), stats: table.stats() }
    }

    /// Both as one: sums, and the worse of each. Counters: [`Others`].
    fn and(self, other: Self) -> Self {
        let (one, two) = (self.stats, other.stats);
        let earlier = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        Self {
            name: OTHERS.to_owned(),
            counts: Counts::default(),
            stats: TableStats {
                realtime_rows: one.realtime_rows + two.realtime_rows,
                realtime_bytes: one.realtime_bytes + two.realtime_bytes,
                built_rows: one.built_rows + two.built_rows,
                unpublished_bytes: one.unpublished_bytes + two.unpublished_bytes,
                sealed_rows: one.sealed_rows + two.sealed_rows,
                sealed_bytes: one.sealed_bytes + two.sealed_bytes,
                sealed_files: one.sealed_files + two.sealed_files,
                deleted_rows: one.deleted_rows + two.deleted_rows,
                damaged_files: one.damaged_files + two.damaged_files,
                dedup_keys: one.dedup_keys + two.dedup_keys,
                dedup_bytes: one.dedup_bytes + two.dedup_bytes,
                healthy: one.healthy && two.healthy,
                unsealed_since_us: earlier(one.unsealed_since_us, two.unsealed_since_us),
                watermark_us: earlier(one.watermark_us, two.watermark_us),
                last_write_us: one.last_write_us.max(two.last_write_us),
                ..one
            },
        }
    }
}
