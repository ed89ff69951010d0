//! Are types guessed with care, and do tables get them?

use arrow::array::{ArrayRef, NullArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use std::sync::Arc;
use tidewater_client::TableInfo;
use tidewater_storage::catalog::sql_type;

use super::super::create::{check_definition, statement};
use super::super::load::Totals;
use super::super::source::Source;
use super::{file, ingest_args, open, parquet, refusal};
use crate::cli::args::CsvArgs;

fn types(source: &Source) -> Vec<String> {
    source.shape().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

#[test]
fn csv_columns_have_the_types_that_all_texts_fit() {
    let text = "id,code,price,seen,day,ok,big,note,mixed\n\
        1,007,1.5,2024-01-02T03:04:05Z,2024-01-02,true,18446744073709551615,,1\n\
        one line,is,bad\n\
        -2,08,2,2024-01-02 03:04:05+02:00,2024-01-03,false,1,,x\n";
    let (_folder, path) = file("a.csv", text.as_bytes());
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(
        types(&open(&path, None)),
        [
            "id Int64",
            "code Utf8",
            "price Float64",
            &format!("seen {utc}"),
            "day Date32",
            "ok Boolean",
            "big UInt64",
            "note Utf8",
            "mixed Utf8"
        ]
    );
}

#[test]
fn json_objects_have_a_shape() {
    let text = "{\"id\": 9007199254740993, \"at\": \"2024-01-02T03:04:05.123456\", \"tags\": [\"a\"], \"n\": null}\n\
        not JSON\n{\"id\": \"\n\
        {\"id\": 2, \"at\": \"2024-01-02T03:04:06\", \"price\": 1.10, \"n\": null}\n";
    let (_folder, path) = file("a.ndjson", text.as_bytes());
    let source = open(&path, None);
    let shape = source.shape();
    assert_eq!(shape.field_with_name("id").unwrap().data_type(), &DataType::Int64);
    assert_eq!(shape.field_with_name("at").unwrap().data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
    assert_eq!(shape.field_with_name("n").unwrap().data_type(), &DataType::Utf8);
    assert!(shape.field_with_name("tags").unwrap().data_type().is_nested());
    let (_folder, nothing) = file("a.ndjson", b"x\n\n");
    assert!(refusal(&nothing, None, &CsvArgs::default()).contains("no JSON object"));
}

/// The columns that a table for these lines gets.
#[track_caller]
fn check_columns(lines: &str, expected: &[&str]) {
    let (_folder, path) = file("a.ndjson", lines.as_bytes());
    let source = open(&path, None);
    let column = |field: &Arc<arrow::datatypes::Field>| format!("{} {}", field.name(), sql_type(field.data_type()));
    assert_eq!(source.shape().fields().iter().map(column).collect::<Vec<_>>(), expected, "{lines}");
}

#[test]
fn columns_of_csv_lose_no_digits() {
    let text = "a,b,c\n9007199254740993,18446744073709551615,1\n0.5,-1,0.5\n";
    let (_folder, path) = file("a.csv", text.as_bytes());
    assert_eq!(types(&open(&path, None)), ["a Utf8", "b Utf8", "c Float64"]);
}

#[test]
fn numbers_of_json_lose_no_digits() {
    for (values, expected) in [
        (&["1", "-2"][..], "BIGINT"),
        (&["-9223372036854775808", "9223372036854775807"], "BIGINT"),
        (&["9223372036854775808"], "UBIGINT"),
        (&["18446744073709551615", "0", "null"], "UBIGINT"),
        (&["18446744073709551615", "-1"], "VARCHAR"),
        (&["18446744073709551616"], "VARCHAR"),
        (&["-9223372036854775809"], "VARCHAR"),
        (&["123456789012345678901234567890123456789012345678901234567890"], "VARCHAR"),
        (&["1", "1.5"], "DOUBLE"),
        (&["-0.0", "1e300", "null"], "DOUBLE"),
        (&["9007199254740993", "1.5"], "VARCHAR"),
        (&["9007199254740992", "1.5"], "DOUBLE"),
        (&["100000000000000000000", "0.1"], "DOUBLE"),
    ] {
        let lines: String = values.iter().map(|value| format!("{{\"v\": {value}}}\n")).collect();
        check_columns(&lines, &[&format!("v {expected}")]);
    }
}

#[test]
fn fields_of_json_that_hold_several_kinds_get_the_type_that_rejects_fewest() {
    for (values, expected) in [
        (&["1", "\"one\""][..], "VARCHAR"),
        (&["true", "1"], "VARCHAR"),
        (&["true", "null", "false"], "BOOLEAN"),
        (&["\"2024-01-02\"", "1"], "VARCHAR"),
        (&["\"2024-01-02\"", "\"soon\""], "VARCHAR"),
        (&["{\"a\": 1}", "\"\"", "{\"a\": 2}"], "STRUCT<a BIGINT>"),
        (&["{\"a\": 1}", "\"\"", "1"], "VARCHAR"),
        (&["[1]", "1"], "BIGINT"),
        (&["[1]", "1", "\"x\""], "VARCHAR"),
        (&["[1]", "{\"a\": 1}", "[\"x\"]"], "VARCHAR[]"),
        (&["{\"a\": 1}", "{\"a\": \"x\", \"b\": [1.5, 2]}"], "STRUCT<a VARCHAR, b DOUBLE[]>"),
    ] {
        let lines: String = values.iter().map(|value| format!("{{\"v\": {value}}}\n")).collect();
        check_columns(&lines, &[&format!("v {expected}")]);
    }
}

#[test]
fn fields_of_json_without_a_value_are_texts() {
    for (value, expected) in [
        ("null", "VARCHAR"),
        ("[]", "VARCHAR[]"),
        ("[null]", "VARCHAR[]"),
        ("[[]]", "VARCHAR[][]"),
        ("{\"b\": null}", "STRUCT<b VARCHAR>"),
        ("{\"b\": {\"c\": []}}", "STRUCT<b STRUCT<c VARCHAR[]> >"),
        ("{}", "VARCHAR"),
        ("[{}]", "VARCHAR[]"),
    ] {
        check_columns(&format!("{{\"v\": {value}}}\n"), &[&format!("v {expected}")]);
    }
    // A value in another line says what it is.
    check_columns(
        "{\"v\": [], \"s\": {\"b\": null}}\n{\"v\": [1], \"s\": {\"b\": true}}\n",
        &["v BIGINT[]", "s STRUCT<b BOOLEAN>"],
    );
}

#[test]
fn columns_of_json_stand_in_the_order_in_which_they_appear() {
    let names: Vec<String> = (0..50).rev().map(|n| format!("c{n}")).collect();
    let first: Vec<String> = names[..20].iter().map(|name| format!("\"{name}\": 1")).collect();
    let all: Vec<String> = names.iter().map(|name| format!("\"{}\": 2", name.to_uppercase())).collect();
    let lines = format!("{{{}}}\n{{{}}}\n", first.join(", "), all.join(", "));
    let expected = names.iter().enumerate().map(|(at, name)| match at {
        // Names differ by more than case, or they are one column.
        0..20 => format!("{name} BIGINT"),
        _ => format!("{} BIGINT", name.to_uppercase()),
    });
    let expected: Vec<String> = expected.collect();
    check_columns(&lines, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    check_columns(
        "{\"s\": {\"z\": 1, \"a\": 1}}\n{\"s\": {\"m\": 1, \"Z\": 1}}\n",
        &["s STRUCT<z BIGINT, a BIGINT, m BIGINT>"],
    );
}

#[test]
fn names_and_texts_of_json_are_read_through_their_escapes() {
    check_columns(
        " { \"a\\u0062\" : \"2024\\u002d01-02\" , \"q\\\"\\\\\" :[ 1 , 2 ] } \n{\"ab\": null, \"\u{e4}\": \"}\\\"]\"}\n",
        &["ab DATE", "q\"\\ BIGINT[]", "\u{e4} VARCHAR"],
    );
}

/// Such lines are rejected rows when they are loaded: no table takes them.
#[test]
fn lines_that_no_table_takes_shape_nothing() {
    let deep = |n: usize| format!("{{\"deep\": {}1{}}}\n", "[".repeat(n), "]".repeat(n));
    let many = deep(100_000);
    for bad in ["{\"a\": \"\\ud800\"}\n", "{\"a\": 01}\n", "{\"a\": 1\n", "[1]\n", "7\n", &deep(17), &many] {
        check_columns(&format!("{{\"b\": 1}}\n{bad}"), &["b BIGINT"]);
    }
    check_columns(&deep(16), &[&format!("deep BIGINT{}", "[]".repeat(16))]);
    let (_folder, path) = file("a.ndjson", b"{}\n{\"a\": \"\xFF\"}\n");
    assert!(refusal(&path, None, &CsvArgs::default()).contains("no JSON object with fields"));
}

/// Where Arrow and the server do not agree on what a time is, it is a text; CSV and JSON go by the same rule.
#[test]
fn texts_are_times_if_the_server_takes_them_for_times() {
    for (text, expected) in [
        ("2024-01-02", "DATE"),
        ("2024-01-02T03:04:05", "TIMESTAMP"),
        ("2024-01-02 03:04:05.123456", "TIMESTAMP"),
        ("9999-12-31 00:00:00", "TIMESTAMP"),
        ("2024-01-02T03:04:05Z", "TIMESTAMPTZ"),
        ("2024-01-02t03:04:05.5 -08", "TIMESTAMPTZ"),
        ("2024-01-02 03:04:05+05:30", "TIMESTAMPTZ"),
        ("2024-13-02", "VARCHAR"),
        ("2024-01-02x", "VARCHAR"),
        ("2024-01-02 030405", "VARCHAR"),
        ("2024-01-02 03:04:60", "VARCHAR"),
        ("2024-01-02 03:04:05 America/Los_Angeles", "VARCHAR"),
        ("2024-01-0\u{e4}", "VARCHAR"),
        ("2024-01-02\u{e4}03:04:05", "VARCHAR"),
    ] {
        check_columns(&format!("{{\"v\": \"{text}\"}}\n"), &[&format!("v {expected}")]);
        let (_folder, path) = file("a.csv", format!("v\n{text}\n").as_bytes());
        assert_eq!(sql_type(open(&path, None).shape().field(0).data_type()), expected, "{text}");
    }
    check_columns("{\"v\": {\"at\": [\"2024-01-02\"]}}\n", &["v STRUCT<at DATE[]>"]);
}

#[test]
fn a_table_that_exists_must_be_as_asked_for() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let table = |key: &[&str], time: Option<&str>, sort: &[&str]| TableInfo {
        table_id: String::new(),
        version: 1,
        schema: Arc::new(Schema::empty()),
        time_column: time.map(str::to_owned),
        primary_key: names(key),
        sort_by: names(sort),
    };
    let keyed = table(&["Id", "part"], Some("at"), &["part", "at"]);
    let plain = table(&[], None, &[]);
    for (table, flags, refusal) in [
        (&keyed, &[][..], None),
        (&plain, &[], None),
        (&keyed, &["--key", "part,id", "--time", "AT", "--sort", "part, at"], None),
        (&keyed, &["--key", "id"], Some("its primary key is 'Id,part', not 'id'")),
        (&keyed, &["--time", "seen"], Some("its time column is 'at', not 'seen'")),
        (&keyed, &["--sort", "at,part"], Some("its order is 'part,at', not 'at,part'")),
        (&plain, &["--key", "id"], Some("its primary key is none, not 'id'")),
        (&plain, &["--time", "at"], Some("its time column is none, not 'at'")),
        (&plain, &["--sort", "at"], Some("its order is none, not 'at'; load into it as it is without --sort")),
    ] {
        let args = ingest_args(&[&["t", "a.csv", "--create"], flags].concat());
        match (check_definition(table, &args), refusal) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{flags:?}: {error}"),
            (checked, _) => panic!("{flags:?}: {checked:?}"),
        }
    }
}

#[test]
fn a_table_is_created_in_the_shape_of_the_file() {
    let (_folder, path) = file("a.csv", b"Id,at,na\"me\n1,2024-01-02 03:04:05,x\n");
    let source = open(&path, None);
    let args = ingest_args(&["t", "a.csv", "--create", "--key", "id", "--time", "at", "--sort", "Id,at"]);
    assert_eq!(
        statement(("public", "t"), source.shape(), &args).unwrap(),
        "CREATE TABLE IF NOT EXISTS \"public\".\"t\" (\"Id\" BIGINT NOT NULL, \"at\" TIMESTAMP NOT NULL, \
         \"na\"\"me\" VARCHAR, PRIMARY KEY (\"Id\")) WITH (time_column = 'at', sort_by = 'Id, at')"
    );
    let wrong = ingest_args(&["t", "a.csv", "--create", "--key", "nope"]);
    assert!(statement(("public", "t"), source.shape(), &wrong).unwrap_err().to_string().contains("Id, at"));
    let (_folder, nested) = file("a.ndjson", b"{\"s\": {\"a\": 1, \"l\": [\"x\"]}}\n");
    let args = ingest_args(&["t", "a.ndjson", "--create"]);
    let made = statement(("public", "t"), open(&nested, None).shape(), &args).unwrap();
    assert!(made.contains("(\"s\" STRUCT<a BIGINT, l VARCHAR[]>)"), "{made}");
    let empty: ArrayRef = Arc::new(NullArray::new(2));
    let (_folder, untyped) =
        file("a.parquet", &parquet(&RecordBatch::try_from_iter_with_nullable([("n", empty, true)]).expect("a batch")));
    let made = statement(("public", "t"), open(&untyped, None).shape(), &args).expect("a statement");
    assert!(made.contains("(\"n\" VARCHAR)"), "{made}");
}

#[test]
fn names_that_no_column_may_have_are_told_with_those_that_may_be() {
    let (_folder, path) = file("a.csv", b"id,first name,count(*),last name\n1,a,2,b\n");
    let args = ingest_args(&["t", "a.csv", "--create"]);
    let refused = statement(("public", "t"), open(&path, None).shape(), &args).unwrap_err().to_string();
    for part in [
        "'first name' is not a name for a column: it has ' ' (likewise 'count(*)', 'last name'); ",
        "in the file, those of CSV in its first line; a name has 1 to 255 bytes, without white space",
        "use first_name, for example; in a SELECT, write AS first_name behind the column",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn the_summary_adds_up_in_words() {
    let mut totals = Totals {
        received: 10,
        accepted: 5,
        duplicate: 2,
        rejected: 1,
        repeated: 2,
        seconds: 2.0,
        producer: "t:hash:csv.1".to_owned(),
    };
    assert_eq!(
        totals.to_string(),
        "10 rows received, 5 accepted, 2 duplicate, 1 rejected, 2 repeated, 2.0 s, 5 rows/s"
    );
    assert!(totals.where_rejected().unwrap().contains("FROM system.rejected WHERE producer = 't:hash:csv.1'"));
    assert!(totals.where_rejected().unwrap().starts_with("1 rejected row is kept; read it with: SELECT"));
    totals.rejected = 2;
    assert!(totals.where_rejected().unwrap().starts_with("2 rejected rows are kept; read them with: SELECT"));
    totals.rejected = 0;
    assert_eq!(totals.where_rejected(), None);
    totals.received = 1;
    assert!(totals.to_string().starts_with("1 row received, "), "{totals}");
}
