//! Does a connection that never says anything lose its place, on both ports, plain and in TLS?

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::*;
use crate::tls::tests::{Folder, Issuer};
use crate::tls::{HTTP_PROTOCOLS, Tls};
use crate::{grpc, http};

/// Long enough for a client that speaks at once.
const SHORT: Duration = Duration::from_millis(200);

/// Far longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Beginnings that leave the protocol open.
const SILENT: [&[u8]; 3] = [b"", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"];

/// A port for one connection at a time.
async fn port() -> Listener {
    Listener::bind("server.test", "127.0.0.1:0".parse().unwrap()).await.unwrap().with_limits(1, SHORT)
}

/// Takes the only place and never says more than `beginning`.
async fn silent(address: SocketAddr, beginning: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(beginning).await.unwrap();
    stream
}

#[tokio::test]
async fn silent_connections_do_not_keep_the_http_port() {
    let listener = port().await;
    let (address, stop) = (listener.address(), CancellationToken::new());
    let router = Router::new().route("/", get(|| async { "here" }));
    let serving = tokio::spawn(http::serve(listener, router, stop.clone()));
    for beginning in SILENT {
        let mut silent = silent(address, beginning).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("here"), "{beginning:?}: {answer}");
        // It was closed; what it says now meets nobody.
        let mut rest = Vec::new();
        drop(tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.unwrap());
        assert!(rest.is_empty(), "{beginning:?}: {rest:?}");
    }
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn silent_connections_do_not_keep_the_grpc_port() {
    let listener = port().await;
    let (address, stop) = (listener.address(), CancellationToken::new());
    let health = HealthServer::new(HealthService::from_health_reporter(HealthReporter::new()));
    let router = Server::builder().layer(grpc::whole_requests()).add_service(health);
    let serving = tokio::spawn(grpc::serve(listener, router, stop.clone()));
    for beginning in SILENT {
        let _silent = silent(address, beginning).await;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let asked = async {
            let mut client = HealthClient::new(endpoint.connect().await.unwrap());
            client.check(HealthCheckRequest::default()).await.unwrap()
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{beginning:?} keeps the place"));
    }
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_has_ended_is_gone() {
    let listener = port().await;
    let _client = TcpStream::connect(listener.address()).await.expect("connected");
    let connection = listener.accept().await;
    let presence = connection.connect_info().presence();
    assert!(!presence.is_gone() && !Presence::default().is_gone());
    drop(connection);
    assert!(presence.is_gone());
    assert!(!Presence::of(&Extensions::new()).is_gone(), "nobody knows");
}

/// One that opens more and more does not keep the others out.
#[tokio::test]
async fn a_client_has_all_connections_but_a_part() {
    let listener = Listener::bind("server.test", "127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let mut listener = listener.with_limits(8, PATIENCE);
    // Connections from this machine count for nobody, as those of a proxy; here they do.
    listener.client_of = |peer| Some(peer.address?.ip());
    let address = listener.address();
    let (mut clients, mut accepted) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        clients.push(TcpStream::connect(address).await.expect("connected"));
        accepted.push(listener.accept().await);
    }
    let mut refused = TcpStream::connect(address).await.expect("connected");
    let closed = async { refused.read_to_end(&mut Vec::new()).await };
    tokio::select! {
        _ = listener.accept() => panic!("it has one too many"),
        closed = tokio::time::timeout(PATIENCE, closed) => assert_eq!(closed.expect("closed").expect("read"), 0),
    }
    // Others have the rest, and its own are for it again.
    listener.client_of = |_| None;
    clients.push(TcpStream::connect(address).await.expect("connected"));
    accepted.push(listener.accept().await);
    listener.client_of = |peer| Some(peer.address?.ip());
    drop(accepted.remove(0));
    clients.push(TcpStream::connect(address).await.expect("connected"));
    let next = tokio::time::timeout(PATIENCE, listener.accept()).await;
    assert_eq!(next.expect("it has a place").peer().address, clients[7].local_addr().ok());
}

/// Afterwards the protocols' own limits hold: a request may take its time.
#[tokio::test]
async fn a_connection_that_has_begun_is_not_cut() {
    let listener = port().await.with_limits(1, PATIENCE);
    let mut client = TcpStream::connect(listener.address()).await.unwrap();
    client.write_all(b"GE").await.unwrap();
    let mut connection = listener.accept().await;
    assert!(connection.opening.is_some(), "its time runs");
    let mut read = [0; 8];
    assert_eq!(connection.read(&mut read).await.unwrap(), 2);
    assert!(connection.opening.is_none(), "no time runs any more");
    client.write_all(b"T").await.unwrap();
    assert_eq!(connection.read(&mut read).await.unwrap(), 1);
}

#[test]
fn a_beginning_is_over_when_the_protocol_is_known() {
    let check = |reads: &[&[u8]], expected| {
        let found = reads.iter().try_fold(0, |n_matched, read| still_opening(n_matched, read));
        assert_eq!(found, expected, "{reads:?}");
    };
    check(&[], Some(0));
    check(&[b"", b"PRI", b""], Some(3));
    check(&[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r"], Some(23));
    check(&[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n"], None);
    check(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and what follows"], None);
    check(&[b"P", b"OST / HTTP/1.1\r\n"], None);
    check(&[b"\x16\x03\x01"], None);
}

/// Connections that stop in the middle of a handshake: before it, in its first record, and after one that is none.
const SILENT_TLS: [&[u8]; 3] = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"];

/// Long enough for a handshake on a busy machine.
const SHORT_TLS: Duration = Duration::from_secs(1);

/// As many files as this process may have.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// A client of a port with a certificate of `issuer`.
fn connector(issuer: &Issuer) -> tokio_rustls::TlsConnector {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(issuer.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into()
}

/// The answer to one request over TLS.
async fn ask(connector: &tokio_rustls::TlsConnector, address: SocketAddr) -> io::Result<String> {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

/// A server over TLS with so many places, and who issued its certificate.
async fn over_tls(max_connections: usize, opening_timeout: Duration) -> (Issuer, SocketAddr, CancellationToken) {
    let issuer = Issuer::new();
    let folder = Folder::with(&issuer.issue(2100));
    let acceptor = Tls::load(folder.files()).unwrap().acceptor(HTTP_PROTOCOLS).unwrap();
    let listener = Listener::bind("server.test", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener = listener.with_tls(Some(acceptor)).with_limits(max_connections, opening_timeout);
    let (address, stop) = (listener.address(), CancellationToken::new());
    let router = Router::new().route("/", get(|| async { "here" }));
    tokio::spawn(http::serve(listener, router, stop.clone()));
    (issuer, address, stop)
}

#[tokio::test]
async fn handshakes_that_do_not_go_on_do_not_keep_the_port() {
    let (issuer, address, stop) = over_tls(1, SHORT_TLS).await;
    let connector = connector(&issuer);
    for beginning in SILENT_TLS {
        let mut silent = silent(address, beginning).await;
        let answer = ask(&connector, address).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("here"), "{beginning:?}: {answer}");
        let mut rest = Vec::new();
        drop(tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.unwrap());
    }
    stop.cancel();
}

/// They have places of their own, and nobody waits for their handshakes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_handshakes_that_say_nothing_stop_nobody() {
    allow_files();
    let (issuer, address, stop) = over_tls(1_024, PATIENCE * 10).await;
    let mut silent = Vec::new();
    for n in 0..1_000 {
        silent.push(self::silent(address, SILENT_TLS[n % SILENT_TLS.len()]).await);
    }
    let answer = ask(&connector(&issuer), address).await.unwrap();
    assert!(answer.ends_with("here"), "{answer}");
    stop.cancel();
}

/// The client hears something, and nobody waits for the other's next word.
#[tokio::test]
async fn plain_text_to_a_port_with_tls_and_tls_to_one_without_end_at_once() {
    let (issuer, address, stop) = over_tls(8, PATIENCE * 10).await;
    for plain in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], HTTP2_PREFACE] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(plain).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it ends");
        // A TLS alert, unless the end came before it.
        assert!(answer.is_empty() || answer.starts_with(&[0x15]), "{answer:?}");
    }
    stop.cancel();

    let listener = port().await.with_limits(8, PATIENCE * 10);
    let (address, stop) = (listener.address(), CancellationToken::new());
    tokio::spawn(http::serve(listener, Router::new(), stop.clone()));
    assert!(ask(&connector(&issuer), address).await.is_err());
    stop.cancel();
}

/// A client that trusts somebody else goes away, and so does one that finds the certificate too old.
#[tokio::test]
async fn clients_refuse_what_they_do_not_trust() {
    let (issuer, address, stop) = over_tls(8, PATIENCE).await;
    let refused = ask(&connector(&Issuer::new()), address).await.unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer") || refused.contains("BadSignature"), "{refused}");
    assert!(ask(&connector(&issuer), address).await.is_ok(), "others are served");
    stop.cancel();
}
