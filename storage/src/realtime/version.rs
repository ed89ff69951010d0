//! Which fresh rows does a reader see? One immutable version of the realtime segment: sorted runs, then the tail.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;

use super::part::{RealtimePart, batch_bytes};
use super::zones::ZoneMap;
use crate::error::{Error, Result};
use crate::limits::{RUN_ROWS, TAIL_BATCH_ROWS};

/// A tail batch of so many bytes is large enough to stay as it is, however few its rows: copying wide rows again and again
/// would cost more than a scan loses.
const TAIL_BATCH_BYTES: u64 = 4 << 20;

/// Tail rows of so many bytes are sorted even when they are fewer than a run has: sorting needs their size a second time.
const SORT_BYTES: u64 = 256 << 20;

/// Batches below this are one class: they merge with each other at once, so that at most one of them is visible.
const SMALLEST_CLASS_ROWS: usize = 32;

/// One immutable version of a table's fresh rows. A change makes a new version that shares all untouched parts; readers
/// hold a version without a lock.
#[derive(Debug, Clone, Default)]
pub struct Realtime {
    /// The frozen ones, then runs, then the tail in arrival order.
    parts: Arc<[Arc<RealtimePart>]>,
    /// Parts of a prefix of the log that is being built: they stay as they are until they go together.
    n_frozen: usize,
    /// Behind the frozen ones.
    n_runs: usize,
    n_rows: u64,
    bytes: u64,
}

impl Realtime {
    pub fn empty() -> Self {
        Self::default()
    }

    /// This version and the rows of one more entry, whose sequence is above all in here. Small batches merge by doubling: a row of a batch
    /// of 32 rows or more is copied at most 9 times (a smaller one up to 64 times more, within at most 63 rows), and behind the last large
    /// part at most 8 small ones stay.
    pub fn with_rows(&self, rows: RecordBatch, seq: u64, stamp_us: i64) -> Result<Self> {
        let zones = tail_zones(&rows);
        self.with_zoned_rows(rows, zones, seq, stamp_us)
    }

    /// The same with zones that were made before, by [`tail_zones`].
    pub fn with_zoned_rows(&self, rows: RecordBatch, zones: Option<ZoneMap>, seq: u64, stamp_us: i64) -> Result<Self> {
        if rows.num_rows() == 0 {
            return Ok(self.clone());
        }
        let seq = i64::try_from(seq).map_err(|_| Error::internal(format!("sequence {seq} is beyond 2^63")))?;
        let seqs = Int64Array::from_value(seq, rows.num_rows());
        let added = Arc::new(tail_part(rows, seqs, Arc::from([(seq, stamp_us)]), zones));
        let mut parts: Vec<_> = Vec::with_capacity(self.parts.len() + 1);
        parts.extend_from_slice(&self.parts);
        let first = self.first_to_merge(&added);
        parts.push(added);
        if first + 1 < parts.len() {
            let merged = merge(&parts[first..])?;
            parts.truncate(first);
            parts.push(Arc::new(merged));
        }
        Ok(Self::from_parts(parts, self.n_frozen, self.n_runs))
    }

    /// Where the tail begins.
    fn tail_start(&self) -> usize {
        self.n_frozen + self.n_runs
    }

    /// Where the stretch begins that merges with `added`: from the end backwards, as long as a part's class is not above
    /// that of everything behind it. All of the stretch is then copied once, and most of it moves up a class.
    fn first_to_merge(&self, added: &RealtimePart) -> usize {
        let mut first = self.parts.len();
        if is_large(added) {
            return first;
        }
        let mut n_rows = added.n_rows();
        while first > self.tail_start() {
            let before = &self.parts[first - 1];
            let same_schema = before.rows.schema_ref() == added.rows.schema_ref();
            if is_large(before) || !same_schema || class(before.n_rows()) > class(n_rows) {
                break;
            }
            n_rows += before.n_rows();
            first -= 1;
        }
        first
    }

    /// The oldest tail parts that make up a run, or `None` while there are too few rows. They end with a large part, so no
    /// later [`Self::with_rows`] merges any of them: they can be sorted beside the worker.
    pub fn sortable(&self) -> Option<Vec<Arc<RealtimePart>>> {
        let tail = self.tail();
        let (mut n_rows, mut bytes) = (0, 0);
        for (at, part) in tail.iter().enumerate() {
            n_rows += part.n_rows();
            bytes += part.bytes;
            if (n_rows >= RUN_ROWS || bytes >= SORT_BYTES) && is_large(part) {
                return Some(tail[..=at].to_vec());
            }
        }
        None
    }

    /// This version with `runs` in the place of `replaced`, the first parts of its tail. If they are gone (the table was
    /// truncated meanwhile), nothing changes.
    #[must_use]
    pub fn with_run(&self, replaced: &[Arc<RealtimePart>], runs: Vec<Arc<RealtimePart>>) -> Self {
        let tail = self.tail();
        let is_prefix =
            replaced.len() <= tail.len() && replaced.iter().zip(tail).all(|(theirs, ours)| Arc::ptr_eq(theirs, ours));
        if !is_prefix || replaced.is_empty() {
            return self.clone();
        }
        let n_runs = self.n_runs + runs.len();
        let mut parts = self.parts[..self.tail_start()].to_vec();
        parts.extend(runs);
        parts.extend_from_slice(&tail[replaced.len()..]);
        Self::from_parts(parts, self.n_frozen, n_runs)
    }

    /// All rows of this version stay as they are from now on: none is merged or sorted with rows that come.
    #[must_use]
    pub fn frozen(&self) -> Self {
        Self { n_frozen: self.parts.len(), n_runs: 0, ..self.clone() }
    }

    /// This version without its frozen parts.
    #[must_use]
    pub fn without_frozen(&self) -> Self {
        Self::from_parts(self.parts[self.n_frozen..].to_vec(), 0, self.n_runs)
    }

    fn from_parts(parts: Vec<Arc<RealtimePart>>, n_frozen: usize, n_runs: usize) -> Self {
        let n_rows = parts.iter().map(|part| part.n_rows() as u64).sum();
        let bytes = parts.iter().map(|part| part.bytes).sum();
        Self { parts: parts.into(), n_frozen, n_runs, n_rows, bytes }
    }

    /// The frozen ones, then runs, then the tail in arrival order.
    pub fn parts(&self) -> &[Arc<RealtimePart>] {
        &self.parts
    }

    /// The parts that are not in runs yet.
    pub fn tail(&self) -> &[Arc<RealtimePart>] {
        &self.parts[self.tail_start()..]
    }

    pub fn n_runs(&self) -> usize {
        self.n_runs
    }

    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Heap bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The stamp of the oldest entry with a row in here, microseconds.
    pub fn oldest_stamp_us(&self) -> Option<i64> {
        self.parts.iter().filter_map(|part| part.stamps.first()).map(|&(_, stamp_us)| stamp_us).min()
    }

    /// The lowest sequence of a row in here.
    pub fn min_seq(&self) -> Option<u64> {
        self.parts.iter().filter_map(|part| part.stamps.first()).map(|&(seq, _)| seq.unsigned_abs()).min()
    }

    /// The highest sequence of a row in here.
    pub fn max_seq(&self) -> Option<u64> {
        self.parts.iter().filter_map(|part| part.stamps.last()).map(|&(seq, _)| seq.unsigned_abs()).max()
    }
}

fn is_large(part: &RealtimePart) -> bool {
    part.n_rows() >= TAIL_BATCH_ROWS || part.bytes >= TAIL_BATCH_BYTES
}

/// The binary order of magnitude of a batch, from 0 for the smallest to 7 just below [`TAIL_BATCH_ROWS`].
fn class(n_rows: usize) -> u32 {
    n_rows.max(SMALLEST_CLASS_ROWS).ilog2() - SMALLEST_CLASS_ROWS.ilog2()
}

/// The zones of rows on their way into the tail, or `None` for few of them: bounds are worth their time only in a part that stays as it is
/// until it is sorted. They take about as long as a write of the log, so they are made before the rows stand in line for it.
pub fn tail_zones(rows: &RecordBatch) -> Option<ZoneMap> {
    (rows.num_rows() >= TAIL_BATCH_ROWS || batch_bytes(rows) >= TAIL_BATCH_BYTES).then(|| ZoneMap::of(rows))
}

fn tail_part(rows: RecordBatch, seqs: Int64Array, stamps: Arc<[(i64, i64)]>, zones: Option<ZoneMap>) -> RealtimePart {
    let zones = zones.unwrap_or_else(|| ZoneMap::unknown(&rows));
    RealtimePart::with_zones(rows, seqs, stamps, false, zones)
}

fn merge(parts: &[Arc<RealtimePart>]) -> Result<RealtimePart> {
    let rows = concat_rows(parts)?;
    let seqs: Vec<i64> = parts.iter().flat_map(|part| part.seqs.values().iter().copied()).collect();
    let stamps: Vec<(i64, i64)> = parts.iter().flat_map(|part| part.stamps.iter().copied()).collect();
    let zones = tail_zones(&rows);
    Ok(tail_part(rows, Int64Array::from(seqs), stamps.into(), zones))
}

/// The rows of `parts`, one behind the other.
pub(super) fn concat_rows(parts: &[Arc<RealtimePart>]) -> Result<RecordBatch> {
    let Some(first) = parts.first() else {
        return Err(Error::internal("there are no parts to join"));
    };
    Ok(concat_batches(first.rows.schema_ref(), parts.iter().map(|part| &part.rows))?)
}
