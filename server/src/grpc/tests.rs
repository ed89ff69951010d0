//! Is a request that broke off told from one that has ended? HTTP/2 frame by frame, as clients and proxies send it. And how does one end
//! whose deadline passes?

use std::convert::Infallible;
use std::io;

use axum::http::{Request, Response};
use axum::middleware;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::Server;

use super::{deadline, whole_requests};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// POST http /, from HPACK's static table.
const REQUEST: &[u8] = &[0x83, 0x86, 0x84];
/// `x: y`, as a literal that is not indexed.
const TRAILERS: &[u8] = &[0, 1, b'x', 1, b'y'];
const NO_ERROR: &[u8] = &[0, 0, 0, 0];
const CANCEL: &[u8] = &[0, 0, 0, 8];
/// A message of gRPC: not compressed, three bytes.
const MESSAGE: &[u8] = &[0, 0, 0, 0, 3, b'a', b'b', b'c'];

/// What a handler sees of a request: how many bytes come next, that it has ended, or that it broke.
type Seen = Result<Option<usize>, Code>;

/// A frame of the first stream.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &1_u32.to_be_bytes(), payload].concat()
}

/// A connection to a service that reads every request to its end and tells what it saw.
async fn connect() -> (DuplexStream, mpsc::Receiver<Seen>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (tell, seen) = mpsc::channel(8);
    let service = tower::service_fn(move |request: Request<Body>| {
        let tell = tell.clone();
        async move {
            let mut body = request.into_body();
            loop {
                let seen = match body.frame().await {
                    None => Ok(None),
                    Some(Err(status)) => Err(status.code()),
                    Some(Ok(frame)) => match frame.data_ref().map(|data| data.len()) {
                        None | Some(0) => continue,
                        bytes => Ok(bytes),
                    },
                };
                let has_ended = !matches!(seen, Ok(Some(_)));
                let _ = tell.try_send(seen);
                if has_ended {
                    return Ok::<_, Infallible>(Response::new(Body::empty()));
                }
            }
        }
    });
    let connections = futures::stream::iter([Ok::<_, io::Error>(far)]);
    Server::builder().layer(whole_requests()).serve_with_incoming(service, connections).await.unwrap();
    (near, seen)
}

/// How a request ends for its handler when `last` follows a whole message; the connection is cut if there is none.
async fn end_of_request(last: Option<Vec<u8>>) -> Seen {
    let (mut client, mut seen) = connect().await;
    let begin = [PREFACE, &EMPTY_SETTINGS, &frame(HEADERS, END_HEADERS, REQUEST), &frame(DATA, 0, MESSAGE)].concat();
    client.write_all(&begin).await.unwrap();
    assert_eq!(seen.recv().await, Some(Ok(Some(MESSAGE.len()))));
    match last {
        Some(last) => client.write_all(&last).await.unwrap(),
        None => drop(client),
    }
    loop {
        match seen.recv().await.unwrap() {
            Ok(Some(_)) => {}
            end => return end,
        }
    }
}

#[tokio::test]
async fn what_its_sender_has_ended_is_whole() {
    assert_eq!(end_of_request(Some(frame(DATA, END_STREAM, &[]))).await, Ok(None));
    assert_eq!(end_of_request(Some(frame(DATA, END_STREAM, MESSAGE))).await, Ok(None));
    assert_eq!(end_of_request(Some(frame(HEADERS, END_STREAM | END_HEADERS, TRAILERS))).await, Ok(None));
}

#[tokio::test]
async fn a_request_without_a_body_is_whole() {
    let (mut client, mut seen) = connect().await;
    let whole = [PREFACE, &EMPTY_SETTINGS, &frame(HEADERS, END_STREAM | END_HEADERS, REQUEST)].concat();
    client.write_all(&whole).await.unwrap();
    assert_eq!(seen.recv().await, Some(Ok(None)));
}

/// hyper takes NO_ERROR for an end; proxies send it when the client behind them has gone.
#[tokio::test]
async fn what_was_reset_is_not_whole() {
    for reason in [NO_ERROR, CANCEL] {
        assert_eq!(end_of_request(Some(frame(RST_STREAM, 0, reason))).await, Err(Code::Aborted), "{reason:?}");
    }
}

#[tokio::test]
async fn what_lost_its_connection_is_not_whole() {
    assert!(end_of_request(None).await.is_err());
}

/// tonic's own timer, which says CANCELLED, ends in the same millisecond or the next. On one thread no time passes for timers between the
/// moments in which the two are set.
#[tokio::test]
async fn the_deadline_of_a_call_is_exceeded() {
    for timeout in ["1n", "999u", "1m", "1500u", "9m", "70m", "130m"] {
        let (near, far) = tokio::io::duplex(64 << 10);
        let never = axum::Router::new().fallback(std::future::pending::<()>).layer(middleware::from_fn(deadline::keep));
        let connections = futures::stream::iter([Ok::<_, io::Error>(far)]);
        tokio::spawn(Server::builder().layer(whole_requests()).serve_with_incoming(never, connections));
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("http://any/").header("grpc-timeout", timeout).body(Body::empty()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        let said = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(said.code(), Code::DeadlineExceeded, "{timeout}: {said:?}");
        assert!(said.message().contains("the deadline that the client set"), "{said:?}");
    }
}
