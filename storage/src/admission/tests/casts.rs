//! Which value becomes which, and which is refused?

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as T, Field, Float64Type, Int8Type, Int32Type, TimeUnit, i256};

use super::{admit_batch, rejections, rules, table, texts};
use crate::error::Code;

/// `input` sent to a column of type `to`: the texts of what is stored, then `row CODE` of what is not.
fn check(input: impl Array + 'static, to: T, stored: &[&str], rejected: &[&str]) {
    let def = table(&[("x", to)]);
    let admitted = admit_batch(&def, vec![("x", Arc::new(input))], &rules()).unwrap();
    assert_eq!(texts(admitted.rows.column(0)), stored);
    assert_eq!(rejections(&admitted), rejected, "{:?}", admitted.rejected);
}

/// No value of this type can be stored.
fn mismatch(input: impl Array + 'static, to: T, part: &str) {
    let def = table(&[("x", to)]);
    let error = admit_batch(&def, vec![("x", Arc::new(input))], &rules()).unwrap_err();
    assert_eq!(error.code(), Code::SchemaMismatch, "{error}");
    assert!(error.message().contains(part), "{error}");
}

fn list(item: T) -> T {
    T::List(Field::new_list_field(item, true).into())
}

fn structure(fields: &[(&str, T)]) -> T {
    T::Struct(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect())
}

#[test]
fn integers() {
    check(
        Int64Array::from(vec![Some(-128), Some(127), None, Some(128)]),
        T::Int8,
        &["-128", "127", "NULL"],
        &["3 OUT_OF_RANGE"],
    );
    check(Int8Array::from(vec![-1, 5]), T::Int64, &["-1", "5"], &[]);
    check(Int8Array::from(vec![-1, 5]), T::UInt64, &["5"], &["0 OUT_OF_RANGE"]);
    check(UInt64Array::from(vec![u64::MAX, 7]), T::Int64, &["7"], &["0 OUT_OF_RANGE"]);
    check(Int64Array::from(vec![0, 1, 2]), T::Boolean, &["false", "true"], &["2 OUT_OF_RANGE"]);
    check(NullArray::new(2), T::Int64, &["NULL", "NULL"], &[]);
    mismatch(BooleanArray::from(vec![true]), T::Int64, "the data has BOOLEAN, the table BIGINT");
}

#[test]
fn floats() {
    let values = vec![1.0, -0.0, 1.5, f64::NAN, f64::INFINITY, 9.3e18];
    let refused = ["2 OUT_OF_RANGE", "3 OUT_OF_RANGE", "4 OUT_OF_RANGE", "5 OUT_OF_RANGE"];
    check(Float64Array::from(values), T::Int64, &["1", "0"], &refused);
    check(
        Float64Array::from(vec![0.5, 1e39, f64::NAN, f64::INFINITY]),
        T::Float32,
        &["0.5", "NaN", "inf"],
        &["1 OUT_OF_RANGE"],
    );
    check(Float32Array::from(vec![0.25]), T::Float64, &["0.25"], &[]);
    check(Int64Array::from(vec![3]), T::Float64, &["3.0"], &[]);
    check(
        Float64Array::from(vec![1.25, f64::NAN, 1e30]),
        T::Decimal128(10, 1),
        &["1.3"],
        &["1 OUT_OF_RANGE", "2 OUT_OF_RANGE"],
    );
}

/// Those of clients have a sign or other bits: as they come, from other types, and within lists and structs.
#[test]
fn every_nan_is_the_one_of_tables() {
    let others = [0xfff8_0000_0000_0000, 0x7ff8_0000_0000_0001].map(f64::from_bits);
    let doubles: ArrayRef = Arc::new(Float64Array::from(others.to_vec()));
    let reals = cast(&doubles, &T::Float32).unwrap();
    let halves = cast(&doubles, &T::Float16).unwrap();
    let lists = |items: &ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([1, 1]), items.clone(), None))
    };
    let structs: ArrayRef =
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("a", T::Float64, true)), doubles.clone())]));
    for (input, to) in [
        (doubles.clone(), T::Float64),
        (doubles.clone(), T::Float32),
        (reals.clone(), T::Float64),
        (reals.clone(), T::Float32),
        (halves, T::Float32),
        (lists(&doubles), list(T::Float64)),
        (lists(&reals), list(T::Float64)),
        (structs.clone(), structure(&[("a", T::Float64)])),
        (lists(&structs), list(structure(&[("a", T::Float64)]))),
    ] {
        let def = table(&[("x", to.clone())]);
        let admitted = admit_batch(&def, vec![("x", input)], &rules()).unwrap();
        let mut column = admitted.rows.column(0).clone();
        while column.data_type().is_nested() {
            column = match column.as_list_opt::<i32>() {
                Some(list) => list.values().clone(),
                None => column.as_struct().column(0).clone(),
            };
        }
        let column = cast(&column, &T::Float64).unwrap();
        let bits: Vec<u64> = column.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0x7ff8_0000_0000_0000; 2], "{to}");
    }
}

#[test]
fn decimals() {
    let decimals = |values: Vec<i128>, p, s| Decimal128Array::from(values).with_precision_and_scale(p, s).unwrap();
    check(
        decimals(vec![1230, 1234, 99990], 5, 3),
        T::Decimal128(3, 2),
        &["1.23"],
        &["1 OUT_OF_RANGE", "2 OUT_OF_RANGE"],
    );
    check(decimals(vec![500, 550], 5, 2), T::Int16, &["5"], &["1 OUT_OF_RANGE"]);
    check(decimals(vec![-500], 5, 2), T::UInt8, &[], &["0 OUT_OF_RANGE"]);
    check(decimals(vec![125], 5, 2), T::Float64, &["1.25"], &[]);
    check(Int64Array::from(vec![99, 100]), T::Decimal128(4, 2), &["99.00"], &["1 OUT_OF_RANGE"]);
    let wide = Decimal256Array::from(vec![i256::from_i128(7), i256::MAX]).with_precision_and_scale(76, 0).unwrap();
    check(wide.clone(), T::Decimal128(38, 0), &["7"], &["1 OUT_OF_RANGE"]);
    check(wide, T::Float32, &["7.0"], &["1 OUT_OF_RANGE"]);
    // A message that says DECIMAL(3,0) may hold more digits.
    let lying = Decimal128Array::new(vec![999, 1000].into(), None).with_data_type(T::Decimal128(3, 0));
    check(lying, T::Decimal128(3, 0), &["999"], &["1 OUT_OF_RANGE"]);
}

#[test]
fn text_to_numbers() {
    let text = StringArray::from(vec![
        "12",
        "-7",
        "+5",
        "1.0",
        "2e2",
        "1.5",
        "300",
        "",
        " 1",
        "0x10",
        "9999999999999999999999",
    ]);
    let refused = [
        "5 OUT_OF_RANGE",
        "6 OUT_OF_RANGE",
        "7 TYPE_MISMATCH",
        "8 TYPE_MISMATCH",
        "9 TYPE_MISMATCH",
        "10 OUT_OF_RANGE",
    ];
    let refused: Vec<&str> = std::iter::once("4 OUT_OF_RANGE").chain(refused).collect();
    check(text, T::Int8, &["12", "-7", "5", "1"], &refused);
    check(
        StringArray::from(vec!["18446744073709551615", "-1"]),
        T::UInt64,
        &["18446744073709551615"],
        &["1 OUT_OF_RANGE"],
    );
    let text = StringArray::from(vec![
        "1.50",
        "1e-1",
        "0.001",
        "123456789",
        "abc",
        "1.",
        ".5",
        ".",
        "1e",
        "0e999999999999",
        "1e99999",
    ]);
    check(
        text,
        T::Decimal128(8, 2),
        &["1.50", "0.10", "1.00", "0.50", "0.00"],
        &[
            "2 OUT_OF_RANGE",
            "3 OUT_OF_RANGE",
            "4 TYPE_MISMATCH",
            "7 TYPE_MISMATCH",
            "8 TYPE_MISMATCH",
            "10 OUT_OF_RANGE",
        ],
    );
    let most = "9".repeat(38);
    check(StringArray::from(vec![most.as_str()]), T::Decimal128(38, 0), &[most.as_str()], &[]);
    let text = StringArray::from(vec!["1.5", "NaN", "Infinity", "-inf", "1e400", "x", ""]);
    check(text, T::Float64, &["1.5", "NaN", "inf", "-inf"], &["4 OUT_OF_RANGE", "5 TYPE_MISMATCH", "6 TYPE_MISMATCH"]);
    check(StringArray::from(vec!["3.4e38", "3.5e38"]), T::Float32, &["3.4e38"], &["1 OUT_OF_RANGE"]);
    let text = StringArray::from(vec![Some("TRUE"), Some("f"), Some("1"), Some("no"), Some("2"), None]);
    check(text, T::Boolean, &["true", "false", "true", "false", "NULL"], &["4 TYPE_MISMATCH"]);
}

#[test]
fn text_and_bytes() {
    let text = LargeStringArray::from(vec!["00ff", "\\xAB", "", "abc", "zz"]);
    check(text, T::Binary, &["00ff", "ab", ""], &["3 TYPE_MISMATCH", "4 TYPE_MISMATCH"]);
    check(BinaryArray::from(vec![&b"ok"[..], b"\xff"]), T::Utf8, &["ok"], &["1 TYPE_MISMATCH"]);
    check(FixedSizeBinaryArray::try_from_iter([b"ab", b"cd"].iter()).unwrap(), T::Binary, &["6162", "6364"], &[]);
    check(Int64Array::from(vec![42]), T::Utf8, &["42"], &[]);
    check(BooleanArray::from(vec![true]), T::Utf8, &["true"], &[]);
    mismatch(Date32Array::from(vec![1]), T::Utf8, "the data has DATE, the table VARCHAR");
}

#[test]
fn encodings_are_taken() {
    let dictionary: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("a"), Some("b")].into_iter().collect();
    check(dictionary, T::Utf8, &["a", "NULL", "a", "b"], &[]);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("1"), Some("x")].into_iter().collect();
    check(dictionary, T::Int64, &["1"], &["1 TYPE_MISMATCH"]);
    check(
        StringViewArray::from(vec![Some("a long text that is not inlined"), None]),
        T::Utf8,
        &["a long text that is not inlined", "NULL"],
        &[],
    );
    let ends = Int32Array::from(vec![2, 3]);
    let runs = RunArray::<Int32Type>::try_new(&ends, &StringArray::from(vec!["5", "6"])).unwrap();
    check(runs, T::Int64, &["5", "5", "6"], &[]);
}

#[test]
fn lists() {
    let numbers = ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![Some(300), Some(2)]),
        Some(vec![]),
    ]);
    check(numbers.clone(), list(T::Int8), &["[1, NULL]", "NULL", "[]"], &["2 OUT_OF_RANGE"]);
    // Elements before and after the slice are nobody's, however bad.
    check(numbers.slice(3, 1), list(T::Int8), &["[]"], &[]);
    check(numbers.slice(1, 2), list(T::Int8), &["NULL"], &["1 OUT_OF_RANGE"]);
    let large = cast(&numbers, &T::LargeList(Field::new_list_field(T::Int64, true).into())).unwrap();
    check(large, list(T::Utf8), &["[1, NULL]", "NULL", "[300, 2]", "[]"], &[]);
    let fixed = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), Some(2)]), None], 2);
    check(fixed, list(T::Int64), &["[1, 2]", "NULL"], &[]);
    mismatch(numbers, T::Int64, "the data has BIGINT[], the table BIGINT");
    mismatch(Int64Array::from(vec![1]), list(T::Int64), "the data has BIGINT, the table BIGINT[]");
}

#[test]
fn structs() {
    let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 300, 300]));
    let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    let fields = vec![Field::new("B", T::Utf8, true), Field::new("a", T::Int64, false)];
    let nulls = Some(vec![true, true, false].into());
    let given = StructArray::new(fields.into(), vec![b, a], nulls);
    check(
        given.clone(),
        structure(&[("a", T::Int8), ("b", T::Utf8), ("c", T::Date32)]),
        &["{a: 1, b: x, c: NULL}", "NULL"],
        &["1 OUT_OF_RANGE"],
    );
    mismatch(given.clone(), structure(&[("a", T::Int64)]), "no field 'B'");
    mismatch(
        given.clone(),
        structure(&[("a", list(T::Int64)), ("b", T::Utf8)]),
        "field 'a': the data has BIGINT, the table BIGINT[]",
    );

    let def = table(&[("x", structure(&[("a", T::Int64)]))]);
    let ignoring = super::AdmissionRules { ignore_unknown_columns: true, ..rules() };
    let admitted = admit_batch(&def, vec![("x", Arc::new(given))], &ignoring).unwrap();
    assert_eq!(texts(admitted.rows.column(0)), ["{a: 1}", "{a: 300}", "NULL"]);
}

#[test]
fn values_out_of_their_types_range() {
    let clock = T::Time64(TimeUnit::Microsecond);
    let day = 86_400_000_000;
    check(
        Time64MicrosecondArray::from(vec![0, day - 1, day, -1]),
        clock,
        &["00:00:00", "23:59:59.999999"],
        &["2 OUT_OF_RANGE", "3 OUT_OF_RANGE"],
    );
    let days = Date32Array::from(vec![-719_162, 2_932_896, -719_163, 2_932_897, i32::MAX]);
    check(days, T::Date32, &["0001-01-01", "9999-12-31"], &["2 OUT_OF_RANGE", "3 OUT_OF_RANGE", "4 OUT_OF_RANGE"]);
    let item = Field::new_list_field(T::Date32, true);
    let inside = ListArray::new(
        item.into(),
        arrow::buffer::OffsetBuffer::from_lengths([1, 1]),
        Arc::new(Date32Array::from(vec![0, i32::MIN])),
        None,
    );
    check(inside, list(T::Date32), &["[1970-01-01]"], &["1 OUT_OF_RANGE"]);
}

#[test]
fn messages_show_the_value() {
    let def = table(&[("x", T::Int8)]);
    let long = "y".repeat(100_000);
    let input: ArrayRef = Arc::new(StringArray::from(vec!["abc", "300", &long]));
    let admitted = admit_batch(&def, vec![("x", input)], &rules()).unwrap();
    let messages: Vec<&str> = admitted.rejected.iter().map(|row| row.message.as_str()).collect();
    assert_eq!(messages[..2], ["'abc' is not a TINYINT", "'300' does not fit TINYINT"]);
    assert!(messages[2].len() < 100);
}
