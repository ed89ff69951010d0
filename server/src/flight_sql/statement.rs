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
use bytes::Bytes;
use futures::stream::StreamExt;
use prost::Message;
use tidewater_query::{Parameters, PendingQuery, Planned, PlannedKind, RunOptions, UpdateOutcome};
use tidewater_storage::{Error, Result};
use tonic::{Response, Status};

use super::call::{Call, with_query_id};
use super::command::invalid;
use super::encode::{Rows, stream, stream_of};
use super::service::{DoGetStream, FlightSql};
use crate::auth::RunningQuery;
use crate::status::to_status;

/// A planned query that waits for its DoGet.
pub(super) struct PendingRows {
    pub schema: SchemaRef,
    pub query: PendingQuery,
}

/// The result of DML: one row.
static COUNT_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, true)])));

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
    ) -> Result<FlightInfo, Status> {
        // The call's deadline is that of planning and of updates. The rows have the deadline of their own DoGet.
        let Planned { query_id, kind } = self.plan(call, sql, parameters, RunOptions::default()).await?;
        let info = match kind {
            PlannedKind::Rows { schema, pending } => {
                self.keep(call, descriptor, &query_id, PendingRows { schema, query: pending })
            }
            PlannedKind::Update(outcome) => update_info(descriptor, &outcome),
        };
        Ok(info.map_err(|error| to_status(&error))?.with_app_metadata(query_id))
    }

    /// Keeps a planned query for its DoGet.
    fn keep(
        &self,
        call: &Call,
        descriptor: FlightDescriptor,
        query_id: &str,
        pending: PendingRows,
    ) -> Result<FlightInfo> {
        let info = flight_info(descriptor, &pending.schema, &Handle::Query(query_id.to_owned()))?;
        self.tickets.insert(query_id, &call.principal().name, pending)?;
        Ok(info)
    }

    /// GetSchema of a statement: no fields for DDL and DML; nothing runs.
    pub(super) async fn statement_schema(&self, call: &Call, sql: &str) -> Result<SchemaRef, Status> {
        let prepared = call.bounded(self.app.query.prepare(&call.session, sql)).await?;
        Ok(prepared.dataset_schema)
    }

    /// DoGet of a statement's ticket.
    pub(super) fn statement_rows(&self, call: &Call, handle: &[u8]) -> Result<Response<DoGetStream>> {
        match Handle::decode(handle)? {
            Handle::Query(id) => {
                // Before the ticket is used up: whoever is refused can come again with it.
                let running = call.limiter.query()?;
                let pending = self.tickets.take(&id, call.principal())?;
                // Grants may have been taken back since it was planned.
                pending.query.check_caller(call.principal())?;
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
        call.bounded(self.app.query.plan(&call.session, sql, parameters, options)).await
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
    let start = Box::pin(async move {
        let rows = query.start().await?.map(move |batch| {
            let _held = &running;
            batch
        });
        let rows: Rows = rows.boxed();
        Ok(rows)
    });
    with_query_id(stream(schema, start, call.deadline, query_id), query_id)
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
