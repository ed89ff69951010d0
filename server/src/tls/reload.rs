//! Which certificate does the next connection get, and whose does it take? As the files say; connections that are there keep theirs.
//!
//! Files are looked at every few seconds by what the file system says of them, through links, so that a folder that is swapped
//! as a whole (as Kubernetes does with secrets) is seen as well. They are read when two looks see the same change: whoever
//! writes them is done then. What does not fit is logged, and all that was before stays.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use tidewater_storage::env::Clock;
use tidewater_storage::{Error, Result};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::{Accept, TlsAcceptor};
use tokio_util::sync::CancellationToken;

use super::clients::{self, ClientCertificates};
use super::pair::{Content, Pair, TlsFiles, Validity};

/// How often the files are looked at. A new pair is in use after two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A certificate that ends so soon is warned of.
const WARN_BEFORE_S: u64 = 14 * 86_400;

/// How often that is said.
const WARN_INTERVAL: Duration = Duration::from_secs(86_400);

/// What the file system says of a file: its device, number, size, and when it and what is known of it were changed; `None` if
/// there is none.
type Stamp = Option<(u64, u64, u64, [i64; 4])>;

/// Of the certificate, of its key, and of the authorities of clients.
type Stamps = [Stamp; 3];

/// The certificate that connections get, whose certificates they take, and the files that say so.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    clients: Option<ClientCertificates>,
    current: RwLock<Arc<Current>>,
    seen: Mutex<Seen>,
}

/// What the files held when all of it could be used.
#[derive(Debug)]
struct Current {
    pair: Pair,
    /// What looks at the certificates of clients.
    clients: Arc<dyn ClientCertVerifier>,
    /// Of the files, to know them again.
    digest: [u8; 32],
}

#[derive(Debug)]
struct Seen {
    /// The files when they were last read.
    read: Stamps,
    /// How the last look found them, if that was otherwise.
    changed: Option<Stamps>,
}

impl Current {
    /// `INVALID_CONFIG` says which of the files is wrong, and how.
    fn read(files: &TlsFiles, clients: Option<&ClientCertificates>) -> Result<Self> {
        let content = Content::read(files)?;
        let pair = content.pair(files)?;
        let Some(clients) = clients else {
            return Ok(Self { pair, clients: WebPkiClientVerifier::no_client_auth(), digest: content.digest(&[]) });
        };
        let authorities = clients::authorities(clients)?;
        let digest = content.digest(&authorities);
        Ok(Self { pair, clients: clients::verifier(clients, &authorities)?, digest })
    }
}

impl Tls {
    /// Reads the files. `INVALID_CONFIG` says which of them is wrong, and how.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>> {
        Self::load_with(files, None)
    }

    /// The same, for clients that show certificates, too.
    pub fn load_with(files: TlsFiles, clients: Option<&ClientCertificates>) -> Result<Arc<Self>> {
        // Before they are read: what changes meanwhile is seen by the next look.
        let read = stamps(&files, clients);
        let current = Current::read(&files, clients)?;
        note(&current.pair);
        let (current, seen) = (RwLock::new(Arc::new(current)), Mutex::new(Seen { read, changed: None }));
        Ok(Arc::new(Self { files, clients: clients.cloned(), current, seen }))
    }

    /// What shakes hands with clients, in TLS 1.2 or 1.3, for one of `protocols`.
    pub(crate) fn acceptor(self: &Arc<Self>, protocols: &[&[u8]]) -> Result<Acceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|reason| Error::internal(format!("TLS cannot be set up: {reason}")))?;
        let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Acceptor { tls: Arc::clone(self), builder, protocols, made: Mutex::new(None) })
    }

    /// Reads the files now and takes what they hold; `false` if that is what is in use. On an error all that is in use stays.
    pub fn reload(&self) -> Result<bool> {
        let read = stamps(&self.files, self.clients.as_ref());
        *self.seen.lock() = Seen { read, changed: None };
        let next = Current::read(&self.files, self.clients.as_ref())?;
        if next.digest == self.current.read().digest {
            return Ok(false);
        }
        note(&next.pair);
        *self.current.write() = Arc::new(next);
        Ok(true)
    }

    /// Looks at the files, and reloads them if they were changed and are so since the look before.
    pub(super) fn look(&self) {
        let now = stamps(&self.files, self.clients.as_ref());
        {
            let mut seen = self.seen.lock();
            if seen.read == now {
                seen.changed = None;
                return;
            }
            if seen.changed != Some(now) {
                seen.changed = Some(now);
                return;
            }
        }
        let (cert, key) = (self.files.cert.display(), self.files.key.display());
        match self.reload() {
            Ok(true) => {
                let until = self.validity().map(|validity| validity.end());
                tracing::info!(%cert, until, "the TLS certificates were changed: they hold for new connections");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%cert, %key, %error, "the TLS certificates cannot be changed: those in use stay");
            }
        }
    }

    /// From when until when the certificate in use holds.
    pub fn validity(&self) -> Option<Validity> {
        self.current.read().pair.validity
    }

    /// Why clients refuse the certificate in use at this time, if they do. `now_us` is in microseconds since 1970.
    pub fn fault(&self, now_us: i64) -> Option<String> {
        let now_s = seconds(now_us);
        let validity = self.validity()?;
        if now_s > validity.not_after_s {
            return Some(format!("the TLS certificate expired at {}", validity.end()));
        }
        (now_s < validity.not_before_s).then(|| "the TLS certificate does not hold yet".to_owned())
    }

    /// Says so if clients refuse the certificate, or soon will.
    pub(crate) fn warn(&self, now_us: i64) {
        let cert = self.files.cert.display();
        if let Some(fault) = self.fault(now_us) {
            tracing::warn!(%cert, "{fault}: clients refuse it");
            return;
        }
        let ends_soon = |validity: &Validity| validity.not_after_s - seconds(now_us) < WARN_BEFORE_S;
        if let Some(validity) = self.validity().filter(ends_soon) {
            tracing::warn!(%cert, until = validity.end(), "the TLS certificate expires soon");
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.pair.key))
    }
}

/// What shakes hands with the clients of one port, by what the files hold when a client comes.
pub(crate) struct Acceptor {
    tls: Arc<Tls>,
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    protocols: Vec<Vec<u8>>,
    /// By what it was made.
    made: Mutex<Option<(Arc<Current>, TlsAcceptor)>>,
}

impl Acceptor {
    /// Begins a handshake.
    pub fn accept(&self, stream: TcpStream) -> Accept<TcpStream> {
        let current = Arc::clone(&self.tls.current.read());
        let mut made = self.made.lock();
        if let Some((by, acceptor)) = &*made
            && Arc::ptr_eq(by, &current)
        {
            return acceptor.accept(stream);
        }
        let acceptor = self.make(&current);
        *made = Some((current, acceptor.clone()));
        acceptor.accept(stream)
    }

    fn make(&self, current: &Arc<Current>) -> TlsAcceptor {
        let builder = self.builder.clone().with_client_cert_verifier(Arc::clone(&current.clients));
        let mut config = builder.with_cert_resolver(Arc::clone(current) as Arc<dyn ResolvesServerCert>);
        if current.clients.offer_client_auth() {
            // A connection that goes on with an earlier one's secrets shows no certificate: one that has expired would be let in.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols.clone_from(&self.protocols);
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Looks at the files until `stop`.
pub(crate) async fn watch(tls: Arc<Tls>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    let mut warn_at = Instant::now() + WARN_INTERVAL;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        // A file system elsewhere may not answer for long.
        let looker = Arc::clone(&tls);
        if tokio::task::spawn_blocking(move || looker.look()).await.is_err() {
            tracing::error!("looking at the TLS certificate panicked");
        }
        if Instant::now() >= warn_at {
            warn_at += WARN_INTERVAL;
            tls.warn(clock.now_us());
        }
    }
}

fn note(pair: &Pair) {
    if let Some(validity) = pair.validity {
        metrics::gauge!("tidewater_tls_certificate_expiry_timestamp_seconds").set(validity.not_after_s as f64);
    }
}

fn seconds(now_us: i64) -> u64 {
    u64::try_from(now_us / 1_000_000).unwrap_or_default()
}

fn stamps(files: &TlsFiles, clients: Option<&ClientCertificates>) -> Stamps {
    [stamp(&files.cert), stamp(&files.key), clients.and_then(|clients| stamp(&clients.ca))]
}

fn stamp(path: &Path) -> Stamp {
    let data = std::fs::metadata(path).ok()?;
    let times = [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()];
    Some((data.dev(), data.ino(), data.size(), times))
}
