//! Does every row go to one file, in the right order?

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType as T, Float64Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::source;
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, plain};
use crate::sealed::writer::{PlannedFile, SourceRows, order_of, plan_by, plan_files, working_bytes};

const HOUR_US: i64 = 3_600_000_000;

fn table(options: &[(&str, &str)]) -> TableDef {
    let columns = [("id!", T::Int64), ("at!", plain()), ("place", T::Int64), ("score", T::Float64), ("name", T::Utf8)];
    defined(&columns, &["id"], options)
}

/// What a row is made of, and the entry that it came with.
type Row = (i64, Option<i64>, Option<f64>, Option<String>, i64);

/// A piece of these rows; its first column counts on from `first_id`.
fn piece(def: &TableDef, rows: &[Row], first_id: i64) -> SourceRows {
    let ids = Int64Array::from_iter_values((first_id..).take(rows.len()));
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.0)).collect();
    let places: Int64Array = rows.iter().map(|row| row.1).collect();
    let scores: Float64Array = rows.iter().map(|row| row.2).collect();
    let names: StringArray = rows.iter().map(|row| row.3.as_deref()).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(ids), Arc::new(times), Arc::new(places), Arc::new(scores), Arc::new(names)];
    let batch = RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns).expect("rows of the table");
    source(batch, rows.iter().map(|row| row.4).collect())
}

fn time(source: &SourceRows, row: u32) -> i64 {
    source.rows.column(1).as_primitive::<TimestampMicrosecondType>().value(row as usize)
}

fn hour(source: &SourceRows, row: u32) -> i64 {
    time(source, row).div_euclid(HOUR_US)
}

/// NULLs last.
fn nulls_last<V>(a: Option<V>, b: Option<V>, compare: impl Fn(V, V) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// How two places compare by one column, in the plainest way. A column that a piece does not have is NULL.
fn compare_column(sources: &[SourceRows], column: usize, a: (u32, u32), b: (u32, u32)) -> Ordering {
    let found = |(source, row): (u32, u32)| {
        let column = sources[source as usize].rows.columns().get(column)?;
        column.is_valid(row as usize).then_some((column, row as usize))
    };
    nulls_last(found(a), found(b), |(a, row_a), (b, row_b)| match a.data_type() {
        T::Int64 => a.as_primitive::<Int64Type>().value(row_a).cmp(&b.as_primitive::<Int64Type>().value(row_b)),
        T::Timestamp(..) => {
            let of = |array: &ArrayRef, row| array.as_primitive::<TimestampMicrosecondType>().value(row);
            of(a, row_a).cmp(&of(b, row_b))
        }
        T::Float64 => {
            let of = |array: &ArrayRef, row| array.as_primitive::<Float64Type>().value(row);
            let (a, b) = (of(a, row_a), of(b, row_b));
            match (a.is_nan(), b.is_nan()) {
                (false, false) => a.total_cmp(&b),
                (a, b) => a.cmp(&b),
            }
        }
        T::Utf8 => a.as_string::<i32>().value(row_a).cmp(b.as_string::<i32>().value(row_b)),
        other => panic!("{other} is no column of the table"),
    })
}

/// Checks all that is promised of the files of these rows.
fn check(sources: &[SourceRows], def: &TableDef, hour_rows: u64, files: &[PlannedFile]) {
    let all: Vec<(u32, u32)> = (0_u32..)
        .zip(sources)
        .flat_map(|(at, source)| (0..source.rows.num_rows() as u32).map(move |row| (at, row)))
        .collect();
    let mut placed: Vec<(u32, u32)> = files.iter().flat_map(|file| file.rows.iter().copied()).collect();
    placed.sort_unstable();
    assert_eq!(placed, all, "each row once");
    assert!(files.len() <= 4);
    assert!(files.iter().all(|file| !file.rows.is_empty()));

    if def.options.time_column.is_none() {
        assert!(files.len() <= 1 && files.iter().all(|file| file.hour.is_none()));
    } else {
        check_hours(sources, hour_rows, files, &all);
    }
    for file in files {
        let order = order_of(file.hour, def);
        for pair in file.rows.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let seq = |(source, row): (u32, u32)| sources[source as usize].seqs.value(row as usize);
            let hour_of = |(source, row): (u32, u32)| hour(&sources[source as usize], row);
            let hours = order.hour_of.map(|_| hour_of(a).cmp(&hour_of(b)));
            let columns = order.columns.iter().map(|&column| compare_column(sources, column, a, b));
            let compared = hours
                .into_iter()
                .chain(columns)
                .find(|compared| compared.is_ne())
                .unwrap_or_else(|| seq(a).cmp(&seq(b)).then(a.cmp(&b)));
            assert_eq!(compared, Ordering::Less, "{a:?} and {b:?} by {order:?}");
        }
    }
}

fn check_hours(sources: &[SourceRows], hour_rows: u64, files: &[PlannedFile], all: &[(u32, u32)]) {
    let mut counts: HashMap<i64, u64> = HashMap::new();
    for &(source, row) in all {
        *counts.entry(hour(&sources[source as usize], row)).or_default() += 1;
    }
    let mut large: Vec<i64> = counts.iter().filter(|(_, n)| **n >= hour_rows).map(|(hour, _)| *hour).collect();
    large.sort_unstable_by(|a, b| b.cmp(a));
    large.truncate(3);
    let own: Vec<i64> = files.iter().take(large.len()).filter_map(|file| file.hour).collect();
    assert_eq!(own, large, "large hours first, the newest before the others");
    assert!(files.len() <= large.len() + 1);
    for file in files {
        let hours: HashSet<i64> = file.rows.iter().map(|&(source, row)| hour(&sources[source as usize], row)).collect();
        match file.hour {
            Some(hour) => assert_eq!(hours, HashSet::from([hour])),
            None => assert!(hours.len() > 1),
        }
    }
}

fn a_row() -> impl Strategy<Value = Row> {
    let time = (-3_i64..4, prop_oneof![0..5_i64, HOUR_US - 3..HOUR_US]).prop_map(|(hour, us)| hour * HOUR_US + us);
    let place = prop_oneof![1 => Just(None), 4 => (-2_i64..3).prop_map(Some), 1 => any::<i64>().prop_map(Some)];
    let score = prop_oneof![
        Just(None),
        prop::sample::select(vec![0.0, -0.0, 1.5, -1.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN])
            .prop_map(Some),
    ];
    let name = prop_oneof![
        Just(None),
        prop::sample::select(vec!["", "\0", "\0\0", "a", "a\0", "ab", "abcdefgh", "abcdefghi", "é", "\u{10FFFF}"])
            .prop_map(|name| Some(name.to_owned())),
    ];
    (time, place, score, name, 1_i64..6)
}

/// What tables are sorted by, with and without hours.
const OPTIONS: [&[(&str, &str)]; 7] = [
    &[("time_column", "at"), ("sort_by", "place, at")],
    &[("time_column", "at"), ("sort_by", "score, name")],
    &[("time_column", "at"), ("sort_by", "name, place")],
    &[("time_column", "at")],
    &[("time_column", "at"), ("sort_by", "arrival")],
    &[("time_column", "none"), ("sort_by", "name, score, id")],
    &[("time_column", "none"), ("sort_by", "arrival")],
];

proptest! {
    #[test]
    fn files_hold_each_row_once_in_order(
        pieces in prop::collection::vec(prop::collection::vec(a_row(), 0..30), 0..4),
        options in 0..OPTIONS.len(),
        hour_rows in 1_u64..12,
        n_columns in 3_usize..6,
    ) {
        let def = table(OPTIONS[options]);
        let mut first_id = 0;
        let mut sources: Vec<SourceRows> = pieces
            .iter()
            .map(|rows| {
                let piece = piece(&def, rows, first_id);
                first_id += rows.len() as i64;
                piece
            })
            .collect();
        // The first piece is of before an ADD COLUMN.
        if let Some(first) = sources.first_mut() {
            let columns: Vec<usize> = (0..n_columns).collect();
            first.rows = first.rows.project(&columns).expect("fewer columns");
        }
        let files = plan_by(&sources, &def, hour_rows).expect("planned");
        check(&sources, &def, hour_rows, &files);
        let n_rows: usize = pieces.iter().map(Vec::len).sum();
        prop_assert!(working_bytes(&sources, &def) >= 48 * n_rows as u64);
    }
}

/// Rows at these times, all of one place.
fn at_times(def: &TableDef, times: impl Iterator<Item = i64>) -> SourceRows {
    let rows: Vec<Row> = times.map(|time| (time, Some(1), None, None, 1)).collect();
    piece(def, &rows, 0)
}

#[test]
fn an_hour_has_a_file_of_its_own_from_65_536_rows_on() {
    let def = table(&[("time_column", "at"), ("sort_by", "place, at")]);
    let hours = |counts: &[(i64, usize)]| -> Vec<i64> {
        counts.iter().flat_map(|&(hour, n)| (0..n as i64).map(move |us| hour * HOUR_US + us)).collect()
    };
    let planned = |counts: &[(i64, usize)]| -> Vec<(Option<i64>, usize)> {
        let source = at_times(&def, hours(counts).into_iter());
        let files = plan_files(&[source], &def).expect("planned");
        files.iter().map(|file| (file.hour, file.rows.len())).collect()
    };
    assert!(planned(&[]).is_empty());
    assert_eq!(planned(&[(7, 10)]), [(Some(7), 10)], "one hour, however few");
    assert_eq!(planned(&[(7, 65_535), (8, 65_535)]), [(None, 131_070)]);
    assert_eq!(planned(&[(7, 65_536), (8, 65_535)]), [(Some(7), 65_536), (Some(8), 65_535)]);
    assert_eq!(
        planned(&[(-1, 65_536), (0, 1), (1, 2), (2, 65_537)]),
        [(Some(2), 65_537), (Some(-1), 65_536), (None, 3)]
    );
    let large: Vec<(i64, usize)> = (0..5).map(|hour| (hour, 65_536)).collect();
    assert_eq!(planned(&large), [(Some(4), 65_536), (Some(3), 65_536), (Some(2), 65_536), (None, 131_072)]);
}
