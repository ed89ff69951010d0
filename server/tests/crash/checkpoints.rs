//! Is a checkpoint of the Delta log whole or not there, and does nothing go before it is? Rows are sealed one by one until there is one.

use crate::Doing;
use crate::alone::{DAY_S, die_by_itself};
use crate::delta::DeltaLog;
use crate::points::{CHECKPOINT, STORE_DELETES};
use crate::process::{How, Server};
use crate::seen::numbers;
use crate::writers::{Caller, Signals, survived};

/// A checkpoint comes every hundred commits.
const MANY_ROWS: i64 = 150;
const HALF: i64 = 40;

/// Seals one row after the other until the server dies; false if it lives. `n_rows` are surely stored.
async fn seal_rows(caller: &Caller, n_rows: &mut i64, through: i64, delta: &mut DeltaLog) -> bool {
    while *n_rows < through {
        // One that had no answer may be there.
        let insert = format!("INSERT INTO counted VALUES ({n_rows})");
        if survived(caller.client.execute_update(&insert).await).is_none() {
            return true;
        }
        *n_rows += 1;
        let Some(came) = caller.call("seal", "counted").await else { return true };
        delta.acknowledge(came);
        // Not all of them stay files of their own, so that there is something to clean when a month is over.
        if *n_rows == HALF && caller.call("compact", "counted").await.is_none() {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_struck_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder, "");
    let create = "CREATE TABLE counted (id BIGINT NOT NULL, PRIMARY KEY (id))";
    connect(&server).await.client.execute_update(create).await.expect("created");
    server.stop();
    let mut delta = DeltaLog::of(folder, "counted");
    let mut n_rows = 0;

    // One that was not announced is there all the same, and is made anew behind it. Commits go when they are a month old.
    let month = 31 * DAY_S;
    let [before_delete, after_delete] = STORE_DELETES;
    let deaths = CHECKPOINT.into_iter().map(|point| (point, 1, 0));
    for (point, visit, ahead_s) in deaths.chain([(before_delete, 3, month), (after_delete, 10, month)]) {
        if ahead_s > 0 && delta.oldest() == 0 {
            doing.now("what was merged is deleted a month later");
            let how = How { fail_points: "log.after_write/cleaned=kill:1", ahead_s, ..How::default() };
            die_by_itself(folder, &how).await;
            delta.check();
        }
        doing.now(format!("{point} at visit {visit}"));
        let how = How { fail_points: &format!("{point}=kill:{visit}"), ahead_s, ..How::default() };
        if let Some(server) = Server::try_start_as(folder, &how) {
            if let Some(caller) = Caller::try_connect(&server.grpc, &Signals::new()).await {
                assert!(seal_rows(&caller, &mut n_rows, MANY_ROWS, &mut delta).await, "{point} was not reached");
            }
            assert!(server.was_killed());
        }
        let newest = delta.check().expect("a Delta table");
        assert!((n_rows - 1..=n_rows + 1).contains(&newest.rows), "{newest:?}, {n_rows} rows are stored");
    }

    doing.now("the last start");
    let server = Server::start_as(folder, &How { ahead_s: month, ..How::default() });
    let caller = connect(&server).await;
    let through = n_rows + 2;
    assert!(!seal_rows(&caller, &mut n_rows, through, &mut delta).await);
    let sums = "SELECT count(*), count(DISTINCT id), sum(id) FROM counted";
    assert_eq!(numbers(&caller.client, sums).await, [[n_rows, n_rows, n_rows * (n_rows - 1) / 2]]);
    caller.verify("counted").await;
    server.stop();
    let newest = delta.check().expect("a Delta table");
    assert_eq!(newest.rows, n_rows);
    assert!(delta.oldest() > 0, "a checkpoint has the commits of a month ago, and they are there");

    // It is opened by what is left.
    let server = Server::start_as(folder, &How { ahead_s: month, ..How::default() });
    let caller = connect(&server).await;
    assert_eq!(numbers(&caller.client, "SELECT count(*) FROM counted").await, [[n_rows]]);
    caller.verify("counted").await;
    server.stop();
}

async fn connect(server: &Server) -> Caller {
    Caller::connect(&server.grpc, &Signals::new()).await
}
