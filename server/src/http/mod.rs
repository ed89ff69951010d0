//! What does a browser, curl or a probe get? SQL over HTTP, health and metrics. `docs/http.md` is the contract.

pub mod encode;
mod guard;
mod health;
mod params;
mod problem;
mod request;
mod respond;
mod server;
mod sql;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::middleware;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;

pub use server::serve;

use crate::App;
use problem::Problem;

/// The largest request body. A statement has 256 KiB at most, so the rest is parameters; what is larger is data, and comes in as such.
const MAX_BODY_BYTES: usize = 4 << 20;

/// A request body must have arrived after this time: who sends slower holds a connection for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct HttpState {
    app: Arc<App>,
    metrics: PrometheusHandle,
}

/// All routes. Every answer that is an error is `application/problem+json`.
pub fn router(app: Arc<App>, metrics: PrometheusHandle) -> Router {
    let state = HttpState { app, metrics };
    Router::new()
        .route("/api/v1/sql", post(sql::run))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(|method: Method| async move {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not possible here"))
        })
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address")
                .hint("the addresses are POST /api/v1/sql, GET /healthz, GET /readyz and GET /metrics")
        })
        .layer(middleware::from_fn(guard::only_this_machine))
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .with_state(state)
}
