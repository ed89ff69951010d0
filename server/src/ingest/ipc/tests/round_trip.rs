//! Does the decoder give back what Arrow wrote?

use arrow::array::{Array, RecordBatch};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, write_message};

use super::super::{Decoded, Decoder, Limits, decode_stream, flat_batch_bytes};
use super::fixtures::{CODECS, batch, columns, options, stream, union};

/// Compares values; the decoder makes fields nullable.
fn assert_same(decoded: &RecordBatch, written: &RecordBatch) {
    assert_eq!(decoded.num_rows(), written.num_rows());
    for (i, column) in written.columns().iter().enumerate() {
        assert_eq!(decoded.schema().field(i).name(), written.schema().field(i).name());
        assert_eq!(&decoded.column(i).to_data(), &column.to_data(), "{}", written.schema().field(i).name());
    }
}

#[test]
fn streams_of_all_types_and_codecs() {
    for codec in CODECS {
        for n in [0, 1, 1_000] {
            let written = batch(n);
            let bytes = stream(&[written.clone(), written.clone()], codec);
            let (schema, batches) = decode_stream(&bytes, Limits::default()).unwrap();
            assert_eq!(schema.fields().len(), written.num_columns());
            assert_eq!(batches.len(), 2);
            for decoded in &batches {
                assert_same(decoded, &written);
            }
        }
    }
}

#[test]
fn sliced_batches() {
    let written = batch(1_000).slice(123, 456);
    let (_, batches) = decode_stream(&stream(std::slice::from_ref(&written), None), Limits::default()).unwrap();
    assert_same(&batches[0], &written);
}

#[test]
fn a_stream_without_an_end_mark_and_one_at_any_alignment() {
    let written = batch(10);
    let bytes = stream(std::slice::from_ref(&written), None);
    let (_, batches) = decode_stream(&bytes[..bytes.len() - 8], Limits::default()).unwrap();
    assert_same(&batches[0], &written);
    for shift in 1..16 {
        let shifted = [vec![0; shift], bytes.clone()].concat();
        let (_, batches) = decode_stream(&shifted[shift..], Limits::default()).unwrap();
        assert_same(&batches[0], &written);
    }
}

#[test]
fn messages_under_a_schema() {
    let flat: Vec<_> = columns(100).into_iter().filter(|(name, _)| !name.starts_with("dict")).collect();
    let written = RecordBatch::try_from_iter(flat).unwrap();
    for codec in CODECS {
        let [schema, data] = messages(&written, codec);
        let decoder = Decoder::under_schema(&framed(schema, codec), Limits::default()).unwrap();
        assert!(!decoder.has_dictionaries());
        let bytes = framed(data, codec);
        assert_same(&decoder.batch(&bytes).unwrap(), &written);
        assert!(decoder.batch(&[bytes.clone(), bytes].concat()).is_err());
        let [schema, data] = messages(&written, codec);
        assert!(decoder.batch(&framed(schema, codec)).is_err());

        let mut decoder = Decoder::new(Limits::default());
        let [schema, _] = messages(&written, codec);
        assert!(matches!(decoder.parts(&schema.ipc_message, &schema.arrow_data).unwrap(), Decoded::Schema));
        assert!(decoder.parts(&data.ipc_message, &data.arrow_data[1..]).is_err());
        match decoder.parts(&data.ipc_message, &data.arrow_data).unwrap() {
            Decoded::Rows(decoded) => assert_same(&decoded, &written),
            other => panic!("{other:?}"),
        }
    }
}

/// The schema and one batch, as two messages.
fn messages(batch: &RecordBatch, codec: Option<CompressionType>) -> [EncodedData; 2] {
    let (generator, mut tracker, options) = (IpcDataGenerator::default(), DictionaryTracker::new(true), options(codec));
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, &options);
    let (_, data) = generator.encode(batch, &mut tracker, &options, &mut IpcWriteContext::default()).unwrap();
    [schema, data]
}

/// A message with its length in front.
fn framed(message: EncodedData, codec: Option<CompressionType>) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(&mut out, message, &options(codec)).unwrap();
    out
}

#[test]
fn flat_bytes_spell_dictionaries_and_views_out() {
    let all = columns(1_000);
    let size = |name: &str| {
        let one = all.iter().filter(|(n, _)| *n == name).cloned();
        flat_batch_bytes(&RecordBatch::try_from_iter(one).unwrap())
    };
    let plain = size("utf8");
    for name in ["view", "dict", "dict_view"] {
        assert!(size(name).abs_diff(plain) < 2_000, "{plain} {name} {}", size(name));
    }
}

#[test]
fn unions_are_taken_where_they_are_wanted() {
    let written = RecordBatch::try_from_iter_with_nullable([("u", union(5), true)]).unwrap();
    let bytes = stream(std::slice::from_ref(&written), None);
    let (_, read) = decode_stream(&bytes, Limits { unions: true, ..Limits::default() }).unwrap();
    assert_same(&read[0], &written);
    assert!(flat_batch_bytes(&read[0]) < 1_000);
    let refused = decode_stream(&bytes, Limits::default()).unwrap_err();
    assert!(refused.message().contains("type Union"), "{refused}");
}
