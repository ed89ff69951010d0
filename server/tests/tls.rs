//! Do both ports speak TLS, with the certificate that is in the files at that time?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tempfile::TempDir;
use tidewater_client::{Client, ClientCertificate, ClientOptions, Error};
use tidewater_server::config::{Config, FileSource, Sources};
use tidewater_server::{Running, Server};
use tidewater_storage::Code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const GRACE: Duration = Duration::from_secs(10);

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// In the middle of 2019, in seconds since 1970.
const Y2019_S: u64 = 1_560_000_000;

/// Who issues certificates.
struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for this machine, from the beginning of 2019 to that of `end_year`, and its key.
    fn issue(&self, end_year: i32) -> (String, String) {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(end_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn options(&self) -> ClientOptions {
        ClientOptions { ca_certificates_pem: Some(self.0.pem().into_bytes()), ..ClientOptions::default() }
    }

    /// A client of TLS that trusts this issuer and lives at `now_s`, by its own clock without one.
    fn connector(&self, now_s: Option<u64>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = match now_s {
            Some(now_s) => ClientConfig::builder_with_details(provider, Arc::new(Then(now_s))),
            None => ClientConfig::builder_with_provider(provider),
        };
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        Arc::new(config.with_no_client_auth()).into()
    }

    /// The same for a client that shows a certificate.
    fn connector_with(&self, (cert, key): &(String, String)) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        Arc::new(config.with_root_certificates(roots).with_client_auth_cert(vec![cert], key).unwrap()).into()
    }
}

#[derive(Debug)]
struct Then(u64);

impl TimeProvider for Then {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn with((cert, key): &(String, String)) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        fixture.put(cert, key);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, cert: &str, key: &str) {
        std::fs::write(self.path("cert.pem"), cert).unwrap();
        std::fs::write(self.path("key.pem"), key).unwrap();
    }

    async fn start(&self) -> Result<Running, tidewater_storage::Error> {
        self.start_with(&[]).await
    }

    async fn start_with(&self, more: &[(&str, &str)]) -> Result<Running, tidewater_storage::Error> {
        let flag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut flags = vec![
            flag("server.data", self.path("data").to_str().unwrap()),
            flag("server.grpc", "127.0.0.1:0"),
            flag("server.http", "127.0.0.1:0"),
            flag("memory.limit", "1 GiB"),
            flag("tls.cert", self.path("cert.pem").to_str().unwrap()),
            flag("tls.key", self.path("key.pem").to_str().unwrap()),
        ];
        flags.extend(more.iter().map(|(name, value)| flag(name, value)));
        Server::start(Config::load(Sources { flags, env: Vec::new(), file: FileSource::None })?).await
    }
}

async fn connect(server: &Running, issuer: &Issuer) -> Result<Client, Error> {
    Client::connect_with(&format!("https://{}", server.grpc_addr()), issuer.options()).await
}

async fn rows(client: &Client) -> usize {
    let rows = client.sql("SELECT * FROM generate_series(1, 10)").await.unwrap();
    let batches: Vec<_> = rows.try_collect().await.unwrap();
    batches.iter().map(|batch| batch.num_rows()).sum()
}

async fn open(address: SocketAddr, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    connector.connect("localhost".try_into().unwrap(), TcpStream::connect(address).await?).await
}

/// One answer of a connection that is kept.
async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut some = [0; 4096];
        let n = tokio::time::timeout(PATIENCE, stream.read(&mut some)).await.unwrap().unwrap();
        answer.extend_from_slice(&some[..n]);
        let text = String::from_utf8_lossy(&answer);
        if n == 0 || text.split_once("\r\n\r\n").is_some_and(|(head, body)| body.len() >= content_length(head)) {
            return text.into_owned();
        }
    }
}

fn content_length(head: &str) -> usize {
    let head = head.to_lowercase();
    head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_speak_tls_and_nothing_else() {
    let issuer = Issuer::new();
    let server = Fixture::with(&issuer.issue(2100));
    let running = server.start().await.unwrap();
    let client = connect(&running, &issuer).await.unwrap();
    client.health().await.unwrap();
    assert_eq!(rows(&client).await, 10);
    let mut http = open(running.http_addr(), &issuer.connector(None)).await.unwrap();
    let answer = get(&mut http, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
    drop(http);

    let stranger = connect(&running, &Issuer::new()).await.map(drop).unwrap_err();
    assert!(stranger.to_string().contains("invalid peer certificate"), "{stranger}");
    let plain = match Client::connect(&running.grpc_addr().to_string()).await {
        Ok(client) => tokio::time::timeout(PATIENCE, client.health()).await.unwrap(),
        Err(error) => Err(error),
    };
    assert!(plain.is_err());
    let mut plain = TcpStream::connect(running.http_addr()).await.unwrap();
    plain.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    running.shutdown(GRACE).await.unwrap();
}

/// Whether the server answers. In TLS 1.3 a client finds out that its certificate was refused when it reads.
async fn answers(address: SocketAddr, connector: &TlsConnector) -> bool {
    let Ok(mut stream) = open(address, connector).await else { return false };
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() {
        // What came counts, however it ended.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    }
    answer.starts_with(b"HTTP/1.1 200 OK")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_certificates_of_their_authority() {
    let (issuer, clients) = (Issuer::new(), Issuer::new());
    let server = Fixture::with(&issuer.issue(2100));
    let ca = server.path("clients.pem");
    std::fs::write(&ca, clients.0.pem()).unwrap();
    let shows = |certificate: (String, String)| issuer.connector_with(&certificate);
    let (trusted, expired) = (shows(clients.issue(2100)), shows(clients.issue(2020)));
    let foreign = shows(issuer.issue(2100));
    for mode in ["required", "optional"] {
        let settings = [("tls.client_ca", ca.to_str().unwrap()), ("tls.client_auth", mode)];
        let running = server.start_with(&settings).await.unwrap();
        let http = running.http_addr();
        assert!(answers(http, &trusted).await, "{mode}");
        // With tickets of the connection before: each shows its certificate, so that none goes on when it has expired.
        let again = open(http, &trusted).await.unwrap();
        assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Full), "{mode}");
        drop(again);
        assert!(!answers(http, &foreign).await && !answers(http, &expired).await, "{mode}");
        assert_eq!(answers(http, &issuer.connector(None)).await, mode == "optional");
        let silent = match connect(&running, &issuer).await {
            Ok(client) => tokio::time::timeout(PATIENCE, client.health()).await.unwrap(),
            Err(error) => Err(error),
        };
        assert_eq!(silent.is_ok(), mode == "optional");
        let (cert, key) = clients.issue(2100);
        let own = ClientCertificate { certificates_pem: cert.into_bytes(), key_pem: key.into_bytes() };
        let options = ClientOptions { certificate: Some(own), ..issuer.options() };
        let url = format!("https://{}", running.grpc_addr());
        Client::connect_with(&url, options.clone()).await.unwrap().health().await.unwrap();
        let plain = Client::connect_with(&running.grpc_addr().to_string(), options).await.map(drop).unwrap_err();
        assert!(plain.to_string().contains("must begin with https://"), "{plain}");
        running.shutdown(GRACE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_for_new_connections() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let server = Fixture::with(&old.issue(2100));
    let running = server.start().await.unwrap();
    let client = connect(&running, &old).await.unwrap();
    let mut http = open(running.http_addr(), &old.connector(None)).await.unwrap();
    assert!(get(&mut http, "/healthz").await.ends_with("ok\n"));

    let (cert, key) = new.issue(2100);
    server.put(&cert, &key);
    // Found by itself, in a few seconds.
    let found = async {
        while connect(&running, &new).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
    assert_eq!(rows(&connect(&running, &new).await.unwrap()).await, 10);
    assert!(open(running.http_addr(), &new.connector(None)).await.is_ok());
    assert!(open(running.http_addr(), &old.connector(None)).await.is_err());
    // Who was there before goes on.
    assert_eq!(rows(&client).await, 10);
    assert!(get(&mut http, "/healthz").await.ends_with("ok\n"));
    drop(http);
    running.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_of_clients_is_for_new_connections() {
    let (issuer, old, new) = (Issuer::new(), Issuer::new(), Issuer::new());
    let server = Fixture::with(&issuer.issue(2100));
    let ca = server.path("clients.pem");
    std::fs::write(&ca, old.0.pem()).unwrap();
    let settings = [("tls.client_ca", ca.to_str().unwrap()), ("tls.client_auth", "required")];
    let running = server.start_with(&settings).await.unwrap();
    let http = running.http_addr();
    let [of_old, of_new] = [&old, &new].map(|clients| issuer.connector_with(&clients.issue(2100)));
    assert!(answers(http, &of_old).await && !answers(http, &of_new).await);
    let mut before = open(http, &of_old).await.unwrap();
    assert!(get(&mut before, "/healthz").await.ends_with("ok\n"));

    let tls = Arc::clone(running.app().tls.as_ref().unwrap());
    std::fs::write(&ca, "nothing").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("tls.client_ca") && error.contains("has no certificate in it"), "{error}");
    assert!(answers(http, &of_old).await, "those in use stay");
    std::fs::write(&ca, new.0.pem()).unwrap();
    // Found by itself, in a few seconds.
    let found = async {
        while !answers(http, &of_new).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
    assert!(!answers(http, &of_old).await);
    // Who was there before goes on.
    assert!(get(&mut before, "/healthz").await.ends_with("ok\n"));
    drop(before);
    running.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_does_not_fit_changes_nothing() {
    let issuer = Issuer::new();
    let (cert, key) = issuer.issue(2100);
    let server = Fixture::with(&(cert.clone(), key));
    let running = server.start().await.unwrap();
    let tls = Arc::clone(running.app().tls.as_ref().unwrap());
    let (_, other_key) = issuer.issue(2100);
    for (cert, key, part) in [
        (cert.as_str(), other_key.as_str(), "is not the key of the certificate"),
        ("", other_key.as_str(), "has no certificate in it"),
        (cert.as_str(), "", "has no private key in it"),
    ] {
        server.put(cert, key);
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(rows(&connect(&running, &issuer).await.unwrap()).await, 10);
    }
    let (cert, key) = issuer.issue(2101);
    server.put(&cert, &key);
    assert!(tls.reload().unwrap() && !tls.reload().unwrap());
    assert_eq!(rows(&connect(&running, &issuer).await.unwrap()).await, 10);
    running.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_starts_with_a_pair_that_does_not_fit() {
    let issuer = Issuer::new();
    let server = Fixture::with(&(issuer.issue(2100).0, issuer.issue(2100).1));
    let error = server.start().await.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidConfig);
    assert!(error.to_string().contains("is not the key of the certificate"), "{error}");
    assert!(!server.path("data").exists(), "it is found before the folder is opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused_by_clients_and_told_by_the_server() {
    let issuer = Issuer::new();
    let server = Fixture::with(&issuer.issue(2020));
    let running = server.start().await.unwrap();
    let refused = connect(&running, &issuer).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("invalid peer certificate") && refused.to_lowercase().contains("expired"), "{refused}");
    // Somebody whose clock is far behind can still ask.
    let mut http = open(running.http_addr(), &issuer.connector(Some(Y2019_S))).await.unwrap();
    let answer = get(&mut http, "/readyz").await;
    let says_so = answer.ends_with("the TLS certificate expired at 2020-01-01T00:00:00Z\n");
    assert!(answer.starts_with("HTTP/1.1 503") && says_so, "{answer}");
    drop(http);
    running.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_says_what_is_wrong_with_what_it_was_given() {
    let options = ClientOptions { ca_certificates_pem: Some(b"nothing".to_vec()), ..ClientOptions::default() };
    let error = Client::connect_with("https://127.0.0.1:1", options).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("has no certificate in PEM"), "{error}");
    let own = ClientCertificate { certificates_pem: b"nothing".to_vec(), key_pem: b"nothing".to_vec() };
    let options = ClientOptions { certificate: Some(own), ..ClientOptions::default() };
    let error = Client::connect_with("https://127.0.0.1:1", options).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("certificate has no certificate in PEM"), "{error}");
}
