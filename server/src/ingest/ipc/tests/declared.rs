//! Is what a payload takes known before it is decoded, and is it never more than that?

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryHandling, DictionaryTracker, IpcDataGenerator, IpcWriteContext};
use tidewater_storage::Code;

use super::super::{Declared, Decoder, Limits, declared_stream, decode_stream};
use super::fixtures::{CODECS, columns, options, stream};

fn one(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("c", array)]).unwrap()
}

fn declared(bytes: &[u8]) -> Declared {
    declared_stream(bytes, &Limits::default()).unwrap()
}

#[test]
fn a_stream_takes_what_it_declares() {
    for codec in CODECS {
        for (name, array) in columns(1_000) {
            let bytes = stream(&[one(array)], codec);
            let (_, batches) = decode_stream(&bytes, Limits::default()).unwrap();
            let taken = batches[0].column(0).get_buffer_memory_size() as u64;
            let declared = declared(&bytes).bytes();
            assert!((taken..taken + (16 << 10)).contains(&declared), "{name}: {taken} of {declared} bytes");
        }
    }
}

#[test]
fn more_than_the_limit_is_refused_before_it_is_decoded() {
    let zeros = one(Arc::new(Int64Array::from(vec![0; 9 << 20])));
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let bytes = stream(std::slice::from_ref(&zeros), Some(codec));
        let error = declared_stream(&bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.code(), Code::BatchTooLarge);
    }
}

#[test]
fn nonsense_declares_nothing() {
    for bytes in [&b"ARROW1\0\0"[..], &[0xff; 64], b"PAR1"] {
        assert_eq!(declared_stream(bytes, &Limits::default()).unwrap_err().code(), Code::MalformedPayload);
    }
    let decoder = Decoder::new(Limits::default());
    assert_eq!(decoder.declared_parts(&[1, 2, 3], &[]).unwrap_err().code(), Code::MalformedPayload);
    assert_eq!(decoder.declared_batch(&[]).unwrap_err().code(), Code::MalformedPayload);
}

#[test]
fn views_are_more_work_than_they_are_bytes() {
    let column = |wanted: &str| columns(1_000).into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    let plain = declared(&stream(&[one(column("utf8"))], None));
    assert_eq!(plain.work(), plain.bytes());
    let viewed = declared(&stream(&[one(column("view"))], None));
    assert!(viewed.work() > 100 * viewed.bytes(), "{viewed:?}");
}

/// Rows that refer to the first of `words`.
fn coded(words: &[String]) -> RecordBatch {
    let words: ArrayRef = Arc::new(StringArray::from(words.to_vec()));
    one(Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; 3]), words)))
}

#[test]
fn dictionaries_that_go_on_have_one_budget_for_all_messages() {
    let mut decoder = Decoder::new(Limits { copied_bytes: 4 << 20, ..Limits::default() });
    let options = options(None).with_dictionary_handling(DictionaryHandling::Delta);
    let (generator, mut tracker) = (IpcDataGenerator::default(), DictionaryTracker::new(false));
    let mut words = vec!["x".repeat(1 << 20)];
    let schema = coded(&words).schema();
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut tracker, &options);
    decoder.parts(&schema.ipc_message, &schema.arrow_data).unwrap();
    let mut copies = 0;
    let refused = loop {
        let rows = coded(&words);
        let (dictionaries, _) =
            generator.encode(&rows, &mut tracker, &options, &mut IpcWriteContext::default()).unwrap();
        let [dictionary] = &dictionaries[..] else { panic!("{} dictionaries", dictionaries.len()) };
        // The first is as large as what a small one that goes on copies.
        let declared = decoder.declared_parts(&dictionary.ipc_message, &dictionary.arrow_data).unwrap();
        assert!(declared.bytes() > 1 << 20, "{declared:?}");
        match decoder.parts(&dictionary.ipc_message, &dictionary.arrow_data) {
            Ok(_) if copies < 100 => copies += 1,
            Ok(_) => panic!("a hundred copies were made"),
            Err(error) => break error,
        }
        words.push(format!("word {copies}"));
    };
    assert_eq!((refused.code(), copies), (Code::BatchTooLarge, 4), "the first, and three copies: {refused}");
}
