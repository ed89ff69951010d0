//! Does the process live, can it work, and how is it doing? For probes and Prometheus.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::HttpState;
use crate::App;

/// 200 as long as the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// 200 when ingest and queries work, else 503 with one reason a line.
pub(super) async fn ready(State(state): State<HttpState>) -> Response {
    let reasons = reasons(&state.app);
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
}

fn reasons(app: &App) -> Vec<String> {
    let mut reasons = Vec::new();
    if app.draining.is_cancelled() {
        reasons.push("shutting down".to_owned());
        return reasons;
    }
    if let Some(error) = app.storage.ingest_blocked() {
        reasons.push(format!("ingest: {error}"));
    }
    for table in app.storage.tables() {
        let stats = table.stats();
        if !stats.healthy {
            let def = table.def();
            let reason = stats.health_reason.as_deref().unwrap_or("not healthy");
            reasons.push(format!("table {}.{}: {reason}", def.schema_name, def.name));
        }
    }
    reasons.iter_mut().for_each(|reason| *reason = reason.replace('\n', " "));
    reasons
}

/// The Prometheus text format, version 0.0.4.
pub(super) async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    let text = crate::metrics::render(&state.metrics, &state.app.storage);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
