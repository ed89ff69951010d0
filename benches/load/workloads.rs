//! What is done to the server? As fast as it takes them; or at a pace, with acknowledgement and freshness timed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tidewater_client::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::rows::{CREATE, Detections, Shape};
use crate::server::Server;
use crate::yardsticks::quantiles;

const BATCH_ROWS: usize = 10_000;
/// Rows a second of the paced workloads, and batches a second that carry them.
const PACE_ROWS: usize = 10_000;
const PACE_BATCHES: usize = 100;

async fn count(client: &Client, sql: &str) -> Result<i64> {
    let rows: Vec<_> = client.sql(sql).await?.try_collect().await?;
    let first = rows.iter().find(|r| r.num_rows() > 0).context("no rows")?;
    Ok(first.column(0).as_primitive::<Int64Type>().value(0))
}

/// 10,000-row Arrow batches with random keys through one producer, pipelined; fsync before each acknowledgement.
pub async fn throughput(server: &Server, rows: usize) -> Result<Value> {
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(CREATE).await?;
    let mut detections = Detections::new(Shape::Thin);
    let batches: Vec<_> =
        (0..rows.div_ceil(BATCH_ROWS)).map(|_| detections.batch(BATCH_ROWS)).collect::<Result<_>>()?;
    let n_rows = batches.len() * BATCH_ROWS;
    let before = server.usage()?.cpu_s;
    let start = Instant::now();
    let mut producer = client.producer("detections", "load").await?;
    let mut acks = tokio::task::JoinSet::new();
    let mut accepted = 0;
    for batch in batches {
        acks.spawn(producer.send(batch).await?);
        while let Some(done) = acks.try_join_next() {
            accepted += done??.accepted;
        }
    }
    while let Some(done) = acks.join_next().await {
        accepted += done??.accepted;
    }
    let wall_s = start.elapsed().as_secs_f64();
    let cpu_s = server.usage()?.cpu_s - before;
    ensure!(accepted == n_rows as u64, "{accepted} of {n_rows} rows were accepted");
    ensure!(count(&client, "SELECT count(*) FROM detections").await? == n_rows as i64, "rows are missing");
    Ok(json!({
        "rows": n_rows, "wall_s": wall_s, "server_cpu_s": cpu_s,
        "rows_per_s": n_rows as f64 / wall_s, "rows_per_server_cpu_s": n_rows as f64 / cpu_s, "mark": 600_000,
    }))
}

/// 10,000 events a second in 100 batches; beside them a probe that times how soon one row is seen by a query.
pub async fn paced(server: &Server, seconds: u64, shape: Shape) -> Result<Value> {
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(CREATE).await?;
    client.execute_update("CREATE TABLE probe (id BIGINT NOT NULL, PRIMARY KEY (id))").await?;
    let probing = tokio::spawn(probe(client.clone(), seconds));
    let mut producer = client.producer("detections", "load").await?;
    let mut detections = Detections::new(shape);
    let mut ticks = interval(Duration::from_secs(1) / PACE_BATCHES as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut acks = tokio::task::JoinSet::new();
    let mut times = Histogram::<u64>::new(3)?;
    let before = server.usage()?.cpu_s;
    let start = Instant::now();
    let mut rss = 0;
    for i in 0..seconds as usize * PACE_BATCHES {
        // Timed from when the batch was due, so that a server that falls behind cannot hide it.
        let due = ticks.tick().await;
        let ack = producer.send(detections.batch(PACE_ROWS / PACE_BATCHES)?).await?;
        acks.spawn(async move {
            let outcome = ack.await;
            (due.elapsed(), outcome)
        });
        while let Some(done) = acks.try_join_next() {
            let (took, outcome) = done?;
            outcome?;
            times.record(took.as_micros() as u64)?;
        }
        if i % PACE_BATCHES == 0 {
            rss = rss.max(server.usage()?.rss_bytes);
        }
    }
    while let Some(done) = acks.join_next().await {
        let (took, outcome) = done?;
        outcome?;
        times.record(took.as_micros() as u64)?;
    }
    let wall_s = start.elapsed().as_secs_f64();
    let cpu_s = server.usage()?.cpu_s - before;
    let freshness = probing.await??;
    let rows = (seconds as usize * PACE_ROWS) as i64;
    ensure!(count(&client, "SELECT count(*) FROM detections").await? == rows, "rows are missing");
    Ok(json!({
        "rows": rows, "wall_s": wall_s, "rows_per_s": rows as f64 / wall_s, "server_cpu_s": cpu_s,
        "ack": quantiles(&times), "freshness": quantiles(&freshness), "rss_bytes": rss.max(server.usage()?.rss_bytes),
    }))
}

/// Writes one row ten times a second and asks for it until it is seen.
async fn probe(client: Client, seconds: u64) -> Result<Histogram<u64>> {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use std::sync::Arc;
    let mut times = Histogram::<u64>::new(3)?;
    let mut ticks = interval(Duration::from_millis(100));
    let mut producer = client.producer("probe", "probe").await?;
    for id in 0..seconds as i64 * 10 {
        ticks.tick().await;
        let column: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        let row = RecordBatch::try_from_iter([("id", column)])?;
        let start = Instant::now();
        let ack = tokio::spawn(producer.send(row).await?);
        while count(&client, &format!("SELECT count(*) FROM probe WHERE id = {id}")).await? == 0 {}
        times.record(start.elapsed().as_micros() as u64)?;
        ack.await??;
    }
    Ok(times)
}
