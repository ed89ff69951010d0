//! Who asks, and until when? A call's session, its deadline, and the query id of its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::{BasicAuth, HandshakeRequest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::stream::Peekable;
use prost::Message;
use tidewater_query::{Interface, Principal, RunOptions, Session, UpdateOutcome};
use tidewater_storage::ids::CommitToken;
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Extensions, Response, Status, Streaming};

use super::encode::Form;
use crate::App;
use crate::auth::{Limiter, Proof, Secret};
use crate::call::{authorization, bounded, shutting_down};
use crate::connections::Presence;
use crate::query_api::freshness;
use crate::sessions::{Client, headers};
use crate::status::to_flight_status as to_status;
use crate::tls::ByCertificate;

/// Who shows nothing with a handshake has this long to send a message that does.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a caller sends with a handshake. Whether there is a first message is asked more than once.
pub(super) type HandshakeRequests = Peekable<Streaming<HandshakeRequest>>;

/// The response header that names the query of an answer.
pub(super) const QUERY_ID_HEADER: &str = "x-query-id";

/// Who asks, with which settings, until when.
pub(super) struct Call {
    pub session: Session,
    pub client: Client,
    pub proof: Proof,
    pub limiter: Arc<Limiter>,
    pub deadline: Option<Instant>,
    /// The connection that it came over.
    pub connection: Presence,
    /// Its statements see these commits, or fail.
    pub min_commit: Vec<CommitToken>,
    /// Of the messages of its rows.
    pub form: Form,
}

impl Call {
    /// Reads what a call's metadata says. New calls are refused while the process shuts down.
    pub async fn new(app: &Arc<App>, metadata: &MetadataMap, extensions: &Extensions) -> Result<Self, Status> {
        let call = Self::of_any_session(app, metadata, extensions).await?;
        let kept = call.client.settings(&app.kept.sessions).map_err(|error| to_status(&error))?;
        let session = match kept {
            Some(settings) => call.session.with_settings(settings),
            None => {
                headers::set_schema(app, &call.session, metadata).map_err(|error| to_status(&error))?;
                call.session
            }
        };
        let session = session.with_fitting_types(headers::fitting_types(metadata));
        let session = match headers::types(metadata).map_err(|error| to_status(&error))? {
            Some(types) => session.with_types(types),
            None => session,
        };
        let session = if call.client.is_known_again() { session.with_kept_settings() } else { session };
        let form = headers::form(metadata).map_err(|error| to_status(&error))?;
        Ok(Self { session, form, ..call })
    }

    /// The same whether its session has ended or not: for a call that ends it.
    pub async fn of_any_session(
        app: &Arc<App>,
        metadata: &MetadataMap,
        extensions: &Extensions,
    ) -> Result<Self, Status> {
        let call = crate::call::Call::of(app, metadata).await.map_err(|error| to_status(&error))?;
        let session = call.session(app, Interface::FlightSql);
        let crate::call::Call { proof, limiter, deadline, .. } = call;
        let client = Client::of(app, &session.principal.name, metadata);
        let min_commit = freshness::min_commit_of(metadata).map_err(|error| to_status(&error))?;
        let connection = Presence::of(extensions);
        Ok(Self { session, client, proof, limiter, deadline, connection, min_commit, form: Form::default() })
    }

    /// What a SET of this call changed holds for the client's later calls.
    pub async fn keep_settings(&self, app: &App, outcome: &UpdateOutcome) -> Result<(), Status> {
        if outcome.settings.is_empty() {
            return Ok(());
        }
        let changed: Vec<_> = outcome.settings.iter().map(|(name, value)| (*name, Some(value.clone()))).collect();
        self.client.keep(app, &self.session, changed).await.map_err(|error| to_status(&error))
    }

    /// An answer to this call, with what its client is to show from now on.
    pub fn answered<T>(&self, app: &App, mut answer: Response<T>) -> Response<T> {
        self.client.tell(app, &mut answer);
        answer
    }

    pub fn principal(&self) -> &Principal {
        &self.session.principal
    }

    /// Options for a statement that must end with this call.
    pub fn run_options(&self) -> RunOptions {
        let timeout = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        RunOptions { timeout, ..self.plan_options() }
    }

    /// Options for a query that is planned with this call and goes on without it.
    pub fn plan_options(&self) -> RunOptions {
        RunOptions { min_commit: self.min_commit.clone(), ..RunOptions::default() }
    }

    /// Waits for `work` until this call's deadline; dropping `work` stops it.
    pub async fn bounded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T, Status> {
        bounded(self.deadline, work).await.map_err(|error| to_status(&error))
    }
}

/// What the caller of a handshake may present from now on. Name and password come in the header, or, of older clients, in the first message:
/// there they count more than a certificate, as in every other call.
pub(super) async fn begin_session(
    app: &App,
    metadata: &MetadataMap,
    extensions: &Extensions,
    requests: &mut HandshakeRequests,
) -> Result<Secret> {
    if app.draining.is_cancelled() {
        return Err(shutting_down());
    }
    let mut shown = authorization(metadata);
    if app.auth.is_on() && (shown.is_none() || extensions.get::<ByCertificate>().is_some()) {
        shown = first_message(requests).await.or(shown);
    }
    app.auth.handshake(&app.storage, shown.as_deref()).await
}

/// The first message of a handshake as a header; `None` if there is none, or it says nothing of its sender. It stays the first.
async fn first_message(requests: &mut HandshakeRequests) -> Option<String> {
    let first = tokio::time::timeout(HANDSHAKE_TIMEOUT, Pin::new(requests).peek()).await;
    let payload = first.ok()??.as_ref().ok()?.payload.clone();
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
