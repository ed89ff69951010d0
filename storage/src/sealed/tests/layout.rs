//! Do files have the layout that readers rely on? Read back from their footers.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType as T, Field};
use parquet::basic::{Compression, Encoding, PageType, Type as PhysicalType};
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::{random, source};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, plain};
use crate::limits::ROW_GROUP_ROWS;
use crate::sealed::writer::{Entries, PlannedFile, SourceRows, Target, plan_files, write_file};

const HOUR_US: i64 = 3_600_000_000;

/// The footer of a file of these rows.
fn footer(planned: &PlannedFile, sources: &[SourceRows], def: &TableDef) -> ParquetMetaData {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.parquet");
    let target = Target { path: &path, hour: planned.hour, def, go_on: &|_| Ok(()) };
    write_file(target, "f.parquet".into(), planned, sources, 0, Entries::Known).expect("written");
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.parse_and_finish(&File::open(&path).expect("readable")).expect("a footer")
}

/// The leaf column of this path in a row group.
fn leaf<'a>(group: &'a RowGroupMetaData, path: &str) -> &'a ColumnChunkMetaData {
    group.columns().iter().find(|column| column.column_path().string() == path).expect("a column")
}

fn has(column: &ColumnChunkMetaData, encoding: Encoding) -> bool {
    column.encodings().any(|found| found == encoding)
}

/// A struct in front, so that leaves are counted otherwise than columns.
fn table(options: &[(&str, &str)]) -> TableDef {
    let inner = T::Struct(vec![Field::new("x", T::Int64, true), Field::new("nan", T::Float64, true)].into());
    let columns = [
        ("s", inner),
        ("id!", T::Int64),
        ("at!", plain()),
        ("place!", T::Int64),
        ("big", T::UInt64),
        ("price", T::Decimal128(12, 2)),
        ("score", T::Float64),
        ("nan", T::Float64),
        ("name", T::Utf8),
    ];
    defined(&columns, &["id"], options)
}

fn rows(def: &TableDef, n_rows: i64) -> RecordBatch {
    let numbers = |value: &dyn Fn(i64) -> i64| Int64Array::from_iter_values((0..n_rows).map(value));
    let nan = |row: i64| if row == n_rows / 2 { f64::NAN } else { row as f64 };
    let T::Struct(fields) = &def.columns[0].data_type else { panic!("a struct") };
    let parts: Vec<ArrayRef> =
        vec![Arc::new(numbers(&|row| row % 5)), Arc::new(Float64Array::from_iter_values((0..n_rows).map(nan)))];
    let cents = (0..n_rows).map(|row| i128::from(random(row as u64) % 1_000_000_000));
    let price = Decimal128Array::from_iter_values(cents);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StructArray::new(fields.clone(), parts, None)),
        Arc::new(numbers(&|row| random(row as u64))),
        Arc::new(TimestampMicrosecondArray::from_iter_values((0..n_rows).map(|row| 7 * HOUR_US + row * 1000))),
        Arc::new(numbers(&|row| random(row as u64) % 100)),
        Arc::new(UInt64Array::from_iter_values((0..n_rows).map(|row| random(row as u64).cast_unsigned()))),
        Arc::new(price.with_precision_and_scale(12, 2).expect("a decimal")),
        Arc::new(Float64Array::from_iter_values((0..n_rows).map(|row| (row % 50) as f64))),
        Arc::new(Float64Array::from_iter_values((0..n_rows).map(nan))),
        Arc::new(StringArray::from_iter_values((0..n_rows).map(|row| format!("name {}", row % 1000)))),
    ];
    RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns).expect("rows of the table")
}

#[test]
fn files_have_the_layout_of_the_design() {
    let n_rows = 530_000;
    let def = table(&[("time_column", "at"), ("sort_by", "place, at")]);
    let piece = source(rows(&def, n_rows), (0..n_rows).map(|row| 1 + row / 100).collect());
    let sources = [piece];
    let planned = plan_files(&sources, &def).expect("planned");
    assert_eq!(planned.len(), 1);
    assert_eq!(planned[0].hour, Some(7));
    let footer = footer(&planned[0], &sources, &def);

    let sizes: Vec<i64> = footer.row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(sizes, [524_288, n_rows - 524_288]);
    let file = footer.file_metadata();
    assert!(file.created_by().is_some_and(|by| by.starts_with("tidewater version ")));
    let keys: Vec<&str> = file.key_value_metadata().into_iter().flatten().map(|pair| pair.key.as_str()).collect();
    for key in ["tidewater.stamps", "tidewater.sums", "tidewater.table", "tidewater.schema"] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    let names: Vec<String> = file.schema_descr().columns().iter().map(|column| column.path().string()).collect();
    assert_eq!(names[..5], ["s.x", "s.nan", "id", "at", "place"]);
    assert_eq!(names.last().map(String::as_str), Some("_commit_seq"));
    for group in footer.row_groups() {
        let sorting = group.sorting_columns().expect("an order");
        let order: Vec<(i32, bool, bool)> =
            sorting.iter().map(|by| (by.column_idx, by.descending, by.nulls_first)).collect();
        // Leaves: s.x, s.nan, id, at, place.
        assert_eq!(order, [(4, false, false), (3, false, false)]);
        check_columns(group);
    }
    check_pages(&footer, &names);
}

fn check_columns(group: &RowGroupMetaData) {
    for column in group.columns() {
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{:?}", column.column_path());
    }
    for name in ["id", "price", "_commit_seq"] {
        let column = leaf(group, name);
        assert!(has(column, Encoding::DELTA_BINARY_PACKED), "{name}");
        assert_eq!(column.dictionary_page_offset(), None, "{name}");
    }
    assert_eq!(leaf(group, "price").column_type(), PhysicalType::INT64);
    // A UBIGINT is no integer of Parquet's.
    assert_eq!(leaf(group, "big").column_type(), PhysicalType::FIXED_LEN_BYTE_ARRAY);
    assert_eq!(leaf(group, "big").dictionary_page_offset(), None);
    for name in ["place", "score", "name", "s.x"] {
        assert!(leaf(group, name).dictionary_page_offset().is_some(), "{name}");
    }
    for name in ["nan", "s.nan"] {
        assert!(leaf(group, name).statistics().is_none(), "a query may find a NaN above all numbers");
    }
    assert!(leaf(group, "score").statistics().is_some());
}

fn check_pages(footer: &ParquetMetaData, names: &[String]) {
    let offsets = footer.offset_index().expect("an offset index");
    let bounds = footer.column_index().expect("a column index");
    for (group, (offsets, bounds)) in offsets.iter().zip(bounds).enumerate() {
        for ((offsets, bounds), name) in offsets.iter().zip(bounds).zip(names) {
            let firsts: Vec<i64> = offsets.page_locations().iter().map(|page| page.first_row_index).collect();
            let n_rows = footer.row_group(group).num_rows();
            assert_eq!(firsts, (0..n_rows).step_by(8192).collect::<Vec<_>>(), "pages of {name}");
            let has_bounds = !matches!(bounds, ColumnIndexMetaData::NONE);
            assert_eq!(has_bounds, !name.ends_with("nan"), "bounds of pages of {name}");
        }
    }
}

#[test]
fn a_late_file_declares_an_order_only_where_its_hours_are_in_it() {
    let sorting = |sort_by: &str| {
        let def = table(&[("time_column", "at"), ("sort_by", sort_by)]);
        let piece = source(rows(&def, 100), vec![1; 100]);
        let planned = PlannedFile { hour: None, rows: (0..100).map(|row| (0, row)).collect() };
        let footer = footer(&planned, &[piece], &def);
        let sorting = footer.row_group(0).sorting_columns().cloned();
        sorting.map(|columns| columns.iter().map(|by| by.column_idx).collect::<Vec<_>>())
    };
    // By hour first, and that is no column.
    assert_eq!(sorting("place, at"), None);
    assert_eq!(sorting("at, place"), Some(vec![3, 4]));
    assert_eq!(sorting("arrival"), Some(vec![3]));
}

#[test]
fn rows_in_order_of_arrival_have_no_declared_order() {
    let def = table(&[("time_column", "none"), ("sort_by", "arrival")]);
    let piece = source(rows(&def, 100), vec![1; 100]);
    let planned = plan_files(std::slice::from_ref(&piece), &def).expect("planned");
    assert!(footer(&planned[0], &[piece], &def).row_group(0).sorting_columns().is_none());
}

/// Whether all pages of values have numbers of a dictionary. The library gives what it read in one of two forms.
fn is_all_dictionary(column: &ColumnChunkMetaData) -> bool {
    match column.page_encoding_stats() {
        Some(pages) => pages
            .iter()
            .filter(|page| page.page_type != PageType::DICTIONARY_PAGE)
            .all(|page| page.encoding == Encoding::RLE_DICTIONARY),
        None => column.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY)),
    }
}

/// A table of texts.
fn texts(texts: impl Iterator<Item = String>) -> (TableDef, SourceRows) {
    let texts: Vec<String> = texts.collect();
    let def = defined(&[("id!", T::Int64), ("text", T::Utf8)], &["id"], &[("sort_by", "id")]);
    let ids = Int64Array::from_iter_values(0..texts.len() as i64);
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(StringArray::from_iter_values(&texts))];
    let rows = RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns).expect("rows of the table");
    let seqs = vec![1; texts.len()];
    (def, source(rows, seqs))
}

#[test]
fn long_texts_that_repeat_share_a_dictionary() {
    let long = |i: usize| format!("{}{}", "long ".repeat(60), i % 5000);
    let (def, piece) = texts((0..135_000).map(long));
    let planned = plan_files(std::slice::from_ref(&piece), &def).expect("planned");
    let footer_of_long = footer(&planned[0], &[piece], &def);
    assert_eq!(footer_of_long.num_row_groups(), 1, "up to 1,048,576 rows");
    let column = leaf(footer_of_long.row_group(0), "text");
    // 5,000 texts of 304 bytes: above the usual limit of 1 MiB, where the writer falls back to plain texts.
    assert!(is_all_dictionary(column));

    let (def, piece) = texts((0..135_000).map(|i| format!("{}", i % 5000)));
    let planned = plan_files(std::slice::from_ref(&piece), &def).expect("planned");
    assert_eq!(footer(&planned[0], &[piece], &def).num_row_groups(), 1, "a few short texts");
    let (def, piece) = texts((0..135_000).map(|i| format!("{i}")));
    let planned = plan_files(std::slice::from_ref(&piece), &def).expect("planned");
    assert_eq!(footer(&planned[0], &[piece], &def).num_row_groups(), 2, "more than a dictionary takes");
    let (def, piece) = texts((0..8000).map(|i| format!("{}{i}", "long ".repeat(60))));
    let planned = plan_files(std::slice::from_ref(&piece), &def).expect("planned");
    let footer = footer(&planned[0], &[piece], &def);
    assert!(!is_all_dictionary(leaf(footer.row_group(0), "text")), "texts that do not repeat");
}

#[test]
fn numbers_have_a_dictionary_that_takes_all_of_a_row_group_or_none() {
    let def = defined(
        &[("few", T::Int64), ("many", T::Int64), ("cents", T::Decimal128(9, 2))],
        &[],
        &[("sort_by", "arrival")],
    );
    let numbers =
        |n: i64| Int64Array::from_iter_values((0..ROW_GROUP_ROWS as u64).map(|row| random(row).rem_euclid(n)));
    let cents = Decimal128Array::from_iter_values(numbers(140_000).values().iter().map(|&cents| i128::from(cents)));
    let cents = cents.with_precision_and_scale(9, 2).expect("a decimal");
    let columns: Vec<ArrayRef> = vec![Arc::new(numbers(100_000)), Arc::new(numbers(140_000)), Arc::new(cents)];
    let rows = RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns).expect("rows of the table");
    let piece = source(rows, vec![1; ROW_GROUP_ROWS]);
    let planned = plan_files(std::slice::from_ref(&piece), &def).expect("planned");
    let footer = footer(&planned[0], &[piece], &def);
    assert_eq!(footer.num_row_groups(), 1);
    let group = footer.row_group(0);
    assert!(is_all_dictionary(leaf(group, "few")));
    assert!(has(leaf(group, "many"), Encoding::DELTA_BINARY_PACKED), "1 MiB are 131,072 numbers");
    assert!(is_all_dictionary(leaf(group, "cents")), "of four bytes each");
}
