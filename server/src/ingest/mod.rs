//! How do producers hand over rows? The gRPC service `tidewater.ingest.v1.Ingest`.
//!
//! ```text
//! service ── request (what is asked, of which table) ── payload (which rows) ── ipc/ (Arrow, checked)
//!    └── stream/      many batches under way: decoded side by side, submitted and answered in order
//! decoding            when and where a payload is decoded
//! answer              what the client is told
//! ```

mod service;

mod answer;
mod payload;
mod request;

mod stream;

pub(crate) mod decoding;
pub mod ipc;

pub(crate) use answer::schema_message;
pub(crate) use payload::{Rows, one_batch, text_declared};
pub(crate) use request::{Target, find_table};

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use tidewater_proto::ingest::v1::ingest_server::IngestServer;

pub use service::IngestService;

use crate::App;

/// What the transport takes. More than a batch may hold, so that the clean `BATCH_TOO_LARGE` wins.
pub(crate) const MAX_DECODING_BYTES: usize = 64 << 20;

/// The ingest service of a process.
pub fn service(app: Arc<App>) -> IngestServer<IngestService> {
    IngestServer::new(IngestService::new(app)).max_decoding_message_size(MAX_DECODING_BYTES)
}
