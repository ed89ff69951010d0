//! Who asks, and until when? A call's session, its deadline, and the query id of its answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::{BasicAuth, FlightInfo, HandshakeRequest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use tidewater_query::{Interface, Principal, RunOptions, Session};
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Response, Status, Streaming};

use crate::App;
use crate::auth::{Limiter, Proof, Secret};
use crate::call::{authorization, bounded, shutting_down};
use crate::status::to_status;

/// Who shows nothing with a handshake has this long to send a message that does.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The response header that names the query of an answer.
pub(super) const QUERY_ID_HEADER: &str = "x-query-id";

/// Who asks, with which settings, until when.
pub(super) struct Call {
    pub session: Session,
    pub proof: Proof,
    pub limiter: Arc<Limiter>,
    pub deadline: Option<Instant>,
}

impl Call {
    /// Reads what a call's metadata says. New calls are refused while the process shuts down.
    pub async fn new(app: &Arc<App>, metadata: &MetadataMap) -> Result<Self, Status> {
        let call = crate::call::Call::of(app, metadata).await.map_err(|error| to_status(&error))?;
        let session = call.session(app, Interface::FlightSql);
        let crate::call::Call { proof, limiter, deadline, .. } = call;
        Ok(Self { session, proof, limiter, deadline })
    }

    pub fn principal(&self) -> &Principal {
        &self.session.principal
    }

    /// Options for a statement that must end with this call.
    pub fn run_options(&self) -> RunOptions {
        let timeout = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        RunOptions { timeout, ..RunOptions::default() }
    }

    /// Waits for `work` until this call's deadline; dropping `work` stops it.
    pub async fn bounded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T, Status> {
        bounded(self.deadline, work).await.map_err(|error| to_status(&error))
    }
}

/// What the caller of a handshake may present from now on. Name and password come in the header, or, of older clients, in the first message.
pub(super) async fn begin_session(
    app: &App,
    metadata: &MetadataMap,
    requests: &mut Streaming<HandshakeRequest>,
) -> Result<Secret> {
    if app.draining.is_cancelled() {
        return Err(shutting_down());
    }
    let mut shown = authorization(metadata);
    if shown.is_none() && app.auth.is_on() {
        shown = first_message(requests).await;
    }
    app.auth.session(shown.as_deref()).await
}

/// The first message of a handshake as a header; `None` if there is none, or it says nothing of who sends it.
async fn first_message(requests: &mut Streaming<HandshakeRequest>) -> Option<String> {
    let first = tokio::time::timeout(HANDSHAKE_TIMEOUT, requests.message()).await;
    let payload = first.ok()?.ok()??.payload;
    let BasicAuth { username, password } = BasicAuth::decode(payload).ok()?;
    let is_empty = username.is_empty() && password.is_empty();
    (!is_empty).then(|| format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
}

/// The header with which a handshake is answered.
pub(super) fn bearer_header(bearer: &Secret) -> Result<AsciiMetadataValue> {
    let value = AsciiMetadataValue::try_from(format!("Bearer {}", bearer.expose()));
    let mut value = value.map_err(|_| Error::new(Code::Internal, "a bearer is no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `answer` with the query's id in its headers.
pub(super) fn with_query_id<T>(answer: T, query_id: &str) -> Response<T> {
    let mut response = Response::new(answer);
    if let Ok(value) = AsciiMetadataValue::try_from(query_id) {
        response.metadata_mut().insert(QUERY_ID_HEADER, value);
    }
    response
}

/// A FlightInfo's answer; its query id, if it has one, stands in `app_metadata`.
pub(super) fn info_response(info: FlightInfo) -> Response<FlightInfo> {
    match std::str::from_utf8(&info.app_metadata) {
        Ok(id) if !id.is_empty() => {
            let id = id.to_owned();
            with_query_id(info, &id)
        }
        _ => Response::new(info),
    }
}
