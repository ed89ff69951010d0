//! Is too much refused before it is allocated?

use std::io::Write;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::StreamWriter;
use tidewater_storage::Code;

use super::super::{Limits, MAX_NESTING, decode_stream, flat_batch_bytes};
use super::fixtures::stream;

fn one(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("c", array)]).unwrap()
}

fn error_of(bytes: &[u8], limits: Limits) -> (Code, String) {
    let error = decode_stream(bytes, limits).unwrap_err();
    (error.code(), error.to_string())
}

/// The bytes of a schema's stream without rows; `Err` text from the decoder.
fn schema_error(fields: Vec<Field>) -> String {
    let writer = StreamWriter::try_new(Vec::new(), &Schema::new(fields)).unwrap();
    error_of(&writer.into_inner().unwrap(), Limits::default()).1
}

#[test]
fn compressed_bombs() {
    // 48 MiB of zeros in a few hundred kilobytes (LZ4) or kilobytes (zstd).
    let zeros = one(Arc::new(Int64Array::from(vec![0; 6 << 20])));
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let bytes = stream(std::slice::from_ref(&zeros), Some(codec));
        assert!(bytes.len() < 1 << 20);
        assert_eq!(decode_stream(&bytes, Limits::default()).unwrap().1[0].num_rows(), 6 << 20);
        // Twice that in one payload is over the budget.
        let bytes = stream(&[zeros.clone(), zeros.clone()], Some(codec));
        assert_eq!(error_of(&bytes, Limits::default()).0, Code::BatchTooLarge);
    }
}

/// A stream of one Int64 column whose value buffer is replaced by `frame` behind a prefix of `declared`.
fn forged_frame(codec: CompressionType, frame: &[u8], declared: i64) -> Vec<u8> {
    // Incompressible values, so that the buffer is long enough to be overwritten.
    let values: Vec<i64> = (0..8_192_i64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)).collect();
    let mut bytes = stream(&[one(Arc::new(Int64Array::from(values)))], Some(codec));
    let at = bytes.windows(8).rposition(|w| w == (-1_i64).to_le_bytes()).unwrap();
    bytes[at..at + 8].copy_from_slice(&declared.to_le_bytes());
    bytes[at + 8..at + 8 + frame.len()].copy_from_slice(frame);
    bytes
}

#[test]
fn forged_lengths_of_compressed_buffers() {
    let zeros = vec![0_u8; 16 << 20];
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&zeros[..4 << 20]).unwrap();
    let lz4 = lz4.finish().unwrap();
    let zstd = zstd::bulk::compress(&zeros, 3).unwrap();
    for (codec, frame) in [(CompressionType::LZ4_FRAME, &lz4), (CompressionType::ZSTD, &zstd)] {
        for declared in [1, 65_536, 1 << 30, 1 << 40, i64::MAX, i64::MIN, -2] {
            let (code, text) = error_of(&forged_frame(codec, frame, declared), Limits::default());
            assert!(matches!(code, Code::MalformedPayload | Code::BatchTooLarge), "{declared}: {text}");
        }
    }
}

#[test]
fn rows_that_cost_nothing() {
    let nulls = one(Arc::new(NullArray::new(1 << 40)));
    assert_eq!(error_of(&stream(&[nulls], None), Limits::default()).0, Code::MalformedPayload);
    let nulls = one(Arc::new(NullArray::new(15 << 20)));
    assert_eq!(error_of(&stream(&[nulls], None), Limits::default()).0, Code::BatchTooLarge);
}

#[test]
fn dictionaries_that_stand_for_gigabytes() {
    let wide = StringArray::from(vec!["x".repeat(1 << 20)]);
    let dictionary = DictionaryArray::<Int8Type>::new(Int8Array::from(vec![0; 100_000]), Arc::new(wide));
    let batch = one(Arc::new(dictionary));
    let bytes = stream(std::slice::from_ref(&batch), None);
    let (_, batches) = decode_stream(&bytes, Limits::default()).unwrap();
    assert!(flat_batch_bytes(&batches[0]) > 100_000 << 20);
}

/// As Polars sends categories.
#[test]
fn dictionaries_of_views_that_stand_for_gigabytes() {
    let wide = StringViewArray::from(vec!["x".repeat(1 << 20)]);
    let keys = Int8Array::from(vec![0; 100_000]);
    let batch = one(Arc::new(DictionaryArray::<Int8Type>::new(keys, Arc::new(wide))));
    let (_, batches) = decode_stream(&stream(std::slice::from_ref(&batch), None), Limits::default()).expect("taken");
    assert!(flat_batch_bytes(&batches[0]) > 100_000 << 20);
    // The views of a dictionary may themselves stand for far more than they are.
    let mut views = StringViewBuilder::new();
    let block = views.append_block(arrow::buffer::Buffer::from_vec(vec![b'y'; 1 << 20]));
    for _ in 0..17 {
        views.try_append_view(block, 0, 1 << 20).expect("within the block");
    }
    let keys = Int8Array::from(vec![0]);
    let batch = one(Arc::new(DictionaryArray::<Int8Type>::new(keys, Arc::new(views.finish()))));
    assert_eq!(error_of(&stream(&[batch], None), Limits::default()).0, Code::BatchTooLarge);
}

#[test]
fn views_that_stand_for_gigabytes() {
    let mut builder = StringViewBuilder::new();
    let block = builder.append_block(arrow::buffer::Buffer::from_vec(vec![b'y'; 1 << 20]));
    for _ in 0..100_000 {
        builder.try_append_view(block, 0, 1 << 20).unwrap();
    }
    // To validate them would be to read them all.
    let bytes = stream(&[one(Arc::new(builder.finish()))], None);
    assert_eq!(error_of(&bytes, Limits::default()).0, Code::BatchTooLarge);
}

#[test]
fn a_few_rows_of_a_large_dictionary_are_small() {
    let words = StringArray::from_iter_values((0..100_000).map(|i| format!("{i:06}")));
    let keys = Int32Array::from(vec![Some(7), None, Some(99_999)]);
    let batch = one(Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(words))));
    assert_eq!(flat_batch_bytes(&batch), 3 + 2 * (4 + 6));
}

#[test]
fn dictionaries_that_are_kept() {
    let limits = Limits { dictionary_bytes: 1_000, ..Limits::default() };
    let dictionary: DictionaryArray<Int32Type> =
        (0..1_000).map(|i| i.to_string()).collect::<Vec<_>>().iter().map(|s| Some(s.as_str())).collect();
    let bytes = stream(&[one(Arc::new(dictionary))], None);
    assert!(decode_stream(&bytes, Limits::default()).is_ok());
    assert_eq!(error_of(&bytes, limits).0, Code::BatchTooLarge);
}

#[test]
fn types_that_are_not_taken_are_named() {
    let check = |data_type: DataType, expected: &str| {
        let text = schema_error(vec![Field::new("c", data_type, true)]);
        assert!(text.contains(expected) && text.contains("'c'"), "{text}");
    };
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    check(DataType::Interval(IntervalUnit::DayTime), "Interval");
    check(DataType::Duration(TimeUnit::Second), "Duration");
    check(DataType::ListView(Arc::clone(&item)), "ListView");
    check(DataType::Struct(Fields::empty()), "struct without fields");
    check(
        DataType::RunEndEncoded(Arc::new(Field::new("run_ends", DataType::Int32, false)), Arc::clone(&item)),
        "RunEndEncoded",
    );
    check(DataType::FixedSizeList(Arc::clone(&item), 0), "lists of 0 values");
    let union = UnionFields::try_new([0], [Field::new("a", DataType::Int64, true)]).unwrap();
    check(DataType::Union(union, UnionMode::Dense), "Union");
}

/// Each row would have a copy of its own: few bytes would become any number of them.
#[test]
fn rows_of_a_union_do_not_share_what_may_be_large() {
    let read = |places: [(i8, i32); 3]| {
        let children: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec!["x".repeat(1 << 20), String::new()])),
            Arc::new(NullArray::new(1)),
        ];
        let fields = children.iter().enumerate();
        let fields = fields.map(|(i, child)| Field::new(i.to_string(), child.data_type().clone(), true));
        let fields = UnionFields::try_new([0, 1, 2], fields).unwrap();
        let (types, offsets): (Vec<i8>, Vec<i32>) = places.into_iter().unzip();
        let union = UnionArray::try_new(fields, types.into(), Some(offsets.into()), children).unwrap();
        decode_stream(&stream(&[one(Arc::new(union))], None), Limits { unions: true, ..Limits::default() })
    };
    assert!(read([(1, 1), (0, 1), (1, 0)]).is_ok(), "in any order");
    assert!(read([(0, 1), (2, 0), (2, 0)]).is_ok() && read([(0, 1), (0, 1), (0, 1)]).is_ok(), "these are small");
    let error = read([(1, 0), (0, 0), (1, 0)]).unwrap_err();
    assert_eq!(error.code(), Code::MalformedPayload);
    assert!(error.message().contains("share one value"), "{error}");
}

#[test]
fn schemas_that_are_too_much() {
    let two = vec![Field::new("a", DataType::Int64, true), Field::new("A", DataType::Int64, true)];
    assert!(schema_error(two).contains("two fields"));
    let many = (0..2_001).map(|i| Field::new(format!("c{i}"), DataType::Int64, true)).collect();
    assert!(schema_error(many).contains("more than 2000 fields"));
    assert!(schema_error(vec![Field::new("n".repeat(300), DataType::Int64, true)]).contains("300 bytes"));
    let mut deep = DataType::Int64;
    for _ in 0..=MAX_NESTING {
        deep = DataType::List(Arc::new(Field::new("item", deep, true)));
    }
    let text = schema_error(vec![Field::new("c", deep, true)]);
    assert!(text.contains("nested") || text.contains("flatbuffer"), "{text}");
}

#[test]
fn other_bytes_are_named() {
    assert!(error_of(b"ARROW1\0\0......", Limits::default()).1.contains("Arrow file"));
    assert!(error_of(b"", Limits::default()).1.contains("schema is missing"));
    assert!(error_of(b"PAR1 and so on", Limits::default()).1.contains("needs"));
    assert!(error_of(&[0xff; 64], Limits::default()).1.contains("needs"));
    let mut bytes = stream(&[one(Arc::new(Int64Array::from(vec![1])))], None);
    bytes.extend_from_slice(b"more");
    assert!(error_of(&bytes, Limits::default()).1.contains("follow the end"));
}
