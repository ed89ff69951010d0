//! What does a browser see at `/`? The files of `server/console`, which are in the binary, and the session of who looks at them.

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::auth::Secret;
use crate::http::{HttpState, Problem, caller_of};
use crate::version;

/// The page loads its own files, asks its own server, and nobody shows it inside of theirs. No script and no style stands in the page
/// itself, and no text can be made markup: what a table holds cannot become a program.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Those of every file. A browser asks each time whether it has the newest, since the names never change.
const HEADERS: [(&str, &str); 5] = [
    ("cache-control", "no-cache"),
    ("content-security-policy", POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// One file of the console.
struct File {
    content_type: &'static str,
    text: &'static str,
    /// Made with the first request.
    tag: OnceLock<String>,
}

static PAGE: File = File::new("text/html; charset=utf-8", include_str!("../../console/index.html"));
static STYLE: File = File::new("text/css; charset=utf-8", include_str!("../../console/console.css"));
static SCRIPT: File = File::new("text/javascript; charset=utf-8", include_str!("../../console/console.js"));
static ICON: File = File::new("image/svg+xml", include_str!("../../console/favicon.svg"));

/// `GET /`
pub(crate) async fn page(headers: HeaderMap) -> Response {
    PAGE.answer(&headers)
}

/// `GET /console.css`
pub(crate) async fn style(headers: HeaderMap) -> Response {
    STYLE.answer(&headers)
}

/// `GET /console.js`
pub(crate) async fn script(headers: HeaderMap) -> Response {
    SCRIPT.answer(&headers)
}

/// `GET /favicon.svg`
pub(crate) async fn icon(headers: HeaderMap) -> Response {
    ICON.answer(&headers)
}

impl File {
    const fn new(content_type: &'static str, text: &'static str) -> Self {
        Self { content_type, text, tag: OnceLock::new() }
    }

    /// Weak, because the bytes that are sent may be compressed.
    fn tag(&'static self) -> &'static str {
        self.tag.get_or_init(|| {
            let hash: [u8; 32] = Sha256::digest(self.text.as_bytes()).into();
            let digits: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("W/\"{digits}\"")
        })
    }

    /// The file, or that the caller has it already.
    fn answer(&'static self, headers: &HeaderMap) -> Response {
        let tag = [(ETAG, self.tag())];
        if headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known, self.tag())) {
            return (StatusCode::NOT_MODIFIED, tag, HEADERS).into_response();
        }
        (tag, [(CONTENT_TYPE, self.content_type)], HEADERS, self.text).into_response()
    }
}

/// Whether a list of tags has this one. Weak and strong ones are the same here (RFC 9110, 13.1.2).
fn names(known: &HeaderValue, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let is_it = |known: &str| known.trim() == "*" || bare(known) == bare(tag);
    known.to_str().is_ok_and(|known| known.split(',').any(is_it))
}

/// `POST /api/v1/session`: who sends this, and with which rights. With access control also the bearer to go on with, so that a page need
/// not keep a password: for a password a new session, for a bearer or a token itself.
pub(crate) async fn begin(State(state): State<HttpState>, headers: HeaderMap) -> Result<Response, Problem> {
    let principal = caller_of(&state, &headers).await?.principal;
    let auth = &state.app.auth;
    let token = match auth.is_on() {
        true => Some(auth.session(authorization(&headers)).await?),
        false => None,
    };
    let body = json!({
        "access": if auth.is_on() { "on" } else { "off" },
        "user": principal.name,
        "admin": principal.is_admin(),
        "version": version::VERSION,
        "token": token.as_ref().map(Secret::expose),
    });
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// `DELETE /api/v1/session`: the bearer of a session is of no use any more. A token stays what it is.
pub(crate) async fn end(State(state): State<HttpState>, headers: HeaderMap) -> Result<StatusCode, Problem> {
    caller_of(&state, &headers).await?;
    state.app.auth.end_session(authorization(&headers));
    Ok(StatusCode::NO_CONTENT)
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok())
}
