//! What must the server have? Counts of what was sent, by a few additions a row. Pure: no clock, no I/O.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::stream::{Kind, N_LOCATIONS, Row};

/// Windows are exact so far back, in seconds of event time before the newest accepted row: 4 bytes a row.
pub const KEPT_S: i64 = 600;

/// Sums of values are those of what is left when they are divided by this prime: they stay small, and every digit counts.
pub const MODULUS: i64 = 1_000_003;

/// Whole seconds of event time, since 1970: from the first to before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from_s: i64,
    pub to_s: i64,
}

/// Rows of one producer that were sent, each batch once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub rows: u64,
    /// Rows of batches that were sent once more under their old number: they come on top.
    pub repeated: u64,
    pub rejected: u64,
}

/// What was sent. `received = accepted + duplicates + rejected`; repeats are counted apart.
#[derive(Debug, Clone)]
pub struct Oracle {
    pub received: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// Of those accepted.
    pub late: u64,
    pub repeated: u64,
    /// Of keys, cameras and event times (µs) of accepted rows, by [`MODULUS`].
    pub sums: [u64; 3],
    producers: Vec<Sent>,
    /// Accepted rows; the index is the location's number.
    by_location: Vec<u64>,
    /// Location and item of accepted rows by the second of their event time, as far back as windows reach.
    seconds: BTreeMap<i64, Vec<(u16, u16)>>,
    /// The first and the last second of rows that are on time.
    on_time_s: Option<(i64, i64)>,
}

impl Oracle {
    pub fn new(n_producers: usize) -> Self {
        Self {
            received: 0,
            accepted: 0,
            duplicates: 0,
            rejected: 0,
            late: 0,
            repeated: 0,
            sums: [0; 3],
            producers: vec![Sent::default(); n_producers],
            by_location: vec![0; N_LOCATIONS + 1],
            seconds: BTreeMap::new(),
            on_time_s: None,
        }
    }

    /// Takes note of rows that a producer sends, which is below `n_producers`.
    pub fn record(&mut self, producer: usize, rows: &[Row]) {
        let sent = &mut self.producers[producer];
        sent.rows += rows.len() as u64;
        self.received += rows.len() as u64;
        for row in rows {
            match row.kind {
                Kind::Duplicate => self.duplicates += 1,
                Kind::BadClock => {
                    self.rejected += 1;
                    sent.rejected += 1;
                }
                Kind::OnTime | Kind::Late => {
                    self.accepted += 1;
                    self.late += u64::from(row.kind == Kind::Late);
                    self.by_location[usize::from(row.location)] += 1;
                    for (sum, value) in self.sums.iter_mut().zip([row.key, i64::from(row.camera), row.detected_us]) {
                        *sum += value.rem_euclid(MODULUS).unsigned_abs();
                    }
                    let second = row.detected_us.div_euclid(1_000_000);
                    if row.kind == Kind::OnTime {
                        let (first, last) = self.on_time_s.unwrap_or((second, second));
                        self.on_time_s = Some((first.min(second), last.max(second)));
                    }
                    self.seconds.entry(second).or_default().push((row.location, row.item));
                }
            }
        }
        let remembered = self.remembered_from_s();
        while self.seconds.first_key_value().is_some_and(|(second, _)| *second < remembered) {
            self.seconds.pop_first();
        }
    }

    /// Takes note of a batch that is sent once more under its old number.
    pub fn record_repeat(&mut self, producer: usize, n_rows: u64) {
        self.repeated += n_rows;
        self.producers[producer].repeated += n_rows;
    }

    pub fn producers(&self) -> &[Sent] {
        &self.producers
    }

    /// Accepted rows of each location that has any.
    pub fn by_location(&self) -> BTreeMap<String, u64> {
        let counted = self.by_location.iter().enumerate().filter(|(_, n)| **n > 0);
        counted.map(|(location, n)| (location.to_string(), *n)).collect()
    }

    /// Windows that begin earlier are not known any more.
    pub fn remembered_from_s(&self) -> i64 {
        self.on_time_s.map_or(i64::MIN, |(_, last)| last - KEPT_S)
    }

    /// From the first second of rows on time to behind the last, as far back as windows reach; `None` before the first row.
    pub fn whole(&self) -> Option<Window> {
        let (first, last) = self.on_time_s?;
        Some(Window { from_s: first.max(self.remembered_from_s()), to_s: last + 1 })
    }

    /// The locations with the most rows in a window, the busiest first; the lower number first if they have as many.
    pub fn busiest(&self, window: Window, n: usize) -> Vec<(u16, u64)> {
        largest(self.count(window, |location, _| Some(location)), n)
    }

    /// The items that a location has seen most often, and how often; the lower number first if they are as frequent.
    pub fn top_items(&self, location: u16, window: Window, n: usize) -> Vec<(u16, u64)> {
        largest(self.count(window, |of, item| (of == location).then_some(item)), n)
    }

    /// How often each item was seen, at all locations.
    pub fn items(&self, window: Window) -> HashMap<u16, u64> {
        self.count(window, |_, item| Some(item))
    }

    fn count(&self, window: Window, key: impl Fn(u16, u16) -> Option<u16>) -> HashMap<u16, u64> {
        let mut counts = HashMap::new();
        // A window that ends before it begins is empty.
        for (_, rows) in self.seconds.range(window.from_s..window.to_s.max(window.from_s)) {
            for key in rows.iter().filter_map(|(location, item)| key(*location, *item)) {
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }
}

fn largest(counts: HashMap<u16, u64>, n: usize) -> Vec<(u16, u64)> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by_key(|(key, count)| (Reverse(*count), *key));
    all.truncate(n);
    all
}
