//! Is every value written so that it can be read back, and is every bad request named?

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int32Builder, Int64Array, ListArray, MapBuilder, NullArray, RecordBatch, StringArray, StringBuilder, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::ipc::reader::StreamReader;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::encode::{ArrowEncoder, CsvEncoder, JsonEncoder, write_objects};
use super::guard::{Guard, Hosts, Rules};
use super::request::{AnswerFormat, parse};
use crate::config::{Config, FileSource, Sources};
use crate::query_api::MAX_PARAMETERS;

/// The one column `c` as its JSON values.
fn json_of(column: ArrayRef) -> Vec<Value> {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
    let mut encoder = JsonEncoder::new(batch.schema());
    let mut text = encoder.begin("q").unwrap().to_vec();
    text.extend(encoder.batch(&batch).unwrap());
    text.extend(encoder.end(&json!({})));
    let answer: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(answer["row_count"], json!(batch.num_rows()));
    answer["rows"].as_array().unwrap().iter().map(|row| row[0].clone()).collect()
}

#[track_caller]
fn check(column: impl arrow::array::Array + 'static, expected: &[Value]) {
    assert_eq!(json_of(Arc::new(column)), expected);
}

#[test]
fn integers_beyond_a_double_are_texts() {
    let safe = 9_007_199_254_740_991_i64;
    check(
        Int64Array::from(vec![Some(0), Some(safe), Some(safe + 1), Some(-safe), Some(-safe - 1), Some(i64::MIN), None]),
        &[
            json!(0),
            json!(safe),
            json!("9007199254740992"),
            json!(-safe),
            json!("-9007199254740992"),
            json!("-9223372036854775808"),
            json!(null),
        ],
    );
    check(UInt64Array::from(vec![safe as u64, u64::MAX]), &[json!(safe), json!("18446744073709551615")]);
    check(Int32Array::from(vec![i32::MIN]), &[json!(i32::MIN)]);
}

#[test]
fn floats_without_a_number_are_texts() {
    check(
        Float64Array::from(vec![1.5, -0.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        &[json!(1.5), json!(-0.0), json!(1e300), json!("NaN"), json!("Infinity"), json!("-Infinity")],
    );
    let short = json_of(Arc::new(Float32Array::from(vec![0.1])));
    assert_eq!(short[0].to_string(), "0.1");
}

#[test]
fn decimals_times_and_bytes_are_texts() {
    let decimals = Decimal128Array::from(vec![12345, -5]).with_precision_and_scale(20, 3).unwrap();
    check(decimals, &[json!("12.345"), json!("-0.005")]);
    check(Date32Array::from(vec![0, -1]), &[json!("1970-01-01"), json!("1969-12-31")]);
    check(Time64MicrosecondArray::from(vec![3_661_000_001]), &[json!("01:01:01.000001")]);
    let stamps = TimestampMicrosecondArray::from(vec![1_704_164_645_678_901]);
    check(stamps.clone(), &[json!("2024-01-02T03:04:05.678901")]);
    check(stamps.with_timezone("UTC"), &[json!("2024-01-02T03:04:05.678901Z")]);
    check(BinaryArray::from(vec![&[0_u8, 255][..], &[]]), &[json!("\\x00ff"), json!("\\x")]);
    check(BooleanArray::from(vec![Some(true), None]), &[json!(true), json!(null)]);
    check(NullArray::new(1), &[json!(null)]);
    check(StringArray::from(vec!["\"\\\n\u{1}ä"]), &[json!("\"\\\n\u{1}ä")]);
}

#[test]
fn nested_values_are_arrays_and_objects() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    check(lists.slice(1, 2), &[json!(null), json!([])]);
    check(lists.clone(), &[json!([1, null]), json!(null), json!([])]);
    let fields = vec![
        (
            Arc::new(Field::new("a \"b\"", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![i64::MAX, 1])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("c", DataType::Float64, true)),
            Arc::new(Float64Array::from(vec![None, Some(2.0)])) as ArrayRef,
        ),
    ];
    check(
        StructArray::from(fields),
        &[json!({"a \"b\"": "9223372036854775807", "c": null}), json!({"a \"b\"": 1, "c": 2.0})],
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).unwrap();
    let map = json_of(Arc::new(map.finish()));
    assert_eq!(map[0].as_array().unwrap().len(), 1);
}

#[test]
fn an_answer_names_its_columns_and_types() {
    let batch = RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("n", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
    ])
    .unwrap();
    let encoder = JsonEncoder::new(batch.schema());
    let text = [encoder.begin("id-1").unwrap(), encoder.end(&json!({"ran_ms": 1.0}))].concat();
    let answer: Value = serde_json::from_slice(&text).unwrap();
    let schema = json!([{"name": "n", "type": "BIGINT"}, {"name": "n", "type": "VARCHAR"}]);
    let expected =
        json!({"query_id": "id-1", "schema": schema, "rows": [], "row_count": 0, "statistics": {"ran_ms": 1.0}});
    assert_eq!(answer, expected);
    let mut lines = Vec::new();
    let columns = [("n", Arc::clone(batch.column(0))), ("s", Arc::clone(batch.column(1)))];
    write_objects(&RecordBatch::try_from_iter(columns).unwrap(), &mut lines).unwrap();
    assert_eq!(lines, b"{\"n\":1,\"s\":\"x\"}\n");
}

#[test]
fn csv_quotes_and_flattens() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), None]);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("a,b", Arc::new(StringArray::from(vec![Some("x,\"y\""), None])) as ArrayRef, true),
        ("l", Arc::new(lists) as ArrayRef, true),
        ("b", Arc::new(BinaryArray::from(vec![Some(&[1_u8][..]), None])) as ArrayRef, true),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC")) as ArrayRef, true),
    ])
    .unwrap();
    let encoder = CsvEncoder::new(batch.schema());
    let text = [encoder.header().unwrap(), encoder.batch(&batch).unwrap()].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text, "\"a,b\",l,b,t\n\"x,\"\"y\"\"\",\"[1,2]\",\\x01,1970-01-01T00:00:00Z\n,,,\n");
}

#[test]
fn arrow_streams_have_an_end() {
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
    let mut encoder = ArrowEncoder::new(&batch.schema()).unwrap();
    let mut bytes = encoder.take().to_vec();
    bytes.extend(encoder.batch(&batch).unwrap());
    bytes.extend(encoder.end().unwrap());
    let read: Vec<_> = StreamReader::try_new(bytes.as_slice(), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [batch]);
}

#[test]
fn requests_are_read_or_refused() {
    let request = parse(Some("text/plain; charset=utf-8"), b"SELECT 1").unwrap();
    assert_eq!((request.sql.as_str(), request.format), ("SELECT 1", None));
    let body = br#"{"sql": "SELECT $1", "params": [1], "settings": {"max_rows": 5, "timezone": "UTC"}, "format": "csv",
        "timeout_ms": 100, "query_id": "q"}"#;
    let request = parse(Some("application/json"), body).unwrap();
    assert_eq!(request.format, Some(AnswerFormat::Csv));
    assert_eq!(request.settings, [("max_rows".into(), "5".into()), ("timezone".into(), "UTC".into())]);
    assert_eq!(request.options.timeout, Some(std::time::Duration::from_millis(100)));
    assert_eq!(request.parameters.unwrap().0.num_rows(), 1);
    for (content_type, body, status) in [
        (None, "SELECT 1", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Some("application/x-www-form-urlencoded"), "SELECT 1", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Some("text/plain"), "\u{0}", StatusCode::OK),
        (Some("application/json"), "SELECT 1", StatusCode::BAD_REQUEST),
        (Some("application/json"), "{}", StatusCode::BAD_REQUEST),
        (Some("application/json"), r#"{"sql": "x", "param": []}"#, StatusCode::BAD_REQUEST),
        (Some("application/json"), r#"{"sql": "x", "format": "xml"}"#, StatusCode::BAD_REQUEST),
        (Some("application/json"), r#"{"sql": "x", "settings": {"a": []}}"#, StatusCode::BAD_REQUEST),
    ] {
        let outcome = parse(content_type, body.as_bytes()).map_or_else(|problem| problem.status(), |_| StatusCode::OK);
        assert_eq!(outcome, status, "{content_type:?} {body}");
    }
    assert_eq!(parse(Some("text/plain"), &[0xff]).unwrap_err().status(), StatusCode::BAD_REQUEST);
}

#[test]
fn parameters_keep_their_types() {
    let body = json!({"sql": "x", "params": [null, true, -1, 7, u64::MAX, 1.5, "x\n\"ä\""]});
    let request = parse(Some("application/json"), body.to_string().as_bytes()).unwrap();
    let row = request.parameters.unwrap().0;
    let types: Vec<_> = row.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let expected = [
        DataType::Null,
        DataType::Boolean,
        DataType::Int64,
        DataType::Int64,
        DataType::UInt64,
        DataType::Float64,
        DataType::Utf8,
    ];
    assert_eq!(types, expected);
    assert_eq!(row.column(6).as_ref(), &StringArray::from(vec!["x\n\"ä\""]));
    assert!(parse(Some("application/json"), br#"{"sql": "x", "params": []}"#).unwrap().parameters.is_none());
}

#[test]
fn parameters_are_counted_before_anything_is_made_of_them() {
    let with = |params: &str| {
        parse(Some("application/json"), format!("{{\"sql\": \"x\", \"params\": [{params}]}}").as_bytes())
    };
    let zeros = |n: usize| vec!["0"; n].join(",");
    let row = with(&zeros(MAX_PARAMETERS)).unwrap().parameters.unwrap().0;
    assert_eq!((row.num_columns(), row.num_rows()), (MAX_PARAMETERS, 1));
    for (params, expected) in [
        (zeros(MAX_PARAMETERS + 1), "20001 parameters"),
        (zeros(1_000_000), "1000000 parameters"),
        (format!("1, [{}]", zeros(1_000_000)), "parameter 2"),
        (format!("{{\"a\": {{\"b\": [{}]}}}}", zeros(1_000_000)), "parameter 1"),
    ] {
        let problem = with(&params).unwrap_err();
        assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
        assert!(format!("{problem:?}").contains(expected), "{problem:?}");
    }
    for damaged in ["1,", "1 2", "[1", "nul"] {
        assert_eq!(with(damaged).unwrap_err().status(), StatusCode::BAD_REQUEST, "{damaged}");
    }
}

#[test]
fn the_accept_header_chooses() {
    for (accept, expected) in [
        (None, Some(AnswerFormat::Json)),
        (Some("*/*"), Some(AnswerFormat::Json)),
        (Some("text/csv"), Some(AnswerFormat::Csv)),
        (Some("text/html, application/vnd.apache.arrow.stream;q=0.9, */*;q=0.1"), Some(AnswerFormat::Arrow)),
        (Some("application/json;q=0, text/csv"), Some(AnswerFormat::Csv)),
        (Some("image/png"), None),
    ] {
        assert_eq!(AnswerFormat::accepted(accept), expected, "{accept:?}");
    }
}

/// Whether a request passes.
fn passes(rules: &Rules, method: &Method, host: Option<&str>, origin: Option<&str>) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in [(HOST, host), (ORIGIN, origin)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    rules.check(method, None, &headers).is_ok()
}

#[test]
fn only_pages_and_names_of_this_machine_pass() {
    let rules = Rules { auth_is_on: false, hosts: Hosts::Own(Vec::new()), schemes: &["http"] };
    for (host, origin, expected) in [
        (None, None, true),
        (Some("localhost:8080"), None, true),
        (Some("LOCALHOST"), None, true),
        (Some("127.0.0.1:8080"), None, true),
        (Some("[::1]:8080"), None, true),
        (Some("127.0.0.1:8080"), Some("http://127.0.0.1:8080"), true),
        (Some("evil.example"), None, false),
        (Some("127.0.0.1.evil.example"), None, false),
        (Some("localhost.evil.example:8080"), None, false),
        (Some("10.0.0.1"), None, false),
        (Some(""), None, false),
        (Some("127.0.0.1:8080"), Some("http://evil.example"), false),
        (Some("127.0.0.1:8080"), Some("http://127.0.0.1:9999"), false),
        (Some("127.0.0.1:8080"), Some("https://127.0.0.1:8080"), false),
        (Some("127.0.0.1:8080"), Some("null"), false),
    ] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(passes(&rules, &method, host, origin), expected, "{method} {host:?} {origin:?}");
        }
    }
    assert!(rules.check(&Method::GET, Some("evil.example"), &HeaderMap::new()).is_err());
}

#[test]
fn with_accounts_foreign_pages_may_change_nothing() {
    let rules = Rules { auth_is_on: true, hosts: Hosts::Any, schemes: &["https"] };
    for (host, origin, expected) in [
        ("db.example", None, true),
        ("db.example", Some("https://db.example"), true),
        ("DB.example:443", Some("https://db.example"), true),
        ("db.example:8080", Some("https://db.example:8080"), true),
        ("db.example:8080", Some("https://db.example"), false),
        ("db.example", Some("http://db.example"), false),
        ("db.example", Some("https://evil.example"), false),
        ("db.example", Some("null"), false),
        ("db.example", Some("https://"), false),
        ("db.example", Some(""), false),
    ] {
        let host = Some(host);
        assert_eq!(passes(&rules, &Method::POST, host, origin), expected, "{host:?} {origin:?}");
        assert!(passes(&rules, &Method::GET, host, origin), "{host:?} {origin:?}");
    }
}

#[test]
fn named_hosts_pass_and_no_others() {
    let hosts = Hosts::Own(vec!["db.example".to_owned()]);
    let rules = Rules { auth_is_on: true, hosts, schemes: &["https", "http"] };
    for (host, origin, expected) in [
        ("db.example", None, true),
        ("DB.example:8443", None, true),
        ("10.0.0.1:8080", None, true),
        ("evil.example", None, false),
        ("db.example.evil.example", None, false),
        // The proxy in front put its own name for the address into the request.
        ("10.0.0.1:8080", Some("https://db.example"), true),
        ("10.0.0.1:8080", Some("https://evil.example"), false),
    ] {
        assert_eq!(passes(&rules, &Method::POST, Some(host), origin), expected, "{host} {origin:?}");
    }
}

#[test]
fn what_may_come_in_follows_from_the_settings() {
    let rules = |settings: &[(&str, &str)], address: &str| {
        let flags = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::load(Sources { flags, env: Vec::new(), file: FileSource::None }).unwrap();
        Guard::new(&config, address.parse().unwrap())
    };
    let text = |guard: Guard| format!("{guard:?}");
    let near = text(rules(&[], "127.0.0.1:1"));
    assert!(near.contains("auth_is_on: false") && near.contains("Own([])") && near.contains("[\"http\"]"), "{near}");
    let near = text(rules(&[("auth", "on")], "127.0.0.1:1"));
    assert!(near.contains("auth_is_on: true") && near.contains("Own([])"), "{near}");
    let behind = [("auth", "on"), ("tls.behind_proxy", "true"), ("server.http", "0.0.0.0:1")];
    let far = text(rules(&behind, "0.0.0.0:1"));
    assert!(far.contains("Any") && far.contains("[\"https\", \"http\"]"), "{far}");
    let named = [&behind[..], &[("server.allowed_hosts", "a.example, B.example")]].concat();
    let far = text(rules(&named, "0.0.0.0:1"));
    assert!(far.contains("Own([\"a.example\", \"b.example\"])"), "{far}");
}
