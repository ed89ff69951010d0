//! Has a key one hash, wherever it comes from, and have different keys different ones?

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampSecondArray, UInt8Array, UInt64Array,
};

use crate::error::Code;
use crate::sealed::sidecar::key_hashes;

fn hash(column: ArrayRef) -> u64 {
    let hashes = key_hashes(&[column]).expect("a key");
    assert_eq!(hashes.len(), 1);
    hashes[0]
}

/// The numbers are of another implementation of XXH3: they stand in files.
#[test]
fn hashes_never_change() {
    assert_eq!(hash(Arc::new(Int64Array::from(vec![1]))), 0x2fbc_5935_64db_792e);
    assert_eq!(hash(Arc::new(Int64Array::from(vec![-100]))), 0xcfcb_d517_6300_4dfd);
    assert_eq!(hash(Arc::new(StringArray::from(vec!["tidewater"]))), 0x4261_8d12_d77a_2315);
    assert_eq!(hash(Arc::new(StringArray::from(vec![""]))), 0x2d06_8005_38d3_94c2);
    assert_eq!(hash(Arc::new(BinaryArray::from(vec![b"tidewater".as_slice()]))), 0x4261_8d12_d77a_2315);
    let decimal = Decimal128Array::from(vec![-12_345]).with_precision_and_scale(9, 2).expect("a decimal");
    assert_eq!(hash(Arc::new(decimal)), 0x6353_bd61_6cea_2af6);
    let columns: [ArrayRef; 3] = [
        Arc::new(Int32Array::from(vec![7])),
        Arc::new(StringArray::from(vec!["ab"])),
        Arc::new(BooleanArray::from(vec![true])),
    ];
    assert_eq!(key_hashes(&columns).expect("a key"), [0x9ac6_e16d_fc47_bae9]);
}

#[test]
fn the_width_of_an_integer_makes_no_difference() {
    let one = hash(Arc::new(Int64Array::from(vec![1])));
    let others: [ArrayRef; 7] = [
        Arc::new(Int8Array::from(vec![1])),
        Arc::new(UInt8Array::from(vec![1])),
        Arc::new(UInt64Array::from(vec![1])),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(Date32Array::from(vec![1])),
        Arc::new(Time64MicrosecondArray::from(vec![1])),
        Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")),
    ];
    assert!(others.into_iter().all(|column| hash(column) == one));
    assert_eq!(hash(Arc::new(Int8Array::from(vec![-100]))), hash(Arc::new(Int64Array::from(vec![-100]))));
}

#[test]
fn keys_of_several_columns_share_no_bytes() {
    let texts = |values: [&str; 4]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let hashes = key_hashes(&[texts(["ab", "a", "", "abc"]), texts(["c", "bc", "abc", ""])]).expect("keys");
    assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 4);
}

#[test]
fn a_part_of_a_column_has_the_hashes_of_its_rows() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|i| format!("text {i}"))));
    let flags: ArrayRef = Arc::new(BooleanArray::from_iter((0..100).map(|i| Some(i % 3 == 0))));
    for columns in [vec![numbers.clone()], vec![texts.clone()], vec![flags.clone()], vec![texts, flags, numbers]] {
        let all = key_hashes(&columns).expect("keys");
        let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(13, 50)).collect();
        assert_eq!(key_hashes(&part).expect("keys"), all[13..63]);
    }
    assert_eq!(key_hashes(&[]).expect("no keys"), Vec::<u64>::new());
}

#[test]
fn what_is_no_key_is_an_error() {
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let none: [Vec<ArrayRef>; 4] = [
        vec![Arc::new(Int64Array::from(vec![None, Some(1)]))],
        vec![Arc::new(Float64Array::from(vec![1.0]))],
        vec![Arc::new(TimestampSecondArray::from(vec![1]))],
        vec![number, Arc::new(Int64Array::from(vec![1, 2]))],
    ];
    for columns in none {
        assert_eq!(key_hashes(&columns).expect_err("refused").code(), Code::Internal, "{columns:?}");
    }
}
