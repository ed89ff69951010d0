//! Does this request come from this machine's own programs and pages? A foreign web page must not reach the server through
//! its visitor's browser.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Without accounts, loopback is the only protection, and a browser is on loopback too. A page of another site can send
/// requests to us by name tricks (DNS rebinding: then `Host` is its own name) or across origins (then `Origin` is).
pub(super) async fn only_this_machine(request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(Authority::as_str);
    match check(authority, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// `authority` is that of the request line, as HTTP/2 sends it.
pub(super) fn check(authority: Option<&str>, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |message: String| {
        Err(Problem::new(StatusCode::FORBIDDEN, message)
            .hint("use the address http://127.0.0.1:PORT or http://localhost:PORT"))
    };
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let host = authority.map(str::to_owned).or_else(|| headers.get(HOST).map(text));
    if let Some(host) = &host
        && !is_loopback(host)
    {
        return refused(format!("the host name '{}' is not this machine", shorten(host)));
    }
    if let Some(origin) = headers.get(ORIGIN).map(text) {
        let own = origin.strip_prefix("http://").is_some_and(|origin| Some(origin) == host.as_deref());
        if !own {
            return refused(format!("a page of '{}' may not send requests here", shorten(&origin)));
        }
    }
    Ok(())
}

/// Names that always are this machine: no name server is asked for them.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
