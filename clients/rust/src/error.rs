//! What went wrong, and is it worth trying again? One error for all calls.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use tidewater_proto::ingest::v1 as pb;
use tonic::{Code, Status};
use tonic_types::{FieldViolation, RpcStatusExt, StatusExt};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Reasons that this library gives itself; all others come from the server and are listed in its documentation.
pub mod reason {
    /// The connection could not be made, or broke.
    pub const TRANSPORT: &str = "TRANSPORT";
    /// The server did not keep to the protocol.
    pub const PROTOCOL: &str = "PROTOCOL";
    /// An argument cannot be sent: bad address, rows that cannot be encoded, a number out of order.
    pub const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";
    /// The answer ended early.
    pub const INCOMPLETE: &str = "INCOMPLETE";
    /// The producer was closed or dropped, or it gave up before this batch.
    pub const PRODUCER_STOPPED: &str = "PRODUCER_STOPPED";
}

/// An error from the server, or from the way there. Cheap to clone.
#[derive(Clone, thiserror::Error)]
#[error("{0}")]
pub struct Error(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    reason: String,
    message: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
    row_errors: Vec<RowError>,
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Its place in the batch as sent, from 0.
    pub row: u64,
    /// `None` when the whole row is meant.
    pub column: Option<String>,
    /// Such as `NULL_VIOLATION`, `TYPE_MISMATCH`, `FUTURE_TIME`.
    pub code: String,
    pub message: String,
}

impl Error {
    pub(crate) fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            metadata: HashMap::new(),
            retry_after: None,
            row_errors: Vec::new(),
        }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, reason::INVALID_ARGUMENT, message)
    }

    /// The server answered what it must not answer. Another connection may do better, so this can be tried again.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, reason::PROTOCOL, message)
    }

    pub(crate) fn transport(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, reason::TRANSPORT, message)
    }

    pub(crate) fn with_message(&self, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { message: message.into(), ..(*self.0).clone() }))
    }

    /// The refusal of one batch on a stream; `None` when it was taken.
    pub(crate) fn of_batch(result: &pb::BatchResult) -> Option<Self> {
        let status = result.status.as_ref().filter(|status| status.code != Code::Ok as i32)?;
        let info = status.get_details_error_info();
        Some(Self(Arc::new(Inner {
            code: Code::from_i32(status.code),
            reason: info.as_ref().map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message.clone(),
            metadata: info.map(|info| info.metadata).unwrap_or_default(),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
            row_errors: result.row_errors.iter().cloned().map(RowError::from).collect(),
        })))
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The stable name of what went wrong, such as `SEQUENCE_GAP`; empty if the server gave none.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// A fact for programs, such as `last_sequence` of a `SEQUENCE_GAP`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    /// How long the server asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The first bad rows of a batch that was refused for them.
    pub fn row_errors(&self) -> &[RowError] {
        &self.0.row_errors
    }

    /// The same request may succeed later: the server is away, busy or over a limit, or the connection broke.
    ///
    /// Whether sending a *write* again is safe is another question: it is with a producer or an idempotency key.
    pub fn is_retryable(&self) -> bool {
        match self.0.code {
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => true,
            // A limit that no waiting changes is answered INVALID_ARGUMENT; but a table that may hold no further producer
            // or key stays full until somebody acts, unless the server says when keys will have moved to disk.
            Code::ResourceExhausted => match self.reason() {
                "TOO_MANY_PRODUCERS" | "TOO_MANY_TABLES" => false,
                "DEDUP_BUDGET" => self.retry_after().is_some(),
                _ => true,
            },
            // The table was altered while the rows were on their way. Another version than the one that was asked for is
            // named, and does not come back.
            Code::FailedPrecondition => {
                self.reason() == "SCHEMA_VERSION_MISMATCH" && self.metadata("schema_version").is_none()
            }
            // HTTP/2 resets arrive under these codes, without a reason of ours.
            Code::Cancelled | Code::Unknown | Code::Internal => self.reason().is_empty(),
            _ => false,
        }
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "{:?}: {}", self.code, self.message),
            reason => write!(f, "{reason}: {}", self.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let info = status.get_details_error_info();
        let rows = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
        Self(Arc::new(Inner {
            code: status.code(),
            reason: info.as_ref().map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
            metadata: info.map(|info| info.metadata).unwrap_or_default(),
            row_errors: rows.into_iter().filter_map(row_error).collect(),
        }))
    }
}

/// Reads the field `rows[17].column`, the form in which a refused unary write names its rows.
fn row_error(violation: FieldViolation) -> Option<RowError> {
    let (row, rest) = violation.field.strip_prefix("rows[")?.split_once(']')?;
    Some(RowError {
        row: row.parse().ok()?,
        column: rest.strip_prefix('.').filter(|column| !column.is_empty()).map(str::to_owned),
        code: violation.reason,
        message: violation.description,
    })
}

impl From<pb::RowError> for RowError {
    fn from(error: pb::RowError) -> Self {
        let column = Some(error.column).filter(|column| !column.is_empty());
        Self { row: error.row, column, code: error.code, message: error.message }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Self::protocol(format!("the server sent Arrow data that cannot be read: {error}"))
    }
}

impl From<arrow_flight::error::FlightError> for Error {
    fn from(error: arrow_flight::error::FlightError) -> Self {
        match error {
            arrow_flight::error::FlightError::Tonic(status) => (*status).into(),
            other => Self::protocol(format!("the server sent Flight data that cannot be read: {other}")),
        }
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Some errors say what their cause says, word for word.
            if !message.ends_with(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self::transport(message)
    }
}
