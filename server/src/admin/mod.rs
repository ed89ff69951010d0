//! Who may ask, said over gRPC: users and tokens are made, changed and listed.
//!
//! ```text
//! service ── users, tokens (who may do what, and what comes of it) ── convert (words of the protocol)
//! ```

mod service;

mod tokens;
mod users;

mod convert;

use std::sync::Arc;

use tidewater_proto::admin::v1::admin_server::AdminServer;

pub use service::AdminService;

use crate::App;

/// A request names a user and some grants.
pub(crate) const MAX_DECODING_BYTES: usize = 1 << 20;

/// The admin service of a process.
pub fn service(app: Arc<App>) -> AdminServer<AdminService> {
    AdminServer::new(AdminService::new(app)).max_decoding_message_size(MAX_DECODING_BYTES)
}
