//! Does a Parquet file that lies about itself cost more than it may? Each of these would end the process, or take its memory.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListBuilder, Int64Builder, ListBuilder, RecordBatch, StringBuilder,
};
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::{Code, Error, Result};

use super::{all, told};
use crate::bulk::pieces::ParquetPieces;

const MIB: u64 = 1 << 20;

fn written(column: ArrayRef, properties: WriterProperties) -> Bytes {
    let batch = RecordBatch::try_from_iter([("column", column)]).expect("a column");
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect("begun");
    writer.write(&batch).expect("written");
    writer.close().expect("ended");
    file.into()
}

fn read(file: &Bytes, max_bytes: u64) -> Result<Vec<IncomingRows>> {
    all(&mut ParquetPieces::new(file.clone(), max_bytes)?)
}

fn refused(file: &Bytes, max_bytes: u64) -> Error {
    read(file, max_bytes).map(|rows| told(&rows)).expect_err("refused")
}

fn texts(n: usize, text: &str) -> ArrayRef {
    let mut texts = StringBuilder::new();
    (0..n).for_each(|_| texts.append_value(text));
    Arc::new(texts.finish())
}

#[test]
fn files_of_every_codec_are_read() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        let properties = WriterProperties::builder().set_compression(codec).set_max_row_group_row_count(Some(2_000));
        let file = written(texts(5_000, "a text"), properties.build());
        assert_eq!(told(&read(&file, 32 * MIB).expect("read")), (5_000, vec![]), "{codec:?}");
    }
}

/// A file with nothing but this footer.
fn with_footer(footer: &[u8]) -> Bytes {
    [&b"PAR1"[..], footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat().into()
}

/// Version and schema, in Thrift's compact form, and no rows.
fn with_schema(elements: &[u8], behind: &[u8]) -> Bytes {
    with_footer(&[&[0x15, 0x02, 0x19][..], elements, &[0x16, 0x00], behind].concat())
}

#[test]
fn footers_that_claim_too_much_are_refused() {
    const NO_COLUMNS: &[u8] = &[0x1c, 0x48, 1, b'm', 0x15, 0x00, 0x00];
    const MOST: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x07];
    let deep = [&[0xfc, 0xe8, 0x07][..], &[0x35, 0x00, 0x18, 1, b'm', 0x15, 0x02, 0x00].repeat(1_000)].concat();
    let most = |before: &[u8]| [before, MOST].concat();
    let forged = [
        ("row groups", with_schema(NO_COLUMNS, &most(&[0x19, 0xfc]))),
        ("row groups as a number", with_schema(NO_COLUMNS, &most(&[0x15, 0xfc]))),
        ("key values", with_schema(NO_COLUMNS, &most(&[0x29, 0xfc]))),
        ("elements", with_schema(&most(&[0xfc]), &[])),
        ("children", with_schema(&[0x1c, 0x48, 1, b'm', 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x00], &[0x00])),
        ("groups in groups", with_schema(&deep, &[0x00])),
        (
            "a length",
            with_schema(
                &[
                    0x2c, 0x48, 1, b'm', 0x15, 0x02, 0x00, // One column:
                    0x15, 0x0e, 0x15, 0x80, 0x80, 0x80, 0x80, 0x08, 0x15, 0x00, 0x18, 1, b'c', 0x00,
                ],
                &[0x00],
            ),
        ),
    ];
    for (what, file) in forged {
        assert_eq!(refused(&file, 1 << 30).code(), Code::MalformedPayload, "{what}");
    }
}

/// One list of many zeros is a few bytes.
#[test]
fn what_lists_may_take_is_known_before() {
    let n = 4 << 20;
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.values().append_slice(&vec![0; n]);
    lists.append(true);
    let file = written(Arc::new(lists.finish()), WriterProperties::new());
    assert!(file.len() < 1 << 20);
    assert_eq!(refused(&file, 32 * MIB).code(), Code::BatchTooLarge);
    assert_eq!(told(&read(&file, 256 * MIB).expect("read")).0, 1);
}

#[test]
fn pages_may_have_so_much() {
    let file =
        written(texts(1, &"x".repeat(8 << 20)), WriterProperties::builder().set_dictionary_enabled(false).build());
    assert_eq!(refused(&file, 8 * MIB).code(), Code::BatchTooLarge);
    assert_eq!(told(&read(&file, 32 * MIB).expect("read")).0, 1);
}

#[test]
fn delta_encodings_of_texts_are_refused() {
    for encoding in [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY] {
        let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding).build();
        let refused = refused(&written(texts(10, "a text"), properties), 32 * MIB);
        assert_eq!(refused.code(), Code::MalformedPayload);
        assert!(refused.to_string().contains("'column'"), "{refused}");
    }
}

#[test]
fn texts_in_lists_are_there_once_and_lists_have_no_fixed_length() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    let text = "x".repeat(64 << 10);
    for _ in 0..100 {
        (0..20).for_each(|_| lists.values().append_value(&text));
        lists.append(true);
    }
    let rows = read(&written(Arc::new(lists.finish()), WriterProperties::new()), 32 * MIB).expect("read");
    assert_eq!(told(&rows).0, 100);
    assert!(rows.iter().all(|rows| rows.batch.get_array_memory_size() < 4 << 20));
    let mut fixed = FixedSizeListBuilder::new(Int64Builder::new(), 3);
    for row in 0..10 {
        fixed.values().append_slice(&[row; 3]);
        fixed.append(row % 2 == 0);
    }
    let rows = read(&written(Arc::new(fixed.finish()), WriterProperties::new()), 32 * MIB).expect("read");
    let lists = rows[0].batch.column(0);
    assert!(matches!(lists.data_type(), DataType::List(_)));
    assert_eq!((lists.null_count(), lists.as_list::<i32>().values().len()), (5, 15));
}
