//! Do all ways in store the same values? Arrow, JSON and SQL; commits are seen by the next query.

use arrow::array::RecordBatch;
use arrow::ipc::CompressionType;
use tidewater_proto::ingest::v1::payload::Format;
use tidewater_proto::ingest::v1::{GetTableSchemaRequest, Payload, WriteRequest};

use super::{Server, json, table, write};
use crate::ingest::ipc::tests::fixtures::{columns, stream};
use crate::ingest::ipc::{Decoder, Limits};

const COLUMNS: &str = "id BIGINT NOT NULL, b BOOLEAN, i INTEGER, u BIGINT UNSIGNED, r REAL, d DOUBLE, m DECIMAL(20, 3), \
     s VARCHAR, day DATE, at TIMESTAMP, tz TIMESTAMPTZ, l BIGINT[], PRIMARY KEY (id)";

const ROWS: &str = concat!(
    r#"{"id":1,"b":true,"i":-7,"u":18446744073709551615,"r":1.5,"d":-0.25,"m":"12345678901234567.891","s":"ä\n\"x\"","#,
    r#""day":"2024-02-29","at":"2024-02-29T12:34:56.789012","tz":"2024-02-29T12:34:56.789012+02:00","l":[1,null,3]}"#,
    "\n",
    r#"{"id":2}"#,
    "\n",
    r#"{"id":9007199254740993,"b":false,"i":2147483647,"u":0,"r":-2.5,"d":1e300,"m":"-0.001","s":"","#,
    r#""day":"1969-12-31","at":"1969-12-31T23:59:59.999999","tz":"1969-12-31T23:59:59.999999Z","l":[]}"#,
    "\n",
);

async fn store(server: &Server, name: &str, format: Format) {
    let payload = Some(Payload { format: Some(format) });
    let request = WriteRequest { table: table(name), payload, ..WriteRequest::default() };
    let result = server.write(request).await.unwrap();
    assert_eq!((result.received, result.accepted), (3, 3), "{:?}", result.row_errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_arrow_and_sql_store_the_same() {
    let server = Server::start().await;
    for name in ["by_json", "by_arrow", "by_sql"] {
        server.run(&format!("CREATE TABLE {name} ({COLUMNS})")).await;
    }
    store(&server, "by_json", Format::JsonRows(ROWS.into())).await;
    let rows = select_arrow(&server, "SELECT * FROM by_json").await;
    store(&server, "by_arrow", Format::ArrowIpcStream(stream(&rows, Some(CompressionType::LZ4_FRAME)).into())).await;
    server.run("INSERT INTO by_sql SELECT * FROM by_json").await;
    let expected = server.json("SELECT * FROM by_json ORDER BY id").await;
    assert_eq!(expected.lines().count(), 3);
    assert!(expected.contains("\"9007199254740993\"") && expected.contains("\"18446744073709551615\""), "{expected}");
    for name in ["by_arrow", "by_sql"] {
        assert_eq!(server.json(&format!("SELECT * FROM {name} ORDER BY id")).await, expected, "{name}");
    }
}

/// The rows of a statement, from the messages of its answer put behind each other.
async fn select_arrow(server: &Server, sql: &str) -> Vec<RecordBatch> {
    use tidewater_proto::query::v1::{QueryRequest, query_response::Msg};
    let request = QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() };
    let mut bytes = Vec::new();
    for msg in server.execute(request).await.unwrap() {
        match msg {
            Msg::Started(started) => bytes.extend_from_slice(&started.arrow_schema),
            Msg::ArrowMessage(message) => bytes.extend_from_slice(&message),
            _ => {}
        }
    }
    arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dictionaries_views_and_many_batches() {
    let server = Server::start().await;
    server.run("CREATE TABLE texts (plain VARCHAR, viewed VARCHAR, coded VARCHAR, category VARCHAR)").await;
    let pick = |n| {
        let all = columns(n);
        let of = |wanted: &str| all.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
        let columns = [("plain", "utf8"), ("viewed", "view"), ("coded", "dict"), ("category", "dict_view")];
        RecordBatch::try_from_iter(columns.map(|(name, wanted)| (name, of(wanted)))).unwrap()
    };
    for codec in [None, Some(CompressionType::ZSTD)] {
        let bytes = stream(&[pick(1_000), pick(1_000)], codec);
        let payload = Some(Payload { format: Some(Format::ArrowIpcStream(bytes.into())) });
        let request = WriteRequest { table: table("texts"), payload, ..WriteRequest::default() };
        assert_eq!(server.write(request).await.unwrap().accepted, 2_000);
    }
    let odd = "SELECT count(*) AS n FROM texts WHERE (plain IS DISTINCT FROM viewed) OR (plain IS DISTINCT FROM coded) \
               OR (plain IS DISTINCT FROM category)";
    assert_eq!(server.json(odd).await, "{\"n\":0}\n");
    assert_eq!(server.json("SELECT count(*) AS n FROM texts").await, "{\"n\":4000}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_seen_by_the_query_that_names_it() {
    let server = Server::with_table().await;
    for sequence in 1..=100 {
        let result = server.write(write("p", sequence, &[sequence as i64])).await.unwrap();
        let n = server.json_at("SELECT max(id) AS n FROM t", vec![result.commit_token]).await;
        assert_eq!(n, format!("{{\"n\":{sequence}}}\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_tells_its_shape() {
    let server = Server::start().await;
    let create = "CREATE TABLE e (id BIGINT NOT NULL, k VARCHAR NOT NULL, at TIMESTAMP NOT NULL, v DOUBLE, \
                  PRIMARY KEY (id, k)) WITH (time_column = 'at', sort_by = 'k, at')";
    server.run(create).await;
    let request = GetTableSchemaRequest { table: table("e") };
    let schema = server.ingest().get_table_schema(request).await.unwrap().into_inner().schema.unwrap();
    assert_eq!(schema.version, 1);
    assert_eq!(schema.time_column, "at");
    assert_eq!((schema.primary_key, schema.sort_by), (vec!["id".into(), "k".into()], vec!["k".into(), "at".into()]));
    let decoder = Decoder::under_schema(&schema.arrow_schema, Limits::default()).unwrap();
    let names: Vec<_> = decoder.schema().unwrap().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "k", "at", "v"]);
    let rows = "{\"id\":1,\"k\":\"a\",\"at\":\"2024-01-01T00:00:00\"}";
    let request = WriteRequest { table: table("e"), payload: json(rows), ..WriteRequest::default() };
    assert_eq!(server.write(request).await.unwrap().accepted, 1);
}
