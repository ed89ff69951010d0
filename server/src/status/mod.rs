//! What does an error look like outside? The only map from error kinds to gRPC and HTTP.
//!
//! Outside there are a status code, one line of text and a few facts for programs. What lies behind an error (paths,
//! sources, backtraces) stays in the log of the server: it is written there when the error leaves, here.

mod details;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use tidewater_storage::limits::ROW_ERRORS_IN_ANSWER;
use tidewater_storage::{Code, Error, ErrorKind};
use tonic_types::pb;

/// The text of an error, percent-encoded as gRPC sends it; it stands in the details once more.
pub const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// The details of an error in base64, as gRPC sends them: proxies and clients refuse header lists beyond 8 KiB.
pub const MAX_DETAILS_BYTES: usize = 4 << 10;

/// One text in the body of an HTTP answer. No header bounds it; a hint that lists two thousand columns is of no use all the same.
const MAX_BODY_TEXT_BYTES: usize = 8 << 10;

/// `ErrorInfo.domain` of every error of ours.
pub const DOMAIN: &str = "tidewater";

/// The gRPC status of an error, with google.rpc details (ErrorInfo, RetryInfo, BadRequest) within
/// [`MAX_DETAILS_BYTES`] and a text within [`MAX_MESSAGE_BYTES`].
pub fn to_status(error: &Error) -> tonic::Status {
    to_status_as(error, grpc_code(error.kind()))
}

/// The same under another code, where a protocol asks for one. The details say it too: clients refuse a status whose details differ.
pub fn to_status_as(error: &Error, code: tonic::Code) -> tonic::Status {
    log(error);
    let message = details::one_line(&error.to_string(), MAX_MESSAGE_BYTES);
    let details = details::encode(error, code, &message);
    tonic::Status::with_details(code, message, details.into())
}

/// The same for clients of Flight SQL.
pub fn to_flight_status(error: &Error) -> tonic::Status {
    to_status_as(error, flight_code(error.code()))
}

/// The same as a message, for answers that carry a status of their own.
pub fn to_rpc(error: &Error) -> pb::Status {
    log(error);
    let message = details::one_line(&error.to_string(), MAX_MESSAGE_BYTES);
    details::build(error, grpc_code(error.kind()), message)
}

/// The gRPC code of a kind of error.
pub fn grpc_code(kind: ErrorKind) -> tonic::Code {
    match kind {
        ErrorKind::InvalidArgument => tonic::Code::InvalidArgument,
        ErrorKind::NotFound => tonic::Code::NotFound,
        ErrorKind::AlreadyExists => tonic::Code::AlreadyExists,
        ErrorKind::FailedPrecondition => tonic::Code::FailedPrecondition,
        ErrorKind::OutOfRange => tonic::Code::OutOfRange,
        ErrorKind::Aborted => tonic::Code::Aborted,
        ErrorKind::ResourceExhausted => tonic::Code::ResourceExhausted,
        ErrorKind::Unavailable => tonic::Code::Unavailable,
        ErrorKind::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        ErrorKind::Cancelled => tonic::Code::Cancelled,
        ErrorKind::DataLoss => tonic::Code::DataLoss,
        ErrorKind::Unsupported => tonic::Code::Unimplemented,
        ErrorKind::Unauthenticated => tonic::Code::Unauthenticated,
        ErrorKind::PermissionDenied => tonic::Code::PermissionDenied,
        ErrorKind::Internal => tonic::Code::Internal,
    }
}

/// The gRPC code of an error over Flight SQL. ADBC makes "unknown" of FAILED_PRECONDITION and "internal" of RESOURCE_EXHAUSTED: of statements
/// that are wrong as they stand its users are told so.
fn flight_code(code: Code) -> tonic::Code {
    match code {
        Code::SchemaMismatch | Code::NoSession | Code::ExpansionTooLarge => tonic::Code::InvalidArgument,
        other => grpc_code(other.kind()),
    }
}

/// The HTTP status code of an error. The kind decides; a few codes have a status of their own.
pub fn to_http(error: &Error) -> u16 {
    match error.code() {
        Code::BatchTooLarge | Code::StatementTooLarge | Code::StatementRowsTooLarge => return 413,
        Code::SchemaVersionMismatch => return 412,
        // The request is understood and would fail again as it is: not a matter of waiting, so not 429.
        Code::QueryMemory | Code::QuerySpill | Code::ResultTooLarge | Code::ExpansionTooLarge => return 422,
        Code::DiskFull => return 507,
        _ => {}
    }
    match error.kind() {
        ErrorKind::InvalidArgument => 400,
        ErrorKind::Unauthenticated => 401,
        ErrorKind::PermissionDenied => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::AlreadyExists | ErrorKind::FailedPrecondition | ErrorKind::OutOfRange | ErrorKind::Aborted => 409,
        ErrorKind::ResourceExhausted => 429,
        ErrorKind::Cancelled => 499,
        ErrorKind::DataLoss | ErrorKind::Internal => 500,
        ErrorKind::Unsupported => 501,
        ErrorKind::Unavailable => 503,
        ErrorKind::DeadlineExceeded => 504,
    }
}

/// The body of an `application/problem+json` answer (RFC 9457). `status` is that of [`to_http`], or a more exact one where the request
/// does not keep to HTTP. `retry_after` is what the `Retry-After` header says.
pub fn problem(error: &Error, status: u16) -> Value {
    log(error);
    let text = |text: &str| json!(details::one_line(text, MAX_BODY_TEXT_BYTES));
    let mut body = Map::new();
    body.insert("type".to_owned(), json!(format!("urn:tidewater:error:{}", error.code())));
    body.insert("title".to_owned(), json!(error.code().reason()));
    body.insert("status".to_owned(), json!(status));
    body.insert("detail".to_owned(), text(error.message()));
    body.insert("code".to_owned(), json!(error.code().to_string()));
    if let Some(hint) = error.hint_text() {
        body.insert("hint".to_owned(), text(hint));
    }
    if let Some(seconds) = retry_after_s(error) {
        body.insert("retry_after".to_owned(), json!(seconds));
    }
    if !error.rows().is_empty() {
        let short = |text: &str| details::one_line(text, MAX_MESSAGE_BYTES);
        let rows = error.rows().iter().take(ROW_ERRORS_IN_ANSWER).map(|fault| {
            let column = fault.column.as_deref().map(short);
            json!({"row": fault.row, "column": column, "code": fault.code, "message": short(&fault.message)})
        });
        body.insert("row_errors".to_owned(), rows.collect());
    }
    for (key, value) in error.metadata() {
        body.entry(*key).or_insert_with(|| text(value));
    }
    Value::Object(body)
}

/// After how many whole seconds a caller may try again, if that is known: rounded up, at least one.
pub fn retry_after_s(error: &Error) -> Option<u64> {
    let delay = error.retry_delay()?;
    Some((delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).max(1))
}

/// What the caller is not told. An error passes here once, on its way out; what the caller did wrong is no matter for the log.
pub(crate) fn log(error: &Error) {
    let (code, cause, facts) = (error.code(), error.cause(), error.metadata());
    metrics::counter!("tidewater_errors_total", "code" => code.reason()).increment(1);
    match error.kind() {
        // What a client claims: it may be wrong, or have met another folder.
        _ if code == Code::ProducerStateLost => tracing::warn!(%code, ?facts, "{}", error.message()),
        ErrorKind::DataLoss => tracing::error!(%code, ?cause, ?facts, "{}", error.message()),
        ErrorKind::Internal => {
            let why = cause.map(|cause| without_values(&format!("{cause:?}")));
            tracing::error!(%code, cause = why, ?facts, "{}", without_values(error.message()));
            tracing::debug!(%code, ?cause, "{}", error.message());
        }
        ErrorKind::Unavailable if cause.is_some() => tracing::warn!(%code, ?cause, ?facts, "{}", error.message()),
        _ => {}
    }
}

/// A text of a library without what stands in quotes, and without numbers: that may be a value of somebody's row, which no log above debug
/// shows. Digits of names, paths and ids stay.
fn without_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match quote {
            // An apostrophe within a word is none.
            None if c == '"' || (c == '\'' && !before.is_alphanumeric()) => {
                quote = Some(c);
                out.push(c);
                out.push('…');
            }
            None if c.is_ascii_digit() && !before.is_alphanumeric() && !"_/.:".contains(before) => {
                let mut number = String::from(c);
                while let Some(digit) = rest.next_if(|next| next.is_ascii_digit() || *next == '.') {
                    number.push(digit);
                }
                let is_name = rest.peek().is_some_and(|next| next.is_alphanumeric() || "_-:".contains(*next));
                out.push_str(if is_name { &number } else { "…" });
            }
            Some(open) if c == open && before != '\\' && !rest.peek().is_some_and(|next| next.is_alphanumeric()) => {
                quote = None;
                out.push(c);
            }
            Some(_) => {}
            None => out.push(c),
        }
        before = c;
    }
    out
}
