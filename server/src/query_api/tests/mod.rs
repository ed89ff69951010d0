//! Do answers come whole, in order and in time? The query service over a real socket.

use std::time::Duration;

use tidewater_proto::query::v1::query_request::Params;
use tidewater_proto::query::v1::query_response::Msg;
use tidewater_proto::query::v1::value::Kind;
use tidewater_proto::query::v1::{
    CancelRequest, ExplainRequest, Format, ListQueriesRequest, OverflowMode, QueryRequest, Summary, Value, Values,
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::ingest::ipc::tests::fixtures::stream;
use crate::ingest::tests::Server;

fn ask(sql: &str) -> QueryRequest {
    QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() }
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

/// The summary, which is last; Started is first.
fn summary(messages: &[Msg]) -> Summary {
    assert!(matches!(messages.first(), Some(Msg::Started(_))), "{messages:?}");
    match messages.last() {
        Some(Msg::Summary(summary)) => summary.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn started_rows_summary() {
    let server = Server::start().await;
    let messages = server.execute(ask("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(i, s)")).await.unwrap();
    assert_eq!(summary(&messages).rows, 2);
    let mut bytes = Vec::new();
    for message in &messages {
        match message {
            Msg::Started(started) => bytes.extend_from_slice(&started.arrow_schema),
            Msg::ArrowMessage(message) => bytes.extend_from_slice(message),
            _ => {}
        }
    }
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_without_rows_tell_what_they_did() {
    let server = Server::with_table().await;
    let messages = server.execute(ask("INSERT INTO t VALUES (1), (2), (2)")).await.unwrap();
    let summary = summary(&messages);
    assert_eq!((summary.rows, summary.affected_rows, summary.commit_tokens.len()), (0, 2, 1));
    assert!(matches!(&messages[0], Msg::Started(started) if started.is_update));
    assert!(summary.notices.iter().any(|notice| notice.contains("duplicate")), "{:?}", summary.notices);
    assert_eq!(server.json_at("SELECT count(*) AS n FROM t", summary.commit_tokens).await, "{\"n\":2}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_answers_with_a_row_and_delete_with_a_count() {
    let server = Server::with_table().await;
    server.execute(ask("INSERT INTO t VALUES (1), (2)")).await.unwrap();
    let call = QueryRequest { format: Format::JsonRows.into(), ..ask("CALL seal('t')") };
    let messages = server.execute(call).await.unwrap();
    assert!(matches!(&messages[0], Msg::Started(started) if !started.is_update));
    assert!(matches!(&messages[1], Msg::Json(row) if row.starts_with(b"{\"table\":\"public.t\",\"delta_version\":")));
    assert_eq!(summary(&messages).rows, 1);
    let messages = server.execute(ask("DELETE FROM t")).await.unwrap();
    assert!(matches!(&messages[0], Msg::Started(started) if started.is_update));
    assert_eq!((summary(&messages).affected_rows, summary(&messages).commit_tokens.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_are_errors_unless_asked_otherwise() {
    let server = Server::start().await;
    let capped = |mode: OverflowMode, max_rows| QueryRequest {
        max_rows,
        overflow_mode: mode.into(),
        format: Format::JsonRows.into(),
        ..ask("SELECT value FROM generate_series(1, 20000)")
    };
    let status = server.execute(capped(OverflowMode::Error, 10)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "RESULT_TOO_LARGE".to_owned()));
    let cut = summary(&server.execute(capped(OverflowMode::Truncate, 10)).await.unwrap());
    assert_eq!((cut.rows, cut.truncated), (10, true));
    let whole = summary(&server.execute(capped(OverflowMode::Truncate, 20_000)).await.unwrap());
    assert_eq!((whole.rows, whole.truncated), (20_000, false));
    let status = server.execute(capped(OverflowMode::Truncate, 0)).await.unwrap_err();
    assert_eq!(reason(&status).1, "INVALID_REQUEST");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_come_in_small_messages() {
    let server = Server::start().await;
    for format in [Format::ArrowIpc, Format::JsonRows] {
        let sql = "SELECT repeat('x', 1000) AS s FROM generate_series(1, 20000)";
        let messages = server.execute(QueryRequest { format: format.into(), ..ask(sql) }).await.unwrap();
        let sizes = messages.iter().filter_map(|msg| match msg {
            Msg::ArrowMessage(bytes) | Msg::Json(bytes) => Some(bytes.len()),
            _ => None,
        });
        let sizes: Vec<usize> = sizes.collect();
        assert!(sizes.len() >= 5 && sizes.iter().all(|size| *size < 4 << 20), "{sizes:?}");
        assert_eq!(summary(&messages).rows, 20_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_by_position() {
    let server = Server::start().await;
    let value = |kind| Value { kind };
    let values = vec![
        value(Some(Kind::Int64Value(41))),
        value(Some(Kind::StringValue("x'; DROP TABLE t".to_owned()))),
        value(None),
    ];
    let request = QueryRequest {
        params: Some(Params::Positional(Values { values })),
        format: Format::JsonRows.into(),
        ..ask("SELECT $1 + 1 AS a, $2 AS b, $3 IS NULL AS c")
    };
    let messages = server.execute(request).await.unwrap();
    let Msg::Json(text) = &messages[1] else { panic!("{messages:?}") };
    assert_eq!(text.as_ref(), b"{\"a\":42,\"b\":\"x'; DROP TABLE t\",\"c\":true}\n");
    let few = QueryRequest { params: Some(Params::Positional(Values::default())), ..ask("SELECT $1 + 1 AS a") };
    assert_eq!(
        reason(&server.execute(few).await.unwrap_err()),
        (Code::InvalidArgument, "INVALID_PARAMETER".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_parameters_are_refused_as_such() {
    let server = Server::start().await;
    let of = |n: usize| {
        let values = vec![Value { kind: Some(Kind::BoolValue(true)) }; n];
        QueryRequest { params: Some(Params::Positional(Values { values })), ..ask("SELECT 1") }
    };
    for n in [1, super::MAX_PARAMETERS + 1, 500_000] {
        let status = server.execute(of(n)).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_PARAMETER".to_owned()), "{n}: {status}");
    }
    // More than a request may have; the transport says so.
    let status = server.execute(of(1_100_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let zeros = arrow::array::Int64Array::from(vec![0; 900_000]);
    let rows = arrow::array::RecordBatch::try_from_iter([("a", std::sync::Arc::new(zeros) as _)]).unwrap();
    let bomb = stream(&[rows], Some(arrow::ipc::CompressionType::ZSTD));
    let request = QueryRequest { params: Some(Params::ArrowParams(bomb.into())), ..ask("SELECT $1") };
    assert_eq!(reason(&server.execute(request).await.unwrap_err()).1, "BATCH_TOO_LARGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_reasons() {
    let server = Server::start().await;
    let check = async |request: QueryRequest, code: Code, expected: &str| {
        let status = server.execute(request).await.unwrap_err();
        assert_eq!(reason(&status), (code, expected.to_owned()), "{status}");
    };
    check(ask("SELEC 1"), Code::InvalidArgument, "SYNTAX_ERROR").await;
    check(ask("SELECT * FROM nobody"), Code::NotFound, "TABLE_NOT_FOUND").await;
    let token = QueryRequest { min_commit: vec![vec![1, 2, 3].into()], ..ask("SELECT 1") };
    check(token, Code::InvalidArgument, "INVALID_COMMIT_TOKEN").await;
    let setting = QueryRequest { settings: [("nothing".to_owned(), "1".to_owned())].into(), ..ask("SELECT 1") };
    check(setting, Code::InvalidArgument, "INVALID_SETTING").await;
}

/// A statement that takes far longer than any test.
const ENDLESS: &str =
    "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value * b.value % 7 = 3";

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_and_a_cancel_end_a_query() {
    let server = Server::start().await;
    let mut request = Request::new(ask(ENDLESS));
    request.set_timeout(Duration::from_millis(300));
    let ended = async {
        let mut stream = server.query().execute(request).await?.into_inner();
        while stream.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    let status = ended.await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");

    let id = "0190b3a4-7f0e-7c3e-9a52-7f4f3f3b2d11";
    let request = QueryRequest { query_id: id.to_owned(), ..ask(ENDLESS) };
    let mut stream = server.query().execute(request.clone()).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().msg, Some(Msg::Started(_))));
    let twice = server.query().execute(request).await.unwrap_err();
    assert_eq!(reason(&twice), (Code::AlreadyExists, "QUERY_EXISTS".to_owned()));
    let listed = server.query().list_queries(ListQueriesRequest {}).await.unwrap().into_inner().queries;
    assert!(listed.iter().any(|query| query.query_id == id && query.interface == "grpc"));
    server.query().cancel(CancelRequest { query_id: id.to_owned() }).await.unwrap();
    let status = stream.message().await.unwrap_err();
    assert_eq!(reason(&status), (Code::Cancelled, "QUERY_CANCELLED".to_owned()));
    let unknown = server.query().cancel(CancelRequest { query_id: "nobody".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_text() {
    let server = Server::with_table().await;
    let request = ExplainRequest { sql: "SELECT id FROM t WHERE id = 1".to_owned(), ..ExplainRequest::default() };
    let text = server.query().explain(request).await.unwrap().into_inner().text;
    assert!(!text.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_how_fresh_it_is() {
    let server = Server::with_table().await;
    let written = server.execute(ask("INSERT INTO t VALUES (1), (2), (3)")).await.unwrap();
    let written = summary(&written).commit_tokens;
    let messages = server.execute(ask("SELECT id FROM t AS a JOIN (SELECT id FROM t) AS b USING (id)")).await.unwrap();
    let Msg::Started(started) = &messages[0] else { panic!("{messages:?}") };
    let [table] = started.tables.as_slice() else { panic!("{started:?}") };
    assert_eq!((table.schema.as_str(), table.name.as_str(), &table.watermark), ("public", "t", &None));
    assert_eq!(vec![table.commit_token.clone()], written);
    let end = summary(&messages);
    assert_eq!((&end.tables, &end.commit_tokens), (&started.tables, &written));
    assert_eq!((end.rows_read_realtime, end.rows_read_built, end.rows_read_sealed), (6, 0, 0));
    server.run("CALL seal('t')").await;
    let end = summary(&server.execute(ask("SELECT id FROM t")).await.unwrap());
    assert_eq!((end.rows_read_realtime, end.rows_read_built, end.rows_read_sealed), (0, 0, 3));
    // Rows that filters drop are read, too.
    let end = summary(&server.execute(ask("SELECT id FROM t WHERE id % 3 = 1")).await.unwrap());
    assert_eq!((end.rows, end.rows_read_sealed), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_sent_to_who_asks_for_it() {
    let server = Server::with_table().await;
    let request = QueryRequest { progress: true, ..ask(ENDLESS) };
    let mut stream = server.query().execute(request).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().msg, Some(Msg::Started(_))));
    let mut elapsed_before = Duration::ZERO;
    for _ in 0..3 {
        let Some(Msg::Progress(progress)) = stream.message().await.unwrap().unwrap().msg else { panic!("no progress") };
        let elapsed = Duration::try_from(progress.elapsed.unwrap()).unwrap();
        assert!(elapsed >= elapsed_before + super::progress::INTERVAL, "{elapsed:?} after {elapsed_before:?}");
        // It reads no table.
        assert_eq!((progress.rows_read, progress.bytes_read, progress.fraction), (0, 0, None));
        elapsed_before = elapsed;
    }
    drop(stream);
    // Who does not ask hears none.
    let messages = server.execute(ask("SELECT id FROM t")).await.unwrap();
    assert!(!messages.iter().any(|msg| matches!(msg, Msg::Progress(_))), "{messages:?}");
}
