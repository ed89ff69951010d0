//! Does a kill while fresh rows are being sorted lose or double any? Batches that fill sorted runs, on a table without a primary key.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use tidewater_client::{BatchResult, Client, Result, WriteOptions};

use crate::Doing;
use crate::process::Server;
use crate::seen::numbers;
use crate::writers::{Caller, Signals, numbered, survived};

/// Two of these are more than a run's 131,072 rows; each has to be sorted by a column in which it is in no order.
const BATCH_ROWS: i64 = 70_000;
const RUN_BATCHES: u64 = 2;

fn rows(sequence: u64) -> RecordBatch {
    let from = (sequence as i64 - 1) * BATCH_ROWS;
    let ids: Int64Array = (from..from + BATCH_ROWS).collect();
    let shuffled: Int64Array = ids.values().iter().map(|id| shuffle(*id)).collect();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("v", Arc::new(shuffled))];
    RecordBatch::try_from_iter(columns).expect("two columns")
}

fn shuffle(id: i64) -> i64 {
    id * 7_919 % 1_000_003
}

/// Sends batches of one producer until the server dies or `through` is stored; returns the last that was answered.
async fn send(client: &Client, from: u64, through: u64) -> u64 {
    for sequence in from..=through {
        if survived(write(client, sequence).await).is_none() {
            return sequence - 1;
        }
    }
    through
}

async fn write(client: &Client, sequence: u64) -> Result<BatchResult> {
    let result = client.write("t", &rows(sequence), numbered("p", 0, sequence), &WriteOptions::default()).await?;
    assert_eq!((result.received, result.accepted), (BATCH_ROWS as u64, BATCH_ROWS as u64), "batch {sequence}");
    Ok(result)
}

/// Each of the batches 1 to `last` is there, whole and once, sorted or not.
async fn check(client: &Client, last: u64) {
    let sql = "SELECT id / 70000, count(*), count(DISTINCT id), min(id), max(id), sum(v) FROM t GROUP BY 1 ORDER BY 1";
    let found = numbers(client, sql).await;
    let expected: Vec<Vec<i64>> = (0..last as i64)
        .map(|batch| {
            let ids = batch * BATCH_ROWS..(batch + 1) * BATCH_ROWS;
            let sum = ids.clone().map(shuffle).sum();
            vec![batch, BATCH_ROWS, BATCH_ROWS, ids.start, ids.end - 1, sum]
        })
        .collect();
    assert_eq!(found, expected, "batches 1 to {last}: rows, distinct keys, smallest, largest, sum");
}

async fn start(folder: &Path, fail_points: &str) -> (Server, Client) {
    let server = Server::start(folder, fail_points);
    let client = Caller::connect(&server.grpc, &Signals::new()).await.client;
    (server, client)
}

/// The worker of a table begins to sort right after it has answered the batch that fills a run, and before it takes the next one: who
/// sends a batch after that answer meets a run that is being built.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_run_is_built() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut doing = Doing::new("the batch after the first run is struck before it is written");
    let folder = folder.path();
    let (server, client) = start(folder, "table.before_submit=kill:3").await;
    let create = "CREATE TABLE t (id BIGINT NOT NULL, v BIGINT) WITH (sort_by = 'v')";
    client.execute_update(create).await.expect("created");
    assert_eq!(send(&client, 1, RUN_BATCHES + 1).await, RUN_BATCHES);
    assert!(server.was_killed());

    doing.now("a replay is struck after it has built the run, then a batch after the next run when it is written");
    let (server, client) = start(folder, "table.before_publish=kill:3").await;
    check(&client, RUN_BATCHES).await;
    assert_eq!(send(&client, RUN_BATCHES + 1, 2 * RUN_BATCHES + 1).await, 2 * RUN_BATCHES);
    assert!(server.was_killed());
    for visit in [2, 3, 5] {
        Server::start_and_die(folder, &format!("replay.entry=kill:{visit}"));
    }

    doing.now("the server is killed from outside as soon as a run is to be built");
    let (server, client) = start(folder, "").await;
    check(&client, 2 * RUN_BATCHES + 1).await;
    assert!(write(&client, 2 * RUN_BATCHES + 1).await.expect("answered").repeated);
    assert_eq!(send(&client, 2 * RUN_BATCHES + 2, 3 * RUN_BATCHES).await, 3 * RUN_BATCHES);
    server.kill();

    doing.now("the last start");
    let (server, client) = start(folder, "").await;
    check(&client, 3 * RUN_BATCHES).await;
    server.stop();
}
