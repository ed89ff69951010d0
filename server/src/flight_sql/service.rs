//! Which RPCs are there? The `FlightService` trait: each method reads the call, dispatches, converts.

use std::pin::Pin;
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
use tidewater_storage::ids::CommitToken;
use tidewater_storage::{Code, Engine, Error};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::actions;
use super::call::{Call, HandshakeRequests, bearer_header, begin_session, with_query_id};
use super::command::{self, invalid};
use super::encode;
use super::incoming::Incoming;
use super::ingest::{self, Target};
use super::metadata::{Metadata, no_substrait};
use super::prepared::{PreparedStatements, Statement, joined};
use super::statement::{PendingRows, info_of, query_rows, schema_result};
use super::tickets::Tickets;
use crate::App;
use crate::auth::SessionId;
use crate::grpc::MessagePlace;
use crate::query_api::freshness;
use crate::sessions::{self, Sessions};
use crate::status::to_flight_status as to_status;

pub(super) type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// How often expired tickets and handles are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a client still sends after its answer is read for this long, so that it can close its half in peace.
const DRAIN: Duration = Duration::from_secs(5);

/// The message of a handshake's answer waits this long for one of the caller, or for the end of them. The bearer, in the headers, does not.
const HANDSHAKE_PAUSE: Duration = Duration::from_secs(1);

/// What is kept for clients between their calls.
pub struct Kept {
    pub(crate) sessions: Sessions,
    pub(super) prepared: PreparedStatements,
    /// Planned queries.
    pub(super) tickets: Tickets<PendingRows>,
}

impl Kept {
    pub fn new(storage: &Engine) -> Self {
        let (env, memory) = (storage.env(), storage.memory());
        Self {
            sessions: Sessions::new(env.clock.clone(), storage.sessions()),
            prepared: PreparedStatements::new(env.clock.clone(), env.rng.clone(), memory.clone()),
            tickets: Tickets::new(env.clock.clone()),
        }
    }

    /// How many there are, by the names of their metrics.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 3] {
        [
            ("tidewater_flight_sessions", self.sessions.n_open()),
            ("tidewater_prepared_statements", self.prepared.n_open()),
            ("tidewater_planned_queries", self.tickets.n_waiting()),
        ]
    }

    /// Lets planned queries go that nobody will fetch: the service has ended.
    pub(crate) fn end(&self) {
        self.tickets.clear();
    }

    /// Forgets what expired. Returns the sessions of which nothing needs to be stored any more.
    fn sweep(&self) -> Vec<SessionId> {
        self.tickets.sweep();
        self.prepared.sweep();
        self.sessions.sweep()
    }
}

/// The Flight SQL service of a process.
pub struct FlightSql {
    pub(super) app: Arc<App>,
    pub(super) kept: Arc<Kept>,
    pub(super) metadata: Metadata,
}

impl FlightSql {
    /// Starts the service and the task that forgets what expired; the task ends with the process's parts.
    pub(super) fn start(app: Arc<App>) -> Self {
        let kept = Arc::clone(&app.kept);
        let (weak, storage) = (Arc::downgrade(&kept), Arc::downgrade(&app.storage));
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
            loop {
                ticks.tick().await;
                let (Some(kept), Some(storage)) = (weak.upgrade(), storage.upgrade()) else { return };
                sessions::forget(&storage, kept.sweep()).await;
            }
        });
        Self { app, kept, metadata: Metadata::default() }
    }

    /// The prepared statement of a handle, which is used with that.
    fn statement_of(&self, call: &Call, handle: &[u8]) -> Result<Statement, Error> {
        self.kept.prepared.get(handle, call.principal(), &call.connection)
    }

    async fn info(&self, call: &Call, descriptor: FlightDescriptor) -> Result<Response<FlightInfo>, Status> {
        let request = command::from_descriptor(&descriptor).map_err(|error| to_status(&error))?;
        if let Some(sql) = request.sql() {
            return self.statement_info(call, descriptor, &sql, None).await;
        }
        let command::Request::Command(command) = request else {
            return Err(to_status(&Error::internal("a request is neither a statement nor a command")));
        };
        if let Command::CommandPreparedStatementQuery(query) = &command {
            let handle = &query.prepared_statement_handle;
            let found = self.statement_of(call, handle);
            let found = found.and_then(|found| Ok((found.query_parameters()?, found)));
            let (parameters, found) = found.map_err(|error| to_status(&error))?;
            return self.statement_info(call, descriptor, &found.sql, parameters).await;
        }
        if let Command::CommandGetSqlInfo(_) = &command {
            // What ADBC asks for first.
            call.client.probe();
        }
        let info = self.metadata.schema(&command).and_then(|schema| {
            // The ticket is the command itself: metadata is read when it is fetched.
            info_of(descriptor, &schema, command.into_any().encode_to_vec())
        });
        info.map(Response::new).map_err(|error| to_status(&error))
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
                Ok(Response::new(encode::stream(schema, Box::pin(async { Ok(rows) }), call.deadline, "")))
            }
        }
    }

    /// GetSchema of a prepared statement, as GetFlightInfo would say it now: tables, and what the caller may see of them, may have changed
    /// since it was prepared. Values that are bound may decide the types, so a query is planned with them.
    async fn prepared_schema(&self, call: &Call, handle: &[u8]) -> Result<SchemaRef, Status> {
        let found = self.statement_of(call, handle).map_err(|error| to_status(&error))?;
        if found.prepared.runs_when_planned || found.bound.is_none() {
            return self.statement_schema(call, &found.sql).await;
        }
        let parameters = found.query_parameters().map_err(|error| to_status(&error))?;
        match self.plan(call, &found.sql, parameters, call.run_options()).await?.kind {
            PlannedKind::Rows { schema, .. } => Ok(schema),
            PlannedKind::Update(_) => Err(to_status(&Error::internal("a prepared query became an update"))),
        }
    }

    /// DoGet of a prepared query without GetFlightInfo before it. Updates and CALL run at GetFlightInfo or DoPut, never here.
    async fn prepared_rows(&self, call: &Call, handle: &[u8]) -> Result<Response<DoGetStream>, Status> {
        let found = self.statement_of(call, handle).and_then(|found| {
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
        call: &Call,
        headers: &tonic::metadata::MetadataMap,
        stream: (Streaming<FlightData>, MessagePlace),
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
                let (query_id, outcome) = self.update(call, &update.query, None).await?;
                // Clients read the answer before they close their half: it must not wait for that.
                let answers =
                    answer_then_drain(update_result(outcome.affected), incoming.into_rest(), self.app.draining.clone());
                Ok(with_token(with_query_id(answers, &query_id), outcome.token.as_ref()))
            }
            Command::CommandPreparedStatementQuery(query) => {
                let handle = query.prepared_statement_handle;
                let mut incoming = incoming.of_parameters(self.kept.prepared.arriving());
                let values = read_parameters(&mut incoming).await?;
                let bound = self.kept.prepared.bind(&handle, call.principal(), values, &call.connection);
                bound.map_err(|error| to_status(&error))?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(Response::new(one(PutResult { app_metadata: result.encode_to_vec().into() })))
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let mut incoming = incoming.of_parameters(self.kept.prepared.arriving());
                let values = read_parameters(&mut incoming).await?;
                let found = self.statement_of(call, &update.prepared_statement_handle).and_then(|found| {
                    // Without rows in this stream, those count that were bound before.
                    let rows = values.filter(|values| values.num_rows() > 0).or_else(|| found.bound.clone());
                    Ok((found.parameters(rows.as_ref())?, found))
                });
                let (parameters, found) = found.map_err(|error| to_status(&error))?;
                let (query_id, outcome) = self.update(call, &found.sql, parameters).await?;
                let answers = with_query_id(one(update_result(outcome.affected)), &query_id);
                Ok(with_token(answers, outcome.token.as_ref()))
            }
            Command::CommandStatementIngest(mut command) => {
                let named = command.schema.filter(|schema| !schema.is_empty());
                command.schema = named.or_else(|| Some(call.session.settings.lock().schema.clone()));
                let target = Target::new(command, headers).map_err(|error| ingest::adbc_status(&error))?;
                let incoming = incoming.limited_by(Arc::clone(&call.limiter));
                let stored = ingest::ingest(&self.app, call, target, incoming).await?;
                Ok(with_token(Response::new(one(update_result(stored.rows))), stored.token.as_ref()))
            }
            Command::CommandStatementSubstraitPlan(_) => Err(to_status(&no_substrait())),
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

    /// Go clients and pyarrow send no message at all, so the bearer waits for one only of a caller who has shown nothing else.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        let mut requests = requests.peekable();
        let bearer = begin_session(&self.app, &metadata, &extensions, &mut requests).await;
        let bearer = bearer.map_err(|error| to_status(&error))?;
        let payload = Bytes::from(bearer.expose().to_owned());
        let answer = HandshakeResponse { protocol_version: 0, payload };
        let mut response = Response::new(handshake_answers(answer, requests, self.app.draining.clone()));
        response.metadata_mut().insert("authorization", bearer_header(&bearer).map_err(|error| to_status(&error))?);
        Ok(response)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let call = Call::new(&self.app, request.metadata(), request.extensions()).await?;
        let infos = self.metadata.flights(&self.app, &call.session);
        let infos = infos.map(|info| info.map_err(|error| to_status(&error))).boxed();
        Ok(call.answered(&self.app, Response::new(infos)))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let call = Call::new(&self.app, request.metadata(), request.extensions()).await?;
        self.info(&call, request.into_inner()).await.map(|answer| call.answered(&self.app, answer))
    }

    /// Every answer is complete: the query was planned and starts when it is fetched.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let call = Call::new(&self.app, request.metadata(), request.extensions()).await?;
        let (headers, info, _) = self.info(&call, request.into_inner()).await?.into_parts();
        let mut response = Response::new(PollInfo { info: Some(info), progress: Some(1.0), ..PollInfo::default() });
        *response.metadata_mut() = headers;
        Ok(call.answered(&self.app, response))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let call = Call::new(&self.app, request.metadata(), request.extensions()).await?;
        self.schema(&call, request.get_ref()).await.map(|schema| call.answered(&self.app, Response::new(schema)))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let call = Call::new(&self.app, request.metadata(), request.extensions()).await?;
        self.rows(&call, request.get_ref()).await.map(|rows| call.answered(&self.app, rows))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let call = Call::new(&self.app, request.metadata(), request.extensions()).await?;
        let (headers, extensions, stream) = request.into_parts();
        let stream = (stream, MessagePlace::of(&extensions));
        self.put(&call, &headers, stream).await.map(|answers| call.answered(&self.app, answers))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Call::new(&self.app, request.metadata(), request.extensions()).await?;
        let error = Error::new(Code::UnsupportedRequest, "DoExchange is not supported yet")
            .hint("append with DoPut, or with the gRPC service tidewater.ingest.v1.Ingest");
        Err(to_status(&error))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let call = match request.get_ref().r#type.as_str() {
            actions::CLOSE_SESSION => Call::of_any_session(&self.app, request.metadata(), request.extensions()).await?,
            _ => Call::new(&self.app, request.metadata(), request.extensions()).await?,
        };
        let bodies = self.action(&call, request.into_inner()).await?;
        let bodies = stream::iter(bodies.into_iter().map(|body| Ok(arrow_flight::Result { body }))).boxed();
        Ok(call.answered(&self.app, Response::new(bodies)))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Call::new(&self.app, request.metadata(), request.extensions()).await?;
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

/// The same with the token of a change in its headers.
fn with_token<T>(mut answer: Response<T>, token: Option<&CommitToken>) -> Response<T> {
    freshness::add_token(answer.metadata_mut().as_mut(), token);
    answer
}

fn one<T: Send + 'static>(answer: T) -> Answers<T> {
    stream::iter([Ok(answer)]).boxed()
}

/// Sends `answer` at once, then reads what the client still sends until it closes its half, within [`DRAIN`], and no longer than the server runs.
fn answer_then_drain<T: Send + 'static, M: Send + 'static>(
    answer: T,
    rest: impl Stream<Item = M> + Send + 'static,
    draining: CancellationToken,
) -> Answers<T> {
    let drained: BoxFuture<'static, ()> = Box::pin(async move {
        // A client that goes on longer is cut off: its answer is on the way.
        let rest = rest.for_each(|_| std::future::ready(()));
        let _ = tokio::time::timeout(DRAIN, draining.run_until_cancelled(rest)).await;
    });
    let end = stream::once(drained).filter_map(|()| std::future::ready(None));
    stream::iter([Ok(answer)]).chain(end).boxed()
}

/// A message for a message: none to callers who end their half without one. Go's clients send none and read once, and what they read has to
/// be the end: when arrow-go lets go of a call whose end it has not seen, it hands out the headers once more, and ADBC goes back to the
/// bearer in them, whatever it was told to show meanwhile.
fn handshake_answers(
    answer: HandshakeResponse,
    mut requests: HandshakeRequests,
    draining: CancellationToken,
) -> Answers<HandshakeResponse> {
    let answers = async move {
        let first = tokio::time::timeout(HANDSHAKE_PAUSE, Pin::new(&mut requests).peek());
        let has_ended = matches!(first.await, Ok(None));
        // Whoever neither sends nor ends may wait for the message.
        if has_ended { stream::empty().boxed() } else { answer_then_drain(answer, requests, draining) }
    };
    stream::once(answers).flatten().boxed()
}
