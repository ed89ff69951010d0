//! Who may ask, and how? The wiring of one Tidewater process: gRPC, Flight SQL and HTTP over storage and queries.

pub mod admin;
pub mod auth;
mod bulk;
pub mod call;
pub mod cli;
pub mod config;
mod connections;
mod console;
pub mod events;
pub mod flight_sql;
mod formats;
mod grpc;
pub mod http;
pub mod ingest;
mod lifecycle;
mod logging;
mod metrics;
pub mod query_api;
mod request_id;
pub mod sessions;
pub mod status;
pub mod tls;
pub mod version;

use std::sync::Arc;

use tidewater_query::QueryEngine;
use tidewater_storage::Engine;
use tokio_util::sync::CancellationToken;

pub use lifecycle::{Running, Server};
pub use version::VERSION;

/// What every handler gets. One a process.
pub struct App {
    pub storage: Arc<Engine>,
    pub query: Arc<QueryEngine>,
    pub auth: auth::Auth,
    pub limits: auth::Limits,
    /// What clients of Flight SQL come back to: sessions, prepared statements, planned queries.
    pub kept: Arc<flight_sql::Kept>,
    /// The certificate of both ports; `None`: they are plain.
    pub tls: Option<Arc<tls::Tls>>,
    /// Cancelled when the process begins to shut down: streams say goodbye, new work is refused.
    pub draining: CancellationToken,
}
