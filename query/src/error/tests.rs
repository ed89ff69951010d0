//! Does each error of the planner and of operators reach its code, however it is wrapped?

use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use tidewater_storage::{Code, Error};

use super::{from_datafusion, to_datafusion};

fn ours() -> Error {
    Error::new(Code::DiskFull, "no space").hint("make some").with("bytes", 7).retry_after(Duration::from_secs(3))
}

#[test]
fn our_errors_come_out_of_every_wrapping() {
    for wrapped in [
        to_datafusion(ours()),
        to_datafusion(ours()).context("while scanning"),
        DataFusionError::Shared(Arc::new(to_datafusion(ours()))),
        DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(ours()))), None),
        DataFusionError::External(Box::new(DataFusionError::Shared(Arc::new(to_datafusion(ours()))))),
        DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(to_datafusion(ours())))), None),
        DataFusionError::Collection(vec![to_datafusion(ours()), DataFusionError::Plan("x".into())]),
        DataFusionError::ArrowError(Box::new(std::io::Error::other(ours()).into()), None),
        DataFusionError::IoError(std::io::Error::other(to_datafusion(ours()))),
    ] {
        let out = from_datafusion(wrapped);
        assert_eq!((out.code(), out.message(), out.hint_text()), (Code::DiskFull, "no space", Some("make some")));
        assert_eq!(out.metadata(), [("bytes", "7".to_string())]);
        assert_eq!(out.retry_delay(), Some(Duration::from_secs(3)));
    }
}

#[test]
fn other_errors_have_their_codes() {
    let arrow = |error| DataFusionError::ArrowError(Box::new(error), None);
    for (error, code) in [
        (DataFusionError::Plan("table 'tidewater.public.x' not found".into()), Code::TableNotFound),
        (DataFusionError::Plan("failed to resolve schema: s".into()), Code::SchemaNotFound),
        (DataFusionError::Plan("Invalid function 'x'.\nDid you mean 'e'?".into()), Code::FunctionNotFound),
        (DataFusionError::Plan("table function 'x' not found".into()), Code::FunctionNotFound),
        (DataFusionError::Plan("something else".into()), Code::InvalidStatement),
        (DataFusionError::NotImplemented("PIVOT".into()), Code::UnsupportedStatement),
        (DataFusionError::Execution("bad input".into()), Code::QueryFailed),
        (arrow(ArrowError::DivideByZero), Code::QueryFailed),
        (arrow(ArrowError::CastError("'x' is no number".into())), Code::QueryFailed),
        (DataFusionError::ResourcesExhausted("Failed to allocate 5 bytes".into()), Code::QueryMemory),
        (DataFusionError::ResourcesExhausted("the used disk space during the spilling".into()), Code::QuerySpill),
        (
            arrow(std::io::Error::other("The used disk space during the spilling process has exceeded").into()),
            Code::QuerySpill,
        ),
        (arrow(std::io::Error::other("a broken pipe").into()), Code::QueryFailed),
        (DataFusionError::IoError(std::io::ErrorKind::StorageFull.into()), Code::QuerySpill),
        (DataFusionError::IoError(std::io::Error::other("a broken pipe")), Code::Internal),
        (DataFusionError::Internal("oh".into()), Code::Internal),
    ] {
        let text = error.to_string();
        assert_eq!(from_datafusion(error).code(), code, "{text}");
    }
}

#[test]
fn what_the_planner_complains_of_is_said_in_the_words_of_sql() {
    for (message, said) in [
        (
            "Internal error: Function 'sum' failed to match any signature, errors: Error during planning: Function 'sum' \
             requires Decimal, but received String (DataType: Utf8).,Error during planning: Function 'sum' requires \
             UInt64, but received String (DataType: Utf8).",
            "sum(VARCHAR) cannot be computed",
        ),
        (
            "Function 'upper' expects 1 arguments but received 2. No function matches the given name and argument types \
             'upper(Int64, Decimal128(10, 2))'. You might need to add explicit type casts.",
            "upper(BIGINT, DECIMAL(10,2)) cannot be computed",
        ),
        (
            "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"t.name\" \
             must appear in the GROUP BY clause or must be part of an aggregate function, currently only \"t.id\"",
            "the column 't.name' stands neither in GROUP BY nor in an aggregate function",
        ),
        (
            "Projections require unique expression names but the expression \"tidewater.public.t.x\" at position 1 and \
             \"tidewater.public.t.x\" at position 6 have the same name. Consider aliasing (\"AS\") one of them.",
            "column 'x' is specified more than once",
        ),
        (
            "Projections require unique expression names but the expression \"max(t.a) AS m\" at position 0 and \
             \"t.b AS m\" at position 1 have the same name. Consider aliasing (\"AS\") one of them.",
            "column 'm' is specified more than once",
        ),
        ("something else", "something else"),
    ] {
        let error = from_datafusion(DataFusionError::Plan(message.into()));
        assert_eq!((error.code(), error.message()), (Code::InvalidStatement, said));
    }
    for (name, hint) in [("uper", "did you mean 'upper'?"), ("no_such", "SHOW FUNCTIONS lists what there is")] {
        let error = DataFusionError::Plan(format!("Invalid function '{name}'.\nDid you mean 'upper'?"));
        let error = from_datafusion(error);
        assert_eq!(error.message(), format!("there is no function '{name}'"));
        assert_eq!(error.hint_text(), Some(hint));
    }
    for (message, said) in [
        ("Cannot cast string 'x' to value of Int64 type", "Cannot cast string 'x' to BIGINT"),
        ("Can't cast value 70000 to type Int16", "Can't cast value 70000 to SMALLINT"),
        ("something else", "something else"),
    ] {
        let error = from_datafusion(DataFusionError::ArrowError(Box::new(ArrowError::CastError(message.into())), None));
        assert_eq!((error.code(), error.message()), (Code::QueryFailed, said));
    }
}
