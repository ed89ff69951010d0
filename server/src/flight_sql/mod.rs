//! How do Flight SQL clients (ADBC, JDBC, ODBC, Grafana) ask? Our own `FlightService` over the query engine.
//!
//! ```text
//! service ── call (who asks, until when) ── command (what is asked)
//!    ├── statement ── tickets          plan now, fetch once; DDL and DML run exactly once
//!    ├── prepared                      handles, parameters
//!    ├── ingest ── incoming            bulk append: one atomic write
//!    ├── metadata/                     catalogs, tables, types, SqlInfo
//!    └── actions                       prepare, close, cancel
//! results leave through encode: every message is bounded by its encoded size
//! ```

mod service;

mod call;
mod command;

mod prepared;
mod statement;
mod tickets;

mod incoming;
mod ingest;

mod actions;
pub(crate) mod encode;
mod metadata;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;

pub(crate) use command::CATALOG;
pub use service::{FlightSql, Kept};

use crate::App;

/// One message of a client: ADBC sends whole batches of up to 16 MiB, others more.
pub(crate) const MAX_DECODING_BYTES: usize = 64 << 20;

/// The Flight SQL service of a process. Call it inside a Tokio runtime: it starts the task that forgets old handles.
pub fn service(app: Arc<App>) -> FlightServiceServer<FlightSql> {
    FlightServiceServer::new(FlightSql::start(app)).max_decoding_message_size(MAX_DECODING_BYTES)
}
