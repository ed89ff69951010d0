//! Does the Rust client keep its word with the real binary? Repeats, sequences, bad rows, commit tokens (H01, H02, H04, H06).

mod bad_rows;
#[path = "../process/mod.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod process;
mod relay;
mod repeats;
mod sequences;
mod tokens;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use tempfile::TempDir;
use tidewater_client::{BatchResult, Client, Error, Identity, Producer, Result, SequenceMode, WriteOptions};
use tonic::Code;

use self::process::Server;

/// No test waits longer.
const LIMIT: Duration = Duration::from_secs(600);

/// A table without a key, so that a batch that is stored twice is seen.
const PLAIN: &str = "CREATE TABLE t (id BIGINT)";
const KEYED: &str = "CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))";

struct Fixture {
    folder: TempDir,
    server: Server,
    client: Client,
}

impl Fixture {
    async fn with(create: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(folder.path(), "");
        let client = Client::connect(&server.grpc).await.expect("connects");
        client.execute_update(create).await.expect("created");
        Self { folder, server, client }
    }

    /// Ends the server in order, or kills it, and starts it again on another port.
    async fn restart(self, kill: bool) -> Self {
        let Self { folder, server, .. } = self;
        if kill {
            server.kill();
        } else {
            server.stop();
        }
        let server = Server::start(folder.path(), "");
        let client = Client::connect(&server.grpc).await.expect("connects");
        Self { folder, server, client }
    }

    async fn reconnect(&self) -> Client {
        Client::connect(&self.server.grpc).await.expect("connects")
    }

    async fn ids(&self) -> Vec<i64> {
        integers(&self.client, "SELECT id FROM t ORDER BY id").await
    }

    /// Returns once so many rows are there.
    async fn wait_for_rows(&self, n: i64) {
        while integers(&self.client, "SELECT count(*) FROM t").await != [n] {
            tokio::task::yield_now().await;
        }
    }
}

async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, test).await.expect("the test ends in time")
}

/// The first column of an answer over Flight SQL.
async fn integers(client: &Client, sql: &str) -> Vec<i64> {
    let rows: Vec<RecordBatch> = client.sql(sql).await.expect("runs").try_collect().await.expect("ends");
    rows.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn batch(ids: &[i64]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_from_iter([("id", ids)]).expect("one column")
}

fn number(id: &str, epoch: u64, sequence: u64) -> Identity {
    Identity::Producer { id: id.to_owned(), epoch, sequence, mode: SequenceMode::Contiguous }
}

async fn write(client: &Client, identity: Identity, ids: &[i64]) -> Result<BatchResult> {
    client.write("t", &batch(ids), identity, &WriteOptions::default()).await
}

async fn send(producer: &mut Producer, rows: RecordBatch) -> Result<BatchResult> {
    producer.send(rows).await?.await
}

#[track_caller]
fn assert_first(result: &BatchResult, n: u64) {
    assert_eq!((result.repeated, result.received, result.accepted), (false, n, n));
}

#[track_caller]
fn assert_repeat(result: &BatchResult, n: u64) {
    assert_eq!((result.repeated, result.received, result.accepted), (true, n, n));
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(outcome: Result<T>, code: Code, reason: &str) -> Error {
    let error = outcome.expect_err("refused");
    assert_eq!((error.code(), error.reason()), (code, reason), "{error}");
    error
}
