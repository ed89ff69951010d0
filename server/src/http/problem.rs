//! How is an error said over HTTP? As `application/problem+json` (RFC 9457), with the same codes as on every interface.

use std::any::Any;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tidewater_storage::{Code, Error};

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: Error,
}

impl Problem {
    /// A request that does not keep to HTTP as we speak it.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Error::new(Code::InvalidRequest, message) }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { error: self.error.hint(hint), ..self }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    fn body(&self) -> Value {
        let code = self.error.code();
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(format!("urn:tidewater:error:{code}")));
        body.insert("title".to_owned(), json!(code.reason()));
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.error.message()));
        body.insert("code".to_owned(), json!(code.to_string()));
        if let Some(hint) = self.error.hint_text() {
            body.insert("hint".to_owned(), json!(hint));
        }
        for (key, value) in self.error.metadata() {
            body.entry(*key).or_insert_with(|| json!(value));
        }
        Value::Object(body)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(crate::status::to_http(&error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(code = %self.error.code(), cause = ?self.error.cause(), "{}", self.error.message());
        }
        let mut response = (self.status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(delay) = self.error.retry_delay() {
            headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        response
    }
}

/// The answer of a handler that panicked. The message goes to the log only.
pub(super) fn of_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(message, "a request ended in a panic");
    Problem::from(Error::internal("the request met a fault in the server")).into_response()
}
