//! Does every acknowledged row survive `kill -9`, once, wherever it strikes? The real binary, killed at each fail point and at random.

mod process;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use tempfile::TempDir;
use tidewater_client::{BatchResult, Client, ClientOptions, Identity, RetryPolicy, SequenceMode, WriteOptions};

use self::process::Server;

const N_BATCHES: u64 = 12;
const BATCH_ROWS: i64 = 10;

/// Batch `sequence`: ten keys of its own and two of the batch before.
fn keys(sequence: u64) -> Vec<i64> {
    let from = sequence as i64 * BATCH_ROWS;
    (from - 2..from + BATCH_ROWS).collect()
}

fn batch(keys: &[i64]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    RecordBatch::try_from_iter([("id", ids)]).expect("one column")
}

async fn connect(server: &Server) -> Client {
    // The test wants to see each failure, not to ride it out.
    let retry = RetryPolicy { give_up_after: Some(Duration::ZERO), ..RetryPolicy::default() };
    let options = ClientOptions { retry, ..ClientOptions::default() };
    Client::connect_with(&server.grpc, options).await.expect("connects")
}

async fn send(client: &Client, sequence: u64) -> tidewater_client::Result<BatchResult> {
    let identity = Identity::Producer { id: "p".to_owned(), epoch: 0, sequence, mode: SequenceMode::Contiguous };
    client.write("t", &batch(&keys(sequence)), identity, &WriteOptions::default()).await
}

async fn stored(client: &Client) -> Vec<i64> {
    let rows: Vec<RecordBatch> =
        client.sql("SELECT id FROM t ORDER BY id").await.expect("runs").try_collect().await.expect("ends");
    rows.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

async fn create(folder: &TempDir) {
    let server = Server::start(folder.path(), "");
    let client = connect(&server).await;
    client.execute_update("CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))").await.expect("created");
    server.stop();
}

/// Sends batches until the server dies; returns the last sequence that was acknowledged.
async fn send_until_killed(server: &Server, from: u64) -> u64 {
    let client = connect(server).await;
    let mut acknowledged = from - 1;
    for sequence in from..=N_BATCHES {
        match send(&client, sequence).await {
            Ok(_) => acknowledged = sequence,
            Err(_) => break,
        }
    }
    acknowledged
}

/// After a restart: what was acknowledged is there, each row once, in whole batches; then the rest is sent again.
async fn check_and_finish(folder: &TempDir, acknowledged: u64, what: &str) {
    let server = Server::start(folder.path(), "");
    let client = connect(&server).await;
    let found = stored(&client).await;
    let unique: BTreeSet<i64> = found.iter().copied().collect();
    assert_eq!(unique.len(), found.len(), "{what}: a row is there twice");
    // At most the one batch that was under way may be there beyond what was acknowledged.
    let expected = |through: u64| (1..=through).flat_map(keys).collect::<BTreeSet<i64>>();
    let last = (acknowledged..=acknowledged + 1).find(|through| expected(*through) == unique);
    let Some(last) = last else {
        panic!("{what}: acknowledged through {acknowledged}, found {found:?}");
    };
    for sequence in 1..=N_BATCHES {
        let result = send(&client, sequence).await.expect("stored or repeated");
        assert_eq!(result.repeated, sequence <= last, "{what}: batch {sequence}, stored through {last}");
    }
    let all: Vec<i64> = expected(N_BATCHES).into_iter().collect();
    assert_eq!(stored(&client).await, all, "{what}");
    server.stop();
}

const POINTS: [&str; 7] = [
    "log.before_write",
    "log.after_write",
    "log.after_witness",
    "table.before_submit",
    "table.before_publish",
    "table.after_publish",
    "table.after_answer",
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point() {
    for point in POINTS {
        for visit in [1, 4] {
            let what = format!("{point} at visit {visit}");
            let folder = tempfile::tempdir().expect("a folder");
            create(&folder).await;
            let server = Server::start(folder.path(), &format!("{point}=kill:{visit}"));
            let acknowledged = send_until_killed(&server, 1).await;
            assert!(server.was_killed(), "{what} was not reached");
            check_and_finish(&folder, acknowledged, &what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_during_replay() {
    let folder = tempfile::tempdir().expect("a folder");
    create(&folder).await;
    let server = Server::start(folder.path(), "log.after_write=kill:6");
    let acknowledged = send_until_killed(&server, 1).await;
    assert!(server.was_killed());
    for visit in [1, 3, 5] {
        Server::start_and_die(folder.path(), &format!("replay.entry=kill:{visit}"));
    }
    check_and_finish(&folder, acknowledged, "replay").await;
}

/// The signal comes from outside, at no point that the code knows.
#[tokio::test(flavor = "multi_thread")]
async fn killed_from_outside() {
    let folder = tempfile::tempdir().expect("a folder");
    create(&folder).await;
    let mut acknowledged = 0;
    for round in 1..=4 {
        let server = Arc::new(Server::start(folder.path(), ""));
        let client = connect(&server).await;
        let in_flight = {
            let client = client.clone();
            let next = acknowledged + 2;
            acknowledged = match send(&client, acknowledged + 1).await {
                Ok(_) => acknowledged + 1,
                Err(e) => panic!("round {round}: {e}"),
            };
            tokio::spawn(async move { send(&client, next).await })
        };
        server.kill();
        if in_flight.await.expect("no panic").is_ok() {
            acknowledged += 1;
        }
        // The next round begins where the log says that this one ended.
        let again = Server::start(folder.path(), "");
        let client = connect(&again).await;
        let result = send(&client, acknowledged + 1).await.expect("stored or repeated");
        assert!(result.received > 0);
        acknowledged += 1;
        again.kill();
    }
    check_and_finish(&folder, acknowledged, "from outside").await;
}

/// A producer that comes back learns where it stopped, and is told of what was there.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_learns_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    create(&folder).await;
    let server = Server::start(folder.path(), "log.after_witness=kill:6");
    let acknowledged = send_until_killed(&server, 1).await;
    let server = Server::start(folder.path(), "");
    let client = connect(&server).await;
    let producer = client.producer("t", "p").await.expect("connects");
    let last = producer.last_sequence();
    assert!(producer.was_known());
    assert!(last == acknowledged || last == acknowledged + 1, "acknowledged {acknowledged}, the log says {last}");
    server.stop();
}
