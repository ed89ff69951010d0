//! Which actions are there? Prepare, close, cancel, renew, sessions. Listed is exactly what is implemented.
//!
//! Actions of Flight SQL carry an `Any` in both directions, actions of Flight the bare message.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint, FlightInfo,
    RenewFlightEndpointRequest,
};
use bytes::Bytes;
use prost::Message;
use tidewater_query::{Canceled, Principal};
use tidewater_storage::{Code, Error, ErrorKind, Result};
use tonic::Status;

use super::call::Call;
use super::command::{command, from_ticket, invalid, refuse_transaction, shortened};
use super::service::FlightSql;
use super::statement::{Handle, schema_bytes};
use super::tickets::{CancelledTicket, expiration};
use crate::sessions;
use crate::status::{self, to_flight_status as to_status, to_status_as};

const CREATE_PREPARED_STATEMENT: &str = "CreatePreparedStatement";
const CLOSE_PREPARED_STATEMENT: &str = "ClosePreparedStatement";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const CANCEL_QUERY: &str = "CancelQuery";
const RENEW_FLIGHT_ENDPOINT: &str = "RenewFlightEndpoint";
const SET_SESSION_OPTIONS: &str = "SetSessionOptions";
const GET_SESSION_OPTIONS: &str = "GetSessionOptions";
pub(super) const CLOSE_SESSION: &str = "CloseSession";

/// `ActionCancelQueryResult.CancelResult`; the crate's enum is private.
const CANCEL_RESULT_CANCELLED: i32 = 1;
const CANCEL_RESULT_CANCELLING: i32 = 2;
const CANCEL_RESULT_NOT_CANCELLABLE: i32 = 3;

/// `ActionCreatePreparedStatementResult` as it is since June 2026: with `is_update`, which the crate does not know yet.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CreatePreparedStatementResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub prepared_statement_handle: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub dataset_schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub parameter_schema: Bytes,
    #[prost(bool, optional, tag = "4")]
    pub is_update: Option<bool>,
}

/// What ListActions answers.
pub(super) fn listed() -> Vec<ActionType> {
    let action =
        |name: &str, description: &str| ActionType { r#type: name.to_owned(), description: description.to_owned() };
    vec![
        action(
            CREATE_PREPARED_STATEMENT,
            "Prepares a statement. Any(ActionCreatePreparedStatementRequest) to Any(ActionCreatePreparedStatementResult).",
        ),
        action(
            CLOSE_PREPARED_STATEMENT,
            "Closes a prepared statement. Any(ActionClosePreparedStatementRequest) to nothing.",
        ),
        action(CANCEL_FLIGHT_INFO, "Stops a query. CancelFlightInfoRequest to CancelFlightInfoResult."),
        action(
            CANCEL_QUERY,
            "Stops a query (deprecated). Any(ActionCancelQueryRequest) to Any(ActionCancelQueryResult).",
        ),
        action(RENEW_FLIGHT_ENDPOINT, "Keeps a ticket for longer. RenewFlightEndpointRequest to FlightEndpoint."),
        action(
            SET_SESSION_OPTIONS,
            "Sets options of the session. SetSessionOptionsRequest to SetSessionOptionsResult.",
        ),
        action(
            GET_SESSION_OPTIONS,
            "Names the options that hold. GetSessionOptionsRequest to GetSessionOptionsResult.",
        ),
        action(CLOSE_SESSION, "Ends the session. CloseSessionRequest to CloseSessionResult."),
    ]
}

impl FlightSql {
    /// Runs an action and returns the bodies of its results.
    pub(super) async fn action(&self, call: &Call, action: Action) -> Result<Vec<Bytes>, Status> {
        match action.r#type.as_str() {
            CREATE_PREPARED_STATEMENT => {
                self.create_prepared_statement(call, &action.body).await.map(|body| vec![body])
            }
            CLOSE_PREPARED_STATEMENT => {
                let closed = request(&action.body).and_then(|request: ActionClosePreparedStatementRequest| {
                    self.kept.prepared.close(&request.prepared_statement_handle, call.principal())
                });
                closed.map(|()| Vec::new()).map_err(|error| to_status(&error))
            }
            CANCEL_FLIGHT_INFO => {
                let status = bare(&action.body).and_then(|request: CancelFlightInfoRequest| {
                    self.cancel_info(call.principal(), &request.info.unwrap_or_default())
                });
                let status = status.map_err(|error| to_status(&error))?;
                Ok(vec![CancelFlightInfoResult::new(status).encode_to_vec().into()])
            }
            CANCEL_QUERY => {
                let status = request(&action.body)
                    .and_then(|request: ActionCancelQueryRequest| bare(&request.info))
                    .and_then(|info: FlightInfo| self.cancel_info(call.principal(), &info));
                let result = match status.map_err(|error| to_status(&error))? {
                    CancelStatus::Cancelled => CANCEL_RESULT_CANCELLED,
                    CancelStatus::Cancelling => CANCEL_RESULT_CANCELLING,
                    CancelStatus::NotCancellable | CancelStatus::Unspecified => CANCEL_RESULT_NOT_CANCELLABLE,
                };
                let result = ActionCancelQueryResult { result };
                Ok(vec![packed(ActionCancelQueryResult::type_url(), &result)])
            }
            RENEW_FLIGHT_ENDPOINT => {
                let renewed = bare(&action.body).and_then(|request: RenewFlightEndpointRequest| {
                    self.renew_endpoint(call.principal(), request.endpoint.unwrap_or_default())
                });
                Ok(vec![renewed.map_err(|error| to_status(&error))?.encode_to_vec().into()])
            }
            SET_SESSION_OPTIONS => {
                let set = sessions::set(&self.app, &call.client, &call.session, &action.body).await;
                // The request is right: the client has to be another one.
                set.map(|body| vec![body]).map_err(|error| status::to_status(&error))
            }
            GET_SESSION_OPTIONS => {
                let told = sessions::get(&call.session, &action.body);
                told.map(|body| vec![body]).map_err(|error| to_status(&error))
            }
            CLOSE_SESSION => {
                let closed = sessions::closed(&self.app, &call.client, &action.body).await;
                closed.map(|body| vec![body]).map_err(|error| to_status(&error))
            }
            other => {
                let error = Error::new(
                    Code::UnsupportedRequest,
                    format!("the action '{}' is not supported yet", shortened(other)),
                )
                .hint("ListActions names those that are");
                Err(to_status(&error))
            }
        }
    }

    async fn create_prepared_statement(&self, call: &Call, body: &[u8]) -> Result<Bytes, Status> {
        let wanted: ActionCreatePreparedStatementRequest = request(body).map_err(|error| to_status(&error))?;
        refuse_transaction(wanted.transaction_id.as_ref()).map_err(|error| to_status(&error))?;
        let prepared = self.prepare(call, &wanted.query).await;
        let prepared = prepared.map_err(|error| not_prepared(&error, &wanted.query))?;
        let answer = || -> Result<Bytes> {
            // Clients without `is_update` tell updates by an empty dataset schema.
            let dataset_schema =
                if prepared.is_update { Bytes::new() } else { schema_bytes(&prepared.dataset_schema)? };
            let result = CreatePreparedStatementResult {
                dataset_schema,
                parameter_schema: schema_bytes(&prepared.parameter_schema)?,
                is_update: Some(prepared.is_update),
                prepared_statement_handle: self.kept.prepared.create(
                    &call.principal().name,
                    &wanted.query,
                    prepared,
                    &call.connection,
                )?,
            };
            Ok(packed(ActionCreatePreparedStatementResult::type_url(), &result))
        };
        answer().map_err(|error| to_status(&error))
    }

    /// Stops the query of a FlightInfo, whether it waits for its DoGet or runs.
    fn cancel_info(&self, caller: &Principal, info: &FlightInfo) -> Result<CancelStatus> {
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.as_ref());
        let ticket = ticket.ok_or_else(|| invalid("the FlightInfo to cancel has no ticket"))?;
        let Command::TicketStatementQuery(statement) = from_ticket(ticket)? else {
            return Err(Error::new(Code::QueryNotFound, "the ticket is not that of a statement"));
        };
        let Handle::Query(query_id) = Handle::decode(&statement.statement_handle)? else {
            return Err(Error::new(Code::QueryNotFound, "the statement has ended"));
        };
        match self.kept.tickets.cancel(&query_id, caller)? {
            CancelledTicket::Dropped | CancelledTicket::Already => Ok(CancelStatus::Cancelled),
            CancelledTicket::Fetched => {
                let status = match self.app.query.cancel(caller, &query_id)? {
                    Canceled::Stopped => CancelStatus::Cancelling,
                    Canceled::Already => CancelStatus::Cancelled,
                    Canceled::TooLate => return Ok(CancelStatus::NotCancellable),
                };
                self.kept.tickets.note_cancelled(&query_id);
                Ok(status)
            }
        }
    }

    /// Has the query of an endpoint wait on for its DoGet, and says for how long. Tickets of metadata and of updates last.
    fn renew_endpoint(&self, caller: &Principal, mut endpoint: FlightEndpoint) -> Result<FlightEndpoint> {
        let ticket = endpoint.ticket.as_ref().ok_or_else(|| invalid("the endpoint to renew has no ticket"))?;
        endpoint.expiration_time = match from_ticket(ticket)? {
            Command::TicketStatementQuery(statement) => match Handle::decode(&statement.statement_handle)? {
                Handle::Query(query_id) => {
                    let left = self.kept.tickets.renew(&query_id, caller, |pending| pending.query.renew())?;
                    Some(expiration(&*self.app.storage.env().clock, left))
                }
                Handle::Done | Handle::Changed(_) => None,
            },
            _ => None,
        };
        Ok(endpoint)
    }
}

/// Of UNIMPLEMENTED ADBC understands that nothing can be prepared here, and goes on without. Whoever has values then learns that there is
/// nothing to bind them to, and not why.
fn not_prepared(error: &Error, sql: &str) -> Status {
    match error.kind() {
        ErrorKind::Unsupported if sql.contains(['?', '$']) => to_status_as(error, tonic::Code::InvalidArgument),
        _ => to_status(error),
    }
}

/// The request of a Flight SQL action: a message in an `Any`.
pub(super) fn request<M: Message + Default + ProstMessageExt>(body: &[u8]) -> Result<M> {
    let any = Any::decode(body).map_err(|error| invalid(format!("the action's body cannot be read: {error}")))?;
    let got = command(any)?.into_any();
    got.unpack()
        .map_err(|error| invalid(error.to_string()))?
        .ok_or_else(|| invalid(format!("the action's body is {}, not {}", shortened(&got.type_url), M::type_url())))
}

fn bare<M: Message + Default>(body: &[u8]) -> Result<M> {
    M::decode(body).map_err(|error| invalid(format!("the action's body cannot be read: {error}")))
}

fn packed(type_url: &str, message: &impl Message) -> Bytes {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec().into() }.encode_to_vec().into()
}
