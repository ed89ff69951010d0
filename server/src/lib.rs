//! Who may ask, and how? The wiring of one Tidewater process: gRPC, Flight SQL and HTTP over storage and queries.

pub mod auth;
pub mod call;
pub mod cli;
pub mod config;
mod connections;
pub mod events;
pub mod flight_sql;
mod grpc;
pub mod http;
pub mod ingest;
mod lifecycle;
mod metrics;
pub mod query_api;
pub mod status;

use std::sync::Arc;

use tidewater_query::QueryEngine;
use tidewater_storage::Engine;
use tokio_util::sync::CancellationToken;

pub use lifecycle::{Running, Server};

/// What every handler gets. One a process.
pub struct App {
    pub storage: Arc<Engine>,
    pub query: Arc<QueryEngine>,
    pub auth: auth::Auth,
    /// Cancelled when the process begins to shut down: streams say goodbye, new work is refused.
    pub draining: CancellationToken,
}
