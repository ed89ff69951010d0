//! How are HTTP connections served? HTTP/1.1 and 2 on one port, each connection with its limits, all of them ended in order.

use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use crate::connections::{Connection, Listener};

/// The headers of a request must have arrived after this time, also those of the next request on a kept connection. Before a connection
/// has said which protocol it speaks, the limit of [`Connection`] holds.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Request line and headers.
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_STREAMS: u32 = 256;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until `stop`, then takes no more connections and returns when the last request was answered.
pub async fn serve(listener: Listener, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    while let Some(connection) = stop.run_until_cancelled(listener.accept()).await {
        connections.spawn(serve_connection(connection, router.clone(), stop.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection(connection: Connection, router: Router, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    let service = TowerToHyperService::new(Extension(connection.peer()).layer(router));
    let serving = builder.serve_connection(TokioIo::new(connection), service);
    tokio::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(reason) = outcome {
        tracing::debug!(%reason, "an HTTP connection broke");
    }
}
