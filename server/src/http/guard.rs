//! Does this request come from somebody's own programs and pages? A foreign web page must not reach the server through its
//! visitor's browser, and a page of ours must not be used by another.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::config::Config;

/// Pages load what this server has, and nobody shows them inside of others.
const PAGE_HEADERS: [(&str, &str); 3] = [
    (
        "content-security-policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
];

/// Which requests may come in.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Rules>);

#[derive(Debug)]
pub(super) struct Rules {
    /// Callers prove who they are.
    pub auth_is_on: bool,
    pub hosts: Hosts,
    /// Of our own pages.
    pub schemes: &'static [&'static str],
}

/// The host names that requests may use.
#[derive(Debug)]
pub(super) enum Hosts {
    Any,
    /// Those of this machine, and these.
    Own(Vec<String>),
}

impl Guard {
    /// What `config` allows on the port at `address`.
    pub fn new(config: &Config, address: SocketAddr) -> Self {
        let is_near = address.ip().is_loopback() && !config.behind_proxy;
        // Where callers prove who they are, a name that leads here by a trick gains nothing; on loopback there are no others.
        let is_any = config.auth_is_on && config.allowed_hosts.is_empty() && !is_near;
        Self::of(Rules {
            auth_is_on: config.auth_is_on,
            hosts: if is_any { Hosts::Any } else { Hosts::Own(config.allowed_hosts.clone()) },
            schemes: match (config.behind_proxy, config.tls.is_some()) {
                (true, _) => &["https", "http"],
                (false, true) => &["https"],
                (false, false) => &["http"],
            },
        })
    }

    pub(super) fn of(rules: Rules) -> Self {
        Self(Arc::new(rules))
    }
}

/// Refuses what a foreign page sends, and says to browsers what they may do with answers.
///
/// Without accounts, loopback is the only protection, and a browser is on loopback too: a page of another site can send requests
/// to us by name tricks (DNS rebinding: then `Host` is its own name) or across origins (then `Origin` is). With accounts a browser
/// sends the password that it remembers, also for a page of another site.
pub(super) async fn watch(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(Authority::as_str);
    let mut response = match guard.0.check(request.method(), authority, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    let is_page = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    if is_page {
        for (name, value) in PAGE_HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    response
}

impl Rules {
    /// `authority` is that of the request line, as HTTP/2 sends it.
    pub(super) fn check(&self, method: &Method, authority: Option<&str>, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let host = authority.map(str::to_owned).or_else(|| headers.get(HOST).map(text));
        if let Some(host) = &host
            && !self.is_own(host)
        {
            return Err(refused(format!("the host name '{}' is not one of this server", shorten(host)))
                .hint("use the address http://127.0.0.1:PORT or http://localhost:PORT, or add the name to server.allowed_hosts"));
        }
        // Reading changes nothing, and a browser does not show the answer to a foreign page.
        let is_harmless = self.auth_is_on && matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if let Some(origin) = headers.get(ORIGIN).map(text).filter(|_| !is_harmless)
            && !self.is_own_page(&origin, host.as_deref())
        {
            return Err(refused(format!("a page of '{}' may not send requests here", shorten(&origin))).hint(
                "behind a proxy, let it pass on the header Host, or add the page's host to server.allowed_hosts",
            ));
        }
        Ok(())
    }

    fn is_own(&self, host: &str) -> bool {
        let Hosts::Own(names) = &self.hosts else { return true };
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let address = address(&authority);
        // No name server is asked for an address, so none can be deceived about it.
        let by_address = address.is_some_and(|address| self.auth_is_on || address.is_loopback());
        by_address || authority.host().eq_ignore_ascii_case("localhost") || is_among(names, &authority)
    }

    /// A page that came from the host that the request goes to, or from one that was named.
    fn is_own_page(&self, origin: &str, host: Option<&str>) -> bool {
        let Some((scheme, page)) = origin.split_once("://") else { return false };
        let (Ok(page), true) = (page.parse::<Authority>(), self.schemes.contains(&scheme)) else { return false };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let is_same = host
            .and_then(|host| host.parse::<Authority>().ok())
            .is_some_and(|host| host.host().eq_ignore_ascii_case(page.host()) && port(&host) == port(&page));
        is_same || matches!(&self.hosts, Hosts::Own(names) if is_among(names, &page))
    }
}

fn is_among(names: &[String], authority: &Authority) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(authority.host()))
}

fn address(authority: &Authority) -> Option<IpAddr> {
    let name = authority.host();
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse().ok()
}

fn refused(message: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, message)
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
