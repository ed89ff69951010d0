//! Are the small parts right by themselves? Selections of rows, stamps.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::parquet::arrow::arrow_reader::RowSelector;
use roaring::RoaringBitmap;

use crate::provider::sealed::opening::selection::all_but;
use crate::provider::sealed::statistics::has_constants;
use crate::provider::tests::support::Random;

fn selected(deleted: &RoaringBitmap, n_rows: u64) -> Vec<u32> {
    let mut ranges = deleted.iter();
    let selection = all_but(std::iter::from_fn(|| ranges.next_range()), n_rows);
    let selectors: Vec<RowSelector> = selection.into();
    assert!(selectors.iter().all(|selector| selector.row_count > 0));
    assert_eq!(selectors.iter().map(|selector| selector.row_count as u64).sum::<u64>(), n_rows);
    let mut next = 0;
    let mut rows = Vec::new();
    for selector in selectors {
        let end = next + selector.row_count as u32;
        if !selector.skip {
            rows.extend(next..end);
        }
        next = end;
    }
    rows
}

#[test]
fn a_selection_is_what_is_not_deleted() {
    let mut random = Random::new(1);
    for n_rows in [1, 2, 10, 1_000, 70_000] {
        for share in [0, 1, 50, 99, 100] {
            let deleted: BTreeSet<u32> = (0..n_rows as u32).filter(|_| random.chance(share)).collect();
            let expected: Vec<u32> = (0..n_rows as u32).filter(|row| !deleted.contains(row)).collect();
            let deleted = RoaringBitmap::from_iter(deleted);
            assert_eq!(selected(&deleted, n_rows), expected, "{n_rows} rows, {share} % deleted");
        }
    }
    // Rows that the file does not have are no rows.
    assert_eq!(selected(&RoaringBitmap::from_iter([1, 5, 6, 7]), 6), [0, 2, 3, 4]);
}

#[test]
fn the_latest_stamps_of_all_files_are_known() {
    let stamps = Arc::new(crate::provider::sealed::stamps::Stamps::default());
    stamps.add(vec![(1, 10), (2, 20)]);
    stamps.add(vec![(2, 20), (7, 70)]);
    assert!(stamps.bytes() >= 3 * 16);
}

#[test]
fn a_column_of_one_value_is_known_by_its_bounds() {
    let exact = |value: i64| Precision::Exact(ScalarValue::from(value));
    let of = |min, max, nulls| {
        let known =
            ColumnStatistics { min_value: min, max_value: max, null_count: nulls, ..ColumnStatistics::new_unknown() };
        let column_statistics = vec![ColumnStatistics::new_unknown(), known];
        has_constants(&Statistics {
            num_rows: Precision::Exact(10),
            total_byte_size: Precision::Absent,
            column_statistics,
        })
    };
    assert!(of(exact(7), exact(7), Precision::Exact(0)));
    assert!(of(Precision::Absent, Precision::Absent, Precision::Exact(10)));
    assert!(!of(exact(7), exact(8), Precision::Exact(0)));
    assert!(!of(exact(7), exact(7), Precision::Exact(1)));
    assert!(!of(exact(7), exact(7), Precision::Absent));
    assert!(!of(Precision::Inexact(ScalarValue::from(7_i64)), exact(7), Precision::Exact(0)));
    assert!(!of(Precision::Absent, Precision::Absent, Precision::Exact(0)));
}
