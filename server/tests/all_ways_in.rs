//! Is a value the same whichever way it came? Every type over Arrow, JSON, Flight bulk append and SQL INSERT (H07), with the real binary.

#[allow(dead_code, reason = "other tests need the rest")]
mod process;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption as Exists, TableNotExistOption as NotExist,
};
use futures::{TryStreamExt, stream};
use tidewater_client::{Client, Compression, Identity, ProducerOptions, QueryRequest, WriteOptions};
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::ingest::v1::payload::Format;
use tidewater_proto::ingest::v1::{Payload, TableRef, WriteRequest};
use tonic::transport::{Channel, Endpoint};

use self::process::Server;

const N_ROWS: usize = 3;

/// A column of two values and a NULL, and how the values are written.
struct Column {
    name: &'static str,
    sql_type: &'static str,
    values: ArrayRef,
    json: [&'static str; 2],
    sql: [&'static str; 2],
}

fn column(
    (name, sql_type): (&'static str, &'static str),
    values: impl Array + 'static,
    json: [&'static str; 2],
    sql: [&'static str; 2],
) -> Column {
    Column { name, sql_type, values: Arc::new(values), json, sql }
}

/// A column whose values are written alike in JSON and in SQL.
fn plain(name: (&'static str, &'static str), values: impl Array + 'static, texts: [&'static str; 2]) -> Column {
    column(name, values, texts, texts)
}

/// The smallest and the largest value of an integer type.
macro_rules! ends {
    ($array:ident, $type:ty, $name:expr, $texts:expr) => {
        plain($name, $array::from(vec![Some(<$type>::MIN), Some(<$type>::MAX), None]), $texts)
    };
}

fn integers() -> Vec<Column> {
    vec![
        ends!(Int8Array, i8, ("a_tinyint", "TINYINT"), ["-128", "127"]),
        ends!(Int16Array, i16, ("a_smallint", "SMALLINT"), ["-32768", "32767"]),
        ends!(Int32Array, i32, ("an_integer", "INTEGER"), ["-2147483648", "2147483647"]),
        ends!(Int64Array, i64, ("a_bigint", "BIGINT"), ["-9223372036854775808", "9223372036854775807"]),
        ends!(UInt8Array, u8, ("a_utinyint", "TINYINT UNSIGNED"), ["0", "255"]),
        ends!(UInt16Array, u16, ("a_usmallint", "SMALLINT UNSIGNED"), ["0", "65535"]),
        ends!(UInt32Array, u32, ("a_uinteger", "INTEGER UNSIGNED"), ["0", "4294967295"]),
        ends!(UInt64Array, u64, ("a_ubigint", "BIGINT UNSIGNED"), ["0", "18446744073709551615"]),
    ]
}

fn scalars() -> Vec<Column> {
    let decimals = Decimal128Array::from(vec![Some(12_345_678_901_234_567_890_123_456_789), Some(-1), None])
        .with_precision_and_scale(38, 10)
        .expect("they fit");
    vec![
        plain(("a_boolean", "BOOLEAN"), BooleanArray::from(vec![Some(true), Some(false), None]), ["true", "false"]),
        plain(("a_real", "REAL"), Float32Array::from(vec![Some(0.5), Some(-1.25e10), None]), ["0.5", "-1.25e10"]),
        plain(("a_double", "DOUBLE"), Float64Array::from(vec![Some(0.1), Some(-1e300), None]), ["0.1", "-1e300"]),
        column(
            ("a_decimal", "DECIMAL(38, 10)"),
            decimals,
            ["1234567890123456789.0123456789", "\"-0.0000000001\""],
            ["'1234567890123456789.0123456789'", "-0.0000000001"],
        ),
        column(
            ("a_varchar", "VARCHAR"),
            StringArray::from(vec![Some("äß→😀 '\"\\\n"), Some(""), None]),
            [r#""äß→😀 '\"\\\n""#, "\"\""],
            ["'äß→😀 ''\"\\\n'", "''"],
        ),
        column(
            ("a_varbinary", "VARBINARY"),
            BinaryArray::from(vec![Some(&b"\x00\xff\x10"[..]), Some(b""), None]),
            ["\"00ff10\"", "\"\""],
            ["X'00ff10'", "X''"],
        ),
        column(
            ("a_date", "DATE"),
            Date32Array::from(vec![Some(19_782), Some(-56_270), None]),
            ["\"2024-02-29\"", "\"1815-12-10\""],
            ["DATE '2024-02-29'", "DATE '1815-12-10'"],
        ),
        column(
            ("a_time", "TIME"),
            Time64MicrosecondArray::from(vec![Some(86_399_999_999), Some(0), None]),
            ["\"23:59:59.999999\"", "\"00:00:00\""],
            ["TIME '23:59:59.999999'", "TIME '00:00:00'"],
        ),
        column(
            ("a_timestamp", "TIMESTAMP"),
            TimestampMicrosecondArray::from(vec![Some(1_709_168_523_456_789), Some(-2_177_452_800_000_000), None]),
            ["\"2024-02-29T01:02:03.456789\"", "-2177452800000000"],
            ["TIMESTAMP '2024-02-29 01:02:03.456789'", "TIMESTAMP '1901-01-01 00:00:00'"],
        ),
        column(
            ("a_timestamptz", "TIMESTAMPTZ"),
            TimestampMicrosecondArray::from(vec![Some(1_709_168_523_000_000), Some(-1_000_000), None])
                .with_timezone("UTC"),
            ["\"2024-02-29T02:02:03+01:00\"", "\"1969-12-31T23:59:59Z\""],
            ["TIMESTAMPTZ '2024-02-29 02:02:03+01:00'", "TIMESTAMPTZ '1969-12-31 23:59:59Z'"],
        ),
    ]
}

fn nested() -> Vec<Column> {
    let lists = [Some(vec![Some(1), None, Some(3)]), Some(vec![]), None];
    let fields = Fields::from(vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)]);
    let x: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None]));
    let y: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some(""), None]));
    let structs = StructArray::new(fields, vec![x, y], Some(NullBuffer::from(vec![true, true, false])));
    vec![
        column(
            ("a_list", "BIGINT[]"),
            ListArray::from_iter_primitive::<Int64Type, _, _>(lists),
            ["[1,null,3]", "[]"],
            ["[1, NULL, 3]", "[]"],
        ),
        column(
            ("a_struct", "STRUCT<x BIGINT, y VARCHAR>"),
            structs,
            [r#"{"x":1,"y":"b"}"#, r#"{"y":"","x":null}"#],
            ["{x: 1, y: 'b'}", "{x: NULL, y: ''}"],
        ),
    ]
}

fn columns() -> Vec<Column> {
    [integers(), scalars(), nested()].into_iter().flatten().collect()
}

/// The rows as every way must give them back.
fn expected(columns: &[Column]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..N_ROWS as i64));
    let rest = columns.iter().map(|column| (column.name, Arc::clone(&column.values), true));
    RecordBatch::try_from_iter_with_nullable(std::iter::once(("id", ids, false)).chain(rest)).expect("equal lengths")
}

async fn create(client: &Client, columns: &[Column], way: &str) {
    let columns: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
    let sql = format!("CREATE TABLE {way} (id BIGINT NOT NULL, {}, PRIMARY KEY (id))", columns.join(", "));
    client.execute_update(&sql).await.expect("created");
}

/// The texts of row `i`, `null` behind the two values.
fn texts<'a>(columns: &'a [Column], pick: impl Fn(&'a Column) -> &'a [&'static str; 2], i: usize) -> Vec<&'a str> {
    columns.iter().map(|column| pick(column).get(i).copied().unwrap_or("null")).collect()
}

fn json_lines(columns: &[Column]) -> String {
    let line = |i: usize| {
        let cells: Vec<String> = columns
            .iter()
            .zip(texts(columns, |column| &column.json, i))
            .map(|(column, text)| format!("\"{}\":{text}", column.name))
            .collect();
        format!("{{\"id\":{i},{}}}\n", cells.join(","))
    };
    (0..N_ROWS).map(line).collect()
}

/// For what our client does not speak.
async fn connect(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address");
    endpoint.connect().await.expect("connects")
}

async fn by_json(server: &Server, columns: &[Column]) {
    let payload = Some(Payload { format: Some(Format::JsonRows(json_lines(columns).into())) });
    let table = Some(TableRef { table: "by_json".to_owned(), ..TableRef::default() });
    let mut ingest = IngestClient::new(connect(server).await);
    let answer = ingest.write(WriteRequest { table, payload, ..WriteRequest::default() }).await.expect("stored");
    let result = answer.into_inner().result.expect("a result");
    assert_eq!(result.accepted, N_ROWS as u64, "{:?}", result.row_errors);
}

async fn by_bulk_append(server: &Server, rows: &RecordBatch) {
    let mut flight = FlightSqlServiceClient::new(connect(server).await);
    let command = CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: NotExist::Fail.into(),
            if_exists: Exists::Append.into(),
        }),
        table: "by_bulk_append".to_owned(),
        ..CommandStatementIngest::default()
    };
    let stored = flight.execute_ingest(command, stream::iter([Ok(rows.clone())])).await.expect("stored");
    assert_eq!(stored, N_ROWS as i64);
}

async fn by_arrow(client: &Client, way: &str, rows: &RecordBatch, compression: Compression) {
    let options = WriteOptions { compression, ..WriteOptions::default() };
    let result = client.write(way, rows, Identity::None, &options).await.expect("stored");
    assert_eq!((result.received, result.accepted), (N_ROWS as u64, N_ROWS as u64), "{:?}", result.row_errors);
}

async fn by_stream(client: &Client, rows: &RecordBatch) {
    let mut producer = client.producer_with("by_stream", "p", ProducerOptions::default()).await.expect("begins");
    for i in 0..N_ROWS {
        let ack = producer.send(rows.slice(i, 1)).await.expect("handed over");
        assert_eq!(ack.await.expect("stored").accepted, 1);
    }
    producer.close().await.expect("all is stored");
}

async fn by_sql(client: &Client, columns: &[Column]) {
    for i in 0..N_ROWS {
        let values = texts(columns, |column| &column.sql, i).join(", ");
        let sql = format!("INSERT INTO by_sql VALUES ({i}, {values})");
        assert_eq!(client.execute_update(&sql).await.expect("stored"), 1);
    }
}

/// Compares type and values column by column, so that a difference has a name.
#[track_caller]
fn assert_same(way: &str, batches: &[RecordBatch], expected: &RecordBatch) {
    let rows = concat_batches(&batches.first().expect("rows").schema(), batches).expect("one schema");
    assert_eq!(rows.num_columns(), expected.num_columns(), "{way}");
    for (i, field) in expected.schema().fields().iter().enumerate() {
        assert_eq!(rows.schema().field(i).name(), field.name(), "{way}");
        assert_eq!(rows.column(i), expected.column(i), "{way}, column {}", field.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_stores_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), "");
    let mut client = Client::connect(&server.grpc).await.expect("connects");
    let columns = columns();
    let rows = expected(&columns);
    let ways = ["by_arrow", "by_lz4", "by_zstd", "by_stream", "by_json", "by_bulk_append", "by_sql"];
    for way in ways {
        create(&client, &columns, way).await;
    }

    by_arrow(&client, "by_arrow", &rows, Compression::None).await;
    by_arrow(&client, "by_lz4", &rows, Compression::Lz4).await;
    by_arrow(&client, "by_zstd", &rows, Compression::Zstd).await;
    by_stream(&client, &rows).await;
    by_json(&server, &columns).await;
    by_bulk_append(&server, &rows).await;
    by_sql(&client, &columns).await;

    for restarted in [false, true] {
        if restarted {
            server.kill();
            server = Server::start(folder.path(), "");
            client = Client::connect(&server.grpc).await.expect("connects");
        }
        for way in ways {
            let sql = format!("SELECT * FROM {way} ORDER BY id");
            let request = QueryRequest { sql: sql.clone(), ..QueryRequest::default() };
            let answer = client.query(request).await.expect("runs");
            assert_same(way, &answer.try_collect::<Vec<_>>().await.expect("ends"), &rows);
            let answer = client.sql(&sql).await.expect("runs");
            assert_same(way, &answer.try_collect::<Vec<_>>().await.expect("ends"), &rows);
        }
    }
    server.stop();
}
