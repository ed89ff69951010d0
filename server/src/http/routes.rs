//! Which addresses are there? One table: the router is built from it, and the test of who may call what reads it.

use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};

use super::{HttpState, health, setup, sql};
use crate::{bulk, console};

/// An address that answers.
pub struct Route {
    /// The method, in capitals. A route of GET answers HEAD too.
    pub method: &'static str,
    /// The path as axum writes it: `{name}` stands for one part.
    pub path: &'static str,
    handler: fn() -> MethodRouter<HttpState>,
}

/// All addresses, in the order in which they are told to somebody who is lost.
pub const ROUTES: &[Route] = &[
    Route { method: "POST", path: "/api/v1/sql", handler: || post(sql::run) },
    Route { method: "POST", path: "/api/v1/ingest/{table}", handler: || post(bulk::ingest) },
    Route { method: "POST", path: "/api/v1/rejected/{table}/replay", handler: || post(bulk::replay) },
    Route { method: "GET", path: "/", handler: || get(console::page) },
    Route { method: "GET", path: "/console.css", handler: || get(console::style) },
    Route { method: "GET", path: "/console.js", handler: || get(console::script) },
    Route { method: "GET", path: "/favicon.svg", handler: || get(console::icon) },
    Route { method: "POST", path: "/api/v1/session", handler: || post(console::begin) },
    Route { method: "DELETE", path: "/api/v1/session", handler: || delete(console::end) },
    Route { method: "GET", path: "/setup", handler: || get(setup::page) },
    Route { method: "POST", path: "/api/v1/setup", handler: || post(setup::first_user) },
    Route { method: "GET", path: "/healthz", handler: || get(health::live) },
    Route { method: "GET", path: "/readyz", handler: || get(health::ready) },
    Route { method: "GET", path: "/metrics", handler: || get(health::metrics) },
];

/// A router with all addresses and nothing else.
pub(super) fn router() -> Router<HttpState> {
    ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
}

/// All addresses in one sentence.
pub(super) fn listed() -> String {
    let routes: Vec<String> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    format!("the addresses are {}", routes.join(", "))
}
