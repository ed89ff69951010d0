//! Does every error look right outside, and never too large?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidewater_storage::{Code, Error, RowFault};
use tonic_types::StatusExt;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;

fn huge() -> Error {
    let rows = (0..100).map(|row| RowFault {
        row,
        column: Some("näme".repeat(60)),
        code: "TYPE_MISMATCH",
        message: "\u{1f300}\n".repeat(5_000),
    });
    let mut error = Error::new(Code::BadRows, "§ many\nlines\r\n".repeat(2_000)).hint("\u{0}".repeat(3_000));
    for _ in 0..50 {
        error = error.with("fact", "€".repeat(2_000));
    }
    error.with_rows(rows.collect()).retry_after(Duration::from_millis(1_500))
}

#[test]
fn a_status_carries_reason_code_facts_and_delay() {
    let error = Error::new(Code::SequenceGap, "batch 9 follows 6")
        .hint("send 7")
        .with("last_sequence", 6)
        .retry_after(Duration::from_millis(250));
    let status = to_status(&error);
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    assert_eq!(status.message(), "batch 9 follows 6; send 7 (TW-1206)");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("SEQUENCE_GAP", "tidewater"));
    assert_eq!(info.metadata["last_sequence"], "6");
    assert_eq!(info.metadata["code"], "TW-1206");
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_millis(250)));
}

/// <https://arrow.apache.org/adbc/current/driver/flight_sql.html>: what ADBC makes of other codes says nothing to its users.
#[test]
fn over_flight_sql_a_wrong_statement_is_told_as_one() {
    for code in [Code::SchemaMismatch, Code::NoSession, Code::ExpansionTooLarge, Code::BadRows] {
        let status = to_flight_status(&Error::new(code, "it is wrong").hint("mend it"));
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{code}");
        assert_eq!(status.get_details_error_info().expect("an ErrorInfo").reason, code.reason());
        assert_eq!(status.message(), format!("it is wrong; mend it ({code})"));
    }
    for code in [Code::TicketConsumed, Code::QueryMemory, Code::StreamOvertaken, Code::UnsupportedStatement] {
        assert_eq!(to_flight_status(&Error::new(code, "")).code(), grpc_code(code.kind()), "{code}");
    }
}

#[test]
fn rows_become_field_violations() {
    let row = RowFault { row: 17, column: Some("id".into()), code: "NULL_VIOLATION", message: "is NULL".into() };
    let whole = RowFault { row: 18, column: None, code: "MALFORMED", message: "not JSON".into() };
    let status = to_status(&Error::new(Code::BadRows, "2 bad rows").with_rows(vec![row, whole]));
    let bad = status.get_details_bad_request().unwrap();
    let fields: Vec<_> = bad.field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["rows[17].id", "rows[18]"]);
}

#[test]
fn nothing_outgrows_its_limits() {
    let status = to_status(&huge());
    let mut headers = axum::http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    assert!(headers["grpc-message"].len() <= MAX_MESSAGE_BYTES, "{}", headers["grpc-message"].len());
    assert!(headers["grpc-status-details-bin"].len() <= MAX_DETAILS_BYTES);
    assert!(!status.message().contains(['\n', '\r', '\0']));
    assert_eq!(status.get_details_error_info().unwrap().reason, "BAD_ROWS");
    assert!(status.get_details_retry_info().is_some());
    let body = problem(&huge(), 400);
    assert!(body.to_string().len() < 256 << 10, "{}", body.to_string().len());
    assert!(!body["detail"].as_str().unwrap().contains(['\n', '\r', '\0']));
}

#[test]
fn a_problem_has_rows_facts_and_delay() {
    let row = RowFault { row: 17, column: Some("id".into()), code: "NULL_VIOLATION", message: "is\nNULL".into() };
    let whole = RowFault { row: 18, column: None, code: "MALFORMED", message: "not JSON".into() };
    let error = Error::new(Code::BadRows, "2 bad rows")
        .hint("mend them")
        .with("column", "id")
        .with("status", "a name that is taken")
        .with_rows(vec![row, whole])
        .retry_after(Duration::from_millis(1_500));
    let expected = json!({
        "type": "urn:tidewater:error:TW-1204",
        "title": "BAD_ROWS",
        "status": 400,
        "detail": "2 bad rows",
        "code": "TW-1204",
        "hint": "mend them",
        "retry_after": 2,
        "column": "id",
        "row_errors": [
            {"row": 17, "column": "id", "code": "NULL_VIOLATION", "message": "is NULL"},
            {"row": 18, "column": null, "code": "MALFORMED", "message": "not JSON"},
        ],
    });
    assert_eq!(problem(&error, to_http(&error)), expected);
}

#[test]
fn a_delay_is_rounded_up() {
    let check = |millis, expected| {
        let error = Error::new(Code::MemoryPressure, "x").retry_after(Duration::from_millis(millis));
        assert_eq!(retry_after_s(&error), Some(expected), "{millis} ms");
    };
    check(0, 1);
    check(250, 1);
    check(1_000, 1);
    check(1_001, 2);
    assert_eq!(retry_after_s(&Error::new(Code::MemoryPressure, "x")), None);
}

/// Counts what this thread logs at the usual level.
struct Count(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        assert!(event.metadata().target().starts_with("tidewater_server::status"));
        if *event.metadata().level() <= tracing::Level::INFO {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn what_lies_behind_an_error_is_logged_once() {
    let ways_out: [fn(&Error); 3] = [|e| drop(to_status(e)), |e| drop(to_rpc(e)), |e| drop(problem(e, 500))];
    let check = |error: Error, expected| {
        for leave in ways_out {
            let logged = Arc::new(AtomicUsize::new(0));
            let subscriber = tracing_subscriber::registry().with(Count(Arc::clone(&logged)));
            tracing::subscriber::with_default(subscriber, || leave(&error));
            assert_eq!(logged.load(Ordering::Relaxed), expected, "{error}");
        }
    };
    let cause = || std::io::Error::other("the disk is gone");
    check(Error::internal("x"), 1);
    check(Error::new(Code::LogDamaged, "x"), 1);
    check(Error::new(Code::LogUnavailable, "x").source(cause()), 1);
    check(Error::new(Code::ShuttingDown, "x"), 0);
    check(Error::new(Code::BadRows, "x").source(cause()), 0);
}

#[test]
fn every_code_has_a_grpc_and_an_http_status() {
    for code in Code::ALL {
        let error = Error::new(*code, "x");
        assert_ne!(to_status(&error).code(), tonic::Code::Ok);
        assert_ne!(to_status(&error).code(), tonic::Code::Unknown);
        let status = to_http(&error);
        assert!((400..600).contains(&status), "{code}");
        let body = problem(&error, status);
        assert_eq!(body["code"], code.to_string());
        assert_eq!(body["title"], code.reason());
    }
}

#[test]
fn http_statuses() {
    let check = |code, expected| assert_eq!(to_http(&Error::new(code, "x")), expected, "{code}");
    check(Code::SyntaxError, 400);
    check(Code::Unauthenticated, 401);
    check(Code::PermissionDenied, 403);
    check(Code::TableNotFound, 404);
    check(Code::TableExists, 409);
    check(Code::SequenceGap, 409);
    check(Code::PredecessorFailed, 409);
    check(Code::SchemaVersionMismatch, 412);
    check(Code::BatchTooLarge, 413);
    check(Code::ResultTooLarge, 422);
    check(Code::MemoryPressure, 429);
    check(Code::QueryCancelled, 499);
    check(Code::LogDamaged, 500);
    check(Code::UnsupportedStatement, 501);
    check(Code::ShuttingDown, 503);
    check(Code::QueryDeadline, 504);
    check(Code::DiskFull, 507);
}

#[test]
fn a_text_is_cut_at_a_character() {
    assert_eq!(details::one_line("short", 10), "short");
    assert_eq!(details::one_line("a\tb", 10), "a b");
    assert_eq!(details::one_line("aaaaaaaaaaaa", 10), "aaaaaaa...");
    assert_eq!(details::one_line("ääää", 12), "ä...");
}

#[test]
fn what_may_be_a_value_stays_out_of_the_log() {
    for (text, shown) in [
        ("Cannot cast string 'a secret' to Int64", "Cannot cast string '…' to Int64"),
        ("ParserError(\"it is \\\"a secret\\\"\")", "ParserError(\"…\")"),
        ("the table's keys, and 'it''s a secret'", "the table's keys, and '…''…'"),
        ("an end is missing: 'a secret", "an end is missing: '…"),
        ("the literal b\"a secret\" of Int64(471147), -17.5", "the literal b\"…\" of Int64(…), -…"),
        ("/log/000123.sst:12, column c3, entry 0af1-4713-9b", "/log/000123.sst:12, column c3, entry 0af1-4713-9b"),
        ("nothing", "nothing"),
    ] {
        assert_eq!(super::without_values(text), shown);
    }
}
