//! Are equal keys equal, and different keys different, for every type of key?

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int8Array, Int16Array, Int32Array, Int64Array,
    RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, TimeUnit};

use super::super::{KeySpec, Keys};
use super::table;

fn keys_of(columns: Vec<ArrayRef>) -> Keys {
    let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
    let def = table(&types);
    let rows = RecordBatch::try_new(def.arrow_schema.clone(), columns).unwrap();
    KeySpec::new(&def).unwrap().keys(&rows)
}

fn integers(columns: Vec<ArrayRef>) -> Vec<u64> {
    match keys_of(columns) {
        Keys::Integers(keys) => keys,
        Keys::Hashes(_) => panic!("not integers"),
    }
}

fn hashes(columns: Vec<ArrayRef>) -> Vec<u128> {
    match keys_of(columns) {
        Keys::Hashes(keys) => keys,
        Keys::Integers(_) => panic!("not hashes"),
    }
}

fn assert_ascending(keys: &[u64]) {
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:x?}");
}

#[test]
fn integers_keep_their_order_and_their_density() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![i64::MIN, -2, -1, 0, 1, i64::MAX])),
        Arc::new(Int32Array::from(vec![i32::MIN, -1, 0, 1, i32::MAX])),
        Arc::new(Int16Array::from(vec![i16::MIN, -1, 0, i16::MAX])),
        Arc::new(Int8Array::from(vec![i8::MIN, -1, 0, i8::MAX])),
        Arc::new(UInt64Array::from(vec![0, 1, u64::MAX])),
        Arc::new(UInt32Array::from(vec![0, 1, u32::MAX])),
        Arc::new(BooleanArray::from(vec![false, true])),
        Arc::new(Date32Array::from(vec![-1, 0, 20_000])),
        Arc::new(Time64MicrosecondArray::from(vec![0, 1, 86_399_999_999])),
        Arc::new(TimestampMicrosecondArray::from(vec![-1, 0, 1]).with_timezone("UTC")),
    ];
    for column in columns {
        assert_ascending(&integers(vec![column]));
    }
    let keys = integers(vec![Arc::new(Int64Array::from(vec![-1, 0, 1]))]);
    assert_eq!((keys[1] - keys[0], keys[2] - keys[1]), (1, 1));
}

#[test]
fn columns_that_fit_64_bits_are_packed_in_order() {
    let keys = integers(vec![
        Arc::new(Int32Array::from(vec![-1, -1, 0, 0, 0, 1])),
        Arc::new(Int16Array::from(vec![-1, 5, -7, 0, 0, -9])),
        Arc::new(BooleanArray::from(vec![true, false, true, false, true, false])),
        Arc::new(UInt8Array::from(vec![9, 8, 7, 6, 5, 4])),
    ]);
    assert_ascending(&keys);
    assert!(keys.iter().all(|key| key >> 57 == 0));
    // 64 bits and one more do not fit.
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert_eq!(hashes(vec![wide, Arc::new(BooleanArray::from(vec![true]))]).len(), 1);
}

#[test]
fn a_slice_of_a_batch_has_the_keys_of_its_rows() {
    let columns: Vec<Vec<ArrayRef>> = vec![
        vec![Arc::new(Int64Array::from_iter_values(0..50))],
        vec![Arc::new(BooleanArray::from_iter((0..50).map(|i| Some(i % 3 == 0))))],
        vec![Arc::new(StringArray::from_iter_values((0..50).map(|i| "x".repeat(i))))],
        vec![Arc::new(Decimal128Array::from_iter_values(0..50))],
        vec![
            Arc::new(BinaryArray::from_iter_values((0..50).map(|i| vec![7; i]))),
            Arc::new(Int64Array::from_iter_values(0..50)),
        ],
    ];
    for columns in columns {
        let sliced = keys_of(columns.iter().map(|column| column.slice(11, 17)).collect());
        match (keys_of(columns), sliced) {
            (Keys::Integers(all), Keys::Integers(some)) => assert_eq!(all[11..28], some),
            (Keys::Hashes(all), Keys::Hashes(some)) => assert_eq!(all[11..28], some),
            _ => panic!("a slice changed the kind"),
        }
    }
}

#[test]
fn text_is_compared_byte_for_byte() {
    let text = vec!["", "a", "A", "a ", "é", "e\u{301}", "\0", "ab"];
    let keys = hashes(vec![Arc::new(StringArray::from(text.clone()))]);
    let distinct: std::collections::HashSet<u128> = keys.iter().copied().collect();
    assert_eq!(distinct.len(), text.len());
    assert_eq!(keys, hashes(vec![Arc::new(StringArray::from(text))]));
}

#[test]
fn parts_of_composite_keys_do_not_run_together() {
    let left = StringArray::from(vec!["ab", "a", "", "abc"]);
    let right = StringArray::from(vec!["c", "bc", "abc", ""]);
    let keys = hashes(vec![Arc::new(left), Arc::new(right)]);
    assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 2]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x", "x", "x", "y"]));
    let keys = hashes(vec![numbers, text]);
    assert!(keys[0] == keys[1] && keys[1] != keys[2] && keys[2] != keys[3]);
}

#[test]
fn decimals_are_compared_by_value_at_the_columns_scale() {
    let column = Decimal128Array::from(vec![100, 100, -100, 1000]).with_precision_and_scale(38, 2).unwrap();
    let keys = hashes(vec![Arc::new(column)]);
    assert!(keys[0] == keys[1] && keys[0] != keys[2] && keys[0] != keys[3]);
}

#[test]
fn the_hash_differs_from_table_to_table() {
    let mut def = table(&[DataType::Utf8]);
    let rows = RecordBatch::try_new(def.arrow_schema.clone(), vec![Arc::new(StringArray::from(vec!["x"]))]).unwrap();
    let one = KeySpec::new(&def).unwrap().keys(&rows);
    def.hash_key = *b"fedcba9876543210";
    assert_ne!(one, KeySpec::new(&def).unwrap().keys(&rows));
}

/// The canonical form stands on disk: a change of it forgets every key.
#[test]
fn the_canonical_form_does_not_change() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["tidewater", ""]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1, -1]));
    let decimal: ArrayRef = Arc::new(Decimal128Array::from(vec![5, -5]).with_precision_and_scale(10, 1).unwrap());
    let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let single = hashes(vec![text.clone()]);
    let composite = hashes(vec![text, number, decimal, flag]);
    let expected = (
        vec![267139064320996576985601601381138510663, 106005095200389354631392439925807529743],
        vec![309507130008785098100498640049295709997, 244993947703537343016593542530968637007],
    );
    assert_eq!((single, composite), expected);
}

#[test]
fn a_table_without_a_key_has_no_spec() {
    let mut def = table(&[DataType::Timestamp(TimeUnit::Microsecond, None)]);
    def.key.clear();
    assert!(KeySpec::new(&def).is_none());
}
