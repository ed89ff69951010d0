//! How are JSON rows read?

use arrow::datatypes::{DataType as T, Field, TimeUnit};
use proptest::prelude::*;

use super::{rejections, rules, table, texts};
use crate::admission::{Admitted, admit, json};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, instant, plain};
use crate::error::Code;

fn read(def: &TableDef, text: &str, ignore_unknown: bool) -> Admitted {
    let incoming = json::decode(def, text.as_bytes(), ignore_unknown).unwrap();
    let admitted = admit(def, incoming, &rules()).unwrap();
    assert_eq!(admitted.received, (admitted.rows.num_rows() + admitted.rejected.len()) as u64);
    admitted
}

/// One value for a column of type `to`: what is stored, or the code of its rejection.
fn check(to: T, value: &str, expected: &str) {
    let def = table(&[("x", to.clone())]);
    let admitted = read(&def, &format!("{{\"x\":{value}}}"), false);
    let found = match admitted.rejected.first() {
        Some(row) => row.code.as_str().to_owned(),
        None => texts(admitted.rows.column(0)).remove(0),
    };
    assert_eq!(found, expected, "{value} as {to}");
}

#[test]
fn scalars() {
    let cases = [
        (T::Int64, "9223372036854775807", "9223372036854775807"),
        (T::Int64, "9223372036854775808", "OUT_OF_RANGE"),
        (T::Int64, "\"12\"", "12"),
        (T::Int64, "1.0", "1"),
        (T::Int64, "1.5", "OUT_OF_RANGE"),
        (T::Int64, "true", "TYPE_MISMATCH"),
        (T::Int64, "null", "NULL"),
        (T::Int64, "[1]", "TYPE_MISMATCH"),
        (T::Int64, "{\"a\":1}", "TYPE_MISMATCH"),
        (T::UInt64, "18446744073709551615", "18446744073709551615"),
        (T::Decimal128(38, 10), "1234567890123456789012345678.0123456789", "1234567890123456789012345678.0123456789"),
        (T::Decimal128(4, 2), "1.005", "OUT_OF_RANGE"),
        (T::Float64, "0.1", "0.1"),
        (T::Float64, "\"NaN\"", "NaN"),
        (T::Float64, "\"-Infinity\"", "-inf"),
        (T::Float64, "1e999", "OUT_OF_RANGE"),
        (T::Float64, "NaN", "MALFORMED"),
        (T::Boolean, "true", "true"),
        (T::Boolean, "\"true\"", "true"),
        (T::Boolean, "1", "true"),
        (T::Boolean, "2", "TYPE_MISMATCH"),
        (T::Utf8, r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#, "a\"\\/\u{8}\u{c}\n\r\té😀"),
        (T::Utf8, r#""\ud83d""#, "MALFORMED"),
        (T::Utf8, r#""\x""#, "MALFORMED"),
        (T::Utf8, "12.50", "12.50"),
        (T::Utf8, "{}", "TYPE_MISMATCH"),
        (T::Binary, "\"00ff\"", "00ff"),
        (T::Binary, "12", "TYPE_MISMATCH"),
        (T::Date32, "\"2024-02-29\"", "2024-02-29"),
        (T::Date32, "5", "TYPE_MISMATCH"),
        (T::Time64(TimeUnit::Microsecond), "\"01:02:03.5\"", "01:02:03.500"),
        (instant(), "\"2024-01-01T00:00:00+01:00\"", "2023-12-31T23:00:00Z"),
        (instant(), "1700000000000000", "2023-11-14T22:13:20Z"),
        (instant(), "-1", "1969-12-31T23:59:59.999999Z"),
        (plain(), "1700000000000000", "2023-11-14T22:13:20"),
        (plain(), "1.7e15", "2023-11-14T22:13:20"),
        (plain(), "1.5", "OUT_OF_RANGE"),
        (plain(), "9223372036854775807", "OUT_OF_RANGE"),
        (plain(), "99999999999999999999999999", "OUT_OF_RANGE"),
    ];
    for (to, value, expected) in cases {
        check(to, value, expected);
    }
}

#[test]
fn lists_and_structs() {
    let list = |item: T| T::List(Field::new_list_field(item, true).into());
    let structure = |fields: Vec<Field>| T::Struct(fields.into());
    let points = list(structure(vec![Field::new("x", T::Int64, true), Field::new("Y", list(T::Utf8), true)]));
    let cases = [
        (list(T::Int64), "[1, null, 3]", "[1, NULL, 3]"),
        (list(T::Int64), "[]", "[]"),
        (list(T::Int64), "null", "NULL"),
        (list(T::Int64), "5", "TYPE_MISMATCH"),
        (list(T::Int8), "[1, 300]", "OUT_OF_RANGE"),
        (list(T::Int8), "[[1]]", "TYPE_MISMATCH"),
        (list(list(T::Int8)), "[[1],[],null]", "[[1], [], NULL]"),
        (points.clone(), r#"[{"x":1},null,{"y":["a"],"X":2}]"#, "[{x: 1, Y: NULL}, NULL, {x: 2, Y: [a]}]"),
        (points.clone(), r#"[{"x":1,"X":2}]"#, "MALFORMED"),
        (points.clone(), r#"[{"z":1}]"#, "MALFORMED"),
        (points, r#"[{"x":{}}]"#, "TYPE_MISMATCH"),
    ];
    for (to, value, expected) in cases {
        check(to, value, expected);
    }
}

#[test]
fn bad_lines_are_rejected_and_the_others_go_on() {
    let def = table(&[("a", T::Int64), ("b", T::Utf8)]);
    let text = "\u{feff}{\"a\":1}\r\n\n  {\"b\":\"x\",\"A\":2}  \n{\"a\":3,\n{\"a\":1,\"a\":2}\n{\"c\":1}\n17\n{\"a\":4} x\n\"\\ud800\"\n{}\n{\"a\":5}";
    let admitted = read(&def, text, false);
    assert_eq!(texts(admitted.rows.column(0)), ["1", "2", "NULL", "5"]);
    assert_eq!(texts(admitted.rows.column(1)), ["NULL", "x", "NULL", "NULL"]);
    let bad: Vec<String> = (2..8).map(|row| format!("{row} MALFORMED")).collect();
    assert_eq!(rejections(&admitted), bad);
    assert_eq!(admitted.rejected[0].payload, "{\"a\":3,");
    assert_eq!(admitted.rejected[1].message, "the name 'a' stands twice");
    assert_eq!(admitted.rejected[2].message, "the table has no column 'c'");
    // Rows that admission refuses are numbered as they were sent.
    let admitted = read(&def, "{\n{\"a\":\"x\"}\n", false);
    assert_eq!(rejections(&admitted), ["0 MALFORMED", "1 TYPE_MISMATCH"]);

    let admitted = read(&def, "{\"c\":[{\"d\":\"}\"}],\"a\":7}\n{\"c\":1,\"c\":2}", true);
    assert_eq!(texts(admitted.rows.column(0)), ["7", "NULL"]);
}

#[test]
fn what_a_client_could_not_read_is_rejected_with_its_reason_and_as_it_was() {
    let def = table(&[("a", T::Int64)]);
    let text = "{\"line 4: 2 fields, not 1\":\"1,\\\"x\"}\n{\"lines 7 to 8: it is not CSV\":\"y\"}\n{\"line 9: z\":1}\n\
                {\"line x: z\":\"1\"}\n{\"a\":1,\"line 3: z\":\"1\"}\n{\"line 1: street\":\"Main 5\",\"a\":7}\n\
                {\"line 1: street\":\"Main 5\"} x";
    let admitted = read(&def, text, false);
    let told = |row: usize| (admitted.rejected[row].message.as_str(), admitted.rejected[row].payload.as_str());
    assert_eq!(told(0), ("line 4: 2 fields, not 1", "1,\"x"));
    assert_eq!(told(1), ("lines 7 to 8: it is not CSV", "y"));
    // Whatever else looks like it is somebody's row, and kept whole.
    assert_eq!(told(2), ("the table has no column 'line 9: z'", "{\"line 9: z\":1}"));
    assert_eq!(told(3), ("the table has no column 'line x: z'", "{\"line x: z\":\"1\"}"));
    assert_eq!(told(4).0, "the table has no column 'line 3: z'");
    let street = "the table has no column 'line 1: street'";
    assert_eq!(told(5), (street, "{\"line 1: street\":\"Main 5\",\"a\":7}"));
    assert_eq!(told(6), (street, "{\"line 1: street\":\"Main 5\"} x"));
}

#[test]
fn lines_that_are_not_utf8() {
    let def = table(&[("b", T::Utf8)]);
    let incoming = json::decode(&def, b"{\"b\":\"\xff\"}\n{\"b\":\"ok\"}", false).unwrap();
    assert_eq!((incoming.rejected.len(), incoming.batch.num_rows()), (1, 1));
    assert_eq!(incoming.row_numbers, Some(vec![1]));
}

#[test]
fn arrays() {
    let def = table(&[("a", T::Int64)]);
    let admitted = read(&def, " [ {\"a\":1} ,\n {\"a\":[]}, 5, {\"a\":2} ] ", false);
    assert_eq!(texts(admitted.rows.column(0)), ["1", "2"]);
    assert_eq!(rejections(&admitted), ["1 TYPE_MISMATCH", "2 MALFORMED"]);
    assert_eq!(admitted.rejected[0].payload, "{\"a\":[]}");
    assert_eq!(read(&def, "[]", false).received, 0);
    assert_eq!(read(&def, "", false).received, 0);
    for damaged in [
        "[",
        "[{\"a\":1}",
        "[{\"a\":1},]",
        "[{\"a\":1}] x",
        "[{\"a\":01}]",
        "[{\"a\":1} {\"a\":2}]",
        "[tru]",
        "[\"\u{1}\"]",
    ] {
        let error = json::decode(&def, damaged.as_bytes(), false).unwrap_err();
        assert_eq!(error.code(), Code::MalformedPayload, "{damaged}: {error}");
    }
    assert_eq!(json::decode(&def, b"[\"\xff\"]", false).unwrap_err().code(), Code::MalformedPayload);
}

#[test]
fn a_column_that_no_row_has() {
    let def = defined(&[("k", T::Int64), ("n", T::Utf8)], &["k"], &[]);
    let admitted = read(&def, "{\"n\":\"x\"}\n{}", false);
    assert_eq!(rejections(&admitted), ["0 NULL_VIOLATION", "1 NULL_VIOLATION"]);
    let admitted = read(&def, "{\"k\":1}", false);
    assert_eq!(texts(admitted.rows.column(1)), ["NULL"]);
}

#[test]
fn payloads_that_would_blow_up() {
    let def = table(&[("a", T::Int64)]);
    let deep = format!("{{\"z\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let admitted = read(&def, &deep, true);
    assert_eq!(rejections(&admitted), ["0 MALFORMED"]);
    assert_eq!(read(&def, &format!("{{\"a\":{}}}", "[".repeat(100_000)), false).rejected.len(), 1);

    let columns: Vec<(String, T)> = (0..2000).map(|i| (format!("c{i}"), T::Int64)).collect();
    let columns: Vec<(&str, T)> = columns.iter().map(|(name, data_type)| (name.as_str(), data_type.clone())).collect();
    let error = json::decode(&table(&columns), "{}\n".repeat(20_000).as_bytes(), false).unwrap_err();
    assert_eq!(error.code(), Code::BatchTooLarge);

    let fields: Vec<Field> = (0..1000).map(|i| Field::new(format!("f{i}"), T::Int64, true)).collect();
    let def = table(&[("l", T::List(Field::new_list_field(T::Struct(fields.into()), true).into()))]);
    let bomb = format!("{{\"l\":[{}null]}}", "null,".repeat(100_000));
    assert_eq!(json::decode(&def, bomb.as_bytes(), false).unwrap_err().code(), Code::BatchTooLarge);
    let error = json::decode(&def, "5\n".repeat((1 << 20) + 1).as_bytes(), false).unwrap_err();
    assert_eq!(error.code(), Code::BatchTooLarge);
}

proptest! {
    /// No bytes make it panic, and every row is counted.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(prop_oneof![
        Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b':'), Just(b','), Just(b'\\'), Just(b'\n'),
        Just(b'a'), Just(b'1'), Just(b'-'), Just(b'.'), Just(b'e'), Just(b'u'), Just(b' '), any::<u8>(),
    ], 0..60)) {
        let def = table(&[("a", T::List(Field::new_list_field(T::Utf8, true).into())), ("1", T::Int64)]);
        for ignore_unknown in [false, true] {
            if let Ok(incoming) = json::decode(&def, &bytes, ignore_unknown) {
                let admitted = admit(&def, incoming, &rules()).unwrap();
                prop_assert_eq!(admitted.received, (admitted.rows.num_rows() + admitted.rejected.len()) as u64);
            }
        }
    }

    /// Whatever serde_json writes is read with the same meaning.
    #[test]
    fn what_serde_json_writes(text in ".*", number in any::<i64>(), float in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
        let def = table(&[("t", T::Utf8), ("n", T::Int64), ("f", T::Float64)]);
        let row = serde_json::json!({ "t": text, "n": number, "f": float }).to_string();
        let admitted = read(&def, &row, false);
        let expected = [text, number.to_string(), format!("{float:?}")];
        prop_assert_eq!(&texts(admitted.rows.column(0))[0], &expected[0]);
        prop_assert_eq!(&texts(admitted.rows.column(1))[0], &expected[1]);
        let stored = texts(admitted.rows.column(2)).remove(0).parse::<f64>().unwrap();
        prop_assert_eq!(stored.to_bits(), float.to_bits(), "{} {}", expected[2], stored);
    }
}
