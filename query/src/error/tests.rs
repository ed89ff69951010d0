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
