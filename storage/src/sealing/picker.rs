//! Which tables are built or published now? Pure: figures in, choices out.

use std::time::Duration;

use crate::catalog::SealOptions;
use crate::table::EPOCHS_A_WINDOW;

/// Publishes of one table are at least this far apart, unless somebody asks: a commit is a file of the log for ever.
pub(crate) const PUBLISH_INTERVAL: Duration = Duration::from_secs(15);

/// Rows are built as soon as this part of the memory for them is taken: those that come while a build runs need the rest.
const PRESSURE_PERCENT: u64 = 50;

/// Statements that collect, what is decoded and what waits have the same memory, and so have rows that only readers hold: no build gives that
/// back. With less than this part of it in tables a build would make a small file, and change nothing.
const PRESSURE_LEAST_DIVISOR: u64 = 8;

/// Why something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Rows,
    Entries,
    Bytes,
    Age,
    Keys,
    Pressure,
    Request,
    Interval,
}

impl Cause {
    /// For `system.jobs`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cause::Rows => "rows",
            Cause::Entries => "entries",
            Cause::Bytes => "bytes",
            Cause::Age => "age",
            Cause::Keys => "keys",
            Cause::Pressure => "memory_pressure",
            Cause::Request => "request",
            Cause::Interval => "interval",
        }
    }
}

/// What is known of a table.
#[derive(Debug, Clone)]
pub(crate) struct OpenTable {
    /// Not in files yet.
    pub(crate) rows: u64,
    /// Decoded.
    pub(crate) bytes: u64,
    /// When the oldest of them came, microseconds.
    pub(crate) oldest_us: Option<i64>,
    /// That stand in the log and are replayed at a start, those without rows among them: duplicates, new epochs, deletes.
    pub(crate) entries: u64,
    /// When the first of these had come at the latest, microseconds.
    pub(crate) open_since_us: Option<i64>,
    pub(crate) seal: SealOptions,
    /// `None`: keys are remembered for ever.
    pub(crate) dedup_window_us: Option<i64>,
    /// Memory for keys is nearly used up, and only a build lets some of them go to disk.
    pub(crate) wants_build: bool,
    pub(crate) is_building: bool,
    /// Its last build failed a moment ago.
    pub(crate) waits_to_build: bool,
    pub(crate) is_publishing: bool,
    /// Something is built that Delta's log does not say.
    pub(crate) is_unpublished: bool,
    /// Entries that are no rows stand in the log and must be published: deletes, a TRUNCATE, an ALTER.
    pub(crate) has_changes: bool,
    /// Uptime when the last publish began; `None`: there was none in this process.
    pub(crate) last_publish: Option<Duration>,
}

/// Places in `tables` that are to be built, with the reason. `used` of `share` bytes are held by rows: of all tables, on their way, and what
/// readers keep beyond their own memory.
pub(crate) fn pick_builds(tables: &[OpenTable], now_us: i64, used: u64, share: u64) -> Vec<(usize, Cause)> {
    let free = || tables.iter().enumerate().filter(|(_, table)| !table.is_building && !table.waits_to_build);
    let mut picked: Vec<(usize, Cause)> = free().filter_map(|(at, table)| Some((at, due(table, now_us)?))).collect();
    let gives_back: u64 = free().map(|(_, table)| table.bytes).sum();
    let is_pressed = used.saturating_mul(100) >= share.saturating_mul(PRESSURE_PERCENT)
        && gives_back >= share / PRESSURE_LEAST_DIVISOR;
    if is_pressed && picked.is_empty() && !tables.iter().any(|table| table.is_building) {
        let largest = free().filter(|(_, table)| table.rows > 0).max_by_key(|(_, table)| table.bytes);
        picked.extend(largest.map(|(at, _)| (at, Cause::Pressure)));
    }
    picked
}

fn due(table: &OpenTable, now_us: i64) -> Option<Cause> {
    if table.entries == 0 {
        return None;
    }
    // Keys are forgotten once they are in files, an eighth of the window at a time.
    let after_us = table.dedup_window_us.map_or(i64::MAX, |window| window / EPOCHS_A_WINDOW).min(table.seal.after_us);
    let is_old = |since: Option<i64>| since.is_some_and(|since| now_us.saturating_sub(since) >= after_us);
    if table.rows >= table.seal.after_rows {
        Some(Cause::Rows)
    } else if table.entries >= table.seal.after_rows {
        // Nothing but a build takes them out of the log, where a start has to read them.
        Some(Cause::Entries)
    } else if table.bytes >= table.seal.after_bytes {
        Some(Cause::Bytes)
    } else if is_old(table.oldest_us) || is_old(table.open_since_us) {
        Some(Cause::Age)
    } else if table.rows == 0 {
        table.has_changes.then_some(Cause::Interval)
    } else {
        table.wants_build.then_some(Cause::Keys)
    }
}

/// Places in `tables` that are to be published. `uptime` is now.
pub(crate) fn pick_publishes(tables: &[OpenTable], uptime: Duration) -> Vec<usize> {
    let is_due = |table: &OpenTable| {
        let waited = table.last_publish.is_none_or(|last| uptime.saturating_sub(last) >= PUBLISH_INTERVAL);
        table.is_unpublished && !table.is_publishing && waited
    };
    tables.iter().enumerate().filter(|(_, table)| is_due(table)).map(|(at, _)| at).collect()
}
