//! Is a file cut and named the same way every time, and are types guessed with care?

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use clap::Parser;
use proptest::prelude::*;

use super::create::statement;
use super::load::Totals;
use super::{Chunks, Source, producer_id};
use crate::cli::args::{Cli, Command, IngestArgs, InputFormat};

fn numbers(values: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

/// The same rows, cut into batches at other places.
fn chunks_of(rows: &RecordBatch, cuts: &[usize], chunk_rows: usize) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut start = 0;
    for cut in cuts.iter().map(|cut| cut % (rows.num_rows() + 1)).collect::<std::collections::BTreeSet<_>>() {
        batches.push(Ok(rows.slice(start, cut - start)));
        start = cut;
    }
    batches.push(Ok(rows.slice(start, rows.num_rows() - start)));
    Chunks::new(Box::new(batches.into_iter()), rows.schema(), chunk_rows).map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn chunks_do_not_depend_on_batches(
        n_rows in 0i64..5000,
        chunk_rows in 1usize..700,
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let rows = numbers(0..n_rows);
        let chunks = chunks_of(&rows, &cuts, chunk_rows);
        prop_assert_eq!(&chunks, &chunks_of(&rows, &[], chunk_rows));
        prop_assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.num_rows() == chunk_rows));
        prop_assert_eq!(concat_batches(&rows.schema(), &chunks).unwrap(), rows);
    }
}

#[test]
fn chunks_of_wide_rows_are_halved_the_same_way() {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..5000).map(|n| format!("{n:05}").repeat(1000))));
    let rows = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let chunks = chunks_of(&rows, &[7, 1234, 4321], 10_000);
    assert_eq!(chunks.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1250; 4]);
    assert_eq!(chunks, chunks_of(&rows, &[], 10_000));
}

#[test]
fn a_broken_file_gives_its_error_once() {
    let batches = vec![Ok(numbers(0..5)), Err(anyhow::anyhow!("torn")), Ok(numbers(5..6))];
    let mut chunks = Chunks::new(Box::new(batches.into_iter()), numbers(0..0).schema(), 10);
    assert!(chunks.next().unwrap().is_err());
    assert!(chunks.next().is_none());
}

#[test]
fn producers_are_named_by_table_and_content() {
    let hash = "a".repeat(64);
    assert_eq!(producer_id("git_events", &hash, 10_000), format!("git_events:{hash}"));
    assert_eq!(producer_id("s.t", &hash, 5000), format!("s.t:{hash}/5000"));
    let long = producer_id(&"ä b".repeat(100), &hash, 1_000_000);
    assert!(long.len() <= 128 && long.ends_with(&format!(":{hash}/1000000")));
    assert!(tidewater_storage::ids::ProducerId::new(long).is_ok());
}

fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(content).unwrap();
    (folder, path)
}

fn open(path: &Path, format: Option<InputFormat>) -> Source {
    Source::open(path, format, None, 10_000).unwrap()
}

fn types(source: &Source) -> Vec<String> {
    source.shape().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

#[test]
fn csv_columns_are_texts_with_a_shape() {
    let text = "id,code,price,seen,day,ok,big,note,mixed\n\
        1,007,1.5,2024-01-02T03:04:05Z,2024-01-02,true,18446744073709551615,,1\n\
        -2,08,2,2024-01-02 03:04:05+02:00,2024-01-03,false,1,,x\n";
    let (_folder, path) = file("a.csv", text.as_bytes());
    let source = open(&path, None);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(
        types(&source),
        [
            "id Int64",
            "code Utf8",
            "price Float64",
            &format!("seen {utc}"),
            "day Date32",
            "ok Boolean",
            "big UInt64",
            "note Utf8",
            "mixed Utf8"
        ]
    );
    let chunks: Vec<_> = source.into_chunks().map(Result::unwrap).collect();
    assert_eq!(chunks.len(), 1);
    let column = |name: &str| chunks[0].column_by_name(name).unwrap().as_string::<i32>().clone();
    assert_eq!(column("code").value(0), "007");
    assert_eq!(arrow::array::Array::null_count(&column("note")), 2);
}

#[test]
fn json_objects_have_a_shape_and_keep_their_digits() {
    let text = "{\"id\": 9007199254740993, \"at\": \"2024-01-02T03:04:05.123456\", \"tags\": [\"a\"], \"n\": null}\n\
        {\"id\": 2, \"at\": \"2024-01-02T03:04:06\", \"price\": 1.10, \"n\": null}\n";
    let (_folder, path) = file("a.ndjson", text.as_bytes());
    let source = open(&path, None);
    let shape = source.shape().clone();
    assert_eq!(shape.field_with_name("id").unwrap().data_type(), &DataType::Int64);
    assert_eq!(shape.field_with_name("at").unwrap().data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
    assert_eq!(shape.field_with_name("n").unwrap().data_type(), &DataType::Utf8);
    assert!(shape.field_with_name("tags").unwrap().data_type().is_nested());
    let rows = source.into_chunks().next().unwrap().unwrap();
    let column = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>().clone();
    assert_eq!(column("id").value(0), "9007199254740993");
    assert_eq!(column("price").value(1), "1.10");
}

#[test]
fn an_unknown_field_is_an_error() {
    let table =
        Arc::new(arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new("id", DataType::Int64, true)]));
    let (_folder, path) = file("a.json", b"{\"id\": 1}\n{\"id\": 2, \"idd\": 3}\n");
    let source = Source::open(&path, None, Some(table), 10).unwrap();
    let error = source.into_chunks().next().unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("idd"), "{error:#}");
}

#[test]
fn arrow_files_and_streams_are_told_apart() {
    let rows = numbers(0..25);
    let mut stream = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    stream.write(&rows).unwrap();
    stream.finish().unwrap();
    let mut whole = arrow::ipc::writer::FileWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    whole.write(&rows).unwrap();
    whole.finish().unwrap();
    for content in [stream.get_ref(), whole.get_ref()] {
        let (_folder, path) = file("a.arrow", content);
        let source = Source::open(&path, None, None, 10).unwrap();
        let sizes: Vec<_> = source.into_chunks().map(|chunk| chunk.unwrap().num_rows()).collect();
        assert_eq!(sizes, [10, 10, 5]);
    }
}

#[test]
fn parquet_knows_its_rows() {
    let rows = numbers(0..25);
    let mut content = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut content, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let (_folder, path) = file("a.parquet", &content);
    let source = open(&path, None);
    assert_eq!(source.n_rows(), Some(25));
    let hash = source.content().unwrap().to_owned();
    assert_eq!(hash.len(), 64);
    let all: Vec<_> = source.into_chunks().map(Result::unwrap).collect();
    assert_eq!(all[0].column(0).as_primitive::<Int64Type>().values().len(), 25);
    assert_eq!(open(&path, Some(InputFormat::Parquet)).content(), Some(hash.as_str()));
}

#[test]
fn a_file_of_unknown_form_is_refused() {
    let (_folder, path) = file("a.dat", b"x");
    assert!(Source::open(&path, None, None, 10).err().unwrap().to_string().contains("--format"));
    assert!(Source::open(&path, Some(InputFormat::Parquet), None, 10).is_err());
    let (_folder, empty) = file("a.csv", b"");
    assert!(Source::open(&empty, None, None, 10).is_err());
}

fn ingest_args(words: &[&str]) -> IngestArgs {
    match Cli::parse_from([&["tidewater", "ingest"], words].concat()).command {
        Command::Ingest(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_table_is_created_in_the_shape_of_the_file() {
    let (_folder, path) = file("a.csv", b"Id,at,na\"me\n1,2024-01-02 03:04:05,x\n");
    let source = open(&path, None);
    let args = ingest_args(&["t", "a.csv", "--create", "--key", "id", "--time", "at", "--sort", "Id,at"]);
    assert_eq!(
        statement(("public", "t"), source.shape(), &args).unwrap(),
        "CREATE TABLE IF NOT EXISTS \"public\".\"t\" (\"Id\" BIGINT NOT NULL, \"at\" TIMESTAMP NOT NULL, \
         \"na\"\"me\" VARCHAR, PRIMARY KEY (\"Id\")) WITH (time_column = 'at', sort_by = 'Id, at')"
    );
    let wrong = ingest_args(&["t", "a.csv", "--create", "--key", "nope"]);
    assert!(statement(("public", "t"), source.shape(), &wrong).unwrap_err().to_string().contains("Id, at"));
}

#[test]
fn the_summary_adds_up_in_words() {
    let totals = Totals { received: 10, accepted: 5, duplicate: 2, rejected: 1, repeated: 2, seconds: 2.0 };
    assert_eq!(
        totals.to_string(),
        "10 rows received, 5 accepted, 2 duplicate, 1 rejected, 2 repeated, 2.0 s, 5 rows/s"
    );
}
