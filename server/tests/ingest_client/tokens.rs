//! Does a query that names a commit see it? Ten thousand times, on many connections (H06).

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use futures::future::join_all;
use tidewater_client::{Client, QueryRequest};

use super::{Fixture, KEYED, bounded, integers, number, write};

/// Tokens that are tried, over so many connections.
const N_TOKENS: i64 = 10_000;
const N_CONNECTIONS: i64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_a_token_sees_what_was_written() {
    bounded(async {
        let fixture = Fixture::with(KEYED).await;
        let connections = (0..N_CONNECTIONS).map(|connection| {
            let address = fixture.server.grpc.clone();
            tokio::spawn(async move {
                let client = Client::connect(&address).await.expect("connects");
                let ids = (connection..N_TOKENS).step_by(N_CONNECTIONS as usize);
                for (sequence, id) in (1..).zip(ids) {
                    let result = write(&client, number(&format!("p{connection}"), 0, sequence), &[id]).await;
                    let request = QueryRequest {
                        sql: format!("SELECT id FROM t WHERE id = {id}"),
                        min_commit: vec![result.expect("stored").commit.0],
                        ..QueryRequest::default()
                    };
                    let mut answer = client.query(request).await.expect("runs");
                    let row = answer.next().await.expect("the row is seen").expect("no error");
                    assert_eq!(row.column(0).as_primitive::<Int64Type>().values(), &[id]);
                    assert!(answer.next().await.is_none());
                }
            })
        });
        for connection in join_all(connections).await {
            connection.expect("no panic");
        }
        assert_eq!(integers(&fixture.client, "SELECT count(*) FROM t").await, [N_TOKENS]);
    })
    .await;
}
