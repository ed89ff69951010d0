//! What does a browser, curl or a probe get? SQL over HTTP, health and metrics. `docs/http.md` is the contract.

pub mod encode;
mod guard;
mod health;
mod params;
mod problem;
mod request;
mod respond;
mod routes;
mod server;
mod setup;
mod sql;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware;
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub use guard::Guard;
pub use routes::{ROUTES, Route};
pub use server::serve;

use crate::App;
use crate::auth::note_place;
use crate::bulk::Spool;
use crate::call::Call;
use crate::request_id;
pub(crate) use problem::Problem;

/// The largest request body. A statement has 256 KiB at most, so the rest is parameters; what is larger is data, and comes in as such.
const MAX_BODY_BYTES: usize = 4 << 20;

/// A request body must have arrived after this time: who sends slower holds a connection for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers that are known to be shorter are sent as they are.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct HttpState {
    pub(crate) app: Arc<App>,
    metrics: PrometheusHandle,
    /// Request bodies that are too large for memory.
    pub(crate) spool: Arc<Spool>,
}

/// Who sends a request, which counts against their limits. Without access control, an admin.
pub(crate) async fn caller_of(state: &HttpState, headers: &HeaderMap) -> Result<Call, Problem> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let caller = state.app.auth.caller(authorization).await?;
    Ok(Call::by(&state.app, caller, None)?)
}

/// All routes. Every answer that is an error is `application/problem+json`.
pub fn router(app: Arc<App>, metrics: PrometheusHandle, guard: Guard) -> Router {
    let spool = Spool::new(&app.storage);
    let state = HttpState { app, metrics, spool };
    routes::router()
        .method_not_allowed_fallback(|method: Method| async move {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not possible here"))
                .hint("the header 'allow' of this answer says what is")
        })
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address").hint(routes::listed())
        })
        .layer(compression())
        .layer(middleware::from_fn(note_place))
        .layer(middleware::from_fn_with_state(guard, guard::watch))
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(middleware::from_fn_with_state(Arc::clone(&state.app), request_id::label))
        .with_state(state)
}

/// Answers are compressed for clients that say they can read that. As fast as possible: who is near sends faster than anybody compresses.
fn compression() -> CompressionLayer<impl Predicate> {
    let worth_it = SizeAbove::new(MIN_COMPRESSED_BYTES).and(NotForContentType::IMAGES).and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it)
}
