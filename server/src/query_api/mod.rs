//! How does a program ask without Flight SQL? The gRPC service `tidewater.query.v1.Query`.

mod service;

mod execute;
mod params;
mod progress;

mod answer;
pub(crate) mod freshness;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tidewater_proto::query::v1::query_server::QueryServer;

pub(crate) use params::{MAX_PARAMETERS, too_many_parameters};
pub use service::QueryService;

use crate::App;

/// What the transport takes: a statement, of 256 KiB at most, and its parameters. Each value takes more in memory than on the wire, before
/// anybody can look at it, and what is larger is data: it comes in through the ingest service.
pub(crate) const MAX_DECODING_BYTES: usize = 4 << 20;

/// The query service of a process.
pub fn service(app: Arc<App>) -> QueryServer<QueryService> {
    QueryServer::new(QueryService::new(app)).max_decoding_message_size(MAX_DECODING_BYTES)
}
