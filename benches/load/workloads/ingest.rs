//! How many rows are taken, how soon are they acknowledged and visible? As fast as they are taken; or at a pace.

use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tidewater_client::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Acks, BATCH_ROWS, Bench, PACE_BATCHES, PACE_ROWS, Start, number, pace, peak};
use crate::report::{Bound, Report};
use crate::rows::{CREATE, Detections, Shape};
use crate::yardsticks::Quantiles;

const DEFAULT_ROWS: usize = 10_000_000;
/// Every so many batches one is watched until a query sees it: ten a second.
const WATCHED: usize = 10;
/// Rows per CPU second of the server that are to be acknowledged with fsync.
const MARK_ROWS_PER_CPU_S: f64 = 600_000.0;

/// 10,000-row Arrow batches with random keys through one producer, pipelined; fsync before each acknowledgement.
pub async fn throughput(bench: &Bench) -> Result<Report> {
    let server = bench.server(&[])?;
    let rows = bench.rows.unwrap_or(DEFAULT_ROWS);
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(CREATE).await?;
    let mut detections = Detections::new(Shape::Thin)?;
    let batches: Vec<_> =
        (0..rows.div_ceil(BATCH_ROWS)).map(|_| detections.batch(BATCH_ROWS)).collect::<Result<_>>()?;
    let n_rows = (batches.len() * BATCH_ROWS) as u64;
    let start = Start::now(&server)?;
    let mut producer = client.producer("detections", "load").await?;
    let mut acks = JoinSet::new();
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
    ensure!(accepted == n_rows, "{accepted} of {n_rows} rows were accepted");
    let mut report = Report::default();
    let cpu_s = start.report(&server, &client, n_rows, &mut report).await?;
    report.marked("rows_per_server_cpu_s", n_rows as f64 / cpu_s, Bound::AtLeast, MARK_ROWS_PER_CPU_S);
    peak(&server, &client, &mut report).await?;
    server.stop()?;
    Ok(report)
}

/// 10,000 events a second in 100 batches. All times run from when a batch was due, so that a server that falls behind cannot hide it.
pub async fn paced(bench: &Bench, shape: Shape) -> Result<Report> {
    let (server, seconds) = (bench.server(&[])?, bench.seconds);
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(CREATE).await?;
    let mut producer = client.producer("detections", "load").await?;
    let mut detections = Detections::new(shape)?;
    let (mut acks, mut watches) = (Acks::default(), JoinSet::new());
    let (mut acked, mut seen) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let start = Start::now(&server)?;
    let mut ticks = pace();
    for i in 0..seconds as usize * PACE_BATCHES {
        let due = ticks.tick().await;
        acks.wait_for(producer.send(detections.batch(PACE_ROWS / PACE_BATCHES)?).await?, due);
        if i % WATCHED == 0 {
            watches.spawn(first_seen(client.clone(), detections.last_key(), due));
        }
        acks.record(&mut acked)?;
        while let Some(done) = watches.try_join_next() {
            seen.record(done??.as_micros() as u64)?;
        }
    }
    acks.record_all(&mut acked).await?;
    while let Some(done) = watches.join_next().await {
        seen.record(done??.as_micros() as u64)?;
    }
    let mut report = Report::default();
    start.report(&server, &client, seconds * PACE_ROWS as u64, &mut report).await?;
    report.figure("ack", Quantiles::of(&acked));
    report.freshness(Quantiles::of(&seen));
    peak(&server, &client, &mut report).await?;
    server.stop()?;
    Ok(report)
}

/// Asks the loaded table for the row of this key until it is there; how long that was after `due`.
async fn first_seen(client: Client, key: i64, due: Instant) -> Result<Duration> {
    let sql = format!("SELECT count(*) FROM detections WHERE detection_oid = {key}");
    while number(&client, &sql).await? == 0.0 {}
    Ok(due.elapsed())
}
