//! Who may send a message at all, and how large? A call is read as a whole before its handler sees it, so strangers, and callers who may
//! not use its method, are turned away by its headers.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::{Request, Response};
use futures::future::BoxFuture;
use http_body_util::Limited;
use tidewater_storage::Result;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tower::Service;

use super::needed;
use crate::App;
use crate::call::{authorization, may_write};
use crate::status::to_status;

/// Some clients say in its first message who they are, so everybody may send one.
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// All messages of a handshake. They hold a name and a password.
const MAX_HANDSHAKE_BYTES: usize = 64 << 10;

/// A service that takes no message of a caller who proves nothing, or who may not use the method at all. Its handlers look again, at what the
/// caller may.
#[derive(Clone)]
pub(super) struct Admitted<S> {
    service: S,
    /// The same for those who may write nothing: rows are what makes messages large.
    of_readers: S,
    app: Arc<App>,
}

impl<S> Admitted<S> {
    pub fn new(service: S, of_readers: S, app: &Arc<App>) -> Self {
        Self { service, of_readers, app: Arc::clone(app) }
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
        ready!(self.of_readers.poll_ready(cx))?;
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
        // Those that were asked whether they are ready; a clone need not be.
        let next = self.clone();
        let mut this = std::mem::replace(self, next);
        let path = request.uri().path().to_owned();
        let metadata = MetadataMap::from_headers(request.headers().clone());
        Box::pin(async move {
            match may_send(&this.app, &path, &metadata).await {
                Ok(Most::Rows) => this.service.call(request).await,
                Ok(Most::Statement) => this.of_readers.call(request).await,
                Err(error) => Ok(to_status(&error).into_http()),
            }
        })
    }
}

/// The most that messages of a caller hold.
enum Most {
    Rows,
    /// With its parameters.
    Statement,
}

/// What the caller of a method may send to it. `UNAUTHENTICATED`, `PERMISSION_DENIED`; `RATE_LIMITED`, since what is refused here counts, too.
async fn may_send(app: &App, path: &str, metadata: &MetadataMap) -> Result<Most> {
    let caller = app.auth.caller(authorization(metadata).as_deref()).await?;
    if let Err(refused) = needed::check(path, &caller.principal) {
        app.limits.of(&caller).request()?;
        return Err(refused);
    }
    Ok(if may_write(&caller.principal) { Most::Rows } else { Most::Statement })
}

impl<S: NamedService> NamedService for Admitted<S> {
    const NAME: &'static str = S::NAME;
}
