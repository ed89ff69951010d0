//! Do certificate and key belong together, and until when do they hold? PEM files, checked before anything uses them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use sha2::{Digest, Sha256};
use tidewater_storage::{Code, Error, Result};

/// Far more than a chain of certificates takes.
const MAX_FILE_BYTES: u64 = 1 << 20;

const CERT: &str = "tls.cert";
const KEY: &str = "tls.key";

/// Where the server's certificate and its key are, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's own certificate first, then those that lead from it to its root.
    pub cert: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// From when until when a certificate holds, in seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before_s: u64,
    pub not_after_s: u64,
}

impl Validity {
    /// The end as people and programs read it, in UTC.
    pub fn end(&self) -> String {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.not_after_s)).to_string()
    }
}

/// The content of both files at one time.
pub(super) struct Content {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate with the key that fits it.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub key: Arc<CertifiedKey>,
    /// `None` if the certificate says it in a way that cannot be read.
    pub validity: Option<Validity>,
}

impl Content {
    /// `INVALID_CONFIG` if one of them cannot be read.
    pub fn read(files: &TlsFiles) -> Result<Self> {
        Ok(Self { cert: read(CERT, &files.cert)?, key: read(KEY, &files.key)? })
    }

    /// Of both files, and of the authorities of clients, to know them again.
    pub fn digest(&self, authorities: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for file in [self.cert.as_slice(), self.key.as_slice(), authorities] {
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(file);
        }
        hash.finalize().into()
    }

    /// `INVALID_CONFIG` if they are no certificate and the key that fits it. An expired certificate is one all the same.
    pub fn pair(&self, files: &TlsFiles) -> Result<Pair> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = chain(&files.cert, &self.cert)?;
        let leaf = chain.first().cloned();
        let key = private_key(&files.key, &self.key)?;
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|reason| unfit(files, &reason))?;
        let validity = leaf.and_then(|leaf| validity(&leaf, provider));
        Ok(Pair { key: Arc::new(key), validity })
    }
}

pub(super) fn bad(message: String, hint: &str) -> Error {
    Error::new(Code::InvalidConfig, message).hint(hint)
}

pub(super) fn read(setting: &str, path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let size = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match size {
        Ok(size) if size as u64 <= MAX_FILE_BYTES => Ok(bytes),
        Ok(_) => Err(bad(format!("{setting} {shown} has more than {MAX_FILE_BYTES} bytes"), "name a PEM file")),
        Err(reason) => {
            let hint = match reason.kind() {
                io::ErrorKind::PermissionDenied => "let the user that runs the server read it",
                _ => "name a PEM file that is there",
            };
            Err(bad(format!("{setting} {shown} cannot be read: {reason}"), hint))
        }
    }
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    const HINT: &str = "write the server's certificate in PEM there, and behind it those that lead to its root";
    let shown = path.display();
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, pem::Error>>() {
        Ok(chain) if chain.is_empty() => Err(bad(format!("{CERT} {shown} has no certificate in it"), HINT)),
        Ok(chain) => Ok(chain),
        Err(_) => Err(bad(format!("{CERT} {shown} is not whole PEM"), HINT)),
    }
}

/// What is wrong is told without a byte of the file: it is a secret.
fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    const HINT: &str = "write the private key of the certificate in PEM there (PKCS#8, PKCS#1 or SEC1)";
    let shown = path.display();
    let is_encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted => {
            let message = format!("{KEY} {shown} is encrypted");
            Err(bad(message, "decrypt it, and let nobody but the server read it: openssl pkey -in KEY -out PLAIN"))
        }
        Err(pem::Error::NoItemsFound) => Err(bad(format!("{KEY} {shown} has no private key in it"), HINT)),
        Err(_) => Err(bad(format!("{KEY} {shown} is not whole PEM"), HINT)),
    }
}

fn unfit(files: &TlsFiles, reason: &rustls::Error) -> Error {
    let (cert, key) = (files.cert.display(), files.key.display());
    match reason {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => bad(
            format!("{KEY} {key} is not the key of the certificate in {CERT} {cert}"),
            "name files that belong together",
        ),
        rustls::Error::InvalidCertificate(reason) => {
            bad(format!("{CERT} {cert} begins with a certificate that cannot be used: {reason}"), "have it issued anew")
        }
        reason => {
            let hint = "use a key of RSA with 2,048 bits or more, ECDSA (P-256, P-384 or P-521) or Ed25519";
            bad(format!("{KEY} {key} cannot be used: {reason}"), hint)
        }
    }
}

/// From when until when the certificate holds. rustls gives no access to the two times, but it names them when it refuses a certificate
/// for one of them, which it looks at before anything else; so it is asked long before and long after.
fn validity(leaf: &CertificateDer<'_>, provider: Arc<CryptoProvider>) -> Option<Validity> {
    let mut roots = RootCertStore::empty();
    // The store must not be empty; what is in it does not matter.
    roots.add(leaf.clone()).ok()?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let refused_at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        verifier.verify_server_cert(leaf, &[], &name, &[], time).err()
    };
    let not_before_s = match refused_at(0) {
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            not_before.as_secs()
        }
        // It held in 1970 already.
        _ => 0,
    };
    match refused_at(u64::MAX) {
        Some(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(Validity { not_before_s, not_after_s: not_after.as_secs() })
        }
        _ => None,
    }
}
