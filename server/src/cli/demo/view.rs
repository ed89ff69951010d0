//! How does a running demo look? A block of lines for a terminal, one line for a log. Pure: figures in, text out.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};

use super::figures::{Answered, Busy, Halves, Quantiles};
use crate::cli::terminal::plural;

/// What is shown of a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// Its URL.
    pub console: String,
    pub elapsed: Duration,
    /// Rows a second that were answered, of the last seconds.
    pub rate: u64,
    pub answered: Answered,
    pub late: u64,
    pub acks: Quantiles,
    pub freshness: Quantiles,
    pub queries: Quantiles,
    pub halves: Halves,
    pub busiest: Vec<Busy>,
    pub memory_bytes: u64,
}

/// A column of the busiest locations has so many characters; narrower terminals show one below the other.
const COLUMN: usize = 30;
const GAP: usize = 2;

/// The block for a terminal of so many columns. Lines may be longer: they are cut when they are drawn.
pub(super) fn block(now: &Snapshot, columns: usize) -> Vec<String> {
    let answered = &now.answered;
    let halves = &now.halves;
    let version = halves.delta_version.map_or_else(|| "none yet".to_owned(), |version| version.to_string());
    let mut lines = vec![
        // What was said at the start has scrolled away on a low terminal.
        format!("{}   Ctrl-C ends it   console {}", clock(now.elapsed), now.console),
        String::new(),
        format!(
            "ingest    {} rows/s   {} received   {} accepted",
            HumanCount(now.rate),
            HumanCount(answered.received),
            HumanCount(answered.accepted)
        ),
        format!(
            "dropped   {} duplicates   {} rejected (clock ahead)   {} repeated",
            HumanCount(answered.duplicates),
            HumanCount(answered.rejected),
            HumanCount(answered.repeated)
        ),
        format!("late      {} sent, detected minutes to days ago", HumanCount(now.late)),
        format!("ack       {}", quantiles(now.acks)),
        format!("visible   {}   from when a row was due to the first answer that has it", quantiles(now.freshness)),
        format!("query     {}", quantiles(now.queries)),
        format!(
            "rows      {} realtime   {} built   {} sealed   Delta version {version}",
            HumanCount(halves.realtime),
            HumanCount(halves.built),
            HumanCount(halves.sealed)
        ),
        format!("memory    {}, with what sends and asks", HumanBytes(now.memory_bytes)),
        String::new(),
        "Last minute: the busiest locations, and what was seen there most often".to_owned(),
    ];
    let blocks: Vec<Vec<String>> = now.busiest.iter().map(location).collect();
    if columns >= blocks.len() * (COLUMN + GAP) {
        lines.extend(beside(&blocks));
    } else {
        lines.extend(blocks.into_iter().flatten());
    }
    lines
}

/// One line, for where no block can be drawn.
pub(super) fn line(now: &Snapshot) -> String {
    let Snapshot { answered, halves, .. } = now;
    let version = halves.delta_version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    let top = now.busiest.first().map_or_else(String::new, |busy| {
        let item = |(item, n): &(String, u64)| format!(", {} {}", HumanCount(*n), short(item));
        let item = busy.items.first().map_or_else(String::new, item);
        format!("; location {}: {} in the last minute{item}", busy.location, rows(busy))
    });
    format!(
        "{}  {} rows/s, ack {}, visible {}, query {}; {} duplicates dropped, {} rejected, {} repeated, {} late; \
         {} realtime, {} built, {} sealed, Delta version {version}; {}{top}",
        clock(now.elapsed),
        HumanCount(now.rate),
        quantiles(now.acks),
        quantiles(now.freshness),
        quantiles(now.queries),
        HumanCount(answered.duplicates),
        HumanCount(answered.rejected),
        HumanCount(answered.repeated),
        HumanCount(now.late),
        HumanCount(halves.realtime),
        HumanCount(halves.built),
        HumanCount(halves.sealed),
        HumanBytes(now.memory_bytes)
    )
}

/// Median and the 99th of 100, in milliseconds.
pub(super) fn quantiles(times: Quantiles) -> String {
    match times.n {
        0 => "p50 - p99 -".to_owned(),
        _ => format!("p50 {} p99 {}", milliseconds(times.p50), milliseconds(times.p99)),
    }
}

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn clock(elapsed: Duration) -> String {
    let s = elapsed.as_secs();
    if s < 3_600 {
        format!("{:02}:{:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
    }
}

/// What begins a name of 5,000 bytes says which it is.
fn short(item: &str) -> &str {
    item.split(',').next().unwrap_or(item)
}

fn rows(busy: &Busy) -> String {
    format!("{} {}", HumanCount(busy.n_rows), plural(busy.n_rows, "row", "rows"))
}

fn location(busy: &Busy) -> Vec<String> {
    let head = format!("location {}: {}", busy.location, rows(busy));
    let items = busy.items.iter().map(|(item, n)| format!("{:>8} {}", HumanCount(*n).to_string(), short(item)));
    std::iter::once(head).chain(items).collect()
}

fn beside(blocks: &[Vec<String>]) -> Vec<String> {
    let height = blocks.iter().map(Vec::len).max().unwrap_or_default();
    let cell = |block: &Vec<String>, row: usize| {
        let text: String = block.get(row).map_or("", String::as_str).chars().take(COLUMN).collect();
        format!("{text:<width$}", width = COLUMN + GAP)
    };
    let line = |row: usize| blocks.iter().map(|block| cell(block, row)).collect::<String>();
    (0..height).map(|row| line(row).trim_end().to_owned()).collect()
}
