//! Is a file whole or not there, and is each form what its readers expect?

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::Printer;
use super::encode::Encoder;
use super::file::format_of;
use crate::cli::args::OutputFormat;
use crate::cli::{exit, exit_code};

fn batch(ids: &[i64]) -> RecordBatch {
    let names = ids.iter().map(|id| (id % 3 != 0).then(|| format!("n|{id}\n\"x\"")));
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from(ids.to_vec()))), ("name", Arc::new(names.collect::<StringArray>()))];
    let [id, name] = &columns;
    let schema = Schema::new(vec![Field::new(id.0, DataType::Int64, false), Field::new(name.0, DataType::Utf8, true)]);
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect()).expect("a batch")
}

fn encoded(format: OutputFormat, batches: &[RecordBatch]) -> Vec<u8> {
    let (mut encoder, mut out) = Encoder::begin(format, &batch(&[]).schema()).expect("begins");
    for batch in batches {
        out.extend(encoder.batch(batch.clone()).expect("taken"));
    }
    out.extend(encoder.end().expect("ends"));
    out
}

fn text(format: OutputFormat, batches: &[RecordBatch]) -> String {
    String::from_utf8(encoded(format, batches)).expect("text")
}

#[test]
fn forms_for_programs_are_what_their_readers_take() {
    let batches = [batch(&[1, 2]), batch(&[3])];
    let json: serde_json::Value = serde_json::from_str(&text(OutputFormat::Json, &batches)).expect("JSON");
    let expected = serde_json::json!([
        {"id": 1, "name": "n|1\n\"x\""}, {"id": 2, "name": "n|2\n\"x\""}, {"id": 3, "name": null}
    ]);
    assert_eq!(json, expected);
    let lines = text(OutputFormat::Ndjson, &batches);
    let objects: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(serde_json::Value::from(objects), expected);
    for batches in [&[][..], &[batch(&[])]] {
        assert_eq!(text(OutputFormat::Json, batches), "[]\n");
        assert_eq!(text(OutputFormat::Ndjson, batches), "");
        assert_eq!(text(OutputFormat::Csv, batches), "id,name\n");
    }
}

#[test]
fn forms_for_people_keep_rows_apart() {
    let batches = [batch(&[1]), batch(&[3])];
    let markdown = text(OutputFormat::Markdown, &batches);
    assert_eq!(markdown, "| id | name |\n| --- | --- |\n| 1 | n\\|1<br>\"x\" |\n| 3 | NULL |\n");
    let records = text(OutputFormat::Expanded, &batches);
    let first = "-[ row 1 ]----\nid   | 1\nname | n|1\n     | \"x\"\n";
    assert_eq!(records, format!("{first}-[ row 2 ]----\nid   | 3\nname | NULL\n"));
    assert!(text(OutputFormat::Table, &[]).contains("| id | name |"));
    // What would command the terminal is shown as a sign.
    let name: ArrayRef = Arc::new(StringArray::from(vec!["a\u{1b}]52;c;cm0=\u{7}\r\u{9b}2Jb"]));
    let odd = [RecordBatch::try_from_iter([("name", name)]).expect("a batch")];
    for format in [OutputFormat::Table, OutputFormat::Expanded] {
        let shown = text(format, &odd);
        assert!(shown.contains("a\u{fffd}]52;c;cm0=\u{fffd}\u{fffd}\u{fffd}2Jb"), "{shown:?}");
    }
    // A box is closed when it is large, and the last one is not empty.
    let many: Vec<i64> = (1..=10_000).collect();
    let boxes = text(OutputFormat::Table, &[batch(&many)]);
    assert_eq!(boxes.matches("| id").count(), 1, "one box");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn parquet_has_every_row(sizes in prop::collection::vec(0_i64..3_000, 0..6)) {
        let mut next = 0;
        let batches: Vec<_> = sizes
            .iter()
            .map(|size| {
                let ids: Vec<i64> = (next..next + size).collect();
                next += size;
                batch(&ids)
            })
            .collect();
        let bytes = bytes::Bytes::from(encoded(OutputFormat::Parquet, &batches));
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet").build().expect("a reader");
        let read: Vec<i64> = reader
            .flat_map(|batch| batch.expect("rows").column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec())
            .collect();
        prop_assert_eq!(read, (0..next).collect::<Vec<_>>());
    }
}

#[test]
fn parquet_keeps_types() {
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let rows = RecordBatch::try_from_iter([("at", at), ("large", large)]).expect("a batch");
    let (mut encoder, mut bytes) = Encoder::begin(OutputFormat::Parquet, &rows.schema()).expect("begins");
    bytes.extend(encoder.batch(rows.clone()).expect("taken"));
    bytes.extend(encoder.end().expect("ends"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).expect("Parquet");
    let column = reader.metadata().row_group(0).column(0);
    assert!(matches!(column.compression(), parquet::basic::Compression::ZSTD(_)), "{:?}", column.compression());
    let read = reader.build().expect("a reader").next().expect("a batch").expect("rows");
    assert_eq!(read.columns(), rows.columns());
}

fn left_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("readable");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_file_is_replaced_when_it_is_whole_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, "before").expect("written");
    let broken = |printer: Printer| {
        drop(printer);
        assert_eq!(left_in(folder.path()), ["rows.csv"]);
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "before");
    };
    let begun = || {
        let mut printer = Printer::to_file(&path, None).expect("a file");
        printer.begin(&batch(&[]).schema()).expect("begins");
        printer.batch(batch(&[1, 2])).expect("taken");
        printer
    };
    broken(begun());
    let mut twice = begun();
    twice.end().expect("ends");
    let refused = twice.begin(&batch(&[]).schema()).expect_err("a second answer");
    assert!(refused.to_string().contains("answer of one statement"), "{refused}");
    broken(twice);
    let nothing = Printer::to_file(&path, None).expect("a file").finish().expect_err("no answer");
    assert!(nothing.to_string().contains("no statement answered"), "{nothing}");

    // Nobody else may read what only its owner could.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("changed");
    let mut whole = begun();
    whole.end().expect("ends");
    whole.finish().expect("committed");
    assert_eq!(left_in(folder.path()), ["rows.csv"]);
    assert!(std::fs::read_to_string(&path).expect("there").starts_with("id,name\n1,"));
    assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_link_stays_one_and_a_device_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("rows.csv"), folder.path().join("link"));
    std::fs::write(&file, "before").expect("written");
    std::os::unix::fs::symlink(&file, &link).expect("linked");
    let write = |path: &Path| {
        let mut printer = Printer::to_file(path, Some(OutputFormat::Csv)).expect("a file");
        printer.begin(&batch(&[]).schema()).expect("begins");
        printer.end().expect("ends");
        printer.finish().expect("committed");
    };
    write(&link);
    assert!(link.symlink_metadata().expect("there").is_symlink());
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "id,name\n");
    let device = Path::new("/dev/null");
    write(device);
    assert!(!device.metadata().expect("there").is_file());
    assert!(Printer::to_file(folder.path(), Some(OutputFormat::Csv)).is_err(), "a folder is no file");
}

#[test]
fn names_of_files_say_their_form() {
    for (name, expected) in [
        ("a.CSV", OutputFormat::Csv),
        ("b.c.json", OutputFormat::Json),
        ("x.jsonl", OutputFormat::Ndjson),
        ("x.parquet", OutputFormat::Parquet),
        ("x.arrow", OutputFormat::Arrow),
        ("x.md", OutputFormat::Markdown),
    ] {
        assert_eq!(format_of(Path::new(name)).expect("known"), expected, "{name}");
    }
    for name in ["x", "x.xml", "x.csv.gz", ".csv"] {
        assert_eq!(exit_code(&format_of(Path::new(name)).expect_err(name)), exit::USAGE, "{name}");
    }
}
