//! Which requests are answered? Thin handlers: authenticate, read what is asked, take the body, call storage, convert.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use tidewater_query::{Role, instant_us};
use tidewater_storage::ReplayOptions;

use super::options::{Given, Options, table_ref};
use super::store::Load;
use super::{answer, body};
use crate::call::shutting_down;
use crate::http::{HttpState, Problem, caller_of};
use crate::ingest::{Target, find_table};

/// `POST /api/v1/ingest/{table}`
pub(crate) async fn ingest(
    State(state): State<HttpState>,
    Path(table): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let app = &state.app;
    if app.draining.is_cancelled() {
        return Err(shutting_down().into());
    }
    let call = caller_of(&state, &headers).await?;
    // Who may not write is told nothing else.
    find_table(app, Some(&table_ref(&table)?), &call.principal, Role::Writer, "write to")?;
    let options = Arc::new(Options::read(&table, &uri, &headers)?);
    let target = Target::of_write(app, &options.request, &call.principal)?;
    // Who would be refused behind the last byte is told before the first one is asked for.
    if let Some(blocked) = app.storage.ingest_blocked() {
        return Err(blocked.into());
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let received = body::receive(&state, &call.limiter, body, declared).await?;
    let (def, dry_run) = (target.table.def(), options.dry_run);
    let spool = Arc::clone(&state.spool);
    let load = Load { app: Arc::clone(app), spool, options, target, call };
    Ok(match load.run(received).await {
        Ok(outcome) => answer::stored(&def, &outcome, dry_run),
        Err(error) => answer::refused(error),
    })
}

/// `POST /api/v1/rejected/{table}/replay`
pub(crate) async fn replay(
    State(state): State<HttpState>,
    Path(table): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let app = &state.app;
    if app.draining.is_cancelled() {
        return Err(shutting_down().into());
    }
    let principal = caller_of(&state, &headers).await?.principal;
    let table = find_table(app, Some(&table_ref(&table)?), &principal, Role::Writer, "write to")?;
    let mut given = Given::read(&uri, &["producer", "since", "time_zone", "ignore_unknown_columns"])?;
    let time_zone = given.take("time_zone");
    let zone = time_zone.as_deref().unwrap_or("UTC");
    let since_us = given.take("since").map(|since| instant_us(&since, zone)).transpose()?;
    let options = ReplayOptions {
        principal: principal.name,
        producer: given.take("producer"),
        since_us,
        time_zone,
        ignore_unknown_columns: given.flag("ignore_unknown_columns")?,
    };
    let outcome = table.replay_rejected(options).await?;
    Ok(answer::replayed(&table.def(), &outcome))
}
