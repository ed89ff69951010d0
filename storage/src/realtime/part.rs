//! What is one immutable piece of the fresh rows? A tail batch or a sorted run.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use parking_lot::Mutex;

use super::zones::ZoneMap;
use crate::memory::{Charge, MemoryLedger, Share};

/// An immutable piece of the realtime segment: one tail batch or one sorted run.
#[derive(Debug)]
pub struct RealtimePart {
    /// The table's columns, in order.
    pub rows: RecordBatch,
    /// `_commit_seq` of each row.
    pub seqs: Int64Array,
    /// Ascending (commit_seq, stamp in µs) of the entries in here: `_ingested_at` is looked up in it.
    pub stamps: Arc<[(i64, i64)]>,
    /// The rows are in the order of the table's `sort_by`: ascending, NULLs last, NaN after numbers.
    pub sorted: bool,
    /// The first column of that order; `None` in the tail, and in runs of a table that keeps arrival order.
    pub leading: Option<usize>,
    pub zones: ZoneMap,
    /// Heap bytes of all arrays.
    pub bytes: u64,
    charge: Mutex<Option<Charge>>,
}

impl RealtimePart {
    /// A part with its zones. `seqs` has one value a row, `stamps` an entry for each of these values, ascending.
    pub fn new(rows: RecordBatch, seqs: Int64Array, stamps: Arc<[(i64, i64)]>, sorted: bool) -> Self {
        let zones = ZoneMap::of(&rows);
        Self::with_zones(rows, seqs, stamps, sorted, zones)
    }

    /// The same with zones that were made before, or that say nothing.
    pub fn with_zones(
        rows: RecordBatch,
        seqs: Int64Array,
        stamps: Arc<[(i64, i64)]>,
        sorted: bool,
        zones: ZoneMap,
    ) -> Self {
        let bytes = batch_bytes(&rows)
            + (seqs.len() * size_of::<i64>() + stamps.len() * size_of::<(i64, i64)>() + zones.bytes()) as u64;
        Self { rows, seqs, stamps, sorted, leading: None, zones, bytes, charge: Mutex::new(None) }
    }

    /// A table has the part: its memory is of fresh rows, until nobody holds the part any more.
    pub(crate) fn charge_to(&self, memory: &Arc<MemoryLedger>) {
        let mut charge = self.charge.lock();
        charge.get_or_insert_with(|| memory.charge(Share::Realtime, self.bytes)).move_to(Share::Realtime);
    }

    /// The table has it no more. Who still reads it keeps its memory, so that it is of queries: ingest does not wait for slow readers.
    pub(crate) fn let_go(&self) {
        if let Some(charge) = &mut *self.charge.lock() {
            charge.move_to(Share::Queries);
        }
    }

    pub(crate) fn is_let_go(&self) -> bool {
        self.charge.lock().as_ref().is_some_and(|charge| charge.share() == Share::Queries)
    }

    pub fn n_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// `_commit_seq` of the rows in `range`.
    pub fn commit_seqs(&self, range: Range<usize>) -> Int64Array {
        self.seqs.slice(range.start, range.len())
    }

    /// `_ingested_at` of the rows in `range`, in UTC.
    pub fn ingested_at(&self, range: Range<usize>) -> TimestampMicrosecondArray {
        let mut last = (i64::MIN, None);
        let stamps: TimestampMicrosecondArray = self.seqs.values()[range]
            .iter()
            .map(|&seq| {
                // Neighbours mostly come from one entry, so that most rows need no search.
                if last.0 != seq {
                    let found = self.stamps.binary_search_by_key(&seq, |&(seq, _)| seq).ok();
                    last = (seq, found.map(|at| self.stamps[at].1));
                }
                last.1
            })
            .collect();
        stamps.with_timezone("UTC")
    }

    /// The rows whose leading sort column may lie within `[lower, upper]`, both ends included; an array of one value is a
    /// bound, `None` is none. All rows where nothing can be said: the part is not sorted by a leading column, or a bound is
    /// NULL, NaN or of another type than the column. NULLs of the column are outside as soon as there is a bound.
    pub fn leading_range(&self, lower: Option<&ArrayRef>, upper: Option<&ArrayRef>) -> Range<usize> {
        let all = 0..self.n_rows();
        let Some(column) = self.leading.filter(|_| self.sorted).map(|leading| self.rows.column(leading)) else {
            return all;
        };
        if lower.is_none() && upper.is_none() {
            return all;
        }
        // NULLs stand last. A NaN stands behind the numbers, and how it compares is the query engine's business.
        let n_values = column.len() - column.null_count();
        if n_values > 0 && is_nan(column, n_values - 1) {
            return all;
        }
        let ends = || {
            let start = match lower {
                Some(bound) => partition_point(column, n_values, bound, |o| o == Ordering::Less, Side::Lower)?,
                None => 0,
            };
            let end = match upper {
                Some(bound) => partition_point(column, n_values, bound, |o| o != Ordering::Greater, Side::Upper)?,
                None => n_values,
            };
            Some(start..end.max(start))
        };
        ends().unwrap_or(all)
    }
}

#[derive(Clone, Copy)]
enum Side {
    Lower,
    Upper,
}

/// The first of `n_values` sorted values for which `before` is false. `None` if `bound` cannot be compared with the column.
fn partition_point(
    column: &ArrayRef,
    n_values: usize,
    bound: &ArrayRef,
    before: impl Fn(Ordering) -> bool,
    side: Side,
) -> Option<usize> {
    if bound.len() != 1 || bound.is_null(0) || bound.data_type() != column.data_type() || is_nan(bound, 0) {
        return None;
    }
    let bound = widen_zero(bound, side);
    let order = SortOptions { descending: false, nulls_first: false };
    let compare = arrow::array::make_comparator(column, &bound, order).ok()?;
    let (mut low, mut high) = (0, n_values);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(compare(middle, 0)) { low = middle + 1 } else { high = middle }
    }
    Some(low)
}

fn is_nan(column: &ArrayRef, row: usize) -> bool {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).is_nan(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).is_nan(),
        _ => false,
    }
}

/// Minus zero stands before zero in a run: a bound of either takes in both.
fn widen_zero(bound: &ArrayRef, side: Side) -> ArrayRef {
    let sign = match side {
        Side::Lower => -1.0,
        Side::Upper => 1.0,
    };
    match bound.data_type() {
        DataType::Float32 if bound.as_primitive::<Float32Type>().value(0) == 0.0 => {
            Arc::new(arrow::array::Float32Array::from(vec![0.0_f32.copysign(sign as f32)]))
        }
        DataType::Float64 if bound.as_primitive::<Float64Type>().value(0) == 0.0 => {
            Arc::new(arrow::array::Float64Array::from(vec![0.0_f64.copysign(sign)]))
        }
        _ => Arc::clone(bound),
    }
}

/// Bytes that the rows of a batch take; of a slice, only its own rows.
pub(super) fn batch_bytes(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(column_bytes).sum()
}

pub(super) fn column_bytes(column: &ArrayRef) -> u64 {
    let data = column.to_data();
    data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()) as u64
}
