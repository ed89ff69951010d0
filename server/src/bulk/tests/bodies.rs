//! Are bodies of every form read alike, however they come, and is what is wrong with them told?

use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use tidewater_storage::Code;

use super::{Drops, all, csv, table, told};
use crate::bulk::coding::{Coding, unreadable};
use crate::bulk::elements::ElementPieces;
use crate::bulk::messages::MessagePieces;
use crate::bulk::pieces::{ParquetPieces, Slices, TextPieces};
use crate::ingest::ipc::flat_batch_bytes;

#[tokio::test]
async fn csv_has_nested_values_nulls_and_bad_lines() {
    let def = table().await;
    let text = b"ID,name,list\n1,a,\"[1,2]\"\n2,\"x,\"\"y\"\n,,\n3,,\"[1],\"\"id\"\":5\"\n4,\"\n\",\n";
    for portion in [1, 7, 1000] {
        let mut pieces = TextPieces::new(&def, &csv(""), Drops(text, portion)).expect("a header");
        let rows = all(&mut pieces).expect("read");
        let (read, rejected) = told(&rows);
        // A list that is none is a text: the row is bad, and nothing of it becomes another column.
        assert_eq!(read, 3, "{rejected:?}");
        assert_eq!(rejected.len(), 2);
        assert_eq!(rejected[0], (1, "line 3: 2 fields, not 3".to_owned()));
        assert_eq!(rejected[1].0, 3);
        let batch = &rows[0].batch;
        let names = batch.column_by_name("name").expect("a column").as_string::<i32>();
        assert_eq!(names.iter().collect::<Vec<_>>(), [Some("a"), None, Some("\n")]);
        assert!(batch.column_by_name("list").expect("a column").is_valid(0));
    }
    let with_null = b"id;name\n1;-\n2;\n";
    let options = csv("delimiter=%3B&null=-");
    let rows = all(&mut TextPieces::new(&def, &options, &with_null[..]).expect("a header")).expect("read");
    let names = rows[0].batch.column_by_name("name").expect("a column").as_string::<i32>();
    assert_eq!(names.iter().collect::<Vec<_>>(), [None, Some("")]);
}

#[tokio::test]
async fn the_first_line_must_name_columns() {
    let def = table().await;
    let cases: [(&[u8], Code, &str); 5] = [
        (b"", Code::MalformedPayload, "empty"),
        (b"id,nam\n", Code::SchemaMismatch, "did you mean 'name'?"),
        (b"name\nx\n", Code::SchemaMismatch, "no column 'id'"),
        (b"id,id\n", Code::SchemaMismatch, "twice"),
        (b"id,\xff\n", Code::MalformedPayload, "UTF-8"),
    ];
    for (text, code, expected) in cases {
        let refused = TextPieces::new(&def, &csv(""), text).err().expect("refused");
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
    assert!(TextPieces::new(&def, &csv("ignore_unknown_columns=true"), &b"id,more\n"[..]).is_ok());
}

#[tokio::test]
async fn arrays_are_cut_where_their_elements_end() {
    let def = table().await;
    let text = br#" [ {"id": 1, "name": "],[\"\\"} , {"id": 2, "list": [1, [2]]}, 3, {"id": 4, "list": []} ] "#;
    for portion in [1, 5, 1000] {
        let rows = all(&mut ElementPieces::new(&def, false, Drops(text, portion))).expect("read");
        let (read, rejected) = told(&rows);
        assert_eq!((read, rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>()), (2, vec![1, 2]));
        let names = rows[0].batch.column_by_name("name").expect("a column").as_string::<i32>();
        assert_eq!(names.value(0), "],[\"\\");
    }
    assert!(all(&mut ElementPieces::new(&def, false, &b"[]\n"[..])).expect("read").is_empty());
    let cases: [(&[u8], &str); 8] = [
        (b"", "it ends early"),
        (b"[", "it ends early"),
        (b"[{\"id\": 1}", "it ends early"),
        (b"[{\"id\": 1},]", "an element is missing"),
        (b"[,1]", "an element is missing"),
        (b"[1] 2", "something follows"),
        (b"{\"id\": 1}", "does not begin"),
        (b"[}]", "never opened"),
    ];
    for (text, expected) in cases {
        let refused = all(&mut ElementPieces::new(&def, false, text)).expect_err("refused");
        assert_eq!(refused.code(), Code::MalformedPayload);
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

fn batch(n: i64, width: usize) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..n).map(|_| "x".repeat(width))));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).expect("columns of one length")
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("begun");
    batches.iter().for_each(|batch| writer.write(batch).expect("written"));
    writer.into_inner().expect("ended")
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).expect("begun");
    writer.write(batch).expect("written");
    writer.close().expect("ended");
    file
}

#[test]
fn arrow_streams_are_read_message_by_message() {
    let bytes = stream(&[batch(10, 3), batch(20_000, 1000), batch(1, 1)]);
    for portion in [1000, 1 << 20] {
        let rows = all(&mut MessagePieces::new(Drops(&bytes, portion))).expect("read");
        assert_eq!(told(&rows), (20_011, vec![]));
        assert!(rows.iter().all(|rows| flat_batch_bytes(&rows.batch) <= 5 << 20), "pieces are small");
    }
    // Without its mark a stream ends where its bytes end, between two messages.
    assert_eq!(told(&all(&mut MessagePieces::new(&bytes[..bytes.len() - 8])).expect("read")).0, 20_011);
    let longer = [&bytes[..], b"x"].concat();
    let cases: [(&[u8], &str); 5] = [
        (&bytes[..bytes.len() - 9], "it ends within"),
        (&bytes[..3], "it ends within"),
        (b"", "the schema is missing"),
        (b"ARROW1\0\0", "metadata has"),
        (&longer, "something follows"),
    ];
    for (bytes, expected) in cases {
        let refused = all(&mut MessagePieces::new(bytes)).expect_err("refused");
        assert_eq!(refused.code(), Code::MalformedPayload, "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

#[test]
fn parquet_files_are_read_in_pieces_and_damage_is_told() {
    let file = parquet(&batch(30_000, 1000));
    assert!(file.len() < 1 << 20, "one text is in the file once");
    let open = |bytes: Vec<u8>| ParquetPieces::new(bytes::Bytes::from(bytes), 64 << 20);
    let rows = all(&mut open(file.clone()).expect("opens")).expect("read");
    assert_eq!(told(&rows), (30_000, vec![]));
    assert!(rows.iter().all(|rows| rows.batch.get_array_memory_size() < 4 << 20), "a text that repeats is held once");
    for cut in [0, 3, 100, file.len() / 2, file.len() - 1] {
        let refused = open(file[..cut].to_vec()).err().expect("refused");
        assert_eq!(refused.code(), Code::MalformedPayload, "{refused}");
    }
    // What is changed somewhere is read or refused, and never brings anything down.
    for at in (0..file.len()).step_by(file.len() / 200) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x55;
        if let Ok(mut pieces) = open(damaged) {
            drop(all(&mut pieces));
        }
    }
}

#[test]
fn slices_are_in_order_and_no_row_is_lost() {
    let mut slices = Slices::default();
    slices.add(batch(0, 1));
    slices.add(batch(50_000, 500));
    let mut ids = Vec::new();
    while let Some(rows) = slices.next() {
        ids.extend(rows.batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().iter().copied());
    }
    assert_eq!(ids, (0..50_000).collect::<Vec<_>>());
}

/// A slice of lists has the elements of all of them at hand: it is as large as its own.
#[test]
fn lists_are_cut_into_few_slices() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for row in 0..10_000 {
        lists.values().append_slice(&[row; 100]);
        lists.append(true);
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let mut slices = Slices::default();
    slices.add(RecordBatch::try_from_iter([("lists", lists)]).expect("a column"));
    let rows: Vec<usize> = std::iter::from_fn(|| slices.next()).map(|rows| rows.batch.num_rows()).collect();
    assert_eq!(rows, [5_000, 5_000]);
}

#[tokio::test]
async fn every_other_line_may_be_bad() {
    let def = table().await;
    let text = [&b"id,name\n"[..], &b"1,a\n2\n".repeat(3_000)].concat();
    let rows = all(&mut TextPieces::new(&def, &csv(""), &text[..]).expect("a header")).expect("read");
    let (read, rejected) = told(&rows);
    assert_eq!((read, rejected.len()), (3_000, 3_000));
    assert_eq!(rejected[2], (5, "line 7: 1 field, not 2".to_owned()));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("encoded");
    encoder.finish().expect("encoded")
}

#[test]
fn codings_are_read_to_their_bound_and_damage_is_told() {
    let text = vec![b'a'; 1 << 20];
    let decode = |coding: Coding, bytes: Vec<u8>, max: u64| {
        let mut out = Vec::new();
        let body = coding.decoded(Box::new(Cursor::new(bytes)), max);
        body.and_then(|mut body| body.read_to_end(&mut out)).map_err(unreadable).map(|_| out)
    };
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).expect("encoded");
    let bodies = [(Coding::Gzip, gzip(&text)), (Coding::Zstd, zstd(&text)), (Coding::Identity, text.clone())];
    for (coding, encoded) in bodies {
        assert_eq!(decode(coding, encoded.clone(), 1 << 20).expect("decoded"), text);
        let refused = decode(coding, encoded.clone(), (1 << 20) - 1).expect_err("too much");
        assert_eq!(refused.code(), Code::BatchTooLarge, "{coding:?}: {refused}");
        if coding != Coding::Identity {
            for bad in [encoded[..encoded.len() - 3].to_vec(), [&encoded[..], b"more"].concat(), b"{}".to_vec()] {
                let refused = decode(coding, bad, 1 << 30).expect_err("damaged");
                assert_eq!(refused.code(), Code::MalformedPayload, "{coding:?}: {refused}");
            }
        }
    }
    // Members that follow each other are one body.
    let both = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(decode(Coding::Gzip, both, 100).expect("decoded"), b"one two");
    // A window that only the sender would have to fill.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(27).expect("a large window");
    encoder.include_contentsize(false).expect("a stream");
    encoder.write_all(&text).expect("encoded");
    let wide = encoder.finish().expect("encoded");
    let refused = decode(Coding::Zstd, wide, 1 << 30).expect_err("refused");
    assert_eq!(refused.code(), Code::MalformedPayload, "{refused}");
}
