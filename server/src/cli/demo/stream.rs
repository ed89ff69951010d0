//! Which rows does a camera platform send? An endless stream that is the same for the same seed and the same calls.
//!
//! A row is a function of its number and of when it came, so a duplicate of minutes ago needs no memory of rows: what is remembered
//! are the times of the calls. Pure: no clock, no I/O.

use std::collections::VecDeque;

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

use super::items::N_ITEMS;

/// Locations are numbered from 1.
pub const N_LOCATIONS: usize = 1_000;

/// Locations and items follow Zipf's law: the second is seen half as often as the first.
const EXPONENT: f64 = 1.0;

/// Parts of the stream.
const DUPLICATES: f64 = 0.05;
const LATE: f64 = 0.01;
const BAD_CLOCKS: f64 = 0.001;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// A duplicate comes so long after the first row of its key, evenly on a logarithmic scale.
const LAG_US: (i64, i64) = (SECOND_US / 1_000, 5 * MINUTE_US);
/// What is on time was detected at most so long ago.
const MAX_DELAY_US: i64 = SECOND_US / 4;
/// What is late was detected so long ago, evenly on a logarithmic scale.
const LATE_US: (i64, i64) = (MINUTE_US, 3 * DAY_US);
/// Clocks that are wrong are so far ahead: well past the hour that a table allows (`max_future`).
const AHEAD_US: (i64, i64) = (2 * HOUR_US, 3_650 * DAY_US);

/// Spread ranks over numbers: primes, which share no factor with the sizes.
const LOCATION_STEP: usize = 389;
const ITEM_STEP: usize = 617;
/// Each location has its own favourites.
const ITEM_SHIFT: usize = 37;

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Accepted.
    OnTime,
    /// Accepted; its event time is minutes to days ago.
    Late,
    /// The same row again: dropped.
    Duplicate,
    /// Its event time is hours to years ahead: rejected.
    BadClock,
}

/// A detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The primary key.
    pub key: i64,
    /// From 1 to [`N_LOCATIONS`].
    pub location: u16,
    /// Unique over all locations.
    pub camera: u32,
    /// See [`super::Items::name`].
    pub item: u16,
    /// Event time, µs since 1970.
    pub detected_us: i64,
    pub kind: Kind,
}

/// An endless, reproducible stream of detections.
pub struct Stream {
    seed: u64,
    locations: Zipf<f64>,
    items: Zipf<f64>,
    n_rows: u64,
    /// The calls of the last minutes, as far back as duplicates reach.
    spans: VecDeque<Span>,
}

/// The rows of one call: they came evenly between the call before it and this one.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u64,
    n: u64,
    from_us: i64,
    to_us: i64,
}

impl Span {
    fn end(&self) -> u64 {
        self.first + self.n
    }

    /// When a row came.
    fn came_us(&self, number: u64) -> i64 {
        let part = (number - self.first + 1) as f64 / self.n as f64;
        self.from_us + ((self.to_us - self.from_us) as f64 * part) as i64
    }

    /// The row that came at this time, or the nearest.
    fn row_at(&self, us: i64) -> u64 {
        let part = (us - self.from_us) as f64 / (self.to_us - self.from_us).max(1) as f64;
        self.first + ((part.clamp(0.0, 1.0) * self.n as f64) as u64).min(self.n - 1)
    }
}

impl Stream {
    pub fn new(seed: u64) -> Result<Self> {
        Ok(Self {
            seed,
            locations: Zipf::new(N_LOCATIONS as f64, EXPONENT)?,
            items: Zipf::new(N_ITEMS as f64, EXPONENT)?,
            n_rows: 0,
            spans: VecDeque::new(),
        })
    }

    /// The next `n` rows, which came since the call before. A clock that goes back stands still here.
    pub fn rows(&mut self, n: usize, now_us: i64) -> Vec<Row> {
        if n == 0 {
            return Vec::new();
        }
        let from_us = self.spans.back().map_or(now_us, |span| span.to_us);
        let span = Span { first: self.n_rows, n: n as u64, from_us, to_us: now_us.max(from_us) };
        self.n_rows = span.end();
        self.spans.push_back(span);
        while self.spans.front().is_some_and(|oldest| oldest.to_us < span.from_us - LAG_US.1) {
            self.spans.pop_front();
        }
        (span.first..span.end()).map(|number| self.row(number, span)).collect()
    }

    fn rng(&self, number: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed.rotate_left(32) ^ number)
    }

    fn row(&self, number: u64, span: Span) -> Row {
        let mut rng = self.rng(number);
        if draw_kind(&mut rng) == Kind::Duplicate
            && let Some((original, span)) = self.earlier(number, span.came_us(number), &mut rng)
        {
            return Row { kind: Kind::Duplicate, ..self.original(original, span) };
        }
        self.original(number, span)
    }

    /// A row that was accepted before this one, about as long ago as the lag that is drawn.
    fn earlier(&self, number: u64, came_us: i64, rng: &mut SmallRng) -> Option<(u64, Span)> {
        let oldest = self.spans.front()?;
        let longest = LAG_US.1.min(came_us - oldest.from_us);
        let target_us = came_us - log_uniform(rng, (LAG_US.0, longest));
        let at = self.spans.partition_point(|span| span.to_us < target_us);
        let aimed = self.spans.get(at)?.row_at(target_us).min(number.checked_sub(1)?);
        let mut nearest = (oldest.first..=aimed).rev().chain(aimed + 1..number);
        let original = nearest.find(|number| is_first(draw_kind(&mut self.rng(*number))))?;
        let at = self.spans.partition_point(|span| span.end() <= original);
        Some((original, *self.spans.get(at)?))
    }

    /// The row of this number, which is no duplicate: what was to be one and has nothing before it is on time.
    fn original(&self, number: u64, span: Span) -> Row {
        let mut rng = self.rng(number);
        let kind = match draw_kind(&mut rng) {
            Kind::Duplicate => Kind::OnTime,
            kind => kind,
        };
        let location = (rank(self.locations.sample(&mut rng), N_LOCATIONS) * LOCATION_STEP) % N_LOCATIONS;
        let item = (rank(self.items.sample(&mut rng), N_ITEMS) * ITEM_STEP + location * ITEM_SHIFT) % N_ITEMS;
        let n_cameras = 4 + location % 13;
        let camera = (location + 1) * 100 + rng.random_range(0..n_cameras);
        let came_us = span.came_us(number);
        let detected_us = match kind {
            Kind::Late => came_us - log_uniform(&mut rng, LATE_US),
            Kind::BadClock => came_us + log_uniform(&mut rng, AHEAD_US),
            Kind::OnTime | Kind::Duplicate => came_us - rng.random_range(0..MAX_DELAY_US),
        };
        Row {
            key: number as i64 + 1,
            location: location as u16 + 1,
            camera: camera as u32,
            item: item as u16,
            detected_us,
            kind,
        }
    }
}

/// The first thing that is drawn of a row.
fn draw_kind(rng: &mut SmallRng) -> Kind {
    let share = rng.random::<f64>();
    if share < DUPLICATES {
        Kind::Duplicate
    } else if share < DUPLICATES + LATE {
        Kind::Late
    } else if share < DUPLICATES + LATE + BAD_CLOCKS {
        Kind::BadClock
    } else {
        Kind::OnTime
    }
}

/// Whether a row of this kind claims its key.
fn is_first(kind: Kind) -> bool {
    matches!(kind, Kind::OnTime | Kind::Late)
}

/// From 0.
fn rank(sample: f64, n: usize) -> usize {
    (sample as usize).clamp(1, n) - 1
}

/// Between the bounds, evenly on a logarithmic scale; the lower one if there is nothing between them.
fn log_uniform(rng: &mut SmallRng, (low, high): (i64, i64)) -> i64 {
    let span = (high.max(low) as f64 / low as f64).ln();
    (low as f64 * (rng.random::<f64>() * span).exp()) as i64
}
