//! Do rows come back as they were sent, one message at a time?

use arrow::array::{ArrayRef, Int64Array, NullArray, StringArray};

use super::*;

/// Schema message and batch message of a batch.
fn split(batch: &RecordBatch) -> (Bytes, Bytes) {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    let start = writer.get_ref().len();
    writer.write(batch).unwrap();
    let bytes = Bytes::from(writer.get_ref().clone());
    (bytes.slice(..start), bytes.slice(start..))
}

fn check(columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap();
    let (schema, message) = split(&batch);
    assert_eq!(decode_schema(&schema).unwrap(), batch.schema());
    let messages = Messages::new(schema.clone());
    let expected = vec![batch.clone()];
    assert_eq!(messages.read(message.clone()).unwrap(), expected);
    assert_eq!(messages.read(message.clone()).unwrap(), expected, "again");
    for cut in [1, 5, message.len() / 2, message.len() - 1] {
        assert!(messages.read(message.slice(..cut)).is_err(), "cut to {cut}");
    }
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let stream = encode(&batch, compression).unwrap();
        let reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(stream), None).unwrap();
        assert_eq!(reader.collect::<Result<Vec<_>, _>>().unwrap(), expected);
    }
}

#[test]
fn batches_survive() {
    check(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
        ("text", Arc::new(StringArray::from(vec!["x".repeat(10_000), String::new()]))),
    ]);
}

#[test]
fn a_batch_without_a_body_is_not_held_back() {
    check(vec![("nothing", Arc::new(NullArray::new(3)))]);
}
