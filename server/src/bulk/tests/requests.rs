//! Is each parameter and header known or refused?

use axum::http::StatusCode;

use super::{csv, options};
use crate::bulk::coding::Coding;
use crate::bulk::options::{Format, table_ref};

const NDJSON: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

#[test]
fn formats_are_told_by_the_header_or_the_parameter() {
    for (query, content_type, expected) in [
        ("", "application/x-ndjson", Format::Ndjson),
        ("", "application/jsonl; charset=utf-8", Format::Ndjson),
        ("", "Application/JSON", Format::Json),
        ("", "text/csv; header=present", Format::Csv),
        ("", "application/vnd.apache.parquet", Format::Parquet),
        ("", "application/vnd.apache.arrow.stream", Format::Arrow),
        ("format=csv", "application/x-www-form-urlencoded", Format::Csv),
        ("format=parquet", "", Format::Parquet),
    ] {
        let read = options(query, &[("content-type", content_type)]).expect("understood");
        assert_eq!(read.format, expected, "{query} {content_type}");
    }
    let codings =
        [("gzip", Coding::Gzip), ("zstd", Coding::Zstd), ("identity", Coding::Identity), ("GZIP", Coding::Gzip)];
    for (coding, expected) in codings {
        let read = options("", &[NDJSON[0], ("content-encoding", coding)]).expect("understood");
        assert_eq!(read.coding, expected);
    }
}

#[test]
fn csv_forms() {
    let plain = csv("").csv;
    assert_eq!((plain.delimiter, plain.null), (b',', None));
    let other = csv("delimiter=%3B&null=%5CN").csv;
    assert_eq!((other.delimiter, other.null.as_deref()), (b';', Some("\\N")));
    assert_eq!(csv("delimiter=tab").csv.delimiter, b'\t');
    let tabs = options("", &[("content-type", "text/tab-separated-values")]).expect("understood");
    assert_eq!(tabs.csv.delimiter, b'\t');
}

#[test]
fn what_is_asked_for_is_asked_of_storage() {
    let headers = [NDJSON[0], ("idempotency-key", "k-1")];
    let query = "on_error=abort&time_zone=Europe/Berlin&expected_schema=3&ignore_unknown_columns=true&durability=fsync&dry_run=true";
    let read = options(query, &headers).expect("understood");
    assert!(read.aborts && read.dry_run && read.ignores_unknown_columns());
    let stage = read.stage_options("me");
    assert_eq!(stage.idempotency_key.map(|key| key.0).as_deref(), Some("k-1"));
    assert_eq!((stage.time_zone.as_deref(), stage.expected_schema), (Some("Europe/Berlin"), Some(3)));
    let read = options("producer=p&epoch=2&sequence=7", &NDJSON).expect("understood");
    let producer = read.request.producer.expect("a producer");
    assert_eq!((producer.id.as_str(), producer.epoch, read.request.sequence), ("p", 2, 7));
}

#[test]
fn what_is_not_known_is_refused_with_what_is_near() {
    let check = |query: &str, headers: &[(&'static str, &str)], status: StatusCode, expected: &str| {
        let problem = options(query, headers).expect_err(query);
        assert_eq!(problem.status(), status, "{query}: {problem:?}");
        assert!(format!("{problem:?}").contains(expected), "{query}: {problem:?}");
    };
    let (bad, unsupported) = (StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    check("on_eror=keep", &NDJSON, bad, "did you mean 'on_error'?");
    check("on_error=ignore", &NDJSON, bad, "use keep or abort");
    check("report=rows", &NDJSON, bad, "'report' is not known");
    check("dry_run=1", &NDJSON, bad, "neither true nor false");
    check("dry_run=true&dry_run=true", &NDJSON, bad, "stands twice");
    check("producer=p", &NDJSON, bad, "without a sequence");
    check("sequence=1", &NDJSON, bad, "without a producer");
    check("epoch=1", &NDJSON, bad, "without a producer");
    check("producer=p&sequence=x", &NDJSON, bad, "is not a number");
    check("delimiter=;", &NDJSON, bad, "for CSV only");
    check("format=csv&delimiter=ab", &[], bad, "is not one character");
    check("format=xml", &[], bad, "format=xml");
    check("", &[], unsupported, "no Content-Type");
    check("", &[("content-type", "text/html")], unsupported, "text/html");
    check("", &[("content-type", "text/csv; charset=latin1")], unsupported, "not UTF-8");
    check("", &[NDJSON[0], ("content-encoding", "br")], unsupported, "'br'");
    check("", &[NDJSON[0], ("idempotency-key", "")], bad, "has 0 bytes");
    check("producer=p&sequence=1", &[NDJSON[0], ("idempotency-key", "k")], bad, "a producer and");
}

#[test]
fn names_of_tables() {
    let parts = |name: &str| table_ref(name).map(|table| (table.catalog, table.schema, table.table)).ok();
    let of = |catalog: &str, schema: &str, table: &str| Some((catalog.to_owned(), schema.to_owned(), table.to_owned()));
    assert_eq!(parts("t"), of("", "", "t"));
    assert_eq!(parts("s.t"), of("", "s", "t"));
    assert_eq!(parts("tidewater.s.t"), of("tidewater", "s", "t"));
    assert_eq!(parts("\"a.b\".\"c\"\"d\""), of("", "a.b", "c\"d"));
    for bad in ["", ".", "s.", "a.b.c.d", "\"t"] {
        assert_eq!(parts(bad), None, "{bad}");
    }
}
