//! Statements: planned once, run once, fetched once.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::{CompressionType, root_as_message};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::{CommandStatementUpdate, DoPutUpdateResult, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Empty, FlightData, FlightDescriptor,
    HandshakeRequest, PollInfo,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Status};

use super::{Server, descriptor, schema_of, text, ticket_of};

/// <https://github.com/datafusion-contrib/datafusion-flight-sql-server/issues/51>
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

/// What JDBC shows as precision and scale.
#[tokio::test(flavor = "multi_thread")]
async fn columns_are_described_by_their_types() {
    let server = Server::start().await;
    let sql = "SELECT CAST(1.5 AS DECIMAL(20, 3)) AS d, 'x' AS s, CAST(1 AS UBIGINT) AS u, \
               TIMESTAMP '2026-01-31 00:00:00' AS t, NULL AS n";
    let told = |schema: &Schema| -> Vec<String> {
        let of = |field: &Field, key: &str| field.metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).cloned();
        let fields = schema.fields().iter().map(|field| {
            let entries = ["TYPE_NAME", "PRECISION", "SCALE"].map(|key| of(field, key).unwrap_or_default());
            assert_eq!(field.metadata().len(), entries.iter().filter(|entry| !entry.is_empty()).count());
            entries.join(" ")
        });
        fields.collect()
    };
    let expected = ["DECIMAL 20 3", "VARCHAR 65535 ", "UBIGINT 20 0", "TIMESTAMP 29 6", "NULL  "];
    assert_eq!(told(&schema_of(&server.info(sql).await.unwrap())), expected);
    let prepared = server.sql().prepare(sql.into(), None).await.unwrap();
    assert_eq!(told(prepared.dataset_schema().unwrap()), expected);
    // The driver itself gets other types, and is told of those.
    let mut request = Request::new(descriptor(sql));
    request.metadata_mut().insert("x-flight-types", "jdbc".parse().unwrap());
    let info = server.raw().get_flight_info(request).await.unwrap().into_inner();
    let (schema, rows) = server.fetch(&info).await.unwrap();
    assert_eq!(*schema, schema_of(&info));
    assert_eq!(schema.field(2).data_type(), &DataType::Decimal128(20, 0));
    assert_eq!(told(&schema)[2], "DECIMAL 20 0");
    assert!(text(&rows).contains("| 1.500 | x | 1 | 2026-01-31T00:00:00 |"), "{}", text(&rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_fetched_once() {
    let server = Server::start().await;
    let info = server.info("SELECT 1").await.unwrap();
    server.fetch(&info).await.unwrap();
    assert_eq!(server.fetch(&info).await.unwrap_err().code(), Code::FailedPrecondition);
}

/// <https://github.com/gizmodata/gizmosql/issues/134>
/// <https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1270---2026-06-02>
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

/// <https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1270---2026-06-02>
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

/// <https://github.com/influxdata/flightsql-dbapi/issues/10>, <https://github.com/apache/arrow-go/issues/755>
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_with_and_without_a_message() {
    let server = Server::start().await;
    for messages in [vec![], vec![HandshakeRequest::default()]] {
        let n_messages = messages.len();
        let response = server.raw().handshake(stream::iter(messages)).await.unwrap();
        let bearer = response.metadata().get("authorization").unwrap().to_str().unwrap();
        assert!(bearer.starts_with("Bearer twb_"), "{bearer}");
        let answers: Vec<_> = response.into_inner().try_collect().await.unwrap();
        assert_eq!(answers.len(), n_messages);
    }
    // A client that never closes its half is answered as well, whether it sends a message or not.
    let silent = stream::pending().boxed();
    let talking = stream::iter([HandshakeRequest::default()]).chain(stream::pending()).boxed();
    for requests in [silent, talking] {
        let response = server.raw().handshake(requests).await.unwrap();
        assert!(response.metadata().contains_key("authorization"));
        assert!(response.into_inner().message().await.unwrap().is_some());
    }
    server.sql().handshake("user", "password").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_actions_are_those_there_are() {
    let server = Server::start().await;
    let actions: Vec<_> = server.raw().list_actions(Empty {}).await.unwrap().into_inner().try_collect().await.unwrap();
    let names: Vec<&str> = actions.iter().map(|action| action.r#type.as_str()).collect();
    let statements = ["CreatePreparedStatement", "ClosePreparedStatement"];
    let tickets = ["CancelFlightInfo", "CancelQuery", "RenewFlightEndpoint"];
    let sessions = ["SetSessionOptions", "GetSessionOptions", "CloseSession"];
    assert_eq!(names, [&statements[..], &tickets, &sessions].concat());
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

/// <https://github.com/PostHog/duckgres/issues/232>
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
    let mut client = server.raw();
    let end = async {
        // On a busy machine the time may be over before the stream begins.
        let mut stream = client.do_get(request).await?.into_inner();
        while stream.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    let end = end.await.expect_err("it has no end of its own");
    assert!(matches!(end.code(), Code::DeadlineExceeded | Code::Cancelled), "{end}");
}

/// All messages of a statement, fetched with a header by a client that takes large ones.
async fn messages_with(
    server: &Server,
    sql: &str,
    name: &'static str,
    value: &'static str,
) -> Result<Vec<FlightData>, Status> {
    let mut request = Request::new(ticket_of(&server.info(sql).await.unwrap()));
    request.metadata_mut().insert(name, MetadataValue::from_static(value));
    let mut client = server.raw().max_decoding_message_size(16 << 20);
    client.do_get(request).await?.into_inner().try_collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_have_the_form_that_the_client_asks_for() {
    let server = Server::start().await;
    let zeros = "SELECT 0 AS zero FROM generate_series(1, 5000)";
    let codecs = [("lz4", Some(CompressionType::LZ4_FRAME)), ("zstd", Some(CompressionType::ZSTD)), ("none", None)];
    for (value, codec) in codecs {
        let messages = messages_with(&server, zeros, "x-flight-compression", value).await.unwrap();
        let header = root_as_message(&messages[1].data_header).unwrap();
        let compression = header.header_as_record_batch().and_then(|rows| rows.compression());
        assert_eq!(compression.map(|compression| compression.codec()), codec, "{value}");
        let rows = FlightRecordBatchStream::new_from_flight_data(stream::iter(messages.into_iter().map(Ok)));
        let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 5_000);
    }
    let long = "SELECT repeat(value, 5000000) AS long FROM (VALUES ('x')) AS v(value)";
    let header = "x-flight-max-message";
    assert_eq!(messages_with(&server, long, header, "4194304").await.unwrap_err().code(), Code::ResourceExhausted);
    messages_with(&server, long, header, "6000000").await.unwrap();
    assert_eq!(messages_with(&server, long, header, "much").await.unwrap_err().code(), Code::InvalidArgument);
}

fn header(metadata: &MetadataMap, name: &str) -> Option<String> {
    metadata.get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_says_how_fresh_it_is() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))"]).await;
    let written = server.raw().get_flight_info(descriptor("INSERT INTO t VALUES (1), (2)")).await.unwrap();
    let token = header(written.metadata(), "x-tidewater-commit-token").unwrap();
    let planned = server.raw().get_flight_info(descriptor("SELECT id FROM t")).await.unwrap();
    assert_eq!(header(planned.metadata(), "x-tidewater-commit-token").as_ref(), Some(&token));
    let info = planned.into_inner();
    let query_id = String::from_utf8(info.app_metadata.to_vec()).unwrap();
    let table = serde_json::json!({"schema": "public", "name": "t", "commit_token": token, "watermark": null});
    let said: serde_json::Value = serde_json::from_slice(&info.endpoint[0].app_metadata).unwrap();
    assert_eq!(said, serde_json::json!({"query_id": query_id, "tables": [table]}));

    let answer = server.raw().do_get(ticket_of(&info)).await.unwrap();
    assert_eq!(header(answer.metadata(), "x-tidewater-commit-token").as_ref(), Some(&token));
    let mut stream = answer.into_inner();
    let mut last = FlightData::default();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(last.app_metadata.is_empty(), "more came behind the last message");
        last = message;
    }
    let rows_read = serde_json::json!({"realtime": 2, "built": 0, "sealed": 0});
    let said: serde_json::Value = serde_json::from_slice(&last.app_metadata).unwrap();
    assert_eq!(said, serde_json::json!({"query_id": query_id, "tables": [table], "rows_read": rows_read}));
    let trailers = stream.trailers().await.unwrap().unwrap();
    assert_eq!(header(&trailers, "x-tidewater-commit-token").as_ref(), Some(&token));
    assert_eq!(header(&trailers, "x-tidewater-rows-realtime").as_deref(), Some("2"));
    assert_eq!(header(&trailers, "x-tidewater-rows-sealed").as_deref(), Some("0"));
}

/// A request whose statement must see a commit.
fn asking<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-tidewater-min-commit", token.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_for_the_commits_that_its_caller_names() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))"]).await;
    let planned = server.info("SELECT id FROM t").await.unwrap();
    let written = server.raw().get_flight_info(descriptor("INSERT INTO t VALUES (1)")).await.unwrap();
    let token = header(written.metadata(), "x-tidewater-commit-token").unwrap();
    let info = server.raw().get_flight_info(asking(descriptor("SELECT id FROM t"), &token)).await.unwrap();
    let (_, rows) = server.fetch(&info.into_inner()).await.unwrap();
    assert!(text(&rows).contains("| 1  |"), "{}", text(&rows));
    // What was planned before does not have the row, and says so to who asks for it.
    let refused = server.raw().do_get(asking(ticket_of(&planned), &token)).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    for token in ["nonsense", "AQE="] {
        let refused = server.raw().get_flight_info(asking(descriptor("SELECT 1"), token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_wrong_are_told_so() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))"]).await;
    for (sql, code) in [
        ("INSERT INTO t (name) VALUES ('a')", "TW-1203"),
        ("INSERT INTO t VALUES (NULL, 'a')", "TW-1204"),
        ("SELECT repeat(name, 100000000) FROM (VALUES ('a')) AS v(name)", "TW-1114"),
    ] {
        let refused = match server.info(sql).await {
            Ok(info) => server.fetch(&info).await.expect_err("refused"),
            Err(refused) => refused,
        };
        assert_eq!(refused.code(), Code::InvalidArgument, "{sql}: {refused}");
        assert!(refused.message().contains(code), "{sql}: {refused}");
    }
}
