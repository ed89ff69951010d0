//! When must a call be answered? By its `grpc-timeout`, counted from when its headers came; then it ends with `DEADLINE_EXCEEDED`.
//!
//! tonic counts as well and would say `CANCELLED`, which is what a client whose own clock is a little late then sees. Here the time begins
//! before tonic's does, and is looked at first: when a call begins, and whenever the two timers, of which this one is set first, have
//! ended. Only where both end between the moments in which they are set, within microseconds, does tonic's answer stand.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use crate::call::{deadline_passed, parse_timeout};
use crate::status::to_status;

#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

/// To be called before the transport looks at the time.
pub(super) fn note<B>(request: &mut axum::http::Request<B>) {
    if let Some(deadline) = of(request.headers()) {
        request.extensions_mut().insert(Deadline(deadline));
    }
}

fn of(headers: &HeaderMap) -> Option<Instant> {
    let timeout = headers.get("grpc-timeout")?.to_str().ok().and_then(parse_timeout)?;
    Instant::now().checked_add(timeout)
}

/// Answers in place of a handler that has not begun to. What comes behind the headers of an answer looks at the time itself.
pub(super) async fn keep(request: Request, next: Next) -> Response {
    let Some(&Deadline(deadline)) = request.extensions().get() else {
        return next.run(request).await;
    };
    // No timer knows yet: tonic's would be the first that is looked at when it is over.
    if Instant::now() >= deadline {
        return to_status(&deadline_passed()).into_http();
    }
    match tokio::time::timeout_at(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => to_status(&deadline_passed()).into_http(),
    }
}
