//! Do versions, zones and runs keep every row, and never say that a value is not there when it is?

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray, make_comparator,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;

use super::{Realtime, RealtimePart, ZoneMap, build_runs, n_fitting, tail_zones, working_bytes};
use crate::limits::{RUN_ROWS, TAIL_BATCH_ROWS, ZONE_ROWS};

const ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// A batch of one column `id` with the given values.
fn ids(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("id", column)]).unwrap()
}

/// A batch of one nullable column.
fn one(column: ArrayRef) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("c", column.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
}

fn part(rows: RecordBatch) -> Arc<RealtimePart> {
    let seqs = Int64Array::from_value(1, rows.num_rows());
    Arc::new(RealtimePart::new(rows, seqs, Arc::from([(1, 10)]), false))
}

/// All (id, sequence) pairs of a version, sorted.
fn content(realtime: &Realtime) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = realtime
        .parts()
        .iter()
        .flat_map(|part| {
            let ids = part.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            ids.into_iter().zip(part.commit_seqs(0..part.n_rows()).values().to_vec())
        })
        .collect();
    all.sort_unstable();
    all
}

fn sort_once(realtime: &Realtime, sort_by: &[usize]) -> Realtime {
    let Some(parts) = realtime.sortable() else { return realtime.clone() };
    let runs = build_runs(&parts, sort_by).unwrap().into_iter().map(Arc::new).collect();
    realtime.with_run(&parts, runs)
}

#[test]
fn an_empty_version_has_nothing() {
    let empty = Realtime::empty();
    assert_eq!((empty.n_rows(), empty.bytes(), empty.min_seq(), empty.max_seq()), (0, 0, None, None));
    assert!(empty.sortable().is_none());
    assert_eq!(empty.with_rows(ids([]), 1, 1).unwrap().parts().len(), 0);
}

#[test]
fn small_batches_merge_by_doubling() {
    for batch_rows in [1, 7, 32, 40, 100, 1000, 5000] {
        let mut realtime = Realtime::empty();
        let mut copies: HashMap<i64, u32> = HashMap::new();
        let n_batches = (3 * TAIL_BATCH_ROWS / batch_rows).min(3000);
        for seq in 1..=n_batches as i64 {
            let first = seq * batch_rows as i64;
            let next = realtime.with_rows(ids(first..first + batch_rows as i64), seq as u64, seq).unwrap();
            let before: Vec<_> = realtime.parts().iter().map(Arc::as_ptr).collect();
            for part in next.parts().iter().filter(|part| !before.contains(&Arc::as_ptr(part))) {
                if part.stamps.len() > 1 {
                    part.rows.column(0).as_primitive::<Int64Type>().values().iter().for_each(|id| {
                        *copies.entry(*id).or_default() += 1;
                    });
                }
            }
            realtime = next;
            let small = realtime.tail().iter().filter(|part| part.n_rows() < TAIL_BATCH_ROWS).count();
            assert!(small <= 8, "{small} small batches after {seq} of {batch_rows} rows");
        }
        let most = copies.values().max().copied().unwrap_or(0);
        let bound = if batch_rows >= 32 { 9 } else { 9 + 64 / batch_rows as u32 };
        assert!(most <= bound, "batches of {batch_rows}: a row was copied {most} times");
        assert_eq!(realtime.n_rows(), (n_batches * batch_rows) as u64);
    }
}

#[test]
fn large_batches_stay_as_they_are() {
    let large = ids(0..TAIL_BATCH_ROWS as i64);
    let realtime = Realtime::empty().with_rows(ids([1]), 1, 1).unwrap().with_rows(large.clone(), 2, 2).unwrap();
    let realtime = realtime.with_rows(ids([2]), 3, 3).unwrap().with_rows(ids([3]), 4, 4).unwrap();
    let sizes: Vec<_> = realtime.parts().iter().map(|part| part.n_rows()).collect();
    assert_eq!(sizes, [1, TAIL_BATCH_ROWS, 2]);
    assert_eq!(realtime.parts()[1].rows, large);
}

#[test]
fn zones_that_were_made_before_are_taken_over() {
    let rows = ids(0..TAIL_BATCH_ROWS as i64);
    let zones = tail_zones(&rows).unwrap();
    assert!(tail_zones(&rows.slice(1, TAIL_BATCH_ROWS - 1)).is_none(), "it will be merged");
    let min = Arc::clone(&zones.columns.first_zones().min);
    let realtime = Realtime::empty().with_zoned_rows(rows, Some(zones), 1, 1).unwrap();
    assert!(Arc::ptr_eq(&realtime.parts()[0].zones.columns.first_zones().min, &min));
}

#[test]
fn wide_rows_stop_merging_by_bytes() {
    let wide = |n| one(Arc::new(StringArray::from_iter_values((0..n).map(|_| "x".repeat(5000)))));
    let mut realtime = Realtime::empty();
    for seq in 1..=40 {
        realtime = realtime.with_rows(wide(50), seq, 0).unwrap();
    }
    assert!(realtime.parts().len() >= 2 && realtime.parts().iter().all(|part| part.bytes < 16 << 20));
}

#[test]
fn ingest_times_are_looked_up() {
    let realtime = Realtime::empty().with_rows(ids([5, 6]), 1, 100).unwrap().with_rows(ids([4]), 2, 200).unwrap();
    let run = &build_runs(realtime.parts(), &[0]).unwrap()[0];
    assert_eq!(run.commit_seqs(0..3).values(), &[2, 1, 1]);
    let times = run.ingested_at(0..2);
    assert_eq!(times.values(), &[200, 100]);
    assert_eq!(times.timezone(), Some("UTC"));
}

#[test]
fn runs_have_their_size_and_only_their_stamps() {
    let n_rows = 2 * RUN_ROWS as i64 + 10;
    let a = Realtime::empty().with_rows(ids((0..n_rows - 1).rev()), 1, 1).unwrap();
    let both = a.with_rows(ids([n_rows - 1]), 2, 2).unwrap();
    let runs = build_runs(both.parts(), &[0]).unwrap();
    assert_eq!(runs.iter().map(RealtimePart::n_rows).collect::<Vec<_>>(), [RUN_ROWS, RUN_ROWS + 10]);
    assert_eq!(runs.iter().map(|run| run.stamps.len()).collect::<Vec<_>>(), [1, 2]);
    assert!(runs.iter().all(|run| run.sorted && run.leading == Some(0)));
    let unsorted = build_runs(both.parts(), &[]).unwrap();
    assert!(unsorted.iter().all(|run| !run.sorted && run.leading.is_none()));
    assert_eq!(unsorted[0].rows.column(0).as_primitive::<Int64Type>().value(0), n_rows - 2);
}

#[test]
fn nulls_stand_last_and_nan_after_numbers() {
    let values = [Some(f64::NAN), None, Some(-f64::NAN), Some(f64::INFINITY), Some(-0.0), Some(0.0), Some(-1.0)];
    let run = &build_runs(&[part(one(Arc::new(Float64Array::from(values.to_vec()))))], &[0]).unwrap()[0];
    let sorted = run.rows.column(0).as_primitive::<arrow::datatypes::Float64Type>();
    let text: Vec<String> = sorted.iter().map(|v| v.map_or("NULL".into(), |v| v.abs().to_string())).collect();
    assert_eq!(text, ["1", "0", "0", "inf", "NaN", "NaN", "NULL"]);
}

#[test]
fn as_many_parts_are_sorted_as_memory_allows() {
    let parts: Vec<_> = [1_000, 1_000, 50_000, 10].map(|n| part(ids(0..n))).into();
    let needed = |n: usize| working_bytes(&parts[..n], &[0]);
    for n in 1..=parts.len() {
        assert_eq!(n_fitting(&parts, &[0], needed(n)), n);
        assert_eq!(n_fitting(&parts, &[0], needed(n) - 1), (n - 1).max(1), "one at least");
    }
    // What is left over goes on by itself, however large it is.
    assert_eq!(n_fitting(&parts[2..], &[0], needed(2)), 1);
    // A run of the first parts takes their place like any other.
    let realtime = (1..=3).fold(Realtime::empty(), |realtime, seq| {
        let from = seq as i64 * 60_000;
        realtime.with_rows(ids((from..from + 60_000).rev()), seq, 1).unwrap()
    });
    let mut sortable = realtime.sortable().unwrap();
    assert_eq!(sortable.len(), 3);
    sortable.truncate(2);
    let runs = build_runs(&sortable, &[0]).unwrap().into_iter().map(Arc::new).collect();
    let sorted = realtime.with_run(&sortable, runs);
    assert_eq!((sorted.n_runs(), sorted.tail().len()), (1, 1));
    assert_eq!(content(&sorted), content(&realtime));
}

#[test]
fn a_swap_of_parts_that_are_gone_changes_nothing() {
    let rows = ids(0..RUN_ROWS as i64);
    let full = Realtime::empty().with_rows(rows.clone(), 1, 1).unwrap();
    let parts = full.sortable().unwrap();
    let truncated = Realtime::empty().with_rows(rows, 2, 2).unwrap();
    let run: Vec<_> = build_runs(&parts, &[0]).unwrap().into_iter().map(Arc::new).collect();
    assert_eq!(content(&truncated.with_run(&parts, run.clone())), content(&truncated));
    assert_eq!(full.with_run(&parts, run).n_runs(), 1);
}

#[test]
fn bounds_that_say_nothing_are_null() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some(&"z".repeat(65))]));
    let held = part(one(text));
    let zone = held.zones.columns.first_zones();
    assert_eq!(zone.min.as_string::<i32>().value(0), "b");
    assert!(zone.max.is_null(0));
    assert_eq!(zone.nulls.value(0), 1);
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
    let held = part(one(nan));
    let zone = held.zones.columns.first_zones();
    assert!(zone.min.is_null(0) && zone.max.is_null(0));
}

/// The zones of the only column.
trait FirstZones {
    fn first_zones(&self) -> &super::ZoneColumn;
}

impl FirstZones for Vec<Option<super::ZoneColumn>> {
    fn first_zones(&self) -> &super::ZoneColumn {
        self[0].as_ref().unwrap()
    }
}

/// Columns of every type with an order.
fn any_column() -> impl Strategy<Value = ArrayRef> {
    let floats = prop::collection::vec(prop::option::of(prop::num::f64::ANY), 0..300);
    prop_oneof![
        prop::collection::vec(prop::option::of(any::<i64>()), 0..300)
            .prop_map(|v| Arc::new(Int64Array::from(v)) as ArrayRef),
        prop::collection::vec(prop::option::of(any::<i32>()), 0..300).prop_map(|v| Arc::new(Date32Array::from(v)) as _),
        prop::collection::vec(prop::option::of(-9i64..9), 0..300)
            .prop_map(|v| Arc::new(TimestampMicrosecondArray::from(v).with_timezone("UTC")) as _),
        prop::collection::vec(prop::option::of(any::<i64>().prop_map(i128::from)), 0..300)
            .prop_map(|v| Arc::new(Decimal128Array::from(v).with_data_type(DataType::Decimal128(20, 2))) as _),
        floats.prop_map(|v| Arc::new(Float64Array::from(v)) as _),
        prop::collection::vec(prop::option::of(any::<bool>()), 0..300)
            .prop_map(|v| Arc::new(BooleanArray::from(v)) as _),
        prop::collection::vec(prop::option::of("[a-c]{0,70}"), 0..300)
            .prop_map(|v| Arc::new(StringArray::from(v)) as _),
        prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..70)), 0..300)
            .prop_map(|v| Arc::new(v.into_iter().collect::<BinaryArray>()) as _),
    ]
}

/// The column `times` times over, so that it has several zones.
fn repeat(column: &ArrayRef, times: usize) -> ArrayRef {
    let refs: Vec<&dyn Array> = vec![column.as_ref(); times];
    arrow::compute::concat(&refs).unwrap()
}

fn is_nan(column: &ArrayRef, row: usize) -> bool {
    column.as_primitive_opt::<arrow::datatypes::Float64Type>().is_some_and(|c| c.is_valid(row) && c.value(row).is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_version_keeps_every_row(sizes in prop::collection::vec((0usize..12, any::<bool>()), 1..60), sorted in any::<bool>()) {
        let mut realtime = Realtime::empty();
        let mut expected = Vec::new();
        let mut next_id = 0;
        for (seq, (size, sort)) in sizes.into_iter().enumerate() {
            // Sizes from 1 row to 30,000: all classes, large batches and, together, whole runs.
            let n_rows = 3_i64.pow(u32::try_from(size).unwrap()).min(30_000);
            let seq = seq as i64 + 1;
            expected.extend((next_id..next_id + n_rows).map(|id| (id, seq)));
            let old = realtime.clone();
            let old_rows = old.n_rows();
            realtime = realtime.with_rows(ids((next_id..next_id + n_rows).rev()), seq as u64, seq).unwrap();
            next_id += n_rows;
            if sort {
                realtime = sort_once(&realtime, if sorted { &[0] } else { &[] });
            }
            prop_assert_eq!(old.n_rows(), old_rows);
            prop_assert_eq!(realtime.n_rows(), expected.len() as u64);
            prop_assert_eq!(realtime.max_seq(), Some(seq as u64));
        }
        prop_assert_eq!(realtime.min_seq(), Some(1));
        prop_assert_eq!(content(&realtime), expected);
    }

    #[test]
    fn a_pending_sort_survives_later_batches(sizes in prop::collection::vec(1i64..20_000, 1..80)) {
        let mut realtime = Realtime::empty();
        let mut pending = None;
        for (seq, n_rows) in sizes.iter().enumerate() {
            realtime = realtime.with_rows(ids(0..*n_rows), seq as u64 + 1, 0).unwrap();
            pending = pending.or_else(|| realtime.sortable());
        }
        if let Some(parts) = pending {
            let before = content(&realtime);
            let runs: Vec<_> = build_runs(&parts, &[0]).unwrap().into_iter().map(Arc::new).collect();
            let n_runs = runs.len();
            let swapped = realtime.with_run(&parts, runs);
            prop_assert_eq!(swapped.n_runs(), n_runs);
            prop_assert_eq!(content(&swapped), before);
        }
    }

    #[test]
    fn zones_contain_every_value(column in any_column()) {
        let column = repeat(&column, 60);
        let part = part(one(Arc::clone(&column)));
        prop_assert_eq!(part.zones.rows.len(), column.len().div_ceil(ZONE_ROWS));
        let zones = part.zones.columns.first_zones();
        let low = make_comparator(&zones.min, &column, ORDER).unwrap();
        let high = make_comparator(&zones.max, &column, ORDER).unwrap();
        for (zone, rows) in part.zones.rows.iter().enumerate() {
            let nulls = rows.clone().filter(|&row| column.is_null(row)).count();
            prop_assert_eq!(zones.nulls.value(zone), nulls as u64);
            for row in rows.clone().filter(|&row| column.is_valid(row)) {
                prop_assert!(zones.min.is_null(zone) || low(zone, row).is_le());
                prop_assert!(zones.max.is_null(zone) || high(zone, row).is_ge());
            }
        }
    }

    /// Rows that lost deduplication leave bounds that hold, counts that are exact, and values that occur where metadata answers.
    #[test]
    fn narrowed_zones_hold_what_is_left(column in any_column(), lost in prop::collection::vec(any::<bool>(), 1..50), first in 0usize..20_000) {
        let rows = one(repeat(&column, 60));
        // All of the first rows, so that whole zones may go, then some of the others.
        let kept = BooleanBuffer::collect_bool(rows.num_rows(), |row| row >= first && !lost[row % lost.len()]);
        let left = filter_record_batch(&rows, &BooleanArray::new(kept.clone(), None)).unwrap();
        let zones = ZoneMap::of(&rows).narrowed(&kept, &left);
        let ends: Vec<usize> = zones.rows.iter().map(|zone| zone.end).collect();
        prop_assert_eq!(ends.last().copied().unwrap_or(0), left.num_rows());
        prop_assert!(zones.rows.iter().all(|zone| !zone.is_empty()));
        prop_assert!(zones.rows.iter().skip(1).zip(&ends).all(|(zone, end)| zone.start == *end));
        let bounds = zones.columns.first_zones();
        prop_assert_eq!((bounds.min.len(), bounds.max.len(), bounds.nulls.len()), (ends.len(), ends.len(), ends.len()));
        let column = left.column(0);
        let low = make_comparator(&bounds.min, column, ORDER).unwrap();
        let high = make_comparator(&bounds.max, column, ORDER).unwrap();
        for (zone, rows) in zones.rows.iter().enumerate() {
            let stretch = column.slice(rows.start, rows.len());
            prop_assert_eq!(bounds.nulls.value(zone), stretch.null_count() as u64);
            for row in rows.clone().filter(|&row| column.is_valid(row)) {
                prop_assert!(bounds.min.is_null(zone) || low(zone, row).is_le());
                prop_assert!(bounds.max.is_null(zone) || high(zone, row).is_ge());
            }
            if column.data_type().is_integer() && stretch.null_count() < stretch.len() {
                prop_assert!(rows.clone().any(|row| column.is_valid(row) && low(zone, row).is_eq()));
                prop_assert!(rows.clone().any(|row| column.is_valid(row) && high(zone, row).is_eq()));
            }
        }
    }

    #[test]
    fn runs_are_sorted_and_ranges_are_exact(column in any_column(), low in any::<prop::sample::Index>(), high in any::<prop::sample::Index>()) {
        prop_assume!(!column.is_empty());
        let run = &build_runs(&[part(one(Arc::clone(&column)))], &[0]).unwrap()[0];
        let sorted = run.rows.column(0);
        let compare = make_comparator(sorted, sorted, ORDER).unwrap();
        for row in 1..sorted.len() {
            let behind = is_nan(sorted, row) || compare(row - 1, row).is_le();
            prop_assert!(behind, "row {row} of {sorted:?}");
        }
        let bounds = [column.slice(low.index(column.len()), 1), column.slice(high.index(column.len()), 1)];
        let range = run.leading_range(Some(&bounds[0]), Some(&bounds[1]));
        if bounds.iter().any(|bound| bound.is_null(0)) || (0..column.len()).any(|row| is_nan(&column, row)) {
            prop_assert_eq!(range, 0..sorted.len());
        } else {
            let at_least = make_comparator(sorted, &bounds[0], ORDER).unwrap();
            let at_most = make_comparator(sorted, &bounds[1], ORDER).unwrap();
            for row in 0..sorted.len() {
                let inside = sorted.is_valid(row) && at_least(row, 0).is_ge() && at_most(row, 0).is_le();
                prop_assert!(!inside || range.contains(&row));
            }
            prop_assert!(range.is_empty() || range.end <= sorted.len() - sorted.null_count());
        }
    }
}
