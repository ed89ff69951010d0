//! What listens on the gRPC port? Flight SQL, ingest, queries, users and tokens, health and reflection, with the limits of the transport.

mod admitted;
mod deadline;
mod metered;
mod needed;
mod place;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Request;
use axum::middleware;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tidewater_storage::{Error, Result};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};
use tower::util::MapRequestLayer;

use self::admitted::Admitted;
pub(crate) use self::place::{MessagePlace, Places};
use crate::connections::Listener;
use crate::{App, admin, auth, flight_sql, ingest, query_api, request_id, tls};

/// HTTP/2's own 64 KiB would stall results on a long line.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// What streams that nobody reads for a while keep of it is missing to the others: twenty that send at once leave something.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 24 << 20;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_HEADER_LIST_BYTES: u32 = 64 << 10;
const MAX_STREAMS: u32 = 256;

/// Of what everybody may send, whoever they are: the name of a service.
const MAX_OPEN_MESSAGE_BYTES: usize = 64 << 10;

/// Of what is sent by who may write nothing: a statement and its parameters, as the query service takes them.
const MAX_STATEMENT_MESSAGE_BYTES: usize = 4 << 20;

/// The health of the process as gRPC tells it: the empty service name.
pub struct Health(HealthReporter);

impl Health {
    /// Not serving, until [`Self::serving`].
    pub async fn new() -> Self {
        let reporter = HealthReporter::new();
        reporter.set_service_status("", ServingStatus::NotServing).await;
        Self(reporter)
    }

    pub async fn serving(&self) {
        self.0.set_service_status("", ServingStatus::Serving).await;
    }

    /// Says so to those who watch, and ends their streams: they would hold their connections open for ever.
    pub async fn stopping(&mut self) {
        self.0.set_service_status("", ServingStatus::NotServing).await;
        self.0.clear_service_status("").await;
    }
}

type Adapt = fn(Request<Body>) -> Request<Body>;

/// What requests are made into before anything else looks at them.
///
/// Tells a client that goes away from one that has said everything: half of a bulk append would be taken for all of it. tonic reads a
/// cancelled request body as one that has ended, and hyper so reads one that was reset without an error, as proxies do. The time of a call
/// with a deadline begins here.
pub fn whole_requests() -> MapRequestLayer<Adapt> {
    let adapt: Adapt = |mut request| {
        deadline::note(&mut request);
        request.map(|body| Body::new(Whole { body, ended: false }))
    };
    MapRequestLayer::new(adapt)
}

/// A request body that ends well only if its sender has ended it.
struct Whole {
    body: Body,
    /// The end was told, or what came in its place.
    ended: bool,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let broken_off = || Status::aborted("the client went away before the end of its request");
        let next = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            // True only if END_STREAM has come, with the last data or with trailers; a reset, whatever its reason, is no such end.
            None if self.body.is_end_stream() => None,
            None => Some(Err(broken_off())),
            Some(Err(status)) if status.code() == Code::Cancelled => Some(Err(broken_off())),
            other => other,
        };
        self.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// All services.
pub fn router(app: &Arc<App>, health: &Health) -> Result<Router<Stack<MapRequestLayer<Adapt>, Identity>>> {
    let health = tonic_health::server::HealthService::from_health_reporter(health.0.clone());
    let health = tonic_health::pb::health_server::HealthServer::new(health);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tidewater_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(HEALTH_DESCRIPTORS)
        .build_v1()
        .map_err(|reason| Error::internal(format!("the descriptors for reflection are damaged: {reason}")))?;
    let reflection_alpha = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tidewater_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(HEALTH_DESCRIPTORS)
        .build_v1alpha()
        .map_err(|reason| Error::internal(format!("the descriptors for reflection are damaged: {reason}")))?;
    let (flight, rows) = (flight_sql::service(Arc::clone(app)), ingest::service(Arc::clone(app)));
    let flight_of_readers = flight.clone().max_decoding_message_size(MAX_STATEMENT_MESSAGE_BYTES);
    let rows_of_readers = rows.clone().max_decoding_message_size(MAX_STATEMENT_MESSAGE_BYTES);
    let (accounts, query) = (admin::service(Arc::clone(app)), query_api::service(Arc::clone(app)));
    let services = Routes::new(health.max_decoding_message_size(MAX_OPEN_MESSAGE_BYTES))
        .add_service(reflection.max_decoding_message_size(MAX_OPEN_MESSAGE_BYTES))
        .add_service(reflection_alpha.max_decoding_message_size(MAX_OPEN_MESSAGE_BYTES))
        .add_service(Admitted::new(flight, flight_of_readers, flight_sql::MAX_DECODING_BYTES, app))
        .add_service(Admitted::new(accounts.clone(), accounts, admin::MAX_DECODING_BYTES, app))
        .add_service(Admitted::new(rows, rows_of_readers, ingest::MAX_DECODING_BYTES, app))
        .add_service(Admitted::new(query.clone(), query, query_api::MAX_DECODING_BYTES, app));
    let place = middleware::from_fn(auth::note_place);
    let in_time = middleware::from_fn(deadline::keep);
    let label = middleware::from_fn_with_state(Arc::clone(app), request_id::label);
    let certificate = middleware::from_fn_with_state(Arc::clone(app), tls::present);
    let router = Server::builder()
        .layer(whole_requests())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .add_routes(services.into_axum_router().layer(certificate).layer(place).layer(in_time).layer(label).into());
    Ok(router)
}

/// Serves until `stop`, then says GOAWAY to all connections and returns when the last stream has ended.
pub async fn serve(
    listener: Listener,
    router: Router<Stack<MapRequestLayer<Adapt>, Identity>>,
    stop: CancellationToken,
) -> std::result::Result<(), tonic::transport::Error> {
    let connections = futures::stream::unfold(listener, |listener| async move {
        let connection = listener.accept().await;
        Some((Ok::<_, std::io::Error>(connection), listener))
    });
    router.serve_with_incoming_shutdown(connections, stop.cancelled_owned()).await
}

#[cfg(test)]
mod tests;
