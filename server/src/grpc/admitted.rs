//! Who may send a message at all, and how large? A call is read as a whole before its handler sees it, so strangers, and callers who may
//! not use its method, are turned away by its headers, and large messages of the others have to find a place.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::{Request, Response};
use futures::future::BoxFuture;
use http_body_util::Limited;
use tidewater_storage::Result;
use tidewater_storage::memory::MessageKind;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tower::Service;

use super::metered::{Metered, STREAMS, Sender, WRITE};
use super::{MAX_STATEMENT_MESSAGE_BYTES, MessagePlace, needed};
use crate::App;
use crate::auth::Caller;
use crate::call::{authorization, may_write};
use crate::connections::Peer;
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
    /// Of one message to `service`, in bytes.
    max_bytes: usize,
    app: Arc<App>,
}

impl<S> Admitted<S> {
    pub fn new(service: S, of_readers: S, max_bytes: usize, app: &Arc<App>) -> Self {
        Self { service, of_readers, max_bytes, app: Arc::clone(app) }
    }

    /// The same request, whose messages of at most `max_bytes` hold what this caller's may.
    fn metered(&self, mut request: Request<Body>, caller: Option<&str>, max_bytes: usize) -> Request<Body> {
        let place = MessagePlace::default();
        request.extensions_mut().insert(place.clone());
        let peer = request.extensions().get::<Peer>();
        let waiting = peer.map_or_else(|| Peer::at(None).waiting_bodies(), Peer::waiting_bodies);
        let path = request.uri().path();
        let is_stream = STREAMS.contains(&path);
        let is_of_rows = max_bytes > MAX_STATEMENT_MESSAGE_BYTES && (is_stream || path == WRITE);
        let sender = Sender {
            memory: Arc::clone(self.app.storage.memory()),
            caller: caller.map(Into::into),
            kind: if is_of_rows { MessageKind::Rows } else { MessageKind::Statement },
            max_bytes,
            is_stream,
            place,
            waiting,
        };
        request.map(|body| Body::new(Metered::new(body, sender)))
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
            let request = self.metered(request, None, self.max_bytes);
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
            let principal = match caller_of(&this.app, &path, &metadata).await {
                Ok(caller) => caller.principal,
                Err(error) => return Ok(to_status(&error).into_http()),
            };
            if may_write(&principal) {
                let request = this.metered(request, Some(&principal.name), this.max_bytes);
                return this.service.call(request).await;
            }
            let max_bytes = this.max_bytes.min(MAX_STATEMENT_MESSAGE_BYTES);
            let request = this.metered(request, Some(&principal.name), max_bytes);
            this.of_readers.call(request).await
        })
    }
}

/// Who calls a method that they may send something to. `UNAUTHENTICATED`, `PERMISSION_DENIED`; `RATE_LIMITED`, since what is refused here
/// counts, too.
async fn caller_of(app: &App, path: &str, metadata: &MetadataMap) -> Result<Caller> {
    let caller = app.auth.caller(authorization(metadata).as_deref()).await?;
    if let Err(refused) = needed::check(path, &caller.principal) {
        app.limits.of(&caller).request()?;
        return Err(refused);
    }
    Ok(caller)
}

impl<S: NamedService> NamedService for Admitted<S> {
    const NAME: &'static str = S::NAME;
}
