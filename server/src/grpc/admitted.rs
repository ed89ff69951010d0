//! Who may send a message at all? A call is read as a whole before its handler sees it, so strangers are turned away by its headers.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use futures::future::BoxFuture;
use http_body_util::Limited;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tower::Service;

use crate::App;
use crate::call::authorization;
use crate::status::to_status;

/// Some clients say in its first message who they are, so everybody may send one.
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// All messages of a handshake. They hold a name and a password.
const MAX_HANDSHAKE_BYTES: usize = 64 << 10;

/// A service that takes no message of a caller who proves nothing. Its handlers look again, at what the caller may.
#[derive(Clone)]
pub(super) struct Admitted<S> {
    service: S,
    app: Arc<App>,
}

impl<S> Admitted<S> {
    pub fn new(service: S, app: &Arc<App>) -> Self {
        Self { service, app: Arc::clone(app) }
    }
}

impl<S> Service<Request<Body>> for Admitted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !self.app.auth.is_on() {
            return Box::pin(self.service.call(request));
        }
        if request.uri().path() == HANDSHAKE {
            let limited = request.map(|body| Body::new(Limited::new(body, MAX_HANDSHAKE_BYTES)));
            return Box::pin(self.service.call(limited));
        }
        // The one that was asked whether it is ready; a clone need not be.
        let next = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, next);
        let app = Arc::clone(&self.app);
        Box::pin(async move {
            let metadata = MetadataMap::from_headers(request.headers().clone());
            match app.auth.authenticate(authorization(&metadata).as_deref()).await {
                Ok(_) => service.call(request).await,
                Err(error) => Ok(to_status(&error).into_http()),
            }
        })
    }
}

impl<S: NamedService> NamedService for Admitted<S> {
    const NAME: &'static str = S::NAME;
}
