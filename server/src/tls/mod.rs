//! With which certificate do both ports answer, and whose do they take? Read from PEM files, checked, and read again when they change.

mod clients;
mod pair;
mod reload;

#[cfg(test)]
pub(crate) mod tests;

pub use clients::ClientCertificates;
pub(crate) use clients::{ByCertificate, common_name, present};
pub use pair::{TlsFiles, Validity};
pub use reload::Tls;
pub(crate) use reload::{Acceptor, watch};

/// The application protocols (ALPN) of the gRPC port.
pub(crate) const GRPC_PROTOCOLS: &[&[u8]] = &[b"h2"];

/// Those of the HTTP port, the better one first.
pub(crate) const HTTP_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
