//! Are rejected rows that fit at last stored once, wherever the kill strikes? What was rejected is in the table or still among the rejected.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::TryStreamExt;
use tidewater_client::{Client, Identity, WriteOptions};

use crate::points::{LOG, REPLAY_REJECTED};
use crate::process::Server;
use crate::seen::numbers;
use crate::writers::{Caller, Signals};

/// Of each two neighbours one lacks a name, which the table wants.
const N_ROWS: i64 = 100;
const N_REJECTED: i64 = N_ROWS / 2;

fn rows() -> RecordBatch {
    let names: StringArray = (0..N_ROWS).map(|id| (id % 2 == 0).then(|| format!("name {id}"))).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from_iter_values(0..N_ROWS))), ("name", Arc::new(names))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("a batch")
}

/// Rows in the table, different keys among them, and rejected ones.
async fn counts(client: &Client) -> Vec<i64> {
    let sql = "SELECT count(*), count(DISTINCT id), (SELECT count(*) FROM system.rejected) AS rejected FROM t";
    numbers(client, sql).await.remove(0)
}

async fn replay(client: &Client) -> tidewater_client::Result<Vec<RecordBatch>> {
    client.sql("CALL replay_rejected('t')").await?.try_collect().await
}

async fn connected(server: &Server) -> Client {
    Caller::connect(&server.grpc, &Signals::new()).await.client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_struck_at_every_point() {
    let of_commits = LOG.map(|point| format!("{point}/rows"));
    let of_tables =
        ["table.before_submit", "table.before_publish", "table.after_publish"].map(|point| format!("{point}/rows"));
    for point in REPLAY_REJECTED.map(str::to_owned).into_iter().chain(of_commits).chain(of_tables) {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(folder.path(), "");
        let client = connected(&server).await;
        let create = "CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR NOT NULL, PRIMARY KEY (id))";
        client.execute_update(create).await.expect("created");
        let result = client.write("t", &rows(), Identity::None, &WriteOptions::default()).await.expect("answered");
        assert_eq!((result.accepted, result.rejected), (N_REJECTED as u64, N_REJECTED as u64));
        client.execute_update("ALTER TABLE t ALTER COLUMN name DROP NOT NULL").await.expect("altered");
        server.kill();

        let server = Server::start(folder.path(), &format!("{point}=kill:1"));
        let client = connected(&server).await;
        assert!(replay(&client).await.is_err(), "{point} was not reached");
        assert!(server.was_killed(), "{point} was not reached");

        let server = Server::start(folder.path(), "");
        let client = connected(&server).await;
        let found = counts(&client).await;
        let (before, after) = (vec![N_REJECTED, N_REJECTED, N_REJECTED], vec![N_ROWS, N_ROWS, 0]);
        assert!([&before, &after].contains(&&found), "{point}: {found:?}");
        replay(&client).await.expect("replayed");
        assert_eq!(counts(&client).await, after, "{point}");
        let wrong = "SELECT count(*) FROM system.ledger GROUP BY table_id
            HAVING sum(received) <> sum(accepted) + sum(duplicate) + sum(repeated) + sum(rejected)";
        assert!(numbers(&client, wrong).await.is_empty(), "{point}");
        server.stop();
    }
}
