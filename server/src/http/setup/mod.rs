//! How is the first user made in a browser? A page that stands by itself, and the request that it sends.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tidewater_storage::{Code, Error};

use super::problem::Problem;
use super::{BODY_TIMEOUT, HttpState};
use crate::auth::{Auth, Secret};

const PAGE: &str = include_str!("page.html");

/// It is shown nowhere else, asks nobody else, and tells nobody where its visitor came from: the code is in its address.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A code, a name and a password.
const MAX_BODY_BYTES: usize = 16 << 10;

/// `GET /setup`: the form, as long as there is no user.
pub(super) async fn page(State(state): State<HttpState>) -> Response {
    if state.app.auth.setup_code().is_none() {
        return nothing_to_set_up(&state).into_response();
    }
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstUser {
    code: String,
    name: String,
    password: String,
}

/// `POST /api/v1/setup`: makes the first user, an admin of everything. The code is the proof.
pub(super) async fn first_user(
    State(state): State<HttpState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Auth::On(keeper) = &state.app.auth else { return Err(nothing_to_set_up(&state)) };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.trim().to_ascii_lowercase().starts_with("application/json") {
        // Pages of other sites can send everything else.
        return Err(
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request is not application/json").hint(EXPECTED)
        );
    }
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large, or broke off"));
        }
        Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time")),
    };
    let FirstUser { code, name, password } = serde_json::from_slice(&body).map_err(|reason| {
        // Where it is wrong, not what stands there: it may be the password.
        let place = format!("the request is not as expected at line {}, column {}", reason.line(), reason.column());
        Problem::new(StatusCode::BAD_REQUEST, place).hint(EXPECTED)
    })?;
    keeper.set_up(&Secret::new(code), name.clone(), Secret::new(password)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "name": name }))).into_response())
}

const EXPECTED: &str = "send {\"code\": \"…\", \"name\": \"…\", \"password\": \"…\"} as application/json";

fn nothing_to_set_up(state: &HttpState) -> Problem {
    match state.app.auth.is_on() {
        true => Error::new(Code::UserExists, "there is a user already: nothing is left to set up")
            .hint("an administrator makes further users: tidewater user create")
            .into(),
        false => Problem::new(StatusCode::CONFLICT, "nothing is to be set up while auth is off")
            .hint("start the server with auth = 'on'"),
    }
}
