//! Are the small parts right by themselves? Selections of rows, stamps.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::FileRange;
use datafusion::datasource::physical_plan::parquet::RowGroupAccess;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::RowSelector;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::parquet::file::properties::WriterProperties;
use roaring::RoaringBitmap;
use tidewater_storage::limits::FILTER_ROWS;

use crate::provider::sealed::opening::selection::{Rows, all_but};
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

/// The footer of a file with row groups of so many rows.
fn footer_of(n_rows: u64, group_rows: usize) -> ParquetMetaData {
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Boolean, false)]));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(Vec::<u8>::new(), Arc::clone(&schema), Some(properties)).expect("a writer");
    let values: ArrayRef = Arc::new(BooleanArray::from(vec![true; n_rows as usize]));
    writer.write(&RecordBatch::try_new(schema, vec![values]).expect("one column")).expect("written");
    writer.close().expect("a footer")
}

/// Blocks of which a sidecar admits so many of a hundred.
fn some_blocks(random: &mut Random, n_rows: u64, percent: u64) -> Vec<Range<u64>> {
    let mut admitted: Vec<Range<u64>> = Vec::new();
    for first in (0..n_rows).step_by(FILTER_ROWS) {
        if !random.chance(percent) {
            continue;
        }
        let end = n_rows.min(first + FILTER_ROWS as u64);
        match admitted.last_mut() {
            Some(last) if last.end == first => last.end = end,
            _ => admitted.push(first..end),
        }
    }
    admitted
}

/// The numbers of the rows that are read, portion after portion.
fn read(rows: &Rows, footer: &ParquetMetaData) -> Vec<u64> {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let held = MemoryConsumer::new("rows").register(&pool);
    let mut read = Vec::new();
    for portion in rows.portions() {
        let plan = rows.plan(portion, &held).expect("a plan");
        let (mut next, mut end) = (0, 0);
        for (group, access) in footer.row_groups().iter().zip(plan.into_inner()) {
            let n_rows = group.num_rows() as usize;
            end += n_rows as u64;
            let selectors: Vec<RowSelector> = match access {
                RowGroupAccess::Skip => vec![RowSelector::skip(n_rows)],
                RowGroupAccess::Scan => vec![RowSelector::select(n_rows)],
                RowGroupAccess::Selection(selection) => selection.into(),
            };
            for selector in selectors {
                let behind = next + selector.row_count as u64;
                if !selector.skip {
                    read.extend(next..behind);
                }
                next = behind;
            }
            assert_eq!(next, end, "a selection is of all rows of its row group");
        }
    }
    read
}

/// Row groups end inside of blocks and pages; of some so many rows are deleted that they are read in portions.
#[test]
fn all_that_is_asked_for_and_not_deleted_is_read_once() {
    const ROWS: u64 = 250_000;
    let footer = footer_of(ROWS, 100_000);
    assert_eq!(footer.num_row_groups(), 3);
    let second = footer.row_group(1).column(0).data_page_offset();
    let halves = [FileRange { start: 0, end: second }, FileRange { start: second, end: i64::MAX }];
    let mut random = Random::new(3);
    for deleted_percent in [0, 1, 60, 90, 100] {
        let deleted: RoaringBitmap = (0..ROWS as u32).filter(|_| random.chance(deleted_percent)).collect();
        let deleted = Arc::new(deleted);
        for admitted_percent in [0, 20, 70, 100, 101] {
            let admitted = (admitted_percent <= 100).then(|| some_blocks(&mut random, ROWS, admitted_percent));
            let is_asked = |row: &u64| admitted.as_ref().is_none_or(|of| of.iter().any(|rows| rows.contains(row)));
            let expected: Vec<u64> = (0..ROWS).filter(|row| is_asked(row) && !deleted.contains(*row as u32)).collect();
            let rows = |range| Rows::new(&footer, range, admitted.clone(), Some(Arc::clone(&deleted)));
            let whole = rows(None);
            assert!(read(&whole, &footer) == expected, "{deleted_percent} % deleted, {admitted_percent} % asked for");
            let parts: Vec<u64> = halves.iter().flat_map(|range| read(&rows(Some(range)), &footer)).collect();
            assert!(parts == expected, "{deleted_percent} % deleted, {admitted_percent} % asked for, in two parts");
            if deleted_percent == 90 && admitted.is_none() {
                assert_eq!(whole.portions().len(), 5, "two of a large row group each");
            }
        }
    }
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
