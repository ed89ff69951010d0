//! How many rows came, and what became of them? Counters by producer and minute, rolled up to hours, then days.
//!
//! The invariant that users check: received = accepted + duplicate + repeated + rejected, in every row and in every sum.

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign, Bound};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use crate::error::{Code, Error, Result};
use crate::ids::array;

/// What became of rows. `late` and `future` are part of `rejected`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Counts {
    #[prost(uint64, tag = "1")]
    pub received: u64,
    #[prost(uint64, tag = "2")]
    pub accepted: u64,
    /// Rows whose key was known.
    #[prost(uint64, tag = "3")]
    pub duplicate: u64,
    /// Rows of batches that were here before.
    #[prost(uint64, tag = "4")]
    pub repeated: u64,
    #[prost(uint64, tag = "5")]
    pub rejected: u64,
    #[prost(uint64, tag = "6")]
    pub late: u64,
    #[prost(uint64, tag = "7")]
    pub future: u64,
    /// Decoded bytes of the accepted rows.
    #[prost(uint64, tag = "8")]
    pub bytes: u64,
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.received = self.received.saturating_add(other.received);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.duplicate = self.duplicate.saturating_add(other.duplicate);
        self.repeated = self.repeated.saturating_add(other.repeated);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.late = self.late.saturating_add(other.late);
        self.future = self.future.saturating_add(other.future);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Add for Counts {
    type Output = Counts;

    fn add(mut self, other: Counts) -> Counts {
        self += &other;
        self
    }
}

impl Counts {
    /// Every received row is in exactly one of the others.
    pub fn is_balanced(&self) -> bool {
        self.received == self.accepted + self.duplicate + self.repeated + self.rejected
    }
}

/// How long a row of the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    Minute,
    Hour,
    Day,
}

impl Span {
    pub fn minutes(self) -> i64 {
        match self {
            Span::Minute => 1,
            Span::Hour => 60,
            Span::Day => 1440,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Span::Minute => 0,
            Span::Hour => 1,
            Span::Day => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Span::Minute, Span::Hour, Span::Day].into_iter().find(|span| span.byte() == byte)
    }
}

/// Minutes are kept for 7 days, hours for 90, days for ever.
const KEPT: [(Span, Span, i64); 2] = [(Span::Minute, Span::Hour, 7 * 1440), (Span::Hour, Span::Day, 90 * 1440)];

const US_PER_MINUTE: i64 = 60_000_000;

/// Version byte in front of a value.
const VALUE_VERSION: u8 = 1;

/// Span, then the first minute in big endian with its sign flipped (so that keys sort by time); the producer follows.
const KEY_HEAD_BYTES: usize = 1 + 8;

/// A change that makes the stored ledger the same as the one in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerOp {
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
}

/// One row of `system.ledger`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Empty for batches without a producer.
    pub producer: Arc<str>,
    /// Start of the row's span, µs since 1970.
    pub start_us: i64,
    pub span: Span,
    pub counts: Counts,
}

/// Span, first minute, producer.
type RowKey = (Span, i64, Arc<str>);

/// The ledger of one table, in memory; what it returns is put into the log's batches by the caller.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    rows: BTreeMap<RowKey, Counts>,
    totals: Counts,
    /// Held by every reading.
    readings: Arc<()>,
    /// Roll-ups that changed something.
    n_roll_ups: u64,
    /// Roll-ups since then that waited for readings.
    n_put_off: u32,
}

/// Roll-ups wait for readings, but not for ever: there may always be one.
const MAX_PUT_OFF: u32 = 24;

/// Where a reading of a ledger stands that goes on page by page, so that the ledger is never held for long. Roll-ups wait for it: a row
/// would be read as a minute and once more in its hour, or not at all.
#[derive(Debug)]
pub struct Reading {
    ledger: Arc<()>,
    n_roll_ups: u64,
    after: Option<RowKey>,
}

/// The minute of a time: minutes since 1970.
pub fn minute_of(us: i64) -> i64 {
    us.div_euclid(US_PER_MINUTE)
}

impl Ledger {
    /// Adds to a producer's minute (see [`minute_of`]; the empty producer is "none"). Returns key suffix and value to
    /// put; the value is absolute, so that writing it twice is harmless.
    pub fn add(&mut self, producer: &str, minute: i64, counts: &Counts) -> (Vec<u8>, Vec<u8>) {
        self.totals += counts;
        let row = self.rows.entry((Span::Minute, minute, producer.into())).or_default();
        *row += counts;
        (key(Span::Minute, minute, producer), value(row))
    }

    /// Takes in a stored row. `LOG_DAMAGED` or `LOG_UNKNOWN_VERSION` if it is not one.
    pub fn load(&mut self, key_suffix: &[u8], value: &[u8]) -> Result<()> {
        let (span, start, producer) = parse_key(key_suffix)?;
        let counts = parse_value(value)?;
        self.totals += &counts;
        *self.rows.entry((span, start, producer.into())).or_default() += &counts;
        Ok(())
    }

    /// All rows: minutes, then hours, then days, each by time and producer.
    pub fn rows(&self) -> impl Iterator<Item = LedgerRow> + '_ {
        self.rows.iter().map(|(at, counts)| row_of(at, counts))
    }

    /// Begins to read all rows.
    pub fn read(&self) -> Reading {
        Reading { ledger: Arc::clone(&self.readings), n_roll_ups: self.n_roll_ups, after: None }
    }

    /// The next rows of a reading, at most `max` of them, in the order of [`Ledger::rows`]; none at the end. `TABLE_CLOSED` if a roll-up
    /// could not wait, or the ledger was made anew.
    pub fn page(&self, reading: &mut Reading, max: usize) -> Result<Vec<LedgerRow>> {
        if !Arc::ptr_eq(&self.readings, &reading.ledger) || self.n_roll_ups != reading.n_roll_ups {
            return Err(Error::new(Code::TableClosed, "the ledger was rolled up while it was read")
                .hint("ask again, and read the answer as it comes")
                .retry_after(Duration::from_secs(1)));
        }
        let from = reading.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.rows.range::<RowKey, (Bound<&RowKey>, Bound<&RowKey>)>((from, Bound::Unbounded));
        let page: Vec<(RowKey, LedgerRow)> =
            range.take(max).map(|(at, counts)| (at.clone(), row_of(at, counts))).collect();
        if let Some((last, _)) = page.last() {
            reading.after = Some(last.clone());
        }
        Ok(page.into_iter().map(|(_, row)| row).collect())
    }

    /// Whether a roll-up may change rows now. One that waited too often does.
    pub fn may_roll_up(&mut self) -> bool {
        let is_read = Arc::strong_count(&self.readings) > 1;
        self.n_put_off = if is_read { self.n_put_off + 1 } else { 0 };
        if self.n_put_off > MAX_PUT_OFF {
            self.n_put_off = 0;
        }
        self.n_put_off == 0
    }

    /// The sum of all rows: no roll-up changes it.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// What a roll-up at `now_us` changes: minutes older than 7 days become hours, hours older than 90 days become days.
    /// Pure; the caller writes all of it in one batch and then calls [`Ledger::apply`], with no `add` in between.
    pub fn compact(&self, now_us: i64) -> Vec<LedgerOp> {
        // What differs from `self.rows` afterwards; `None` is a row that is gone.
        let mut changed: BTreeMap<RowKey, Option<Counts>> = BTreeMap::new();
        for (from, into, kept_minutes) in KEPT {
            // Whole spans of the coarser kind only, so that no row of the finer kind stands beside its sum.
            let width = into.minutes();
            let end = minute_of(now_us).saturating_sub(kept_minutes).div_euclid(width).saturating_mul(width);
            let range = (from, i64::MIN, Arc::from(""))..(from, end, Arc::from(""));
            let mut old: BTreeMap<RowKey, Counts> =
                self.rows.range(range.clone()).map(|(at, counts)| (at.clone(), *counts)).collect();
            // Hours that were just summed may be old enough to become days at once.
            old.extend(changed.range(range).filter_map(|(at, counts)| Some((at.clone(), (*counts)?))));
            for (at, counts) in old {
                let sum_at = (into, at.1.div_euclid(width) * width, at.2.clone());
                let before = || Some(self.rows.get(&sum_at).copied().unwrap_or_default());
                if let Some(sum) = changed.entry(sum_at.clone()).or_insert_with(before) {
                    *sum += &counts;
                }
                changed.insert(at, None);
            }
        }
        let op = |(at, counts): (RowKey, Option<Counts>)| {
            let key = key(at.0, at.1, &at.2);
            match counts {
                Some(counts) => Some(LedgerOp::Put { key, value: value(&counts) }),
                None => self.rows.contains_key(&at).then_some(LedgerOp::Delete { key }),
            }
        };
        changed.into_iter().filter_map(op).collect()
    }

    /// Does in memory what `ops`, made by [`Ledger::compact`], did in the log.
    pub fn apply(&mut self, ops: &[LedgerOp]) -> Result<()> {
        self.n_roll_ups += u64::from(!ops.is_empty());
        for op in ops {
            match op {
                LedgerOp::Put { key, value } => {
                    let (span, start, producer) = parse_key(key)?;
                    self.rows.insert((span, start, producer.into()), parse_value(value)?);
                }
                LedgerOp::Delete { key } => {
                    let (span, start, producer) = parse_key(key)?;
                    self.rows.remove(&(span, start, producer.into()));
                }
            }
        }
        Ok(())
    }
}

fn row_of((span, start, producer): &RowKey, counts: &Counts) -> LedgerRow {
    LedgerRow {
        producer: producer.clone(),
        start_us: start.saturating_mul(US_PER_MINUTE),
        span: *span,
        counts: *counts,
    }
}

fn key(span: Span, start: i64, producer: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(KEY_HEAD_BYTES + producer.len());
    out.push(span.byte());
    out.extend(((start as u64) ^ (1 << 63)).to_be_bytes());
    out.extend(producer.as_bytes());
    out
}

fn parse_key(key: &[u8]) -> Result<(Span, i64, &str)> {
    let damaged = || Error::new(Code::LogDamaged, format!("{} bytes are not the key of a ledger row", key.len()));
    let (head, producer) = key.split_at_checked(KEY_HEAD_BYTES).ok_or_else(damaged)?;
    let span = Span::from_byte(head[0]).ok_or_else(damaged)?;
    let start = (u64::from_be_bytes(array(&head[1..])) ^ (1 << 63)) as i64;
    Ok((span, start, std::str::from_utf8(producer).map_err(|_| damaged())?))
}

fn value(counts: &Counts) -> Vec<u8> {
    let mut out = vec![VALUE_VERSION];
    out.extend(counts.encode_to_vec());
    out
}

fn parse_value(bytes: &[u8]) -> Result<Counts> {
    match bytes {
        [VALUE_VERSION, body @ ..] => Counts::decode(body)
            .map_err(|error| Error::new(Code::LogDamaged, "the value of a ledger row is damaged").source(error)),
        [version, ..] => Err(Error::new(
            Code::LogUnknownVersion,
            format!("a ledger row has version {version}, this program reads {VALUE_VERSION}"),
        )),
        [] => Err(Error::new(Code::LogDamaged, "the value of a ledger row is empty")),
    }
}
