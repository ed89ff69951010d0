//! Does a server after a crash also do what it does by the hour, and is what it writes by itself whole or not there?

use std::time::Duration;

use crate::points::LOG;
use crate::process::Server;
use crate::seen::numbers;
use crate::writers::{Caller, Signals};

const STARTS: u32 = 2;

/// A server that has not begun by then does not begin at all.
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn every_start_begins_with_housekeeping() {
    let folder = tempfile::tempdir().expect("a folder");
    for start in 1..=STARTS {
        let server = Server::start(folder.path(), "");
        let client = Caller::connect(&server.grpc, &Signals::new()).await.client;
        // Housekeeping ends with this count; only asking tells.
        let runs = "SELECT 1 FROM system.metrics WHERE name = 'tidewater_housekeeping_runs_total' AND value > 0";
        let housekeeping = async { while numbers(&client, runs).await.is_empty() {} };
        let begun = tokio::time::timeout(LIMIT, housekeeping).await;
        assert!(begun.is_ok(), "start {start} of {STARTS} did no housekeeping");
        server.kill();
    }
}

#[test]
fn a_first_start_is_struck_at_every_point() {
    for point in LOG {
        let folder = tempfile::tempdir().expect("a folder");
        Server::start_and_die(folder.path(), &format!("{point}/first_start=kill:1"));
        Server::start(folder.path(), "").stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_is_struck_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let create = "CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))";
    let mut n_rows = 0;
    // The last sync of a table, then the folder's uptime.
    for kind in ["sync", "uptime"] {
        for point in LOG {
            let server = Server::start(folder.path(), &format!("{point}/{kind}=kill:1"));
            let client = Caller::connect(&server.grpc, &Signals::new()).await.client;
            if n_rows == 0 {
                client.execute_update(create).await.expect("created");
            }
            assert_eq!(numbers(&client, "SELECT count(*) FROM t").await, [[n_rows]]);
            client.execute_update(&format!("INSERT INTO t VALUES ({n_rows})")).await.expect("stored");
            n_rows += 1;
            server.terminate();
            assert!(server.was_killed(), "{point} was not reached in {kind}");
        }
    }
}
