//! Is no key accepted twice and none lost when the kill strikes while keys go to disk? With memory for a part of them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use tidewater_client::{Identity, WriteOptions};

use crate::Doing;
use crate::points::{KEYS, LOG, TABLE};
use crate::process::{How, Server};
use crate::random::Dice;
use crate::seen::numbers;
use crate::writers::{Caller, Signals, survived};

/// Some hundred thousand random keys need more.
pub const LITTLE_MEMORY: &[&str] = &["dedup.memory=1 MiB"];

/// What one batch may need at most is a part of that.
pub const BATCH_ROWS: i64 = 1000;

/// The n-th batch (from 0) of random keys: the same ones each time, and no key in two.
pub fn random_keys(n: i64) -> RecordBatch {
    let keys = (0..BATCH_ROWS).map(|at| Dice((n * BATCH_ROWS + at) as u64).number() as i64);
    let keys: ArrayRef = Arc::new(keys.collect::<Int64Array>());
    RecordBatch::try_from_iter([("id", keys)]).expect("one column")
}

/// Sends a batch until it is taken, with builds in between, which let keys go to disk. How many of its keys are new; `None`: the server
/// died.
pub async fn store(caller: &Caller, table: &str, batch: &RecordBatch) -> Option<u64> {
    loop {
        match caller.client.write(table, batch, Identity::None, &WriteOptions::default()).await {
            Err(error) if error.reason() == "DEDUP_BUDGET" => {
                caller.call("build", table).await?;
            }
            answer => return survived(answer).map(|result| result.accepted),
        }
    }
}

/// All rows that a table has came in the first batches, but for deleted ones, and all of their keys are remembered.
pub async fn check_keys(caller: &Caller, table: &str, n_batches: i64, n_deleted: i64) {
    let count = format!("SELECT count(*), count(DISTINCT id) FROM {table}");
    let n_rows = n_batches * BATCH_ROWS - n_deleted;
    assert_eq!(numbers(&caller.client, &count).await, [[n_rows, n_rows]]);
    for n in 0..n_batches {
        assert_eq!(store(caller, table, &random_keys(n)).await, Some(0), "batch {n} of {table} is there already");
    }
    assert_eq!(numbers(&caller.client, &count).await, [[n_rows, n_rows]]);
}

async fn connect(server: &Server) -> Caller {
    Caller::connect(&server.grpc, &Signals::new()).await
}

/// More batches than make a run, by far.
const MOST_BATCHES: i64 = 400;

/// One life: batches are stored until the server dies, which may be while it starts. Returns how many are surely there.
async fn fill_until(folder: &Path, point: &str, first: i64) -> i64 {
    let how = How { fail_points: &format!("{point}=kill:1"), settings: LITTLE_MEMORY, ..How::default() };
    let Some(server) = Server::try_start_as(folder, &how) else { return first };
    let mut n = first;
    if let Some(caller) = Caller::try_connect(&server.grpc, &Signals::new()).await {
        while n < first + MOST_BATCHES
            && let Some(accepted) = store(&caller, "full", &random_keys(n)).await
        {
            // The first may be one that had no answer: it is there whole, or not at all.
            assert!(accepted == BATCH_ROWS as u64 || (n == first && accepted == 0), "{accepted} keys of batch {n}");
            n += 1;
        }
    }
    assert!(n < first + MOST_BATCHES, "{point} was not reached");
    assert!(server.was_killed(), "{point}");
    n
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_go_to_disk_are_struck_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder.path(), "");
    let create = "CREATE TABLE full (id BIGINT NOT NULL, PRIMARY KEY (id))";
    connect(&server).await.client.execute_update(create).await.expect("created");
    server.stop();
    let [run_written, _] = KEYS;
    let [before_submit, _, after_publish, _] = TABLE;
    let records = [before_submit].into_iter().chain(LOG).chain([after_publish]).map(|point| format!("{point}/layers"));
    let mut n_batches = 0;
    for point in [run_written.to_owned()].into_iter().chain(records) {
        doing.now(format!("struck at {point} after {n_batches} batches"));
        n_batches = fill_until(folder.path(), &point, n_batches).await;
    }
    doing.now(format!("the end, after {n_batches} batches"));
    let server = Server::start_as(folder.path(), &How { settings: LITTLE_MEMORY, ..How::default() });
    let caller = connect(&server).await;
    // The batch without an answer.
    assert!(store(&caller, "full", &random_keys(n_batches)).await.is_some());
    check_keys(&caller, "full", n_batches + 1, 0).await;
    server.stop();
}

/// Keys of one build, and more builds than a table keeps files of keys for.
const FEW_KEYS: i64 = 40;
const MOST_BUILDS: i64 = 60;

/// Files of keys that are many become few.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_keys_that_become_few_are_struck_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder, "");
    let create = "CREATE TABLE many (id BIGINT NOT NULL, PRIMARY KEY (id))";
    connect(&server).await.client.execute_update(create).await.expect("created");
    server.stop();
    let insert = |build: i64| {
        let (from, through) = (build * FEW_KEYS, (build + 1) * FEW_KEYS - 1);
        format!("INSERT INTO many SELECT i FROM generate_series({from}, {through}) AS s(i)")
    };
    let [_, files_written] = KEYS;
    let mut n_builds = 0;
    for point in [files_written, "log.before_write/layers", "log.after_witness/layers"] {
        doing.now(format!("struck at {point} after {n_builds} builds"));
        // What was made and is on no record is made anew as soon as the table is open.
        let Some(server) = Server::try_start(folder, &format!("{point}=kill:1")) else { continue };
        let Some(caller) = Caller::try_connect(&server.grpc, &Signals::new()).await else { continue };
        let first = n_builds;
        while n_builds < first + MOST_BUILDS {
            let Some(accepted) = survived(caller.client.execute_update(&insert(n_builds)).await) else { break };
            assert!(accepted == FEW_KEYS as u64 || (n_builds == first && accepted == 0), "{accepted} new keys");
            n_builds += 1;
            if caller.call("build", "many").await.is_none() {
                break;
            }
        }
        assert!(n_builds < first + MOST_BUILDS, "{point} was not reached");
        assert!(server.was_killed());
    }
    doing.now("the end");
    let server = Server::start(folder, "");
    let caller = connect(&server).await;
    let accepted = caller.client.execute_update(&insert(n_builds)).await.expect("stored");
    assert!([0, FEW_KEYS as u64].contains(&accepted), "{accepted} new keys");
    for build in 0..=n_builds {
        assert_eq!(caller.client.execute_update(&insert(build)).await.expect("answered"), 0, "build {build}");
    }
    let n_rows = (n_builds + 1) * FEW_KEYS;
    assert_eq!(numbers(&caller.client, "SELECT count(*), count(DISTINCT id) FROM many").await, [[n_rows, n_rows]]);
    caller.call("seal", "many").await.expect("sealed");
    caller.verify("many").await;
    server.stop();
}
