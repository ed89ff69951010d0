//! Which client certificates are taken, and whose are they? Those of an authority that is trusted; their common name is a user's.
//!
//! TLS has verified the certificate by the time its name is read. The request then carries a bearer for that user, unless it brings an
//! `Authorization` header of its own, so that everything behind knows callers of one kind only.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tidewater_storage::Result;

use super::pair::{bad, read};
use crate::App;
use crate::call::FLIGHT_TOKEN;
use crate::connections::Peer;

const CA: &str = "tls.client_ca";

/// Whose certificates clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file of the authorities.
    pub ca: PathBuf,
    /// A connection without a certificate is refused.
    pub required: bool,
}

/// Among a request's extensions: its `Authorization` header is not the client's, but stands for the certificate of its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByCertificate;

/// The content of the file of the authorities. `INVALID_CONFIG` if it cannot be read.
pub(super) fn authorities(clients: &ClientCertificates) -> Result<Vec<u8>> {
    read(CA, &clients.ca)
}

/// What looks at the certificates of clients, given the content of the file. `INVALID_CONFIG` if it holds no authority.
pub(super) fn verifier(clients: &ClientCertificates, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>> {
    const HINT: &str = "write the certificates of the authorities that issue those of clients in PEM there";
    let shown = clients.ca.display();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| bad(format!("{CA} {shown} is not whole PEM"), HINT))?;
        roots
            .add(certificate)
            .map_err(|reason| bad(format!("{CA} {shown} has a certificate that cannot be used: {reason}"), HINT))?;
    }
    if roots.is_empty() {
        return Err(bad(format!("{CA} {shown} has no certificate in it"), HINT));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|reason| bad(format!("{CA} {shown} cannot be used: {reason}"), HINT))
}

/// The common name of a certificate that was verified; `None` if it has none, or more than one.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate.as_ref()).ok()?;
    let names: Vec<_> = certificate.subject().iter_common_name().collect();
    match names.as_slice() {
        [name] => name.as_str().ok().map(str::to_owned),
        _ => None,
    }
}

/// Lets a request that brings no header of its own speak for the user that its connection's certificate names.
pub(crate) async fn present(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_silent = !headers.contains_key(AUTHORIZATION) && !headers.contains_key(FLIGHT_TOKEN);
    let name = request.extensions().get::<Peer>().and_then(Peer::certificate_name).filter(|_| is_silent);
    let header = name.and_then(|name| app.auth.of_certificate(&app.storage, name));
    if let Some(header) = header
        && let Ok(mut value) = HeaderValue::from_str(header.expose())
    {
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        request.extensions_mut().insert(ByCertificate);
    }
    next.run(request).await
}
