//! How is it going? Figures that producers and readers write and that the live view shows.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use tidewater_client::BatchResult;
use tokio::time::Instant;

/// What is shown live is of the last one to two of these.
const RECENT: Duration = Duration::from_secs(5);

/// The longest time that is told from longer ones.
const MAX_US: u64 = 600_000_000;

/// Times of the whole run, and of the last seconds.
pub(super) struct Timings {
    all: Histogram<u64>,
    last: Histogram<u64>,
    current: Histogram<u64>,
    turned: Instant,
}

/// Half of the times are at most the first, 99 of 100 at most the second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Quantiles {
    pub p50: Duration,
    pub p99: Duration,
    pub n: u64,
}

impl Timings {
    fn new() -> Result<Self> {
        let empty = Histogram::new_with_bounds(1, MAX_US, 3)?;
        Ok(Self { all: empty.clone(), last: empty.clone(), current: empty, turned: Instant::now() })
    }

    pub(super) fn record(&mut self, took: Duration) {
        self.turn();
        let us = u64::try_from(took.as_micros()).unwrap_or(MAX_US).max(1);
        self.all.saturating_record(us);
        self.current.saturating_record(us);
    }

    /// As [`Self::record`], of something that is looked at every `pace` unless it takes longer: what was not looked at meanwhile is counted
    /// with what it would have taken, or one long time would stand for all that it hid.
    pub(super) fn record_at_pace(&mut self, took: Duration, pace: Duration) {
        self.record(took);
        let mut hidden = took.saturating_sub(pace);
        while hidden >= pace {
            self.record(hidden);
            hidden -= pace;
        }
    }

    fn turn(&mut self) {
        if self.turned.elapsed() < RECENT {
            return;
        }
        // What nobody added to for so long is not recent, either.
        let is_old = self.turned.elapsed() >= 2 * RECENT;
        std::mem::swap(&mut self.last, &mut self.current);
        self.current.reset();
        if is_old {
            self.last.reset();
        }
        self.turned = Instant::now();
    }

    pub(super) fn all(&self) -> Quantiles {
        quantiles(&self.all)
    }

    pub(super) fn recent(&mut self) -> Quantiles {
        self.turn();
        let mut recent = self.last.clone();
        // Both have the same bounds; if they had not, the older half would be shown.
        let _ = recent.add(&self.current);
        quantiles(&recent)
    }
}

fn quantiles(times: &Histogram<u64>) -> Quantiles {
    let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile));
    Quantiles { p50: at(0.5), p99: at(0.99), n: times.len() }
}

/// What the server answered, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub received: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// Rows that the producers sent again by themselves because a connection broke.
    pub resent: u64,
    /// Rows of batches that were sent again on purpose, and that the server knew.
    pub repeated: u64,
}

impl Answered {
    pub(super) fn add(&mut self, result: &BatchResult, n_rows: u64) {
        self.received += result.received;
        self.accepted += result.accepted;
        self.duplicates += result.duplicates;
        self.rejected += result.rejected;
        if result.repeated {
            self.resent += n_rows;
        }
    }
}

/// Where the rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Halves {
    pub realtime: u64,
    pub built: u64,
    pub sealed: u64,
    /// `None` before the first seal.
    pub delta_version: Option<i64>,
}

/// A location, the number of its rows in the last minute, and its items with theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Busy {
    pub location: String,
    pub n_rows: u64,
    pub items: Vec<(String, u64)>,
}

pub(super) struct Figures {
    pub answered: Answered,
    /// From when a batch was due to its acknowledgement.
    pub acks: Timings,
    /// From when a row was due to the first answer that has it.
    pub freshness: Timings,
    /// Of one dashboard query.
    pub queries: Timings,
    pub halves: Halves,
    pub busiest: Vec<Busy>,
    pub memory_bytes: u64,
}

impl Figures {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            answered: Answered::default(),
            acks: Timings::new()?,
            freshness: Timings::new()?,
            queries: Timings::new()?,
            halves: Halves::default(),
            busiest: Vec::new(),
            memory_bytes: 0,
        })
    }
}
