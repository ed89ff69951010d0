//! Do the rules hold for each case of the protocol, and is the same content recognised?

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray,
    StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};

use super::*;
use crate::env::Moment;
use crate::error::Code;
use crate::ids::{CommitSeq, ProducerId};

fn batch(epoch: u64, sequence: u64) -> ProducerBatch {
    let id = ProducerId::new("p").expect("a valid id");
    ProducerBatch { id, epoch, sequence, mode: SequenceMode::Contiguous, last_acked: None }
}

/// A producer that sent 1 to `last`; the hash of batch n is n.
fn state(last: u64) -> ProducerState {
    let mut state = ProducerState::new("me");
    for n in 1..=last {
        let counts = BatchCounts { received: n, accepted: n, ..BatchCounts::default() };
        state.note(n, n, counts, (CommitSeq(n), Moment::default()));
    }
    state
}

fn check(state: Option<&ProducerState>, batch: &ProducerBatch, hash: u64, expected: Result<Decision, Code>) {
    assert_eq!(decide(state, batch, hash, "me", false).map_err(|e| e.code()), expected, "{batch:?}");
}

#[test]
fn known_producer() {
    let s = state(7);
    check(Some(&s), &batch(0, 8), 8, Ok(Decision::Accept));
    check(Some(&s), &batch(0, 9), 9, Err(Code::SequenceGap));
    check(Some(&s), &batch(0, 0), 0, Err(Code::InvalidProducer));
    let first = Some(BatchCounts { received: 7, accepted: 7, ..BatchCounts::default() });
    check(Some(&s), &batch(0, 7), 7, Ok(Decision::Repeat { first }));
    check(Some(&s), &batch(0, 1), 1, Ok(Decision::Repeat { first: None }));
    check(Some(&s), &batch(0, 7), 99, Err(Code::SequenceReused));
    check(Some(&s), &batch(1, 8), 8, Err(Code::ProducerStateLost));
    check(Some(&s), &ProducerBatch { last_acked: Some(8), ..batch(0, 9) }, 9, Err(Code::ProducerStateLost));
    assert_eq!(decide(Some(&s), &batch(0, 8), 8, "you", false).map_err(|e| e.code()), Err(Code::ProducerOwned));
}

#[test]
fn unknown_producer() {
    check(None, &batch(0, 1), 1, Ok(Decision::Accept));
    check(None, &batch(0, 57), 1, Err(Code::UnknownProducer));
    check(None, &batch(3, 1), 1, Err(Code::ProducerStateLost));
    check(None, &ProducerBatch { last_acked: Some(4), ..batch(0, 1) }, 1, Err(Code::ProducerStateLost));
}

#[test]
fn epochs_and_reset() {
    let mut s = state(7);
    s.begin_epoch(next_epoch(Some(&s)), false);
    check(Some(&s), &batch(0, 8), 8, Err(Code::ProducerFenced));
    check(Some(&s), &batch(1, 8), 8, Ok(Decision::Accept));
    s.begin_epoch(next_epoch(Some(&s)), true);
    assert_eq!((s.epoch, s.last_sequence), (2, 0));
    check(Some(&s), &batch(2, 4_000), 1, Ok(Decision::Accept));
    s.note(4_000, 1, BatchCounts::default(), (CommitSeq(9), Moment::default()));
    check(Some(&s), &batch(2, 4_001), 1, Ok(Decision::Accept));
    check(Some(&s), &batch(2, 3), 1, Ok(Decision::Repeat { first: None }));
}

#[test]
fn monotonic_numbers_may_skip() {
    let mut s = state(7);
    s.begin_epoch(1, false);
    let skip = |sequence| ProducerBatch { mode: SequenceMode::Monotonic, ..batch(1, sequence) };
    check(Some(&s), &skip(100), 1, Ok(Decision::Accept));
    check(Some(&s), &ProducerBatch { epoch: 0, ..skip(100) }, 1, Err(Code::InvalidProducer));
}

#[test]
fn disk_form_keeps_everything() {
    let s = state(100);
    assert_eq!(ProducerState::from_disk(&s.to_disk()).expect("own bytes"), s);
    assert_eq!(s.hash_of(100), Some(100));
    assert_eq!(s.hash_of(36), None, "only the last 64 hashes are kept");
    let mut other = s.to_disk();
    other[1] = 9;
    assert_eq!(ProducerState::from_disk(&other).map_err(|e| e.code()), Err(Code::LogUnknownVersion));
}

#[test]
fn a_hash_of_another_version_says_nothing() {
    let mut bytes = state(1).to_disk();
    // The hash of batch 1 is 1, and its version 1.
    let stored: [u8; 11] = [0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x18, 1];
    let at = bytes.windows(stored.len()).position(|window| window == stored.as_slice()).expect("a hash");
    bytes[at + stored.len() - 1] = 2;
    let s = ProducerState::from_disk(&bytes).expect("readable");
    let first = Some(BatchCounts { received: 1, accepted: 1, ..BatchCounts::default() });
    check(Some(&s), &batch(0, 1), 99, Ok(Decision::Repeat { first }));
}

fn hash_of(rows: &RecordBatch) -> u64 {
    let mut hash = ContentHash::default();
    hash.add_batch(rows).expect("hashed");
    hash.finish()
}

/// Computed by another program: hashes stand on disk and do not change by themselves.
#[test]
fn the_content_hash_of_version_one() {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("bc"), None]));
    let rows = RecordBatch::try_from_iter([("id", id), ("name", name)]).expect("columns of one length");
    assert_eq!(hash_of(&rows), 0x21e3_db75_7271_913f);
}

/// Rows of many types; row n is the same in every range.
fn rows(range: Range<i64>) -> RecordBatch {
    let numbers = || range.clone();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter(numbers().map(|n| (n % 3 != 0).then_some(n))));
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter(numbers().map(|n| (n % 4 != 0).then(|| "x".repeat(n as usize % 7)))));
    let lists = numbers().map(|n| (n % 6 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>()));
    let words: DictionaryArray<Int32Type> =
        numbers().map(|n| (n % 7 != 0).then_some(["a", "b", "c"][n as usize % 3])).collect();
    let fields = Fields::from(vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, true)]);
    let is_valid = NullBuffer::from(numbers().map(|n| n % 9 != 0).collect::<Vec<bool>>());
    let columns: [(&str, ArrayRef); 8] = [
        ("ids", Arc::clone(&ids)),
        ("texts", Arc::clone(&texts)),
        ("flags", Arc::new(BooleanArray::from_iter(numbers().map(|n| (n % 5 != 0).then_some(n % 2 == 0))))),
        ("views", Arc::new(StringViewArray::from_iter(numbers().map(|n| (n % 4 != 1).then(|| format!("{n:020}")))))),
        ("lists", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("words", Arc::new(words)),
        ("structs", Arc::new(StructArray::new(fields, vec![ids, texts], Some(is_valid)))),
        ("sums", Arc::new(Decimal128Array::from_iter_values(numbers().map(i128::from)))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[test]
fn content_is_what_the_values_are_and_not_where_they_lie() {
    let all = rows(0..200);
    for (from, n) in [(0, 200), (0, 1), (37, 63), (64, 64), (101, 99), (5, 0)] {
        let own = rows(from..from + n);
        assert_eq!(hash_of(&all.slice(from as usize, n as usize)), hash_of(&own), "{n} rows from {from}");
    }
    // What stands under a NULL is nobody's.
    let nulls = || Some(NullBuffer::from(vec![true, false, true]));
    let with = |hidden: i64| -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::new(vec![1, hidden, 3].into(), nulls()));
        let fields = Fields::from(vec![Field::new("id", DataType::Int64, true)]);
        let inside: ArrayRef = Arc::new(Int64Array::from(vec![1, hidden, 3]));
        let structs: ArrayRef = Arc::new(StructArray::new(fields, vec![inside], nulls()));
        RecordBatch::try_from_iter([("ids", ids), ("structs", structs)]).expect("columns of one length")
    };
    assert_eq!(hash_of(&with(7)), hash_of(&with(8)));
    // Which other values a dictionary has is not content either.
    let worded = |values: &[&str], keys: Vec<Option<i32>>| -> RecordBatch {
        let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        let words: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys.into(), values));
        RecordBatch::try_from_iter([("words", words)]).expect("one column")
    };
    let grown = worded(&["more", "b", "a"], vec![Some(2), None, Some(1)]);
    assert_eq!(hash_of(&worded(&["a", "b"], vec![Some(0), None, Some(1)])), hash_of(&grown));
    assert_eq!(hash_of(&worded(&[], vec![None, None])), hash_of(&worded(&["a"], vec![None, None])));
}

#[test]
fn other_content_has_another_hash() {
    let (some, others) = (rows(1..21), rows(2..22));
    for (at, other) in others.columns().iter().enumerate() {
        let mut columns = some.columns().to_vec();
        columns[at] = Arc::clone(other);
        let fields: Vec<Field> =
            some.schema_ref().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let changed = RecordBatch::try_new(schema, columns).expect("columns of one length");
        assert_ne!(hash_of(&some), hash_of(&changed), "{}", some.schema_ref().field(at).name());
    }
    assert_ne!(hash_of(&some), hash_of(&some.slice(0, 19)));
    let one =
        |name: &str, column: ArrayRef| hash_of(&RecordBatch::try_from_iter([(name, column)]).expect("one column"));
    let plain: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![5]));
    let instant: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![5]).with_timezone("UTC"));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let hashes = [one("a", Arc::clone(&plain)), one("b", plain), one("a", instant), one("a", number)];
    for (i, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..i].contains(hash), "case {i}");
    }
}
