//! What is sent of a line, and what of one that cannot be read?

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use serde_json::{Value, json};

use super::super::source::Source;
use super::{chunks_of, csv_chunks_of, file, numbers, open, parquet, refusal, row_chunks, sent_lines, text_chunks};
use crate::cli::args::{CsvArgs, InputFormat};

fn objects(name: &str, text: &[u8]) -> Vec<Value> {
    sent_lines(&chunks_of(name, text, 100, 0)).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn fields_of_csv_are_texts_or_null() {
    let text = "id,Name,note\n007,\"a \"\"b\"\"\nc\",\"\"\n1.50,\"  x,y\", \n,,\n\u{feff}2,ä,\\N\n";
    assert_eq!(
        objects("a.csv", text.as_bytes()),
        [
            json!({ "id": "007", "Name": "a \"b\"\nc" }),
            json!({ "id": "1.50", "Name": "  x,y", "note": " " }),
            json!({}),
            json!({ "id": "\u{feff}2", "Name": "ä", "note": "\\N" }),
        ]
    );
}

#[test]
fn lines_of_csv_that_cannot_be_read_carry_their_reason() {
    let text = b"id,name\n1,a\n2\n3,b,c\n4,\xFF\n5,e\n\xC3,\xA9\n6,\"open\n7,f\n";
    let chunks = chunks_of("a.csv", text, 100, 0);
    let lines: Vec<Value> = sent_lines(&chunks).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            json!({ "id": "1", "name": "a" }),
            json!({ "line 3: 1 field, not 2": "2" }),
            json!({ "line 4: 3 fields, not 2": "3,b,c" }),
            json!({ "line 5: the text is not UTF-8": "4,\u{fffd}" }),
            json!({ "id": "5", "name": "e" }),
            json!({ "line 7: the text is not UTF-8": "\u{fffd},\u{fffd}" }),
            json!({ "id": "6", "name": "open\n7,f\n" }),
        ]
    );
    let rows = chunks[0].content.as_ref().unwrap();
    assert_eq!(rows.lines, [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(rows.faults.len(), 4);
    assert_eq!(rows.faults[&2], "line 4: 3 fields, not 2");
    assert!(chunks.iter().all(|chunk| chunk.n_rows == 7));
}

#[test]
fn many_bad_lines_are_told_from_the_good_ones() {
    let line = |n: usize| if n.is_multiple_of(3) { format!("{n}\n") } else { format!("{n},x\n") };
    let text = "id,name\n".to_owned() + &(0..1000).map(line).collect::<String>();
    let sent = objects("a.csv", text.as_bytes());
    assert_eq!(sent.len(), 1000);
    for (n, row) in sent.iter().enumerate() {
        let bad = json!({ (format!("line {}: 1 field, not 2", n + 2)): n.to_string() });
        let good = json!({ "id": n.to_string(), "name": "x" });
        assert_eq!(*row, if n.is_multiple_of(3) { bad } else { good });
    }
}

/// Whatever is sent, the server must not take it for an array or for another number of rows.
#[test]
fn lines_of_json_go_as_they_are_or_with_a_reason() {
    let text = "\u{feff}\n  {\"id\": 1.10}\r\n\n{\"id\": \n[1, 2]\nx\n\u{feff}{\"id\": 2}\n";
    let sent = sent_lines(&chunks_of("a.json", text.as_bytes(), 100, 0));
    assert_eq!(
        sent,
        [
            "{\"id\": 1.10}",
            "{\"id\":",
            "{\"line 5: it is not a JSON object\":\"[1, 2]\"}",
            "{\"line 6: it is not a JSON object\":\"x\"}",
            "{\"line 7: it is not a JSON object\":\"\u{feff}{\\\"id\\\": 2}\"}",
        ]
    );
}

#[test]
fn the_elements_of_a_json_array_are_rows() {
    let text = "\u{feff}\n [{\"id\": 1},\n{\"id\":\n2}]\n";
    let sent = sent_lines(&chunks_of("a.json", text.as_bytes(), 100, 0));
    assert_eq!(sent, ["{\"id\": 1}", "{\"id\": 2}"]);
}

#[test]
fn a_header_that_does_not_fit_the_table_is_refused_before_anything_is_sent() {
    let table =
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("Name", DataType::Utf8, true)]));
    for (header, part) in [
        ("id,name", None),
        ("ID", None),
        ("id,nam", Some("did you mean 'Name'?")),
        ("id,zzz", Some("no column 'zzz'")),
        ("id,ID", Some("'ID' twice")),
        ("name", Some("'id', which may not be NULL")),
    ] {
        let (_folder, path) = file("a.csv", format!("{header}\n").as_bytes());
        let checked = Source::open(&path, None, Some(table.clone()), 10, &CsvArgs::default()).unwrap().check(&table);
        match (checked, part) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{header}: {error}"),
            (checked, _) => panic!("{header}: {checked:?}"),
        }
    }
}

#[test]
fn lists_and_structs_are_json_in_a_csv_field() {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let table = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("L", DataType::List(item), true),
    ]));
    let (_folder, path) = file("a.csv", b"id,l\n1,\"[1,\n2]\"\n2,\n3,[1\n");
    let mut source = Source::open(&path, None, Some(table.clone()), 10, &CsvArgs::default()).unwrap();
    source.check(&table).unwrap();
    let chunks: Vec<_> = text_chunks(source).map(Result::unwrap).collect();
    assert_eq!(sent_lines(&chunks), [r#"{"id":"1","l":[1, 2]}"#, r#"{"id":"2"}"#, r#"{"id":"3","l":"[1"}"#]);
}

#[test]
fn where_a_text_is_null_an_empty_field_is_a_text() {
    let (_folder, path) = file("a.csv", b"id,name,n\n1,\\N,\\N\n2,,7\n\\N,\"\",8\n");
    let csv = CsvArgs { null: Some("\\N".to_owned()), ..CsvArgs::default() };
    let source = Source::open(&path, None, None, 10, &csv).unwrap();
    let types: Vec<_> = source.shape().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Utf8, DataType::Int64]);
    let chunks: Vec<_> = text_chunks(source).map(Result::unwrap).collect();
    assert_eq!(sent_lines(&chunks), [r#"{"id":"1"}"#, r#"{"id":"2","name":"","n":"7"}"#, r#"{"name":"","n":"8"}"#]);
    let refused = refusal(&path, Some(InputFormat::Ndjson), &csv);
    assert!(refused.contains("--null is for CSV"), "{refused}");
}

fn delimited(delimiter: u8) -> CsvArgs {
    CsvArgs { delimiter: Some(delimiter), ..CsvArgs::default() }
}

#[test]
fn fields_of_csv_stand_between_any_character() {
    // Within quotes it is text, and so is the comma now. Behind it a quote begins a field, which goes on over the line break.
    let text = b"id;note\n1;\"a;b\nc\"\n2;x,y\n3\n";
    let chunks = csv_chunks_of("a.csv", text, 10, 0, &delimited(b';'));
    let sent = sent_lines(&chunks);
    assert_eq!(sent[..2], [r#"{"id":"1","note":"a;b\nc"}"#, r#"{"id":"2","note":"x,y"}"#]);
    assert!(sent.len() == 3 && sent[2].contains("1 field, not 2"), "{sent:?}");
    let expected = [r#"{"id":"1","note":"a,b"}"#];
    let tabs = b"id\tnote\n1\ta,b\n";
    assert_eq!(sent_lines(&csv_chunks_of("a.csv", tabs, 10, 0, &delimited(b'\t'))), expected);
    // A name says it, too, and a flag says it louder.
    assert_eq!(sent_lines(&chunks_of("a.TSV", tabs, 10, 0)), expected);
    assert_eq!(sent_lines(&csv_chunks_of("a.tsv", b"id|note\n1|a,b\n", 10, 0, &delimited(b'|'))), expected);

    let (_folder, path) = file("a.csv", b"id;at;note\n1;2024-01-02;1,5\n");
    let source = Source::open(&path, None, None, 10, &delimited(b';')).unwrap();
    let shape: Vec<_> = source.shape().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(shape, [DataType::Int64, DataType::Date32, DataType::Utf8]);
}

#[test]
fn a_delimiter_that_is_missing_or_means_nothing_is_told() {
    for (header, flag) in [("id;name", "--delimiter ';'"), ("id\tname", "--delimiter tab")] {
        let (_folder, path) = file("a.csv", format!("{header}\n1\n").as_bytes());
        let table = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        for table in [None, Some(table)] {
            let refused = Source::open(&path, None, table, 10, &CsvArgs::default()).err().unwrap().to_string();
            assert!(refused.contains(header) && refused.ends_with(flag), "{refused}");
        }
    }
    let (_folder, path) = file("a.ndjson", b"{}\n");
    assert!(refusal(&path, None, &delimited(b';')).contains("--delimiter is for CSV"));
}

#[test]
fn who_names_a_compressed_file_is_told_how_it_is_loaded() {
    let (_folder, path) = file("a.csv.GZ", b"\x1f\x8b");
    for format in [None, Some(InputFormat::Csv)] {
        let refused = refusal(&path, format, &CsvArgs::default());
        assert!(refused.contains("zcat FILE | tidewater ingest TABLE -"), "{refused}");
    }
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
        let source = Source::open(&path, None, None, 10, &CsvArgs::default()).unwrap();
        let sizes: Vec<_> = row_chunks(source).map(|chunk| chunk.unwrap().n_rows).collect();
        assert_eq!(sizes, [10, 10, 5]);
    }
}

#[test]
fn parquet_knows_its_rows() {
    let (_folder, path) = file("a.parquet", &parquet(&numbers(0..25)));
    let source = open(&path, Some(InputFormat::Parquet));
    assert_eq!(source.n_rows(), Some(25));
    let all: Vec<_> = row_chunks(source).map(|chunk| chunk.unwrap().content.unwrap()).collect();
    assert_eq!(all[0].column(0).as_primitive::<Int64Type>().values().len(), 25);
}

#[test]
fn a_file_of_unknown_form_is_refused() {
    let (_folder, path) = file("a.dat", b"x");
    assert!(refusal(&path, None, &CsvArgs::default()).contains("--format"));
    assert!(refusal(&path, Some(InputFormat::Parquet), &CsvArgs::default()).contains("not a Parquet file"));
    let (_folder, empty) = file("a.csv", b"");
    assert!(refusal(&empty, None, &CsvArgs::default()).contains("the file is empty"));
}

/// What can be read only once would be empty when it is read for its rows.
#[test]
fn what_is_no_regular_file_is_refused() {
    let (folder, path) = file("a.csv", b"n\n1\n");
    let refusal = |path: &std::path::Path| refusal(path, Some(InputFormat::Ndjson), &CsvArgs::default());
    assert!(refusal("/dev/null".as_ref()).contains("pipe it in as '-'"));
    assert!(refusal(folder.path()).contains("name the files in it"));
    let link = folder.path().join("link.csv");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(open(&link, None).producer_id("t"), open(&path, None).producer_id("t"));
}
