//! Does a file's sidecar know all keys of the file, block by block?

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType as T, TimeUnit};
use bytes::Bytes;
use proptest::prelude::*;

use super::{random, random_rows, source};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, instant, plain};
use crate::limits::FILTER_ROWS;
use crate::sealed::file::{SegmentFile, Sidecar};
use crate::sealed::reader::{checksum_of, read_file};
use crate::sealed::sidecar::{Block, Directory, Filter, key_hashes};
use crate::sealed::writer::{Entries, PlannedFile, SourceRows, Target, write_file};

/// Writes all rows as one file in their order.
fn write(path: &Path, source: SourceRows, def: &TableDef) -> SegmentFile {
    let rows = (0..source.rows.num_rows() as u32).map(|row| (0, row)).collect();
    let target = Target { path, hour: None, def, go_on: &|_| Ok(()) };
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    write_file(target, name, &PlannedFile { hour: None, rows }, &[source], 0, Entries::Known).expect("written")
}

/// The filters of a file's blocks, with the rows that they are of. What is said of the sidecar is true.
fn filters(path: &Path, said: &Sidecar) -> Vec<(usize, Filter)> {
    let beside = path.with_extension("filters");
    assert_eq!(checksum_of(&beside).expect("readable"), (said.bytes, said.checksum));
    let bytes = Bytes::from(std::fs::read(&beside).expect("readable"));
    let directory = Directory::parse(&bytes, said.bytes).expect("whole");
    let filter = |of: &Block| {
        let own = bytes.slice(of.range.start as usize..of.range.end as usize);
        (of.rows as usize, Filter::parse(of, own).expect("whole"))
    };
    directory.blocks.iter().map(filter).collect()
}

/// The hashes of a file's keys, read from the file.
fn keys(path: &Path, def: &TableDef) -> Vec<u64> {
    let read = read_file(path, &def.arrow_schema).expect("the file opens");
    let of_batch = |rows: RecordBatch| {
        let columns: Vec<ArrayRef> = def.key.iter().map(|&column| Arc::clone(rows.column(column))).collect();
        key_hashes(&columns).expect("keys")
    };
    read.flat_map(|read| of_batch(read.expect("readable").0)).collect()
}

#[test]
fn each_block_has_a_filter_of_its_own_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.parquet");
    let def = defined(&[("id!", T::Int64)], &["id"], &[("time_column", "none")]);
    let n_rows = 2 * FILTER_ROWS + 5;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..n_rows as u64).map(random)));
    let rows = RecordBatch::try_new(Arc::clone(&def.arrow_schema), vec![ids]).expect("rows of the table");
    let file = write(&path, source(rows, vec![1; n_rows]), &def);
    let sidecar = file.sidecar.expect("the table has a key");
    assert_eq!(sidecar.name, "_filters/f.filters");
    let filters = filters(&path, &sidecar);
    assert_eq!(filters.iter().map(|(rows, _)| *rows).collect::<Vec<_>>(), [FILTER_ROWS, FILTER_ROWS, 5]);
    let hashes = keys(&path, &def);
    let mut first = 0;
    for (n_rows, filter) in &filters {
        let own = first..first + n_rows;
        assert!(hashes[own.clone()].iter().all(|hash| filter.contains(*hash)));
        let others = hashes.iter().enumerate().filter(|(row, _)| !own.contains(row));
        let n_wrong = others.filter(|(_, hash)| filter.contains(**hash)).count();
        assert!(n_wrong * 200 < hashes.len(), "{n_wrong} of {} others", hashes.len());
        first = own.end;
    }
    assert!(sidecar.bytes < n_rows as u64 * 5 / 4, "{} bytes of {n_rows} keys", sidecar.bytes);
}

#[test]
fn a_table_without_a_key_has_no_sidecars() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.parquet");
    let def = defined(&[("v", T::Int64)], &[], &[("time_column", "none")]);
    let rows = random_rows(&def, 10, 1);
    assert_eq!(write(&path, source(rows, vec![1; 10]), &def).sidecar, None);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn a_sidecar_of_another_file_is_not_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("f.filters"), b"another's").expect("written");
    let path = folder.path().join("f.parquet");
    let def = defined(&[("id!", T::Int64)], &["id"], &[("time_column", "none")]);
    let piece = source(random_rows(&def, 10, 1), vec![1; 10]);
    let target = Target { path: &path, hour: None, def: &def, go_on: &|_| Ok(()) };
    let planned = PlannedFile { hour: None, rows: vec![(0, 0)] };
    write_file(target, "f.parquet".into(), &planned, &[piece], 0, Entries::Known).expect_err("refused");
    assert_eq!(std::fs::read(folder.path().join("f.filters")).expect("there"), b"another's");
}

fn key_type() -> impl Strategy<Value = T> {
    prop::sample::select(vec![
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Decimal128(7, 2),
        T::Decimal128(38, 10),
        T::Utf8,
        T::Binary,
        T::Date32,
        T::Time64(TimeUnit::Microsecond),
        plain(),
        instant(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The keys are read back from the file, where they stand in other types.
    #[test]
    fn no_key_of_any_type_is_ever_denied(
        types in prop::collection::vec(key_type(), 1..4),
        n_rows in 1..800_usize,
        seed in any::<u32>(),
    ) {
        let names: Vec<String> = (0..types.len()).map(|at| format!("k{at}")).collect();
        let not_null: Vec<String> = names.iter().map(|name| format!("{name}!")).collect();
        let mut columns: Vec<(&str, T)> = not_null.iter().map(String::as_str).zip(types).collect();
        columns.push(("v", T::Utf8));
        // Not in the table's order.
        let key: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let def = defined(&columns, &key, &[("time_column", "none")]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f.parquet");
        let piece = source(random_rows(&def, n_rows, u64::from(seed)), vec![1; n_rows]);
        let file = write(&path, piece, &def);
        let filters = filters(&path, &file.sidecar.expect("the table has a key"));
        prop_assert_eq!((filters.len(), filters[0].0), (1, n_rows));
        let hashes = keys(&path, &def);
        prop_assert_eq!(hashes.len(), n_rows);
        prop_assert!(hashes.iter().all(|hash| filters[0].1.contains(*hash)));
        let n_wrong = (0..20_000).filter(|i| filters[0].1.contains(random(1 << 50 | i).cast_unsigned())).count();
        prop_assert!(n_wrong < 160, "{} of 20,000 others", n_wrong);
    }
}
