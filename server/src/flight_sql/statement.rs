//! How does a statement run? Planned once at GetFlightInfo, fetched once at DoGet; DDL and DML run exactly once, at once.
//!
//! A client may never send DoGet for a CREATE TABLE, or send it twice, so nothing with an effect waits for it: the
//! ticket of an update carries the answer itself, and CALL has run when its rows wait for their DoGet.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult, Ticket};
use axum::http::HeaderMap;
use bytes::Bytes;
use futures::stream::StreamExt;
use prost::Message;
use tidewater_query::{Parameters, PendingQuery, Planned, PlannedKind, Prepared, RunOptions, UpdateOutcome};
use tidewater_storage::{Error, Result};
use tonic::{Response, Status};

use super::call::{Call, with_query_id};
use super::command::invalid;
use super::encode::{Ending, Rows, stream_of, stream_with};
use super::metadata::announced;
use super::service::{DoGetStream, FlightSql};
use super::tickets::{TICKET_TTL, expiration};
use crate::auth::RunningQuery;
use crate::call::bounded;
use crate::query_api::freshness;
use crate::status::to_flight_status as to_status;

/// A planned query that waits for its DoGet.
pub(super) struct PendingRows {
    pub schema: SchemaRef,
    pub query: PendingQuery,
}

/// The result of DML: one row.
static COUNT_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| announced(&Schema::new(vec![Field::new("count", DataType::Int64, true)])));

/// What a statement's handle means. The bytes are opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Handle {
    /// A query in the ticket registry.
    Query(String),
    /// DDL that was run.
    Done,
    /// DML that was run, and the rows it changed.
    Changed(u64),
}

impl Handle {
    pub fn encode(&self) -> Bytes {
        match self {
            Handle::Query(id) => format!("q:{id}").into(),
            Handle::Done => Bytes::from_static(b"d:"),
            Handle::Changed(rows) => format!("c:{rows}").into(),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let handle = match text.split_once(':') {
            Some(("q", id)) => Some(Handle::Query(id.to_owned())),
            Some(("d", "")) => Some(Handle::Done),
            Some(("c", rows)) => rows.parse().ok().map(Handle::Changed),
            _ => None,
        };
        handle
            .ok_or_else(|| invalid("the statement handle is not one of this server").hint("pass the ticket unchanged"))
    }

    /// The schema and rows of an update's answer.
    fn answer(&self) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        match self {
            Handle::Query(_) | Handle::Done => Ok((Arc::new(Schema::empty()), Vec::new())),
            Handle::Changed(rows) => {
                let count = i64::try_from(*rows).unwrap_or(i64::MAX);
                let count: ArrayRef = Arc::new(Int64Array::from(vec![count]));
                Ok((COUNT_SCHEMA.clone(), vec![RecordBatch::try_new(COUNT_SCHEMA.clone(), vec![count])?]))
            }
        }
    }
}

impl FlightSql {
    /// GetFlightInfo of a statement: plans a query and keeps it for its DoGet, or runs an update.
    pub(super) async fn statement_info(
        &self,
        call: &Call,
        descriptor: FlightDescriptor,
        sql: &str,
        parameters: Option<Parameters>,
    ) -> Result<Response<FlightInfo>, Status> {
        // The call's deadline is that of planning and of updates. The rows have the deadline of their own DoGet.
        let Planned { query_id, kind } = self.plan(call, sql, parameters, call.plan_options()).await?;
        let mut fresh = HeaderMap::new();
        let info = match kind {
            PlannedKind::Rows { schema, pending } => {
                freshness::add_headers(&mut fresh, &pending.watch().summary().tables);
                self.keep(call, descriptor, &query_id, PendingRows { schema, query: pending })
            }
            PlannedKind::Update(outcome) => {
                freshness::add_token(&mut fresh, outcome.token.as_ref());
                update_info(descriptor, &outcome)
            }
        };
        let info = info.map_err(|error| to_status(&error))?.with_app_metadata(query_id.clone());
        let mut answer = with_query_id(info, &query_id);
        let headers: &mut HeaderMap = answer.metadata_mut().as_mut();
        headers.extend(fresh);
        Ok(answer)
    }

    /// Keeps a planned query for its DoGet.
    fn keep(
        &self,
        call: &Call,
        descriptor: FlightDescriptor,
        query_id: &str,
        pending: PendingRows,
    ) -> Result<FlightInfo> {
        let mut info = flight_info(descriptor, &pending.schema, &Handle::Query(query_id.to_owned()))?;
        let planned = freshness::planned_json(query_id, &pending.query.watch().summary().tables);
        let expires = expiration(&*self.app.storage.env().clock, TICKET_TTL);
        for endpoint in &mut info.endpoint {
            endpoint.app_metadata = planned.to_string().into();
            endpoint.expiration_time = Some(expires);
        }
        self.kept.tickets.insert(query_id, &call.principal().name, pending, &call.connection)?;
        Ok(info)
    }

    /// GetSchema of a statement: no fields for DDL and DML; nothing runs.
    pub(super) async fn statement_schema(&self, call: &Call, sql: &str) -> Result<SchemaRef, Status> {
        let prepared = self.prepare(call, sql).await.map_err(|error| to_status(&error))?;
        Ok(prepared.dataset_schema)
    }

    /// Plans a statement for what its clients are told of it.
    pub(super) async fn prepare(&self, call: &Call, sql: &str) -> Result<Prepared> {
        let prepared = bounded(call.deadline, self.app.query.prepare(&call.session, sql)).await?;
        Ok(Prepared { dataset_schema: announced(&prepared.dataset_schema), ..prepared })
    }

    /// DoGet of a statement's ticket.
    pub(super) fn statement_rows(&self, call: &Call, handle: &[u8]) -> Result<Response<DoGetStream>> {
        match Handle::decode(handle)? {
            Handle::Query(id) => {
                // Before the ticket is used up: whoever is refused can come again with it.
                let running = call.limiter.query()?;
                let pending = self.kept.tickets.take(&id, call.principal(), |pending| {
                    // Grants may have been taken back since it was planned.
                    pending.query.check_caller(call.principal())?;
                    freshness::check_covers(&pending.query.watch().summary().tables, &call.min_commit)
                })?;
                Ok(query_rows(call, &id, pending, running))
            }
            done => {
                let (schema, rows) = done.answer()?;
                Ok(Response::new(stream_of(schema, rows)))
            }
        }
    }

    /// Runs an update to its end and returns its query id with what it did. A statement that returns rows is refused before it starts.
    pub(super) async fn update(
        &self,
        call: &Call,
        sql: &str,
        parameters: Option<Parameters>,
    ) -> Result<(String, UpdateOutcome), Status> {
        let options = RunOptions { only_updates: true, ..call.run_options() };
        let planned = self.plan(call, sql, parameters, options).await?;
        match planned.kind {
            PlannedKind::Update(outcome) => Ok((planned.query_id, outcome)),
            PlannedKind::Rows { .. } => Err(to_status(&Error::internal("an update returned rows"))),
        }
    }

    /// Plans a query or runs an update, within the call's deadline. It is a running statement of the caller meanwhile.
    pub(super) async fn plan(
        &self,
        call: &Call,
        sql: &str,
        parameters: Option<Parameters>,
        options: RunOptions,
    ) -> Result<Planned, Status> {
        let _running = call.limiter.query().map_err(|error| to_status(&error))?;
        let mut planned = call.bounded(self.app.query.plan(&call.session, sql, parameters, options)).await?;
        match &mut planned.kind {
            PlannedKind::Rows { schema, .. } => *schema = announced(schema),
            PlannedKind::Update(outcome) => call.keep_settings(&self.app, outcome).await?,
        }
        Ok(planned)
    }
}

/// The stream of a query that was planned: it starts when the client reads, and is `running` until the client has read it or is gone.
pub(super) fn query_rows(
    call: &Call,
    query_id: &str,
    pending: PendingRows,
    running: RunningQuery,
) -> Response<DoGetStream> {
    let PendingRows { schema, query } = pending;
    let watch = query.watch();
    let tables = watch.summary().tables;
    let id = query_id.to_owned();
    let ending: Ending = Box::new(move || {
        let summary = watch.summary();
        (freshness::ended_json(&id, &summary).to_string().into(), freshness::trailers(&summary))
    });
    let start = Box::pin(async move {
        let rows = query.start().await?.map(move |batch| {
            let _held = &running;
            batch
        });
        let rows: Rows = rows.boxed();
        Ok(rows)
    });
    let stream = stream_with(schema, call.form.clone(), start, call.deadline, query_id, ending);
    let mut answer = with_query_id(stream, query_id);
    freshness::add_headers(answer.metadata_mut().as_mut(), &tables);
    answer
}

/// DDL has no rows to count. An INSERT of no rows has no token either, and is answered as DDL is.
fn is_dml(outcome: &UpdateOutcome) -> bool {
    outcome.affected > 0 || outcome.token.is_some()
}

/// The one form of FlightInfo that every client takes: one endpoint without locations, counts unknown, ordered.
pub(super) fn info_of(descriptor: FlightDescriptor, schema: &Schema, ticket: impl Into<Bytes>) -> Result<FlightInfo> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    Ok(FlightInfo::new()
        .try_with_schema(schema)?
        .with_descriptor(descriptor)
        .with_endpoint(endpoint)
        .with_ordered(true))
}

/// The FlightInfo of an update that was run; its ticket may be fetched any number of times, or never.
fn update_info(descriptor: FlightDescriptor, outcome: &UpdateOutcome) -> Result<FlightInfo> {
    let handle = if is_dml(outcome) { Handle::Changed(outcome.affected) } else { Handle::Done };
    let (schema, _) = handle.answer()?;
    // ADBC takes the rows that changed from here.
    let affected = i64::try_from(outcome.affected).unwrap_or(i64::MAX);
    Ok(flight_info(descriptor, &schema, &handle)?.with_total_records(affected))
}

fn flight_info(descriptor: FlightDescriptor, schema: &Schema, handle: &Handle) -> Result<FlightInfo> {
    let ticket = TicketStatementQuery { statement_handle: handle.encode() };
    info_of(descriptor, schema, ticket.as_any().encode_to_vec())
}

/// A schema as an encapsulated IPC message.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into()?;
    Ok(bytes)
}

/// The answer of GetSchema.
pub(super) fn schema_result(schema: &Schema) -> Result<SchemaResult> {
    Ok(SchemaResult { schema: schema_bytes(schema)? })
}
