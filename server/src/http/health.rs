//! Does the process live, can it work, and how is it doing? For probes and Prometheus.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tidewater_query::TablePattern;
use tidewater_storage::{Code, Error};

use super::problem::Problem;
use super::{HttpState, caller_of};
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
    if let Some(fault) = app.tls.as_ref().and_then(|tls| tls.fault(app.storage.env().clock.now_us())) {
        reasons.push(fault);
    }
    if let Some(error) = app.storage.ingest_blocked() {
        reasons.push(match app.auth.is_on() {
            // Anybody may ask here, and an error may name a folder.
            true => format!("ingest: {} ({})", error.code().reason(), error.code()),
            false => format!("ingest: {error}"),
        });
    }
    for table in app.storage.tables() {
        let stats = table.stats();
        if !stats.healthy {
            let def = table.def();
            let reason = stats.health_reason.as_deref().unwrap_or("not healthy");
            reasons.push(match app.auth.is_on() {
                // Anybody may ask here, and not everybody may know which tables there are.
                true => "a table is not healthy: system.tables says which".to_owned(),
                false => format!("table {}.{}: {reason}", def.schema_name, def.name),
            });
        }
    }
    reasons.iter_mut().for_each(|reason| *reason = reason.replace('\n', " "));
    reasons
}

/// The Prometheus text format, version 0.0.4. With access control for those who have a role on every table.
pub(super) async fn metrics(State(state): State<HttpState>, headers: HeaderMap) -> Result<Response, Problem> {
    let principal = caller_of(&state, &headers).await?.principal;
    // They name tables, and say how much is in them.
    if !principal.grants.iter().any(|grant| grant.tables == TablePattern::All) {
        return Err(Error::new(Code::PermissionDenied, format!("'{}' may not read the metrics", principal.name))
            .hint("that takes a role on every table (*): a token of a reader will do")
            .into());
    }
    let text = crate::metrics::render(&state.metrics, &state.app.storage, &state.app.kept);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
