//! Which request is this? Every answer, over HTTP and gRPC, names it in `x-request-id`, and so does what is logged while it is worked on.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::App;

const HEADER: &str = "x-request-id";

/// A UUID has 36, an id of a proxy's trace hardly more.
const MAX_BYTES: usize = 128;

/// Gives a request the id that its sender or a proxy gave it, else a new one.
pub(crate) async fn label(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| app.storage.env().rng.uuid().to_string());
    // As important as the worst that is logged in it: a filter on levels must not take the id away.
    let span = tracing::error_span!("request", request_id = id.as_str());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, id);
    }
    response
}

/// An id that can stand in a log without being taken for something else.
fn given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(HEADER)?.to_str().ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=".contains(c);
    ((1..=MAX_BYTES).contains(&id.len()) && id.chars().all(is_plain)).then(|| id.to_owned())
}
