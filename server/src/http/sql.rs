//! How is a statement run over HTTP? Authenticate, build a session, ask the query engine, convert.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tidewater_query::{Interface, PlannedKind};
use tidewater_storage::{Code, Error};

use super::problem::Problem;
use super::request::{AnswerFormat, parse};
use super::{BODY_TIMEOUT, HttpState, MAX_BODY_BYTES, caller_of, respond};
use crate::query_api::freshness;

/// `POST /api/v1/sql`
pub(super) async fn run(State(state): State<HttpState>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let app = &state.app;
    if app.draining.is_cancelled() {
        return Err(Error::new(Code::ShuttingDown, "the server is shutting down").into());
    }
    let header = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let call = caller_of(&state, &headers).await?;
    let body = read(body).await?;
    let mut request = parse(header(CONTENT_TYPE), &body)?;
    let wanted = headers.get_all(freshness::MIN_COMMIT).iter();
    request.options.min_commit.extend(freshness::min_commit(wanted.map(|value| value.to_str().unwrap_or("?")))?);
    let format = request.format.or_else(|| AnswerFormat::accepted(header(ACCEPT))).ok_or_else(|| {
        Problem::new(StatusCode::NOT_ACCEPTABLE, "none of the types in Accept can be answered")
            .hint("use application/json, text/csv or application/vnd.apache.arrow.stream")
    })?;

    let session = call.session(app, Interface::Http);
    for (name, value) in &request.settings {
        app.query.set(&session, name, Some(value))?;
    }
    let running = call.limiter.query()?;
    let planned = app.query.plan(&session, &request.sql, request.parameters, request.options).await?;
    match planned.kind {
        PlannedKind::Update(outcome) => respond::update(&planned.query_id, &outcome),
        PlannedKind::Rows { pending, .. } => respond::rows(pending.start().await?, format, running).await,
    }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body broke off or is larger than {MAX_BODY_BYTES} bytes"),
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the request body had not arrived after {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}
