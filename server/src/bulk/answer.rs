//! What is the client told? JSON, with the first bad rows one by one.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::ROW_ERRORS_IN_ANSWER;
use tidewater_storage::{Code, Error, ReplayOutcome};

use super::store::Outcome;
use crate::http::Problem;
use crate::query_api::freshness::token_text;
use crate::status::problem;

/// The message of one row's error.
const MAX_ROW_MESSAGE_CHARS: usize = 500;

/// The answer to a body whose rows were stored, or tried.
pub(super) fn stored(def: &TableDef, outcome: &Outcome, dry_run: bool) -> Response {
    let errors: Vec<Value> = outcome
        .errors
        .iter()
        .take(ROW_ERRORS_IN_ANSWER)
        .map(|row| {
            let message: String = row.message.chars().take(MAX_ROW_MESSAGE_CHARS).collect();
            json!({"row": row.row, "column": row.column, "code": row.code.as_str(), "message": message})
        })
        .collect();
    let mut body = json!({
        "table": name(def),
        "received": outcome.received,
        "accepted": outcome.accepted,
        "duplicate": outcome.duplicates,
        "rejected": outcome.rejected,
        "repeated": outcome.repeated,
        "commit_token": outcome.token.as_ref().map(token_text),
        "rejected_truncated": outcome.rejected > errors.len() as u64,
        "errors": errors,
    });
    if dry_run {
        body["dry_run"] = json!(true);
    }
    json_answer(&body)
}

/// The answer to a body of which nothing was stored. Bad rows are listed as among those that are.
pub(super) fn refused(error: Error) -> Response {
    if error.code() != Code::BadRows {
        return Problem::from(error).into_response();
    }
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let mut body = problem(&error, status.as_u16());
    let errors = body["row_errors"].take();
    if let Some(body) = body.as_object_mut() {
        body.remove("row_errors");
        body.insert("errors".to_owned(), errors);
    }
    let mut response = (status, format!("{body}\n")).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// The answer to a replay.
pub(super) fn replayed(def: &TableDef, outcome: &ReplayOutcome) -> Response {
    json_answer(&json!({
        "table": name(def),
        "replayed": outcome.replayed,
        "duplicate": outcome.duplicates,
        "still_rejected": outcome.still_rejected,
        "commit_token": outcome.token.as_ref().map(token_text),
    }))
}

fn name(def: &TableDef) -> String {
    format!("{}.{}", def.schema_name, def.name)
}

fn json_answer(body: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], format!("{body}\n")).into_response()
}
