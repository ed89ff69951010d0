//! Do limits hold on every port, and do they say how long to wait? On a clock that moves when the test says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use futures::StreamExt;
use tempfile::TempDir;
use tidewater_client::{Client, Error, Identity, QueryRequest, WriteOptions};
use tidewater_server::config::{Config, FileSource, Sources};
use tidewater_server::{Running, Server};
use tidewater_storage::env::{Env, ManualClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

const GRACE: Duration = Duration::from_secs(10);

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Some time in 2026.
const NOW_US: i64 = 1_790_000_000_000_000;

struct Fixture {
    running: Running,
    client: Client,
    clock: Arc<ManualClock>,
    _folder: TempDir,
}

impl Fixture {
    async fn with(limit: (&str, &str)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let flags = [
            ("server.data", data.to_str().unwrap()),
            ("server.grpc", "127.0.0.1:0"),
            ("server.http", "127.0.0.1:0"),
            ("memory.limit", "1 GiB"),
            limit,
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = Config::load(Sources { flags, env: Vec::new(), file: FileSource::None }).unwrap();
        let clock = Arc::new(ManualClock::at(NOW_US));
        let env = Env { clock: Arc::<ManualClock>::clone(&clock), ..Env::system() };
        let running = Server::start_in(config, env).await.unwrap();
        let client = Client::connect(&running.grpc_addr().to_string()).await.unwrap();
        Self { running, client, clock, _folder: folder }
    }

    /// What was used is given back.
    fn rest(&self) {
        self.clock.advance(Duration::from_secs(60));
    }

    async fn create_table(&self) {
        self.client.execute_update("CREATE TABLE t (id BIGINT)").await.unwrap();
        self.rest();
    }

    async fn write(&self, n_rows: i64) -> Result<u64, Error> {
        let (rows, options) = (batch(n_rows), WriteOptions::default());
        self.client.write("t", &rows, Identity::None, &options).await.map(|result| result.accepted)
    }

    /// Status, headers and body of one statement over HTTP.
    async fn http_sql(&self, statement: &str) -> String {
        let request = format!(
            "POST /api/v1/sql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{statement}",
            statement.len()
        );
        self.http(&request).await
    }

    /// All that one request, which closes its connection, is answered.
    async fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.running.http_addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn stop(self) {
        drop(self.client);
        self.running.shutdown(GRACE).await.unwrap();
    }
}

fn batch(n_rows: i64) -> RecordBatch {
    // Eight bytes each, which no compression makes fewer.
    let ids = (0..n_rows).map(|n| n.wrapping_mul(0x1E37_79B9_7F4A_7C15));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter([("id", ids)]).unwrap()
}

#[track_caller]
fn assert_limited(error: &Error, wait: Duration) {
    assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, "RATE_LIMITED"), "{error}");
    assert_eq!(error.retry_after(), Some(wait), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_past_the_rate_are_refused_on_both_ports() {
    let fixture = Fixture::with(("limits.requests_per_second", "2")).await;
    let client = &fixture.client;
    for _ in 0..2 {
        client.cancel("nothing").await.unwrap_err();
    }
    assert_limited(&client.cancel("nothing").await.unwrap_err(), Duration::from_millis(500));
    let answer = fixture.http_sql("SELECT 1").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("\"title\":\"RATE_LIMITED\""), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
    // Probes are for everybody.
    client.health().await.unwrap();
    fixture.clock.advance(Duration::from_millis(500));
    assert!(fixture.http_sql("SELECT 1").await.starts_with("HTTP/1.1 200"));
    assert_limited(&client.sql("SELECT 1").await.map(drop).unwrap_err(), Duration::from_millis(500));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_past_the_rate_wait_in_a_call_for_a_while_and_in_a_stream() {
    let fixture = Fixture::with(("limits.bytes_per_second", "512 KiB")).await;
    fixture.create_table().await;
    // More than a second's worth is taken at once, and paid for.
    assert_eq!(fixture.write(1_000_000).await.unwrap(), 1_000_000);
    let error = fixture.write(1).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, "RATE_LIMITED"), "{error}");
    // More than 10 s are missing: it comes back when it may wait for the rest.
    assert!(error.retry_after().unwrap() > Duration::from_secs(5), "{error}");
    fixture.rest();

    assert_eq!(fixture.write(100_000).await.unwrap(), 100_000);
    {
        let mut late = std::pin::pin!(fixture.write(1));
        assert!(tokio::time::timeout(Duration::from_millis(200), late.as_mut()).await.is_err(), "it waits");
        fixture.rest();
        assert_eq!(tokio::time::timeout(PATIENCE, late).await.unwrap().unwrap(), 1);
    }
    fixture.rest();

    let mut producer = fixture.client.producer("t", "p").await.unwrap();
    let first = producer.send(batch(100_000)).await.unwrap();
    assert_eq!(first.await.unwrap().accepted, 100_000);
    let second = producer.send(batch(1)).await.unwrap();
    tokio::pin!(second);
    // Asked for twice at least: the clock of the limits stands still meanwhile.
    assert!(tokio::time::timeout(Duration::from_secs(2), second.as_mut()).await.is_err());
    fixture.rest();
    assert_eq!(tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap().accepted, 1);
    drop(producer);
    fixture.stop().await;
}

/// A body without a length may have no more bytes.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_upload_waits_for_no_limit() {
    let fixture = Fixture::with(("limits.bytes_per_second", "1 KiB")).await;
    fixture.create_table().await;
    let rows = "{\"id\": 1}\n".repeat(300);
    let request = format!(
        "POST /api/v1/ingest/t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{rows}\r\n0\r\n\r\n",
        rows.len()
    );
    // The clock of the limits stands still, and more than a second's worth came at once.
    let answer = tokio::time::timeout(PATIENCE, fixture.http(&request)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_past_the_limit_are_refused_until_one_ends() {
    let fixture = Fixture::with(("limits.concurrent_queries", "1")).await;
    let endless = QueryRequest {
        sql: "SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b".to_owned(),
        ..Default::default()
    };
    let mut running = fixture.client.query(endless).await.unwrap();
    running.next().await.unwrap().unwrap();
    assert_limited(&fixture.client.sql("SELECT 1").await.map(drop).unwrap_err(), Duration::from_secs(1));
    assert!(fixture.http_sql("SELECT 1").await.starts_with("HTTP/1.1 429"));
    drop(running);
    let free = async {
        while !fixture.http_sql("SELECT 1").await.starts_with("HTTP/1.1 200") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, free).await.unwrap();
    fixture.stop().await;
}
