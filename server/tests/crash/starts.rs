//! Does a server after a crash also do what it does by the hour? Housekeeping begins with every start.

use std::time::Duration;

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
        // Housekeeping ends with this gauge; only asking tells.
        let gauge = "SELECT 1 FROM system.metrics WHERE name = 'tidewater_memory_bytes'";
        let housekeeping = async { while numbers(&client, gauge).await.is_empty() {} };
        let begun = tokio::time::timeout(LIMIT, housekeeping).await;
        assert!(begun.is_ok(), "start {start} of {STARTS} did no housekeeping");
        server.kill();
    }
}
