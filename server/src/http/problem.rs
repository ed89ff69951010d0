//! How is an error said over HTTP? As `application/problem+json` (RFC 9457), with the same codes as on every interface.

use std::any::Any;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tidewater_storage::{Code, Error};

use crate::status::{problem, retry_after_s, to_http};

/// An error answer.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    error: Error,
}

impl Problem {
    /// A request that does not keep to HTTP as we speak it.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Error::new(Code::InvalidRequest, message) }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { error: self.error.hint(hint), ..self }
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(to_http(&error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = problem(&self.error, self.status.as_u16());
        let mut response = (self.status, format!("{body}\n")).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            for scheme in ["Basic realm=\"tidewater\", charset=\"UTF-8\"", "Bearer realm=\"tidewater\""] {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        if let Some(seconds) = retry_after_s(&self.error) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The answer of a handler that panicked. What it said goes to nobody: the process's panic hook logs it at debug.
pub(super) fn of_panic(_panic: Box<dyn Any + Send + 'static>) -> Response {
    Problem::from(Error::internal("the request met a fault in the server")).into_response()
}
