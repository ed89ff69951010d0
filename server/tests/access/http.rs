//! Every HTTP route, as the router has them.

use futures::FutureExt;
use tidewater_server::http::ROUTES;
use tonic::Status;

use super::world::{Caller, World};
use super::{Least, Row};

/// `METHOD /path` of all of them.
pub fn there() -> Vec<String> {
    ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect()
}

fn row(of: &'static str, least: Least, call: super::Call) -> Row {
    Row { of, least, call }
}

async fn sql(world: &World, caller: &Caller, statement: &str) -> Result<(), Status> {
    world.http(caller, ("POST", "/api/v1/sql"), "application/sql", statement).await.map(drop)
}

async fn get(world: &World, caller: &Caller, path: &str) -> Result<(), Status> {
    world.http(caller, ("GET", path), "text/plain", "").await.map(drop)
}

/// There is a user already, whoever asks: that is an answer too.
fn answered(outcome: Result<String, Status>) -> Result<(), Status> {
    match outcome {
        Err(status) if status.message().ends_with("(TW-1421)") => Ok(()),
        outcome => outcome.map(drop),
    }
}

pub fn rows() -> Vec<Row> {
    vec![
        row("POST /api/v1/sql", Least::Anyone, |world, caller| sql(world, caller, "SELECT 1").boxed()),
        row("POST /api/v1/sql", Least::Reader, |world, caller| sql(world, caller, "SELECT * FROM shop.orders").boxed()),
        row("POST /api/v1/sql", Least::Writer, |world, caller| {
            sql(world, caller, "INSERT INTO shop.orders VALUES (3)").boxed()
        }),
        row("POST /api/v1/ingest/{table}", Least::Writer, |world, caller| {
            async move {
                let path = "/api/v1/ingest/shop.orders";
                world.http(caller, ("POST", path), "application/x-ndjson", "{\"id\": 4}\n").await.map(drop)
            }
            .boxed()
        }),
        row("POST /api/v1/rejected/{table}/replay", Least::Writer, |world, caller| {
            async move {
                let path = "/api/v1/rejected/shop.orders/replay";
                world.http(caller, ("POST", path), "application/json", "{}").await.map(drop)
            }
            .boxed()
        }),
        row("GET /", Least::Open, |world, caller| get(world, caller, "/").boxed()),
        row("GET /console.css", Least::Open, |world, caller| get(world, caller, "/console.css").boxed()),
        row("GET /console.js", Least::Open, |world, caller| get(world, caller, "/console.js").boxed()),
        row("GET /favicon.svg", Least::Open, |world, caller| get(world, caller, "/favicon.svg").boxed()),
        row("POST /api/v1/session", Least::Anyone, |world, caller| {
            async move { world.http(caller, ("POST", "/api/v1/session"), "text/plain", "").await.map(drop) }.boxed()
        }),
        row("DELETE /api/v1/session", Least::Anyone, |world, caller| {
            async move { world.http(caller, ("DELETE", "/api/v1/session"), "text/plain", "").await.map(drop) }.boxed()
        }),
        row("GET /setup", Least::Open, |world, caller| {
            async move { answered(world.http(caller, ("GET", "/setup"), "text/plain", "").await) }.boxed()
        }),
        row("POST /api/v1/setup", Least::Open, |world, caller| {
            async move {
                let body = r#"{"code": "guessed", "name": "second", "password": "long enough"}"#;
                answered(world.http(caller, ("POST", "/api/v1/setup"), "application/json", body).await)
            }
            .boxed()
        }),
        row("GET /healthz", Least::Open, |world, caller| get(world, caller, "/healthz").boxed()),
        row("GET /readyz", Least::Open, |world, caller| get(world, caller, "/readyz").boxed()),
        // A role on every table.
        row("GET /metrics", Least::Root, |world, caller| get(world, caller, "/metrics").boxed()),
    ]
}
