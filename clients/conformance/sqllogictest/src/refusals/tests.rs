//! Does an error count only where it is a mistake, or stands in the list for what was asked?

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Refusals, Refused};

fn status(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "tidewater", HashMap::<String, String>::new());
    Status::with_error_details(code, message, details)
}

fn listed() -> Refusals {
    let text = "[[refusal]]\nreason = 'UNSUPPORTED_STATEMENT'\nsql = '(?i)^\\s*UPDATE'\nmessage = 'UPDATE'\nnote = 'no UPDATE'\n";
    toml::from_str(text).expect("a list")
}

#[test]
fn what_is_unsupported_counts_only_as_it_is_listed() {
    let unsupported = status(Code::Unimplemented, "UNSUPPORTED_STATEMENT", "UPDATE is not supported");
    let by_design = Some(Refused::ByDesign("no UPDATE".into()));
    assert_eq!(listed().of(&unsupported, "update t set a = 1", Some("a is NULL")), by_design);
    assert_eq!(listed().of(&unsupported, "SELECT a FROM t", Some("a is NULL")), None);
    assert_eq!(Refusals::default().of(&unsupported, "update t set a = 1", None), None);
    let other = status(Code::Unimplemented, "UNSUPPORTED_STATEMENT", "this is not implemented");
    assert_eq!(listed().of(&other, "update t set a = 1", None), None);
}

#[test]
fn no_code_of_grpc_is_enough() {
    for (code, reason) in [
        (Code::ResourceExhausted, "QUERY_MEMORY"),
        (Code::ResourceExhausted, "QUERY_QUEUE_FULL"),
        (Code::Unimplemented, "UNSUPPORTED_REQUEST"),
        (Code::Internal, "INTERNAL"),
        (Code::InvalidArgument, "INVALID_REQUEST"),
    ] {
        assert_eq!(listed().of(&status(code, reason, "UPDATE"), "UPDATE t SET a = 1", None), None, "{reason}");
    }
    assert_eq!(listed().of(&Status::invalid_argument("no details"), "SELECT 1", None), None);
}

#[test]
fn a_missing_table_is_what_a_file_of_other_errors_does_not_mean() {
    let missing = status(Code::NotFound, "TABLE_NOT_FOUND", "table 'public.t' not found");
    assert_eq!(listed().of(&missing, "SELECT * FROM t", Some("Divide by zero")), None);
    for expected in [Some("table 't' not found"), Some("t does not exist"), None] {
        assert_eq!(listed().of(&missing, "SELECT * FROM t", expected), Some(Refused::Mistake), "{expected:?}");
    }
    let zero = status(Code::InvalidArgument, "QUERY_FAILED", "division by zero");
    assert_eq!(listed().of(&zero, "SELECT 1 / 0", Some("Divide by zero")), Some(Refused::Mistake));
}
