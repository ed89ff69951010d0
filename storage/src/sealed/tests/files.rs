//! Is what is written read again, value for value, and is what is said of a file true?

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int16Array, Int64Array, RecordBatch, StringArray, UInt32Array,
    new_null_array,
};
use arrow::compute::{concat, concat_batches, take_record_batch};
use arrow::datatypes::{DataType as T, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{all_types, check_bounds, random_rows, source};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, plain};
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::sealed::bounds::{BoundsBuilder, ColumnBounds};
use crate::sealed::file::SegmentFile;
use crate::sealed::reader::{checksum_of, read_columns, read_file, read_stamps, reading_bytes};
use crate::sealed::types::{COMMIT_SEQ, from_stored, stored_schema, stored_type, to_stored};
use crate::sealed::writer::{Entries, PlannedFile, SourceRows, Target, plan_by, write_file};
use crate::sealed::{RemoteFile, stamps};
use crate::untrusted::{SUMS, Sums, read_sealed_footer};

const CREATED_US: i64 = 1_700_000_000_000_000;

/// A folder for files, which goes with it.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, planned: &PlannedFile, sources: &[SourceRows], def: &TableDef) -> Result<SegmentFile> {
        self.write_as(name, planned, sources, def, Entries::Known)
    }

    fn write_as(
        &self,
        name: &str,
        planned: &PlannedFile,
        sources: &[SourceRows],
        def: &TableDef,
        entries: Entries,
    ) -> Result<SegmentFile> {
        let target = Target { path: &self.path(name), hour: planned.hour, def, go_on: &|_| Ok(()) };
        write_file(target, name.to_owned(), planned, sources, CREATED_US, entries)
    }

    /// All rows of a file and their entries.
    fn read(&self, name: &str, schema: &SchemaRef) -> (RecordBatch, Option<Int64Array>) {
        let read = read_file(&self.path(name), schema).expect("the file opens");
        let read: Vec<(RecordBatch, Option<Int64Array>)> = read.collect::<Result<_>>().expect("readable");
        let rows = concat_batches(schema, read.iter().map(|(rows, _)| rows)).expect("of one schema");
        let seqs: Option<Vec<&dyn Array>> =
            read.iter().map(|(_, seqs)| seqs.as_ref().map(|seqs| seqs as &dyn Array)).collect();
        let joined = |seqs: Vec<&dyn Array>| concat(&seqs).expect("of one type").as_primitive::<Int64Type>().clone();
        (rows, seqs.filter(|seqs| !seqs.is_empty()).map(joined))
    }
}

/// All rows of one piece in its order.
fn whole(source: &SourceRows) -> PlannedFile {
    PlannedFile { hour: None, rows: (0..source.rows.num_rows() as u32).map(|row| (0, row)).collect() }
}

/// The rows that a file should hold, and their entries.
fn expected(planned: &PlannedFile, sources: &[SourceRows], def: &TableDef) -> (RecordBatch, Vec<i64>) {
    let mut rows = Vec::new();
    let mut seqs = Vec::new();
    for &(at, row) in &planned.rows {
        let source = &sources[at as usize];
        let one = source.rows.slice(row as usize, 1);
        let columns = def.columns.iter().enumerate().map(|(column, of_table)| match one.columns().get(column) {
            Some(value) => Arc::clone(value),
            None => new_null_array(&of_table.data_type, 1),
        });
        rows.push(RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns.collect()).expect("rows of the table"));
        seqs.push(source.seqs.value(row as usize));
    }
    (concat_batches(&def.arrow_schema, &rows).expect("of one schema"), seqs)
}

/// Writes every planned file, reads it back, and checks all that is said of it.
fn check_files(files: &Files, planned: &[PlannedFile], sources: &[SourceRows], def: &TableDef) {
    for (at, planned) in planned.iter().enumerate() {
        let name = format!("{at}.parquet");
        let file = files.write(&name, planned, sources, def).expect("written");
        let (rows, seqs) = files.read(&name, &def.arrow_schema);
        let (expected_rows, expected_seqs) = expected(planned, sources, def);
        for (column, (read, written)) in rows.columns().iter().zip(expected_rows.columns()).enumerate() {
            assert_eq!(read, written, "column {}", def.columns[column].name);
        }
        let has_seqs = def.options.system_columns;
        assert_eq!(seqs.map(|seqs| seqs.values().to_vec()), has_seqs.then(|| expected_seqs.clone()));

        let mut entries = expected_seqs;
        entries.sort_unstable();
        entries.dedup();
        let stamps: Vec<(i64, i64)> = entries.iter().map(|&seq| (seq, 1000 * seq)).collect();
        assert_eq!(read_stamps(&files.path(&name)).expect("stamps"), stamps);
        assert_eq!((file.min_seq.0 as i64, file.max_seq.0 as i64), (entries[0], entries[entries.len() - 1]));
        assert_eq!(checksum_of(&files.path(&name)).expect("readable"), (file.bytes, file.checksum));
        assert_eq!((file.rows, file.hour, file.schema), (planned.rows.len() as u64, planned.hour, def.schema_id));
        assert_eq!((file.name.as_str(), file.created_at_us, file.entry), (name.as_str(), CREATED_US, None));
        assert_eq!(file.columns.len(), def.columns.len());
        for (column, bounds) in rows.columns().iter().zip(&file.columns) {
            check_bounds(column, bounds);
        }
        check_parts(&files.path(&name), &file);
    }
}

/// The tail, and each block before it, can be tested by itself.
fn check_parts(path: &Path, file: &SegmentFile) {
    let bytes = Bytes::from(std::fs::read(path).expect("readable"));
    let tail = file.tail.expect("it has one");
    let n_bytes = file.bytes - tail.bytes;
    assert!(tail.is(&bytes[n_bytes as usize..]) && !tail.is(&bytes[1 + n_bytes as usize..]));
    let footer = read_sealed_footer(&bytes, file.bytes).expect("a footer");
    let ends = footer.row_groups().iter().flat_map(|group| group.columns()).map(|column| column.byte_range());
    assert!(ends.map(|(at, length)| at + length).all(|end| end <= n_bytes), "columns are before the tail");
    let values = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let text = values.filter(|value| value.key == SUMS).find_map(|value| value.value.as_deref());
    let sums = Sums::read(text.expect("checksums"), n_bytes).expect("of all blocks");
    let all = 0..n_bytes;
    let wide = sums.to_read(std::slice::from_ref(&all)).expect("nothing was tested yet");
    assert_eq!(wide, std::slice::from_ref(&all));
    sums.tested(&wide, &[bytes.slice(..n_bytes as usize)], &wide).expect("as it was written");
    assert_eq!(sums.to_read(&[all]), None);
}

#[test]
fn values_of_every_type_come_back() {
    let both: [&[(&str, &str)]; 2] = [&[], &[("system_columns", "off")]];
    for options in both {
        let def = all_types(options);
        let files = Files::new();
        let pieces = [source(random_rows(&def, 300, 1), vec![3; 300]), source(random_rows(&def, 500, 2), vec![9; 500])];
        let mut planned = whole(&pieces[0]);
        planned.rows.extend((0..500).map(|row| (1, row)));
        planned.rows.reverse();
        check_files(&files, &[planned], &pieces, &def);
    }
}

#[test]
fn a_column_may_hold_nothing_but_nulls() {
    let def = all_types(&[]);
    let rows = random_rows(&def, 10, 3);
    let columns = def.columns.iter().zip(rows.columns()).map(|(column, values)| match column.nullable {
        true => new_null_array(&column.data_type, 10),
        false => Arc::clone(values),
    });
    let rows = RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns.collect()).expect("rows of the table");
    let piece = source(rows, vec![1; 10]);
    check_files(&Files::new(), &[whole(&piece)], &[piece], &def);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn files_hold_exactly_what_was_planned(
        pieces in prop::collection::vec((0_usize..60, any::<u64>(), prop::collection::vec(1_i64..20, 60)), 1..4),
        sort_by in prop::sample::select(vec!["text, f64", "f32, u64", "u8, raw", "clock, b", "wide", "arrival"]),
        n_columns in 20_usize..24,
        hour_rows in 1_u64..30,
    ) {
        let def = all_types(&[("sort_by", sort_by)]);
        let mut sources: Vec<SourceRows> = pieces
            .iter()
            .map(|(n_rows, seed, seqs)| source(random_rows(&def, *n_rows, *seed), seqs[..*n_rows].to_vec()))
            .collect();
        // The first piece is of before an ADD COLUMN.
        let columns: Vec<usize> = (0..n_columns.min(def.columns.len())).collect();
        sources[0].rows = sources[0].rows.project(&columns).expect("fewer columns");
        let planned = plan_by(&sources, &def, hour_rows).expect("planned");
        check_files(&Files::new(), &planned, &sources, &def);
    }
}

/// A table `id, n` and rows 0..n_rows of it.
fn small(n_rows: i64) -> (TableDef, SourceRows) {
    let def = defined(&[("id!", T::Int64), ("n", T::Int64)], &["id"], &[("sort_by", "id")]);
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n_rows));
    let rows = RecordBatch::try_new(Arc::clone(&def.arrow_schema), vec![Arc::clone(&ids), ids]);
    let piece = source(rows.expect("rows of the table"), (0..n_rows).map(|row| 1 + row / 10).collect());
    (def, piece)
}

#[test]
fn a_file_of_before_a_column_reads_as_null_there() {
    let (def, piece) = small(50);
    let files = Files::new();
    files.write("old", &whole(&piece), &[piece], &def).expect("written");
    let mut fields: Vec<_> = def.arrow_schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("later", T::UInt64, true)));
    let (rows, seqs) = files.read("old", &Arc::new(Schema::new(fields)));
    assert_eq!((rows.num_rows(), rows.column(2).null_count()), (50, 50));
    assert_eq!(seqs.map(|seqs| seqs.len()), Some(50));

    let other = Arc::new(Schema::new(vec![Field::new("another", T::Int64, true)]));
    let error = read_file(&files.path("old"), &other).err().expect("another table");
    assert_eq!(error.code(), Code::FileDamaged);
    let text = Arc::new(Schema::new(vec![Field::new("id", T::Utf8, false), Field::new("n", T::Int64, true)]));
    let mut read = read_file(&files.path("old"), &text).expect("the names are right");
    assert_eq!(read.next().expect("rows").expect_err("the type is wrong").code(), Code::FileDamaged);
}

#[test]
fn rows_of_an_entry_that_is_not_known_yet_do_not_say_it() {
    let (def, piece) = small(50);
    let files = Files::new();
    let planned = whole(&piece);
    let piece = SourceRows { stamps: Arc::new([]), ..piece };
    let path = files.path("staged");
    let file = files.write_as("staged", &planned, std::slice::from_ref(&piece), &def, Entries::Unknown);
    let file = file.expect("written");
    assert_eq!((file.min_seq, file.max_seq, file.entry, file.rows), (CommitSeq(0), CommitSeq(0), None, 50));
    let (rows, seqs) = files.read("staged", &def.arrow_schema);
    assert_eq!((rows, seqs), (piece.rows, None));
    assert_eq!(read_stamps(&path).expect_err("none").code(), Code::FileDamaged);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let (def, piece) = small(50);
    let files = Files::new();
    let planned = whole(&piece);
    let code = |outcome: Result<SegmentFile>| outcome.expect_err("refused").code();
    let none = PlannedFile { hour: None, rows: Vec::new() };
    assert_eq!(code(files.write("none", &none, std::slice::from_ref(&piece), &def)), Code::Internal);
    assert_eq!(code(files.write("no/folder", &planned, std::slice::from_ref(&piece), &def)), Code::FolderUnusable);
    files.write("twice", &planned, std::slice::from_ref(&piece), &def).expect("written");
    let before = checksum_of(&files.path("twice")).expect("readable");
    assert_eq!(code(files.write("twice", &planned, std::slice::from_ref(&piece), &def)), Code::FolderUnusable);
    assert_eq!(checksum_of(&files.path("twice")).expect("readable"), before);
    let without = SourceRows { stamps: Arc::new([]), ..piece.clone() };
    assert_eq!(code(files.write("unstamped", &planned, &[without], &def)), Code::Internal);
}

#[test]
fn a_file_may_be_stopped_before_each_chunk_of_its_rows() {
    let (def, piece) = small(50_000);
    let files = Files::new();
    let planned = whole(&piece);
    let asked = AtomicU64::new(0);
    let path = files.path("stopped");
    let go_on = |coming: u64| {
        assert!(coming > 0);
        match asked.fetch_add(1, Ordering::Relaxed) {
            0..3 => Ok(()),
            _ => Err(Error::new(Code::DiskFull, "others were faster")),
        }
    };
    let target = Target { path: &path, hour: planned.hour, def: &def, go_on: &go_on };
    let stopped = write_file(target, "s".into(), &planned, std::slice::from_ref(&piece), CREATED_US, Entries::Known);
    assert_eq!(stopped.expect_err("stopped").code(), Code::DiskFull);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[test]
fn damaged_files_are_named() {
    let (def, piece) = small(2000);
    let files = Files::new();
    files.write("whole", &whole(&piece), &[piece], &def).expect("written");
    let bytes = std::fs::read(files.path("whole")).expect("readable");
    let read = |bytes: &[u8]| -> Result<u64> {
        std::fs::write(files.path("damaged"), bytes).expect("written");
        let mut n_rows = 0;
        for rows in read_file(&files.path("damaged"), &def.arrow_schema)? {
            n_rows += rows?.0.num_rows() as u64;
        }
        Ok(n_rows)
    };
    assert_eq!(read(&bytes).expect("whole"), 2000);
    for cut in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        let error = read(&bytes[..cut]).expect_err("cut");
        assert_eq!(error.code(), Code::FileDamaged);
        assert!(error.to_string().contains("damaged"), "{error}");
    }
    assert_eq!(checksum_of(&files.path("none")).expect_err("there is none").code(), Code::FolderUnusable);
    assert_eq!(read_stamps(&files.path("none")).expect_err("there is none").code(), Code::FolderUnusable);
}

#[test]
fn stored_types_are_those_of_delta() {
    let list = |item: T, name: &str| T::List(Arc::new(Field::new(name, item, true)));
    let time = T::Time64(TimeUnit::Microsecond);
    let pairs = [
        (T::UInt8, T::Int16),
        (T::UInt16, T::Int32),
        (T::UInt32, T::Int64),
        (T::UInt64, T::Decimal128(20, 0)),
        (time.clone(), T::Int64),
        (T::Int8, T::Int8),
        (T::Utf8, T::Utf8),
        (plain(), plain()),
        (T::Decimal128(20, 0), T::Decimal128(20, 0)),
        (list(time, "item"), list(T::Int64, "element")),
        (
            T::Struct(vec![Field::new("u", T::UInt64, true)].into()),
            T::Struct(vec![Field::new("u", T::Decimal128(20, 0), true)].into()),
        ),
    ];
    for (own, stored) in pairs {
        assert_eq!(stored_type(&own), stored);
    }
    let def = all_types(&[]);
    let schema = stored_schema(&def);
    assert_eq!(schema.fields().len(), def.columns.len() + 1);
    assert_eq!(*schema.field(def.columns.len()), Field::new(COMMIT_SEQ, T::Int64, false));
    assert_eq!(stored_schema(&all_types(&[("system_columns", "off")])).fields().len(), def.columns.len());
    // A slice is stored as its own rows only.
    let rows = random_rows(&def, 40, 7).slice(11, 20);
    for column in rows.columns() {
        let stored = to_stored(column).expect("stored");
        assert_eq!(*stored.data_type(), stored_type(column.data_type()));
        assert_eq!(&from_stored(&stored, column.data_type()).expect("read"), column);
    }
}

#[test]
fn a_value_that_is_none_of_the_type_is_refused() {
    let wide: ArrayRef = Arc::new(Int16Array::from(vec![Some(255), None]));
    assert_eq!(from_stored(&wide, &T::UInt8).expect("all fit").null_count(), 1);
    for value in [-1, 256] {
        let wide: ArrayRef = Arc::new(Int16Array::from(vec![1, value]));
        let error = from_stored(&wide, &T::UInt8).expect_err("out of range");
        assert_eq!(error.code(), Code::FileDamaged);
        assert!(error.to_string().contains(&value.to_string()), "{error}");
    }
    assert_eq!(from_stored(&wide, &T::Int64).expect_err("another type").code(), Code::FileDamaged);
}

fn bounds_of(batches: &[ArrayRef]) -> ColumnBounds {
    let mut bounds = BoundsBuilder::new();
    for values in batches {
        bounds.add(values).expect("of one type");
        check_bounds_of_part(values);
    }
    bounds.finish()
}

fn check_bounds_of_part(values: &ArrayRef) {
    let mut bounds = BoundsBuilder::new();
    bounds.add(values).expect("of one type");
    check_bounds(values, &bounds.finish());
}

#[test]
fn long_texts_are_cut_and_their_maximum_rounded_up() {
    let texts = |texts: &[String]| -> (Option<String>, Option<String>) {
        let bounds = bounds_of(&[Arc::new(StringArray::from_iter_values(texts))]);
        let text = |value: Option<ArrayRef>| value.map(|value| value.as_string::<i32>().value(0).to_owned());
        (text(bounds.min), text(bounds.max))
    };
    let some = |min: &str, max: &str| (Some(min.to_owned()), Some(max.to_owned()));
    assert_eq!(texts(&["b".into(), String::new(), "a".repeat(64)]), some("", "b"));
    let x64 = "x".repeat(64);
    assert_eq!(texts(std::slice::from_ref(&x64)), some(&x64, &x64), "just short enough");
    assert_eq!(texts(&["x".repeat(65)]), some(&x64, &format!("{}y", "x".repeat(63))));
    // 63 bytes and half a character: the cut is before it.
    let odd = format!("{}é", "x".repeat(63));
    assert_eq!(texts(&[odd]), some(&"x".repeat(63), &format!("{}y", "x".repeat(62))));
    // The next character would take more bytes than there are: an earlier one gives way.
    let last = format!("{}\u{7F}zz", "x".repeat(63));
    assert_eq!(texts(&[last]).1, Some(format!("{}y", "x".repeat(62))));
    let before_surrogates = format!("\u{D7FF}{}", "\u{10FFFF}".repeat(20));
    assert_eq!(texts(&[before_surrogates]).1, Some("\u{E000}".into()));
    assert_eq!(texts(&["\u{10FFFF}".repeat(20)]).1, None, "nothing is above it");

    let bytes = |bytes: Vec<u8>| -> Option<Vec<u8>> {
        let bounds = bounds_of(&[Arc::new(BinaryArray::from(vec![bytes.as_slice()]))]);
        bounds.max.map(|max| max.as_binary::<i32>().value(0).to_vec())
    };
    assert_eq!(bytes(vec![7; 65]), Some([vec![7; 63], vec![8]].concat()));
    assert_eq!(bytes([vec![7], vec![u8::MAX; 70]].concat()), Some(vec![8]));
    assert_eq!(bytes(vec![u8::MAX; 65]), None);
}

#[test]
fn bounds_are_of_all_batches() {
    let numbers = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let bounds = bounds_of(&[
        numbers(vec![None, None]),
        numbers(vec![Some(3), Some(-1)]),
        numbers(vec![]),
        numbers(vec![Some(9), None]),
    ]);
    let number = |value: Option<ArrayRef>| value.map(|value| value.as_primitive::<Int64Type>().value(0));
    assert_eq!((number(bounds.min), number(bounds.max), bounds.nulls), (Some(-1), Some(9), 3));
    let nulls = bounds_of(&[numbers(vec![None])]);
    assert!(nulls.min.is_none() && nulls.max.is_none());

    let floats = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let zero = bounds_of(&[floats(vec![0.0]), floats(vec![-0.0])]);
    let signs = [zero.min, zero.max]
        .map(|value| value.expect("a bound").as_primitive::<Float64Type>().value(0).is_sign_negative());
    assert_eq!(signs, [true, false]);
    for nan in [f64::NAN, -f64::NAN] {
        let bounds = bounds_of(&[floats(vec![1.0]), floats(vec![nan]), floats(vec![2.0])]);
        assert!(bounds.min.is_none() && bounds.max.is_none());
    }
}

proptest! {
    #[test]
    fn stamps_come_back(
        steps in prop::collection::vec((1_i64..1000, -5_i64..2_000_000), 0..200),
        first in (any::<i32>(), any::<i64>()),
    ) {
        let (mut seq, mut stamp) = (i64::from(first.0), first.1);
        let stamps: Vec<(i64, i64)> = steps
            .iter()
            .map(|(seqs, us)| {
                seq += seqs;
                stamp = stamp.wrapping_add(*us);
                (seq, stamp)
            })
            .collect();
        let text = stamps::encode(&stamps).expect("encoded");
        prop_assert!(text.is_ascii());
        prop_assert_eq!(stamps::decode(&text).expect("decoded"), stamps);
    }
}

#[test]
fn stamps_are_short_and_their_damage_is_named() {
    let stamps: Vec<(i64, i64)> = (0..10_000).map(|seq| (seq, CREATED_US + 5000 * seq + seq % 7 * 100)).collect();
    let text = stamps::encode(&stamps).expect("encoded");
    assert!(text.len() < 3 * stamps.len(), "{} characters", text.len());
    assert!(stamps::decode(&stamps::encode(&[]).expect("encoded")).expect("decoded").is_empty());

    let code = |text: &str| stamps::decode(text).expect_err("damaged").code();
    let longer = format!("{text}00000");
    for damaged in ["", "x", "not Z85 at all \u{7F}", &text[..text.len() / 2], longer.as_str()] {
        assert_eq!(code(damaged), Code::FileDamaged, "{damaged:.20}");
    }
    assert_eq!(code(&z85::encode([9_u8, 1, 2, 3])), Code::LogUnknownVersion);
    let descending = stamps::encode(&[(2, 1), (1, 1)]).expect("encoded");
    assert_eq!(code(&descending), Code::FileDamaged);
}

#[test]
fn one_row_may_stand_in_several_places() {
    // Rows are taken by place alone: a plan that repeats or leaves out rows is written as it is.
    let (def, piece) = small(30);
    let files = Files::new();
    let planned = PlannedFile { hour: Some(4), rows: vec![(0, 9), (0, 9), (0, 2)] };
    files.write("some", &planned, std::slice::from_ref(&piece), &def).expect("written");
    let places = UInt32Array::from(vec![9, 9, 2]);
    assert_eq!(files.read("some", &def.arrow_schema).0, take_record_batch(&piece.rows, &places).expect("taken"));
}

#[tokio::test]
async fn columns_of_a_file_elsewhere_are_the_same() {
    let (def, piece) = small(300);
    let files = Files::new();
    files.write("some", &whole(&piece), std::slice::from_ref(&piece), &def).expect("written");
    let bytes = std::fs::read(files.path("some")).expect("readable");
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (at, n_bytes) = (StorePath::from("t/some"), bytes.len() as u64);
    store.put(&at, bytes.clone().into()).await.expect("put");
    let all: Vec<usize> = (0..def.columns.len()).collect();
    for columns in [&all[..1], &all[1..], &all[..]] {
        let here = read_columns(&files.path("some"), &def.arrow_schema, columns).expect("it opens");
        let here: Vec<RecordBatch> = here.collect::<Result<_>>().expect("readable");
        let remote = RemoteFile::open(&store, &at, n_bytes).await.expect("it opens");
        let (mut there, mut n_rows) = (Vec::new(), 0);
        for group in 0..remote.n_groups() {
            let fetched = remote.fetch(group, columns).await.expect("fetched");
            n_rows += fetched.n_rows();
            there.extend(fetched.rows(&def.arrow_schema).expect("it opens").map(|rows| rows.expect("readable")));
        }
        assert_eq!((there, n_rows), (here, 300));
    }

    let refused = async |bytes: Vec<u8>| {
        store.put(&at, bytes.into()).await.expect("put");
        let remote = RemoteFile::open(&store, &at, n_bytes).await?;
        let fetched = remote.fetch(0, &all).await?;
        fetched.rows(&def.arrow_schema)?.try_for_each(|rows| rows.map(drop))
    };
    let mut other = bytes.clone();
    // The header of the first page.
    other[4..20].fill(0xff);
    assert_eq!(refused(other).await.expect_err("damaged").code(), Code::FileDamaged);
    let mut other = bytes.clone();
    other.truncate(n_bytes as usize - 1);
    other.push(b'?');
    assert_eq!(refused(other).await.expect_err("no file").code(), Code::FileDamaged);
    // Whatever is asked of it lies behind its end.
    let cut = refused(bytes[..9].to_vec()).await.expect_err("cut");
    assert_eq!(cut.code(), Code::FileDamaged, "{cut}");
    assert!(cut.to_string().contains("it has 9 bytes instead of"), "{cut}");
    store.delete(&at).await.expect("deleted");
    let missing = RemoteFile::open(&store, &at, n_bytes).await.map(drop).expect_err("missing");
    assert_eq!(missing.code(), Code::FileDamaged, "{missing}");
    assert!(missing.hint_text().is_some_and(|hint| hint.contains("mounted")), "{missing}");
}

/// What merges and rebuilt keys read: a footer that claims two thousand million row groups ends the process if it is believed.
#[test]
fn a_file_that_was_made_to_harm_is_damaged() {
    const HOSTILE: &[u8] = &[
        b'P', b'A', b'R', b'1', 0x15, 0x02, 0x19, 0x1c, 0x48, 1, b'm', 0x15, 0x00, 0x00, 0x16, 0x00, 0x19, 0xfc, 0xff,
        0xff, 0xff, 0xff, 0x07, 19, 0, 0, 0, b'P', b'A', b'R', b'1',
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.parquet");
    std::fs::write(&path, HOSTILE).expect("written");
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", T::Int64, false)]));
    let refused = [
        read_stamps(&path).map(drop).expect_err("stamps"),
        reading_bytes(&path).map(drop).expect_err("sizes"),
        read_file(&path, &schema).map(drop).expect_err("rows"),
        read_columns(&path, &schema, &[0]).map(drop).expect_err("columns"),
    ];
    for error in refused {
        assert_eq!(error.code(), Code::FileDamaged, "{error}");
        assert!(error.to_string().contains("hostile.parquet"), "{error}");
    }
}
