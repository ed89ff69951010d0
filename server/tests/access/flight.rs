//! Every method of Arrow Flight, every command of Flight SQL that is answered, and every action that is listed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest,
    CommandStatementQuery, CommandStatementUpdate, ProstMessageExt, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    RenewFlightEndpointRequest,
};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::Status;
use tonic::transport::Channel;

use super::world::{Caller, World};
use super::{Least, Row};

/// The protocol's, which does not grow.
pub const METHODS: [&str; 10] = [
    "Handshake",
    "ListFlights",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoPut",
    "DoExchange",
    "DoAction",
    "ListActions",
];

/// The commands that the server answers.
const COMMANDS: [&str; 15] = [
    "CommandStatementQuery",
    "CommandStatementUpdate",
    "CommandStatementIngest",
    "CommandPreparedStatementQuery",
    "CommandPreparedStatementUpdate",
    "CommandGetCatalogs",
    "CommandGetDbSchemas",
    "CommandGetTables",
    "CommandGetTableTypes",
    "CommandGetPrimaryKeys",
    "CommandGetExportedKeys",
    "CommandGetImportedKeys",
    "CommandGetCrossReference",
    "CommandGetSqlInfo",
    "CommandGetXdbcTypeInfo",
];

/// Methods, commands, and the actions that the server says it has.
pub async fn there(world: &World) -> Vec<String> {
    let root = world.callers.last().expect("root");
    let actions = flight(root).list_actions(root.request(Empty {})).await.expect("listed").into_inner();
    let actions: Vec<_> = actions.try_collect().await.expect("listed");
    let actions = actions.into_iter().map(|action| format!("action {}", action.r#type));
    METHODS.iter().chain(&COMMANDS).map(|name| (*name).to_owned()).chain(actions).collect()
}

fn row(of: &'static str, least: Least, call: super::Call) -> Row {
    Row { of, least, call }
}

fn flight(caller: &Caller) -> FlightServiceClient<Channel> {
    FlightServiceClient::new(caller.channel.clone())
}

fn descriptor(command: &impl ProstMessageExt) -> FlightDescriptor {
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

fn select() -> FlightDescriptor {
    descriptor(&CommandStatementQuery { query: "SELECT * FROM shop.orders".to_owned(), transaction_id: None })
}

/// GetFlightInfo, then DoGet of all its tickets.
async fn ask(caller: &Caller, descriptor: FlightDescriptor) -> Result<(), Status> {
    let info = flight(caller).get_flight_info(caller.request(descriptor)).await?.into_inner();
    fetch(caller, info).await
}

async fn fetch(caller: &Caller, info: FlightInfo) -> Result<(), Status> {
    for endpoint in info.endpoint {
        let ticket = endpoint.ticket.expect("a ticket");
        let rows = flight(caller).do_get(caller.request(ticket)).await?.into_inner();
        rows.try_for_each(|_| std::future::ready(Ok(()))).await?;
    }
    Ok(())
}

async fn put(caller: &Caller, data: Vec<FlightData>) -> Result<(), Status> {
    let answers = flight(caller).do_put(caller.request(stream::iter(data))).await?.into_inner();
    answers.try_for_each(|_| std::future::ready(Ok(()))).await
}

fn bare(descriptor: FlightDescriptor) -> Vec<FlightData> {
    vec![FlightData { flight_descriptor: Some(descriptor), ..FlightData::default() }]
}

/// Appends one row to a table of `shop`, which is made or must be there.
async fn append(caller: &Caller, table: &str, create: bool) -> Result<(), Status> {
    let if_not_exist = if create { TableNotExistOption::Create } else { TableNotExistOption::Fail };
    let command = CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: if_not_exist.into(),
            if_exists: TableExistsOption::Append.into(),
        }),
        table: table.to_owned(),
        schema: Some("shop".to_owned()),
        ..Default::default()
    };
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let batch = RecordBatch::try_from_iter([("id", ids)]).expect("a batch");
    let data = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor(&command)))
        .build(stream::iter([Ok(batch)]))
        .try_collect::<Vec<_>>()
        .await
        .expect("encoded");
    put(caller, data).await
}

/// The bodies of an action's results.
async fn act(caller: &Caller, name: &str, body: Vec<u8>) -> Result<Vec<bytes::Bytes>, Status> {
    let action = Action { r#type: name.to_owned(), body: body.into() };
    let results = flight(caller).do_action(caller.request(action)).await?.into_inner();
    results.map(|result| result.map(|result| result.body)).try_collect().await
}

/// Prepares a statement and returns its handle.
async fn prepare(caller: &Caller, sql: &str) -> Result<bytes::Bytes, Status> {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let bodies = act(caller, "CreatePreparedStatement", request.as_any().encode_to_vec()).await?;
    let any = Any::decode(bodies[0].clone()).expect("an Any");
    let prepared: ActionCreatePreparedStatementResult = any.unpack().expect("read").expect("of its type");
    Ok(prepared.prepared_statement_handle)
}

async fn renew(caller: &Caller, info: FlightInfo) -> Result<(), Status> {
    let request = RenewFlightEndpointRequest { endpoint: info.endpoint.into_iter().next() };
    act(caller, "RenewFlightEndpoint", request.encode_to_vec()).await.map(drop)
}

/// Tried and answered: what is not there, or not supported, is no matter of access.
fn answered(outcome: Result<(), Status>, code: &str) -> Result<(), Status> {
    match outcome {
        Err(status) if status.message().ends_with(code) => Ok(()),
        outcome => outcome,
    }
}

pub fn rows() -> Vec<Row> {
    let mut rows = methods();
    rows.extend(statements());
    rows.extend(metadata());
    rows.extend(actions());
    rows
}

fn methods() -> Vec<Row> {
    vec![
        row("Handshake", Least::Anyone, |_, caller| {
            async move {
                let hello = caller.request(stream::iter([HandshakeRequest::default()]));
                let answer = flight(caller).handshake(hello).await?;
                let bearer = answer.metadata().get("authorization").expect("a bearer").clone();
                // It stands for the caller from then on.
                let session = Caller { least: caller.least, header: Some(bearer), channel: caller.channel.clone() };
                flight(&session).list_actions(session.request(Empty {})).await.map(drop)
            }
            .boxed()
        }),
        row("ListFlights", Least::Anyone, |_, caller| {
            async move { flight(caller).list_flights(caller.request(Criteria::default())).await.map(drop) }.boxed()
        }),
        row("GetFlightInfo", Least::Reader, |_, caller| {
            async move { flight(caller).get_flight_info(caller.request(select())).await.map(drop) }.boxed()
        }),
        row("PollFlightInfo", Least::Reader, |_, caller| {
            async move { flight(caller).poll_flight_info(caller.request(select())).await.map(drop) }.boxed()
        }),
        row("GetSchema", Least::Reader, |_, caller| {
            async move { flight(caller).get_schema(caller.request(select())).await.map(drop) }.boxed()
        }),
        row("DoGet", Least::Reader, |_, caller| ask(caller, select()).boxed()),
        // The ticket of another.
        row("DoGet", Least::Root, |world, caller| {
            async move {
                let writer = world.callers.iter().find(|caller| caller.least == Least::Writer).expect("there");
                let info = flight(writer).get_flight_info(writer.request(select())).await?.into_inner();
                match caller.least {
                    // Their own.
                    Least::Writer => Err(Status::permission_denied("one's own ticket (TW-1402)")),
                    _ => fetch(caller, info).await,
                }
            }
            .boxed()
        }),
        row("DoPut", Least::Writer, |_, caller| append(caller, "orders", false).boxed()),
        row("DoExchange", Least::Anyone, |_, caller| {
            async move {
                let exchange = caller.request(stream::iter([FlightData::default()]));
                answered(flight(caller).do_exchange(exchange).await.map(drop), "(TW-1405)")
            }
            .boxed()
        }),
        row("DoAction", Least::Anyone, |_, caller| {
            async move { answered(act(caller, "NoSuchAction", Vec::new()).await.map(drop), "(TW-1405)") }.boxed()
        }),
        row("ListActions", Least::Anyone, |_, caller| {
            async move { flight(caller).list_actions(caller.request(Empty {})).await.map(drop) }.boxed()
        }),
    ]
}

fn statements() -> Vec<Row> {
    vec![
        row("CommandStatementQuery", Least::Reader, |_, caller| ask(caller, select()).boxed()),
        row("CommandStatementUpdate", Least::Writer, |_, caller| {
            async move {
                let query = "INSERT INTO shop.orders VALUES (6)".to_owned();
                put(caller, bare(descriptor(&CommandStatementUpdate { query, transaction_id: None }))).await
            }
            .boxed()
        }),
        row("CommandStatementIngest", Least::Writer, |_, caller| append(caller, "orders", true).boxed()),
        row("CommandStatementIngest", Least::Keeper, |_, caller| {
            async move { append(caller, &format!("appended_by_{}", caller.least.name()), true).await }.boxed()
        }),
        row("CommandPreparedStatementQuery", Least::Reader, |_, caller| {
            async move {
                let prepared_statement_handle = prepare(caller, "SELECT * FROM shop.orders").await?;
                ask(caller, descriptor(&CommandPreparedStatementQuery { prepared_statement_handle })).await
            }
            .boxed()
        }),
        row("CommandPreparedStatementUpdate", Least::Writer, |_, caller| {
            async move {
                let prepared_statement_handle = prepare(caller, "INSERT INTO shop.orders VALUES (7)").await?;
                put(caller, bare(descriptor(&CommandPreparedStatementUpdate { prepared_statement_handle }))).await
            }
            .boxed()
        }),
    ]
}

/// What there is, as far as the caller sees it.
fn metadata() -> Vec<Row> {
    vec![
        row("CommandGetCatalogs", Least::Anyone, |_, caller| ask(caller, descriptor(&CommandGetCatalogs {})).boxed()),
        row("CommandGetDbSchemas", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetDbSchemas::default())).boxed()
        }),
        row("CommandGetTables", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetTables { include_schema: true, ..Default::default() })).boxed()
        }),
        row("CommandGetTableTypes", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetTableTypes {})).boxed()
        }),
        row("CommandGetPrimaryKeys", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetPrimaryKeys { table: "orders".to_owned(), ..Default::default() })).boxed()
        }),
        row("CommandGetExportedKeys", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetExportedKeys { table: "orders".to_owned(), ..Default::default() }))
                .boxed()
        }),
        row("CommandGetImportedKeys", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetImportedKeys { table: "orders".to_owned(), ..Default::default() }))
                .boxed()
        }),
        row("CommandGetCrossReference", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetCrossReference::default())).boxed()
        }),
        row("CommandGetSqlInfo", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetSqlInfo::default())).boxed()
        }),
        row("CommandGetXdbcTypeInfo", Least::Anyone, |_, caller| {
            ask(caller, descriptor(&CommandGetXdbcTypeInfo::default())).boxed()
        }),
    ]
}

fn actions() -> Vec<Row> {
    vec![
        row("action CreatePreparedStatement", Least::Anyone, |_, caller| {
            async move { prepare(caller, "SELECT 1").await.map(drop) }.boxed()
        }),
        row("action CreatePreparedStatement", Least::Reader, |_, caller| {
            async move { prepare(caller, "SELECT * FROM shop.orders").await.map(drop) }.boxed()
        }),
        row("action ClosePreparedStatement", Least::Anyone, |_, caller| {
            async move {
                let prepared_statement_handle = prepare(caller, "SELECT 1").await?;
                let request = ActionClosePreparedStatementRequest { prepared_statement_handle };
                act(caller, "ClosePreparedStatement", request.as_any().encode_to_vec()).await.map(drop)
            }
            .boxed()
        }),
        row("action CancelFlightInfo", Least::Reader, |_, caller| {
            async move {
                let info = flight(caller).get_flight_info(caller.request(select())).await?.into_inner();
                let request = CancelFlightInfoRequest { info: Some(info) };
                act(caller, "CancelFlightInfo", request.encode_to_vec()).await.map(drop)
            }
            .boxed()
        }),
        row("action CancelQuery", Least::Reader, |_, caller| {
            async move {
                let info = flight(caller).get_flight_info(caller.request(select())).await?.into_inner();
                let request = arrow_flight::sql::ActionCancelQueryRequest { info: info.encode_to_vec().into() };
                act(caller, "CancelQuery", request.as_any().encode_to_vec()).await.map(drop)
            }
            .boxed()
        }),
        row("action RenewFlightEndpoint", Least::Reader, |_, caller| {
            async move {
                let info = flight(caller).get_flight_info(caller.request(select())).await?.into_inner();
                renew(caller, info).await
            }
            .boxed()
        }),
        // The ticket of another.
        row("action RenewFlightEndpoint", Least::Root, |world, caller| {
            async move {
                let writer = world.callers.iter().find(|caller| caller.least == Least::Writer).expect("there");
                let info = flight(writer).get_flight_info(writer.request(select())).await?.into_inner();
                match caller.least {
                    // Their own.
                    Least::Writer => Err(Status::permission_denied("one's own ticket (TW-1402)")),
                    _ => renew(caller, info).await,
                }
            }
            .boxed()
        }),
        row("action SetSessionOptions", Least::Anyone, |_, caller| {
            async move { act(caller, "SetSessionOptions", Vec::new()).await.map(drop) }.boxed()
        }),
        row("action GetSessionOptions", Least::Anyone, |_, caller| {
            async move { act(caller, "GetSessionOptions", Vec::new()).await.map(drop) }.boxed()
        }),
        row("action CloseSession", Least::Anyone, |_, caller| {
            async move { act(caller, "CloseSession", Vec::new()).await.map(drop) }.boxed()
        }),
    ]
}
