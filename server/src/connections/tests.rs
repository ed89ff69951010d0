//! Does a connection that never says anything lose its place, on both ports?

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

/// Afterwards the protocols' own limits hold: a request may take its time.
#[tokio::test]
async fn a_connection_that_has_begun_is_not_cut() {
    let listener = port().await;
    let mut client = TcpStream::connect(listener.address()).await.unwrap();
    client.write_all(b"GE").await.unwrap();
    let mut connection = listener.accept().await;
    let mut read = [0; 8];
    assert_eq!(connection.read(&mut read).await.unwrap(), 2);
    assert!(tokio::time::timeout(2 * SHORT, connection.read(&mut read)).await.is_err(), "it waits");
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
