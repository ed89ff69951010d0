//! Statements: planned once, run once, fetched once.

use std::time::Duration;

use arrow_flight::sql::{CommandStatementUpdate, DoPutUpdateResult, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Empty, FlightData, FlightDescriptor,
    HandshakeRequest, PollInfo,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use tonic::{Code, Request};

use super::{Server, descriptor, schema_of, text, ticket_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_announced_as_it_is_sent() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR, at TIMESTAMP, PRIMARY KEY (id))"]).await;
    server.run(&["INSERT INTO t VALUES (1, 'a', TIMESTAMP '2026-01-01 00:00:00'), (2, NULL, NULL)"]).await;
    for sql in [
        "SELECT * FROM t",
        "SELECT * FROM t LIMIT 0",
        "SELECT count(*), min(id), max(name) FROM t",
        "SELECT 1 AS a, 'x' AS b, NULL AS c",
        "SELECT id, row_number() OVER (ORDER BY id) FROM t",
        "VALUES (1, 'a'), (2, 'b')",
        "EXPLAIN SELECT * FROM t",
        "SELECT t.name, u.id FROM t LEFT JOIN t u ON u.id = t.id + 1",
        "SELECT now()",
        "SELECT name FROM t UNION ALL SELECT 'y'",
        "SELECT concat(name, 'x'), substr(name, 1) FROM t",
        "SELECT * FROM t WHERE id > 5",
    ] {
        let info = server.info(sql).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
        assert_eq!((info.total_records, info.ordered), (-1, true));
        assert!(!info.app_metadata.is_empty());
        let announced = server.raw().get_schema(descriptor(sql)).await.unwrap().into_inner();
        assert_eq!(arrow::datatypes::Schema::try_from(&announced).unwrap(), schema_of(&info), "{sql}");
        let (schema, batches) = server.fetch(&info).await.unwrap();
        assert_eq!(*schema, schema_of(&info), "{sql}");
        for batch in batches {
            assert_eq!(batch.schema(), schema, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_fetched_once() {
    let server = Server::start().await;
    let info = server.info("SELECT 1").await.unwrap();
    server.fetch(&info).await.unwrap();
    assert_eq!(server.fetch(&info).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_and_dml_run_exactly_once_at_get_flight_info() {
    let server = Server::start().await;
    let created = server.info("CREATE TABLE t (id BIGINT NOT NULL)").await.unwrap();
    assert!(schema_of(&created).fields().is_empty());
    assert_eq!(server.rows("SELECT count(*) AS n FROM t").await, text_of_count("n", 0));
    let inserted = server.info("INSERT INTO t VALUES (1), (2)").await.unwrap();
    assert_eq!(inserted.total_records, 2);
    for _ in 0..2 {
        let (schema, rows) = server.fetch(&inserted).await.unwrap();
        assert_eq!(*schema, schema_of(&inserted));
        assert_eq!(text(&rows), text_of_count("count", 2));
        let (schema, rows) = server.fetch(&created).await.unwrap();
        assert!(schema.fields().is_empty() && rows.is_empty());
    }
    assert_eq!(server.rows("SELECT count(*) AS n FROM t").await, text_of_count("n", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_runs_exactly_once_at_get_flight_info() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL)", "INSERT INTO t VALUES (1), (2)"]).await;
    let n_files = || server.app.storage.table("public", "t").unwrap().snapshot().files().len();
    // What asks for the schema only, and what is no update, does not run.
    let announced = server.raw().get_schema(descriptor("CALL build('t')")).await.unwrap().into_inner();
    let announced = arrow::datatypes::Schema::try_from(&announced).unwrap();
    let update = CommandStatementUpdate { query: "CALL build('t')".into(), transaction_id: None };
    let first = FlightData::new().with_descriptor(FlightDescriptor::new_cmd(update.as_any().encode_to_vec()));
    assert_eq!(server.raw().do_put(stream::iter([first])).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(n_files(), 0);
    let info = server.info("CALL build('t')").await.unwrap();
    assert_eq!((n_files(), schema_of(&info)), (1, announced));
    server.run(&["INSERT INTO t VALUES (3)"]).await;
    let (schema, rows) = server.fetch(&info).await.unwrap();
    assert_eq!(*schema, schema_of(&info));
    assert!(text(&rows).contains("| public.t | "), "{}", text(&rows));
    assert_eq!(server.fetch(&info).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(n_files(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_counts_its_rows() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL)", "INSERT INTO t VALUES (1), (2), (3)"]).await;
    let deleted = server.info("DELETE FROM t WHERE id < 3").await.unwrap();
    assert_eq!(deleted.total_records, 2);
    for _ in 0..2 {
        assert_eq!(text(&server.fetch(&deleted).await.unwrap().1), text_of_count("count", 2));
    }
    // None is a count, too.
    let deleted = server.info("DELETE FROM t WHERE id < 3").await.unwrap();
    assert_eq!(text(&server.fetch(&deleted).await.unwrap().1), text_of_count("count", 0));
    assert_eq!(server.sql().execute_update("DELETE FROM t".into(), None).await.unwrap(), 1);
}

fn text_of_count(name: &str, n: i64) -> String {
    let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int64Array::from(vec![n]));
    text(&[arrow::array::RecordBatch::try_from_iter([(name, column)]).unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn get_schema_changes_nothing() {
    let server = Server::start().await;
    let schema = server.raw().get_schema(descriptor("CREATE TABLE t (id BIGINT)")).await.unwrap().into_inner();
    assert!(arrow::datatypes::Schema::try_from(&schema).unwrap().fields().is_empty());
    assert_eq!(server.info("SELECT * FROM t").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_and_paths_are_taken() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL)", "INSERT INTO t VALUES (7)"]).await;
    for descriptor in
        [FlightDescriptor::new_cmd("SELECT * FROM t"), FlightDescriptor::new_path(vec!["public".into(), "t".into()])]
    {
        let info = server.raw().get_flight_info(descriptor.clone()).await.unwrap().into_inner();
        assert_eq!(info.flight_descriptor.as_ref(), Some(&descriptor));
        assert_eq!(text(&server.fetch(&info).await.unwrap().1), text_of_count("id", 7));
    }
    let PollInfo { info, flight_descriptor, progress, .. } =
        server.raw().poll_flight_info(descriptor("SELECT * FROM t")).await.unwrap().into_inner();
    assert_eq!((flight_descriptor, progress), (None, Some(1.0)));
    server.fetch(&info.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_codes() {
    let server = Server::start().await;
    let code = async |sql: &str| server.info(sql).await.unwrap_err().code();
    assert_eq!(code("SELEC 1").await, Code::InvalidArgument);
    assert_eq!(code("SELECT * FROM missing").await, Code::NotFound);
    assert_eq!(code("SELECT 1; SELECT 2").await, Code::InvalidArgument);
    assert_eq!(code("").await, Code::InvalidArgument);
    assert_eq!(code("SET timezone = 'Europe/Berlin'").await, Code::FailedPrecondition);
    let ticket = |bytes: &'static [u8]| arrow_flight::Ticket::new(bytes);
    assert_eq!(server.fetch_ticket(ticket(b"x")).await.unwrap_err().code(), Code::InvalidArgument);
    let exchange = server.raw().do_exchange(stream::iter([FlightData::default()])).await;
    assert_eq!(exchange.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_answered_while_the_client_half_is_open() {
    let server = Server::start().await;
    let command = CommandStatementUpdate { query: "CREATE TABLE t (id BIGINT)".into(), transaction_id: None };
    let first = FlightData::new().with_descriptor(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    let open = stream::iter([first]).chain(stream::pending());
    let mut answers = server.raw().do_put(open).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(DoPutUpdateResult::decode(answer.app_metadata).unwrap().record_count, 0);
    let inserted = server.sql().execute_update("INSERT INTO t VALUES (1), (2), (3)".into(), None).await.unwrap();
    assert_eq!(inserted, 3);
    let select = CommandStatementUpdate { query: "SELECT 1".into(), transaction_id: None };
    let first = FlightData::new().with_descriptor(FlightDescriptor::new_cmd(select.as_any().encode_to_vec()));
    assert_eq!(server.raw().do_put(stream::iter([first])).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_put_is_an_error_at_once() {
    let server = Server::start().await;
    let status = server.raw().do_put(stream::iter(Vec::<FlightData>::new())).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_with_and_without_a_message() {
    let server = Server::start().await;
    for messages in [vec![], vec![HandshakeRequest::default()]] {
        let response = server.raw().handshake(stream::iter(messages)).await.unwrap();
        assert_eq!(response.metadata().get("authorization").unwrap(), "Bearer anonymous");
        let answers: Vec<_> = response.into_inner().try_collect().await.unwrap();
        assert_eq!(answers.len(), 1);
    }
    // A client that never closes its half is answered as well.
    let mut open = server.raw().handshake(stream::pending()).await.unwrap().into_inner();
    assert!(open.message().await.unwrap().is_some());
    server.sql().handshake("user", "password").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_actions_are_those_there_are() {
    let server = Server::start().await;
    let actions: Vec<_> = server.raw().list_actions(Empty {}).await.unwrap().into_inner().try_collect().await.unwrap();
    let names: Vec<&str> = actions.iter().map(|action| action.r#type.as_str()).collect();
    assert_eq!(names, ["CreatePreparedStatement", "ClosePreparedStatement", "CancelFlightInfo", "CancelQuery"]);
    for name in names {
        let status = server.raw().do_action(Action::new(name, &b"\xff"[..])).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
    }
    let status = server.raw().do_action(Action::new("BeginTransaction", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_query_can_be_cancelled() {
    let server = Server::start().await;
    let info = server.info("SELECT 1").await.unwrap();
    let cancel = async || {
        let action = Action::new("CancelFlightInfo", CancelFlightInfoRequest::new(info.clone()).encode_to_vec());
        let answers: Vec<_> = server.raw().do_action(action).await?.into_inner().try_collect().await?;
        Ok::<_, tonic::Status>(CancelFlightInfoResult::decode(answers[0].body.clone()).unwrap().status())
    };
    assert_eq!(cancel().await.unwrap(), CancelStatus::Cancelled);
    assert_eq!(cancel().await.unwrap(), CancelStatus::Cancelled);
    assert_eq!(server.fetch(&info).await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_ends_its_query() {
    let server = Server::start().await;
    let info = server
        .info("SELECT a.value * b.value FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
        .await
        .unwrap();
    let mut stream = server.raw().do_get(ticket_of(&info)).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert!(stream.message().await.unwrap().is_some());
    drop(stream);
    let root = super::super::admin();
    let is_running = |server: &Server| {
        let queries = server.app.query.queries(&root);
        queries.iter().any(|query| query.state == tidewater_query::QueryState::Running)
    };
    tokio::time::timeout(Duration::from_secs(10), async {
        while is_running(&server) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_do_get_ends_the_stream() {
    let server = Server::start().await;
    let info = server
        .info("SELECT sum(a.value * b.value) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b")
        .await
        .unwrap();
    let mut request = Request::new(ticket_of(&info));
    request.set_timeout(Duration::from_millis(300));
    let mut stream = server.raw().do_get(request).await.unwrap().into_inner();
    let mut end = stream.message().await;
    while let Ok(Some(_)) = end {
        end = stream.message().await;
    }
    assert!(matches!(end.unwrap_err().code(), Code::DeadlineExceeded | Code::Cancelled));
}
