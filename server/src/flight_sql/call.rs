//! Who asks, and until when? A call's session, its deadline, and the query id of its answer.

use std::future::Future;

use arrow_flight::FlightInfo;
use tidewater_query::{Interface, Principal, RunOptions, Session};
use tidewater_storage::Result;
use tokio::time::Instant;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Response, Status};

use crate::App;
use crate::call::bounded;
use crate::status::to_status;

/// The response header that names the query of an answer.
pub(super) const QUERY_ID_HEADER: &str = "x-query-id";

/// Who asks, with which settings, until when.
pub(super) struct Call {
    pub session: Session,
    pub deadline: Option<Instant>,
}

impl Call {
    /// Reads what a call's metadata says. New calls are refused while the process shuts down.
    pub fn new(app: &App, metadata: &MetadataMap) -> Result<Self, Status> {
        let call = crate::call::Call::of(app, metadata).map_err(|error| to_status(&error))?;
        let session = app.query.session(call.principal, Interface::FlightSql);
        Ok(Self { session, deadline: call.deadline })
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
