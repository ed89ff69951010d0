//! Prepared statements: handles, parameters, updates with many rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow_flight::sql::{ActionCreatePreparedStatementRequest, Any, CommandPreparedStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightDescriptor};
use futures::stream::TryStreamExt;
use prost::Message;
use tidewater_storage::memory::Share;
use tonic::Code;

use super::{Server, schema_of, text};
use crate::flight_sql::actions::CreatePreparedStatementResult;

async fn prepare(server: &Server, sql: &str) -> Result<CreatePreparedStatementResult, tonic::Status> {
    let request = ActionCreatePreparedStatementRequest { query: sql.into(), transaction_id: None };
    let action = Action::new("CreatePreparedStatement", request.as_any().encode_to_vec());
    let answers: Vec<_> = server.raw().do_action(action).await?.into_inner().try_collect().await?;
    let any = Any::decode(answers[0].body.clone()).unwrap();
    assert!(any.type_url.ends_with("ActionCreatePreparedStatementResult"));
    Ok(CreatePreparedStatementResult::decode(any.value).unwrap())
}

fn pairs(rows: &[(i64, &str)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    RecordBatch::try_from_iter([("0", ids), ("1", names)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prepare_tells() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)"]).await;
    let select = prepare(&server, "SELECT name FROM t WHERE id = $1").await.unwrap();
    assert_eq!(select.is_update, Some(false));
    assert!(!select.dataset_schema.is_empty());
    for update in ["INSERT INTO t VALUES ($1, $2)", "CREATE TABLE u (id BIGINT)"] {
        let update = prepare(&server, update).await.unwrap();
        assert_eq!(update.is_update, Some(true));
        assert!(update.dataset_schema.is_empty());
    }
    assert_eq!(server.info("SELECT * FROM u").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(prepare(&server, "SELEC").await.unwrap_err().code(), Code::InvalidArgument);
    let mut statement = server.sql().prepare("INSERT INTO t VALUES (?, ?)".into(), None).await.unwrap();
    assert_eq!(statement.parameter_schema().unwrap().fields().len(), 2);
    statement.set_parameters(pairs(&[(1, "a")])).unwrap();
    statement.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_one_commit() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))"]).await;
    let mut insert = server.sql().prepare("INSERT INTO t VALUES ($1, $2)".into(), None).await.unwrap();
    insert.set_parameters(pairs(&[(1, "a"), (2, "b"), (3, "c")])).unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 3);
    let table = server.app.storage.table("public", "t").unwrap();
    assert_eq!(table.snapshot().upper().0, 1);
    let rows = server.rows("SELECT count(*) AS n, max(name) AS m FROM t").await;
    assert!(rows.contains("| 3 | c |"), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_parameters_runs_again_and_again() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')"]).await;
    let mut select = server.sql().prepare("SELECT name FROM t WHERE id = $1 AND name = $2".into(), None).await.unwrap();
    for (id, name) in [(1, "a"), (2, "b")] {
        select.set_parameters(pairs(&[(id, name)])).unwrap();
        for _ in 0..2 {
            let info = select.execute().await.unwrap();
            let (schema, rows) = server.fetch(&info).await.unwrap();
            assert_eq!(*schema, schema_of(&info));
            assert!(text(&rows).contains(&format!("| {name} ")), "{}", text(&rows));
        }
    }
    // Once for each row, in one answer.
    select.set_parameters(pairs(&[(2, "b"), (2, "a"), (1, "a")])).unwrap();
    let info = select.execute().await.unwrap();
    let (schema, rows) = server.fetch(&info).await.unwrap();
    assert_eq!(*schema, schema_of(&info));
    let names: Vec<_> = rows.iter().flat_map(|rows| rows.column(0).as_string::<i32>().iter().flatten()).collect();
    assert_eq!(names, ["b", "a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_with_parameters_go_on_when_memory_for_rows_is_full() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)", "INSERT INTO t VALUES (1, 'a')"]).await;
    let mut select = server.sql().prepare("SELECT name FROM t WHERE id = $1 AND name = $2".into(), None).await.unwrap();
    let memory = server.app.storage.memory();
    let _full = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    select.set_parameters(pairs(&[(1, "a")])).unwrap();
    // A bulk append would wait for longer than this.
    let info = tokio::time::timeout(Duration::from_secs(15), select.execute()).await.expect("at once").unwrap();
    let (_, rows) = server.fetch(&info).await.unwrap();
    assert!(text(&rows).contains("| a "), "{}", text(&rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_needed_and_handles_end() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL)"]).await;
    let select = prepare(&server, "SELECT * FROM t WHERE id = ?").await.unwrap();
    let of_handle = |handle: bytes::Bytes| {
        let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
        FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
    };
    let status = server.raw().get_flight_info(of_handle(select.prepared_statement_handle)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("expected 1 parameters, got 0"), "{status}");
    let status = server.raw().get_flight_info(of_handle(bytes::Bytes::from_static(b"nothing"))).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

/// The table has another column since the statement was prepared: every answer says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_query_is_announced_as_its_tables_are_now() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT)"]).await;
    let select = prepare(&server, "SELECT * FROM t").await.unwrap();
    server.run(&["ALTER TABLE t ADD COLUMN name VARCHAR"]).await;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: select.prepared_statement_handle };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let told = server.raw().get_schema(descriptor.clone()).await.unwrap().into_inner();
    let info = server.raw().get_flight_info(descriptor).await.unwrap().into_inner();
    let told = arrow::datatypes::Schema::try_from(&told).unwrap();
    assert_eq!((told.fields().len(), &told), (2, &schema_of(&info)));
}

/// Other types hold since the statement was prepared.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_query_is_announced_in_the_types_that_hold_now() {
    let server = Server::start().await;
    let select = prepare(&server, "SELECT arrow_cast(1.5, 'Float16') AS x").await.unwrap();
    let command = CommandPreparedStatementQuery { prepared_statement_handle: select.prepared_statement_handle };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let asking = |types: &str| {
        let mut request = tonic::Request::new(descriptor.clone());
        request.metadata_mut().insert("x-flight-types", types.parse().unwrap());
        request
    };
    for (types, wanted) in [("portable", DataType::Float32), ("native", DataType::Float16)] {
        let told = server.raw().get_schema(asking(types)).await.unwrap().into_inner();
        let info = server.raw().get_flight_info(asking(types)).await.unwrap().into_inner();
        let told = arrow::datatypes::Schema::try_from(&told).unwrap();
        assert_eq!((told.field(0).data_type(), &told), (&wanted, &schema_of(&info)), "{types}");
        let (sent, _) = server.fetch(&info).await.unwrap();
        assert_eq!(*sent, told, "{types}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_ddl_runs_at_get_flight_info_and_never_at_do_get() {
    let server = Server::start().await;
    let create = prepare(&server, "CREATE TABLE t (id BIGINT)").await.unwrap();
    let command = CommandPreparedStatementQuery { prepared_statement_handle: create.prepared_statement_handle };
    let bytes = command.as_any().encode_to_vec();
    let status = server.fetch_ticket(arrow_flight::Ticket::new(bytes.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    server.raw().get_flight_info(FlightDescriptor::new_cmd(bytes)).await.unwrap();
    server.rows("SELECT * FROM t").await;
    let select = prepare(&server, "SELECT 1 AS one").await.unwrap();
    let command = CommandPreparedStatementQuery { prepared_statement_handle: select.prepared_statement_handle };
    let (_, rows) = server.fetch_ticket(arrow_flight::Ticket::new(command.as_any().encode_to_vec())).await.unwrap();
    assert_eq!(rows[0].num_rows(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_call_runs_at_get_flight_info_only() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT)", "INSERT INTO t VALUES (1)"]).await;
    let n_files = || server.app.storage.table("public", "t").unwrap().snapshot().files().len();
    let call = prepare(&server, "CALL build('t')").await.unwrap();
    assert_eq!((call.is_update, call.dataset_schema.is_empty()), (Some(false), false));
    let command = CommandPreparedStatementQuery { prepared_statement_handle: call.prepared_statement_handle };
    let bytes = command.as_any().encode_to_vec();
    let status = server.fetch_ticket(arrow_flight::Ticket::new(bytes.clone())).await.unwrap_err();
    assert_eq!((status.code(), n_files()), (Code::InvalidArgument, 0));
    let descriptor = FlightDescriptor::new_cmd(bytes);
    server.raw().get_schema(descriptor.clone()).await.unwrap();
    assert_eq!(n_files(), 0);
    let info = server.raw().get_flight_info(descriptor).await.unwrap().into_inner();
    assert_eq!(n_files(), 1);
    let (schema, rows) = server.fetch(&info).await.unwrap();
    assert_eq!((*schema == schema_of(&info), rows[0].num_rows()), (true, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_of_parameters_are_one_delete() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)"]).await;
    server.run(&["INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')"]).await;
    let mut delete = server.sql().prepare("DELETE FROM t WHERE id = ? AND name = ?".into(), None).await.unwrap();
    assert_eq!(delete.parameter_schema().unwrap().fields().len(), 2);
    delete.set_parameters(pairs(&[(1, "a"), (2, "x"), (3, "c")])).unwrap();
    assert_eq!(delete.execute_update().await.unwrap(), 2);
    assert_eq!(server.app.storage.table("public", "t").unwrap().snapshot().upper().0, 2);
}

/// ADBC takes UNIMPLEMENTED of this action for a server that prepares nothing; values that it cannot bind then hide why.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_said_when_it_is_prepared() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT)"]).await;
    for (sql, code) in [
        ("UPDATE t SET id = ?", Code::InvalidArgument),
        ("UPDATE t SET id = $1", Code::InvalidArgument),
        ("UPDATE t SET id = 1", Code::Unimplemented),
    ] {
        let refused = prepare(&server, sql).await.expect_err("UPDATE is not supported");
        assert_eq!(refused.code(), code, "{sql}: {refused}");
        assert!(refused.message().contains("UPDATE is not supported") && refused.message().ends_with("(TW-1003)"));
        assert_eq!(server.info(sql).await.expect_err("nor so").code(), Code::Unimplemented);
    }
    assert_eq!(server.app.kept.counts()[1], ("tidewater_prepared_statements", 0));
}
