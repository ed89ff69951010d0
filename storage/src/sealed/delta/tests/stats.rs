//! Do statistics hold every value, in the form that Delta has, and do they come back as bounds?

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Field};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::stats::{StatsReader, stats};
use super::{bounds, file, int, moment, text};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, instant, plain};
use crate::ids::CommitSeq;
use crate::sealed::{ColumnBounds, SegmentFile};

/// A table of one column, or of a key and one.
fn one(data_type: DataType) -> TableDef {
    defined(&[("x", data_type)], &[], &[("system_columns", "off")])
}

/// The statistics of a file of `def` with these bounds.
fn written(def: &TableDef, columns: Vec<ColumnBounds>) -> String {
    stats(&SegmentFile { columns, ..file("a.parquet", 1) }, def, true)
}

/// What stands in statistics for one value that is minimum and maximum, as text and read back.
fn through(data_type: DataType, value: &ArrayRef) -> (Value, Vec<ColumnBounds>) {
    let def = one(data_type);
    let text = written(&def, vec![bounds(Arc::clone(value), Arc::clone(value), 2)]);
    let read = StatsReader::new(&def).expect("a reader").read(&text, &[2]).expect("statistics");
    (serde_json::from_str(&text).expect("JSON"), read)
}

fn arr<A: Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}

#[test]
fn each_type_has_its_form_and_comes_back() {
    let ntz = |us: i64| arr(TimestampMicrosecondArray::from(vec![us]));
    let decimal = |value: i128, precision, scale| {
        arr(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).expect("a decimal"))
    };
    let cases = [
        (arr(Int8Array::from(vec![i8::MIN])), json!(-128)),
        (arr(Int16Array::from(vec![i16::MAX])), json!(32767)),
        (arr(Int32Array::from(vec![-1])), json!(-1)),
        (int(i64::MIN), json!(i64::MIN)),
        (int(i64::MAX), json!(i64::MAX)),
        (arr(UInt8Array::from(vec![255])), json!(255)),
        (arr(UInt16Array::from(vec![65_535])), json!(65_535)),
        (arr(UInt32Array::from(vec![u32::MAX])), json!(u32::MAX)),
        (arr(UInt64Array::from(vec![u64::MAX])), json!(u64::MAX)),
        (arr(Float32Array::from(vec![0.1])), json!(0.1)),
        (arr(Float64Array::from(vec![-2.5])), json!(-2.5)),
        (arr(Float64Array::from(vec![1e20])), json!(1e20)),
        (decimal(-12_345, 10, 2), json!(-123.45)),
        (decimal(7, 5, 0), json!(7)),
        (decimal(5, 10, 3), json!(0.005)),
        (text("grün \"quoted\""), json!("grün \"quoted\"")),
        (text(""), json!("")),
        (arr(Date32Array::from(vec![19_675])), json!("2023-11-14")),
        (arr(Date32Array::from(vec![-719_162])), json!("0001-01-01")),
        (arr(Time64MicrosecondArray::from(vec![86_399_999_999])), json!(86_399_999_999_i64)),
        (moment(1_700_000_000_123_456), json!("2023-11-14T22:13:20.123456Z")),
        (moment(-1), json!("1969-12-31T23:59:59.999999Z")),
        (ntz(1_700_000_000_000_000), json!("2023-11-14T22:13:20.000000")),
    ];
    for (value, expected) in cases {
        let (said, read) = through(value.data_type().clone(), &value);
        assert_eq!(said["minValues"]["x"], expected, "{}", value.data_type());
        assert_eq!(said["maxValues"]["x"], expected, "{}", value.data_type());
        assert_eq!(said["nullCount"]["x"], 2);
        let ColumnBounds { min, max, nulls } = &read[0];
        assert_eq!((min.as_deref(), max.as_deref(), *nulls), (Some(&*value), Some(&*value), 2));
    }
}

#[test]
fn decimals_keep_all_their_digits() {
    let digits = "-99999999999999999999999999999999999.999";
    let value: i128 = digits.replace('.', "").parse().expect("a number");
    let array = arr(Decimal128Array::from(vec![value]).with_precision_and_scale(38, 3).expect("a decimal"));
    let def = one(DataType::Decimal128(38, 3));
    let text = written(&def, vec![bounds(Arc::clone(&array), array, 0)]);
    assert!(text.contains(&format!("{{\"x\":{digits}}}")), "{text}");
    let read = StatsReader::new(&def).expect("a reader").read(&text, &[0]).expect("statistics");
    let min = read[0].min.as_ref().expect("a minimum");
    assert_eq!(min.as_primitive::<Decimal128Type>().value(0), value);
}

#[test]
fn what_has_no_form_stays_open() {
    let cases: Vec<ArrayRef> = vec![
        arr(Float64Array::from(vec![f64::INFINITY])),
        arr(Float32Array::from(vec![f32::NEG_INFINITY])),
        arr(Float64Array::from(vec![f64::NAN])),
        moment(i64::MAX),
        moment(i64::MIN),
        // The last microsecond before the year 1, and the first of the year 10000.
        moment(-62_135_596_800_000_001),
        moment(253_402_300_800_000_000),
        arr(Date32Array::from(vec![i32::MAX])),
        arr(BooleanArray::from(vec![true])),
        arr(BinaryArray::from(vec![b"x".as_slice()])),
        arr(StringArray::from(vec![None::<&str>])),
    ];
    for value in cases {
        let (said, read) = through(value.data_type().clone(), &value);
        assert_eq!((&said["minValues"], &said["maxValues"]), (&json!({}), &json!({})), "{}", value.data_type());
        assert_eq!(said["numRecords"], 100);
        assert!(read[0].min.is_none() && read[0].max.is_none() && read[0].nulls == 2);
    }
}

#[test]
fn only_the_first_columns_have_statistics() {
    let names: Vec<String> = (0..40).map(|i| format!("c{i}")).collect();
    let inner = |name: &str| Field::new(name, DataType::Int64, true);
    let pair = DataType::Struct(vec![inner("a"), inner("b")].into());
    let type_of = |i: usize| if i == 1 { pair.clone() } else { DataType::Int64 };
    let columns: Vec<(&str, DataType)> =
        names.iter().enumerate().map(|(i, name)| (name.as_str(), type_of(i))).collect();
    let def = defined(&columns, &[], &[]);
    let of = |i: usize| if i == 1 { ColumnBounds::unknown(0) } else { bounds(int(1), int(2), 0) };
    let said: Value = serde_json::from_str(&written(&def, (0..40).map(of).collect())).expect("JSON");
    let n = |what: &str| said[what].as_object().expect("an object").len();
    // 32 leaves: the struct has two of them, and neither bounds nor NULLs in statistics.
    assert_eq!((n("minValues"), n("maxValues"), n("nullCount")), (30, 30, 30));
    assert!(said["minValues"]["c30"].is_number() && said["minValues"]["c31"].is_null());
    assert!(said["minValues"]["_commit_seq"].is_null());
    let few = defined(&[("x", DataType::Int64)], &[], &[]);
    let said: Value = serde_json::from_str(&written(&few, vec![bounds(int(1), int(2), 0)])).expect("JSON");
    assert_eq!((&said["minValues"]["_commit_seq"], &said["maxValues"]["_commit_seq"]), (&json!(1), &json!(10)));
    assert_eq!(said["tightBounds"], true);
}

#[test]
fn what_a_file_does_not_store_is_null_for_others() {
    let def = defined(&[("x", DataType::Int64)], &[], &[]);
    let entry = Some((CommitSeq(1), 5));
    let file = SegmentFile { columns: vec![bounds(int(1), int(2), 0)], entry, ..file("a.parquet", 1) };
    let said: Value = serde_json::from_str(&stats(&file, &def, true)).expect("JSON");
    assert!(said["minValues"]["_commit_seq"].is_null() && said["maxValues"]["_commit_seq"].is_null());
    assert_eq!(said["nullCount"]["_commit_seq"], 100);
}

#[test]
fn bounds_of_deleted_rows_are_not_tight() {
    let def = one(DataType::Int64);
    let file = SegmentFile { columns: vec![bounds(int(1), int(2), 0)], ..file("a.parquet", 1) };
    let said: Value = serde_json::from_str(&stats(&file, &def, false)).expect("JSON");
    assert_eq!((&said["tightBounds"], &said["numRecords"]), (&json!(false), &json!(100)));
}

#[test]
fn a_long_text_is_cut_and_its_maximum_rounded_up() {
    let long = "ä".repeat(40);
    let (said, read) = through(DataType::Utf8, &text(&long));
    let beginning = "ä".repeat(32);
    assert_eq!(said["minValues"]["x"], json!(beginning));
    assert_eq!(said["maxValues"]["x"], json!(format!("{beginning}\u{10FFFF}")));
    let value = |bound: &Option<ArrayRef>| bound.as_ref().map(|bound| bound.as_string::<i32>().value(0).to_owned());
    assert!(value(&read[0].min).expect("a minimum") <= long && value(&read[0].max).expect("a maximum") >= long);
    // Nothing is above a text that goes on with the last character there is.
    let highest = format!("{beginning}\u{10FFFF}\u{10FFFF}");
    let (said, _) = through(DataType::Utf8, &text(&highest));
    assert!(said["minValues"]["x"].is_string() && said["maxValues"]["x"].is_null());
    // 32 characters are not cut.
    assert_eq!(through(DataType::Utf8, &text(&beginning)).0["maxValues"]["x"], json!(beginning));
}

#[test]
fn one_reader_reads_many_files() {
    let types = [("a", DataType::Int64), ("b", plain()), ("c", instant()), ("d", DataType::Boolean)];
    let def = defined(&types, &[], &[("time_column", "c")]);
    let mut reader = StatsReader::new(&def).expect("a reader");
    let b = arr(TimestampMicrosecondArray::from(vec![5]));
    for i in 0..3 {
        let columns = vec![
            bounds(int(i), int(i + 1), 0),
            bounds(Arc::clone(&b), Arc::clone(&b), 1),
            ColumnBounds::unknown(0),
            ColumnBounds::unknown(4),
        ];
        let read = reader.read(&written(&def, columns.clone()), &[0, 1, 0, 4]).expect("statistics");
        assert_eq!(format!("{read:?}"), format!("{columns:?}"));
    }
    // A file from before the last columns were added.
    let read = reader.read(&written(&def, vec![bounds(int(1), int(2), 0)]), &[0]).expect("statistics");
    assert_eq!(read.len(), 1);
    assert!(reader.read("{\"minValues\":{\"a\":\"x\"}}", &[0]).is_err(), "not a number");
}

proptest! {
    #[test]
    fn any_text_lies_within_its_bounds(value in prop::collection::vec(any::<char>(), 0..80)) {
        let value: String = value.into_iter().collect();
        let (_, read) = through(DataType::Utf8, &text(&value));
        let of = |bound: &ArrayRef| bound.as_string::<i32>().value(0).to_owned();
        let min = read[0].min.as_ref().map(of).expect("a minimum");
        prop_assert!(min <= value && min.chars().count() <= 32);
        if let Some(max) = read[0].max.as_ref().map(of) {
            prop_assert!(max >= value && max.chars().count() <= 33);
        }
    }

    #[test]
    fn any_number_comes_back(
        float in any::<f64>(),
        single in any::<f32>(),
        wide in any::<i64>(),
        digits in any::<i64>(),
    ) {
        let decimal = Decimal128Array::from(vec![i128::from(digits)]).with_precision_and_scale(38, 12);
        let values = [
            arr(Float64Array::from(vec![float])),
            arr(Float32Array::from(vec![single])),
            int(wide),
            arr(decimal.expect("a decimal")),
        ];
        for value in values {
            let (_, read) = through(value.data_type().clone(), &value);
            if let Some(min) = &read[0].min {
                prop_assert_eq!(&**min, &*value);
            }
        }
    }
}
