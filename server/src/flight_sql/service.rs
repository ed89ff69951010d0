//! Which RPCs are there? The `FlightService` trait: each method reads the call, dispatches, converts.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use prost::Message;
use tidewater_query::PlannedKind;
use tidewater_storage::{Code, Error};
use tonic::{Request, Response, Status, Streaming};

use super::actions;
use super::call::{Call, bearer_header, begin_session, info_response, with_query_id};
use super::command::{self, invalid};
use super::encode::stream_of;
use super::incoming::Incoming;
use super::ingest::{self, Target};
use super::metadata::Metadata;
use super::prepared::{PreparedStatements, joined};
use super::statement::{PendingRows, info_of, query_rows, schema_result};
use super::tickets::Tickets;
use crate::App;
use crate::status::to_status;

pub(super) type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// How often expired tickets and handles are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a client still sends after its answer is read for this long, so that it can close its half in peace.
const DRAIN: Duration = Duration::from_secs(5);

/// The Flight SQL service of a process.
pub struct FlightSql {
    pub(super) app: Arc<App>,
    pub(super) tickets: Arc<Tickets<PendingRows>>,
    pub(super) prepared: Arc<PreparedStatements>,
    pub(super) metadata: Metadata,
}

impl FlightSql {
    /// Starts the service and the task that forgets what expired; the task ends with the service.
    pub(super) fn start(app: Arc<App>) -> Self {
        let env = app.storage.env();
        let tickets = Arc::new(Tickets::new(env.clock.clone()));
        let prepared =
            Arc::new(PreparedStatements::new(env.clock.clone(), env.rng.clone(), app.storage.memory().clone()));
        let weak = (Arc::downgrade(&tickets), Arc::downgrade(&prepared));
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
            loop {
                ticks.tick().await;
                let (Some(tickets), Some(prepared)) = (weak.0.upgrade(), weak.1.upgrade()) else { return };
                tickets.sweep();
                prepared.sweep();
            }
        });
        Self { app, tickets, prepared, metadata: Metadata::default() }
    }

    async fn info(&self, call: &Call, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        let request = command::from_descriptor(&descriptor).map_err(|error| to_status(&error))?;
        if let Some(sql) = request.sql() {
            return self.statement_info(call, descriptor, &sql, None).await;
        }
        let command::Request::Command(command) = request else {
            return Err(to_status(&Error::internal("a request is neither a statement nor a command")));
        };
        if let Command::CommandPreparedStatementQuery(query) = &command {
            let handle = &query.prepared_statement_handle;
            let found = self.prepared.get(handle, call.principal());
            let found = found.and_then(|found| Ok((found.query_parameters()?, found)));
            let (parameters, found) = found.map_err(|error| to_status(&error))?;
            return self.statement_info(call, descriptor, &found.sql, parameters).await;
        }
        let info = self.metadata.schema(&command).and_then(|schema| {
            // The ticket is the command itself: metadata is read when it is fetched.
            info_of(descriptor, &schema, command.into_any().encode_to_vec())
        });
        info.map_err(|error| to_status(&error))
    }

    async fn schema(&self, call: &Call, descriptor: &FlightDescriptor) -> Result<SchemaResult, Status> {
        let request = command::from_descriptor(descriptor).map_err(|error| to_status(&error))?;
        let schema = match (request.sql(), &request) {
            (Some(sql), _) => self.statement_schema(call, &sql).await?,
            (None, command::Request::Command(Command::CommandPreparedStatementQuery(query))) => {
                self.prepared_schema(call, &query.prepared_statement_handle).await?
            }
            (None, command::Request::Command(command)) => {
                self.metadata.schema(command).map_err(|error| to_status(&error))?
            }
            (None, _) => return Err(to_status(&Error::internal("a request is neither a statement nor a command"))),
        };
        schema_result(&schema).map_err(|error| to_status(&error))
    }

    async fn rows(&self, call: &Call, ticket: &Ticket) -> Result<Response<DoGetStream>, Status> {
        match command::from_ticket(ticket).map_err(|error| to_status(&error))? {
            Command::TicketStatementQuery(ticket) => {
                self.statement_rows(call, &ticket.statement_handle).map_err(|error| to_status(&error))
            }
            Command::CommandPreparedStatementQuery(query) => {
                self.prepared_rows(call, &query.prepared_statement_handle).await
            }
            command => {
                let schema = self.metadata.schema(&command).map_err(|error| to_status(&error))?;
                let rows = call.bounded(self.metadata.rows(&self.app, &call.session, command)).await?;
                Ok(Response::new(stream_of(schema, rows)))
            }
        }
    }

    /// GetSchema of a prepared statement. Values that are bound may decide the types, so a query is planned with them.
    async fn prepared_schema(&self, call: &Call, handle: &[u8]) -> Result<SchemaRef, Status> {
        let found = self.prepared.get(handle, call.principal()).map_err(|error| to_status(&error))?;
        if found.prepared.runs_when_planned || found.bound.is_none() {
            return Ok(found.prepared.dataset_schema.clone());
        }
        let parameters = found.query_parameters().map_err(|error| to_status(&error))?;
        match self.plan(call, &found.sql, parameters, call.run_options()).await?.kind {
            PlannedKind::Rows { schema, .. } => Ok(schema),
            PlannedKind::Update(_) => Err(to_status(&Error::internal("a prepared query became an update"))),
        }
    }

    /// DoGet of a prepared query without GetFlightInfo before it. Updates and CALL run at GetFlightInfo or DoPut, never here.
    async fn prepared_rows(&self, call: &Call, handle: &[u8]) -> Result<Response<DoGetStream>, Status> {
        let found = self.prepared.get(handle, call.principal()).and_then(|found| {
            if found.prepared.runs_when_planned {
                return Err(invalid("the prepared statement changes something: a ticket does not run it").hint(
                    match found.prepared.is_update {
                        true => "send it with GetFlightInfo, or DoPut with CommandPreparedStatementUpdate",
                        false => "send it with GetFlightInfo, and fetch the ticket of its answer",
                    },
                ));
            }
            Ok((found.query_parameters()?, found))
        });
        let (parameters, found) = found.map_err(|error| to_status(&error))?;
        let planned = self.plan(call, &found.sql, parameters, call.run_options()).await?;
        match planned.kind {
            PlannedKind::Rows { schema, pending } => {
                let running = call.limiter.query().map_err(|error| to_status(&error))?;
                Ok(query_rows(call, &planned.query_id, PendingRows { schema, query: pending }, running))
            }
            PlannedKind::Update(_) => Err(to_status(&Error::internal("a prepared query became an update"))),
        }
    }

    async fn put(
        &self,
        call: Call,
        headers: &tonic::metadata::MetadataMap,
        stream: Streaming<FlightData>,
    ) -> Result<Response<Answers<PutResult>>, Status> {
        let (descriptor, incoming) = Incoming::open(stream, self.app.storage.memory(), &self.app.draining).await?;
        let request = command::from_descriptor(&descriptor).map_err(|error| to_status(&error))?;
        let command::Request::Command(command) = request else {
            let error = Error::new(Code::UnsupportedRequest, "DoPut of plain SQL or of a path is not supported yet")
                .hint("send CommandStatementUpdate or CommandStatementIngest");
            return Err(to_status(&error));
        };
        match command {
            Command::CommandStatementUpdate(update) => {
                command::refuse_transaction(update.transaction_id.as_ref()).map_err(|error| to_status(&error))?;
                let (query_id, outcome) = self.update(&call, &update.query, None).await?;
                // Clients read the answer before they close their half: it must not wait for that.
                let answers = answer_then_drain(update_result(outcome.affected), incoming.into_rest());
                Ok(with_query_id(answers, &query_id))
            }
            Command::CommandPreparedStatementQuery(query) => {
                let handle = query.prepared_statement_handle;
                let mut incoming = incoming.of_parameters(self.prepared.arriving());
                let values = read_parameters(&mut incoming).await?;
                self.prepared.bind(&handle, call.principal(), values).map_err(|error| to_status(&error))?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(Response::new(one(PutResult { app_metadata: result.encode_to_vec().into() })))
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let mut incoming = incoming.of_parameters(self.prepared.arriving());
                let values = read_parameters(&mut incoming).await?;
                let found = self.prepared.get(&update.prepared_statement_handle, call.principal()).and_then(|found| {
                    // Without rows in this stream, those count that were bound before.
                    let rows = values.filter(|values| values.num_rows() > 0).or_else(|| found.bound.clone());
                    Ok((found.parameters(rows.as_ref())?, found))
                });
                let (parameters, found) = found.map_err(|error| to_status(&error))?;
                let (query_id, outcome) = self.update(&call, &found.sql, parameters).await?;
                Ok(with_query_id(one(update_result(outcome.affected)), &query_id))
            }
            Command::CommandStatementIngest(command) => {
                let target = Target::new(command, headers).map_err(|error| ingest::adbc_status(&error))?;
                let incoming = incoming.limited_by(Arc::clone(&call.limiter));
                let stored = ingest::ingest(&self.app, &call, target, incoming).await?;
                Ok(Response::new(one(update_result(stored))))
            }
            other => Err(to_status(&invalid(format!("{} is not sent with DoPut", other.type_url())))),
        }
    }
}

#[tonic::async_trait]
impl FlightService for FlightSql {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = DoGetStream;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    /// Go clients and pyarrow send no message at all, so the answer waits for one only of a caller who has shown nothing else.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let (metadata, _, mut stream) = request.into_parts();
        let bearer = begin_session(&self.app, &metadata, &mut stream).await.map_err(|error| to_status(&error))?;
        let payload = Bytes::from(bearer.expose().to_owned());
        let answer = HandshakeResponse { protocol_version: 0, payload };
        let mut response = Response::new(answer_then_drain(answer, stream));
        response.metadata_mut().insert("authorization", bearer_header(&bearer).map_err(|error| to_status(&error))?);
        Ok(response)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let call = Call::new(&self.app, request.metadata()).await?;
        let infos = self.metadata.flights(&self.app, &call.session).map_err(|error| to_status(&error))?;
        Ok(Response::new(stream::iter(infos.into_iter().map(Ok)).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let call = Call::new(&self.app, request.metadata()).await?;
        self.info(&call, request.into_inner()).await.map(info_response)
    }

    /// Every answer is complete: the query was planned and starts when it is fetched.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let call = Call::new(&self.app, request.metadata()).await?;
        let info = self.info(&call, request.into_inner()).await?;
        let (headers, info, _) = info_response(info).into_parts();
        let mut response = Response::new(PollInfo { info: Some(info), progress: Some(1.0), ..PollInfo::default() });
        *response.metadata_mut() = headers;
        Ok(response)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let call = Call::new(&self.app, request.metadata()).await?;
        self.schema(&call, request.get_ref()).await.map(Response::new)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let call = Call::new(&self.app, request.metadata()).await?;
        self.rows(&call, request.get_ref()).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let call = Call::new(&self.app, request.metadata()).await?;
        let (headers, _, stream) = request.into_parts();
        self.put(call, &headers, stream).await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Call::new(&self.app, request.metadata()).await?;
        let error = Error::new(Code::UnsupportedRequest, "DoExchange is not supported yet")
            .hint("append with DoPut, or with the gRPC service tidewater.ingest.v1.Ingest");
        Err(to_status(&error))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let call = Call::new(&self.app, request.metadata()).await?;
        let bodies = self.action(&call, request.into_inner()).await?;
        Ok(Response::new(stream::iter(bodies.into_iter().map(|body| Ok(arrow_flight::Result { body }))).boxed()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Call::new(&self.app, request.metadata()).await?;
        Ok(Response::new(stream::iter(actions::listed().into_iter().map(Ok)).boxed()))
    }
}

/// All rows of parameters up to the client's half-close. `incoming` knows how many bytes they may have.
async fn read_parameters<S>(incoming: &mut Incoming<S>) -> Result<Option<arrow::array::RecordBatch>, Status>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    let mut batches = Vec::new();
    while let Some(batch) = incoming.next().await? {
        // The first tells the columns; of the others only rows count.
        if batches.is_empty() || batch.num_rows() > 0 {
            batches.push(batch);
        }
    }
    joined(batches).map_err(|error| to_status(&error))
}

fn update_result(affected: u64) -> PutResult {
    let record_count = i64::try_from(affected).unwrap_or(i64::MAX);
    PutResult { app_metadata: DoPutUpdateResult { record_count }.encode_to_vec().into() }
}

fn one<T: Send + 'static>(answer: T) -> Answers<T> {
    stream::iter([Ok(answer)]).boxed()
}

/// Sends `answer` at once, then reads what the client still sends until it closes its half, within [`DRAIN`].
fn answer_then_drain<T: Send + 'static, M: Send + 'static>(
    answer: T,
    rest: impl Stream<Item = M> + Send + 'static,
) -> Answers<T> {
    let drained: BoxFuture<'static, ()> = Box::pin(async move {
        // A client that goes on longer is cut off: its answer is on the way.
        let _ = tokio::time::timeout(DRAIN, rest.for_each(|_| std::future::ready(()))).await;
    });
    let end = stream::once(drained).filter_map(|()| std::future::ready(None));
    stream::iter([Ok(answer)]).chain(end).boxed()
}
