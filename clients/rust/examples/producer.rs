//! How is a stream stored exactly once and asked about at once? Run it beside `tidewater serve`:
//! `cargo run -p tidewater-client --example producer -- 127.0.0.1:8815`

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use tidewater_client::{Client, QueryRequest, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8815".to_owned());
    let client = Client::connect(&address).await?;
    client
        .execute_update("CREATE TABLE IF NOT EXISTS readings (id BIGINT NOT NULL, celsius DOUBLE, PRIMARY KEY (id))")
        .await?;

    // Run it twice: the second time begins where the first one stopped.
    let mut producer = client.producer("readings", "example").await?;
    let first = producer.last_sequence() as i64 * 1000;
    let mut acks = Vec::new();
    for start in (first..first + 10_000).step_by(1000) {
        acks.push(producer.send(readings(start)).await?);
    }
    let mut last = None;
    for ack in acks {
        last = Some(ack.await?);
    }
    producer.close().await?;

    // The rows are visible already; the token makes sure of it also through another server.
    let min_commit = last.map(|result| result.commit.0).into_iter().collect();
    let sql = "SELECT count(*) AS readings, round(avg(celsius), 2) AS mean FROM readings".to_owned();
    let mut answer = client.query(QueryRequest { sql, min_commit, ..Default::default() }).await?;
    while let Some(batch) = answer.try_next().await? {
        show(&batch)?;
    }
    // The same over Flight SQL.
    let sql = "SELECT id, celsius FROM readings ORDER BY id DESC LIMIT 3";
    for batch in client.sql(sql).await?.try_collect::<Vec<_>>().await? {
        show(&batch)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example has nothing but its output")]
fn show(batch: &RecordBatch) -> Result<()> {
    println!("{}", pretty_format_batches(std::slice::from_ref(batch))?);
    Ok(())
}

fn readings(start: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(start..start + 1000));
    let celsius: ArrayRef = Arc::new(Float64Array::from_iter_values((0..1000).map(|n| 20.0 + f64::from(n % 10))));
    RecordBatch::try_from_iter([("id", ids), ("celsius", celsius)]).unwrap_or_else(|_| unreachable!("equal lengths"))
}
