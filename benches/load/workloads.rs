//! What is done to the server? As fast as it takes them; or at a pace, with acknowledgement and freshness timed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use futures::TryStreamExt;
use hdrhistogram::Histogram;
use tidewater_client::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::report::Outcome;
use crate::rows::{CREATE, Detections, Shape};
use crate::server::{CpuByThread, Server};
use crate::yardsticks::Quantiles;

const BATCH_ROWS: usize = 10_000;
/// Rows a second of the paced workloads, and batches a second that carry them.
const PACE_ROWS: usize = 10_000;
const PACE_BATCHES: usize = 100;
/// Every so many batches one is watched until a query sees it: ten a second.
const WATCHED: usize = 10;

async fn number(client: &Client, sql: &str) -> Result<f64> {
    let rows: Vec<_> = client.sql(sql).await?.try_collect().await?;
    let first = rows.iter().find(|r| r.num_rows() > 0).with_context(|| format!("no rows: {sql}"))?;
    Ok(cast(first.column(0), &DataType::Float64)?.as_primitive::<Float64Type>().value(0))
}

async fn metric(client: &Client, name: &str) -> Result<f64> {
    number(client, &format!("SELECT coalesce(sum(value), 0) FROM system.metrics WHERE name = '{name}'")).await
}

/// The server's figures before a workload.
struct Start {
    cpu_s: f64,
    threads: CpuByThread,
    at: Instant,
}

impl Start {
    fn now(server: &Server) -> Result<Self> {
        Ok(Self { cpu_s: server.usage()?.cpu_s, threads: server.cpu_by_thread()?, at: Instant::now() })
    }

    /// What the workload took, once all of its rows are acknowledged.
    async fn outcome(self, server: &Server, client: &Client, rows: u64) -> Result<Outcome> {
        let wall_s = self.at.elapsed().as_secs_f64();
        let server_cpu_s = server.usage()?.cpu_s - self.cpu_s;
        let mut cpu_by_thread = server.cpu_by_thread()?;
        for (name, cpu_s) in &mut cpu_by_thread {
            *cpu_s -= self.threads.get(name).copied().unwrap_or_default();
        }
        let stored = number(client, "SELECT count(*) FROM detections").await?;
        ensure!(stored == rows as f64, "{stored} rows are there, {rows} were acknowledged");
        let log_s = metric(client, "tidewater_log_write_seconds_sum").await?;
        let n_log = metric(client, "tidewater_log_write_seconds_count").await?;
        Ok(Outcome {
            rows,
            wall_s,
            server_cpu_s,
            cpu_by_thread,
            ack: None,
            freshness: None,
            memory_limit: metric(client, "tidewater_memory_limit_bytes").await? as u64,
            log_writes: (log_s, n_log as u64),
        })
    }
}

/// 10,000-row Arrow batches with random keys through one producer, pipelined; fsync before each acknowledgement.
pub async fn throughput(server: &Server, rows: usize) -> Result<Outcome> {
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(CREATE).await?;
    let mut detections = Detections::new(Shape::Thin);
    let batches: Vec<_> =
        (0..rows.div_ceil(BATCH_ROWS)).map(|_| detections.batch(BATCH_ROWS)).collect::<Result<_>>()?;
    let n_rows = (batches.len() * BATCH_ROWS) as u64;
    let start = Start::now(server)?;
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
    start.outcome(server, &client, n_rows).await
}

/// 10,000 events a second in 100 batches. All times run from when a batch was due, so that a server that falls behind cannot hide it.
pub async fn paced(server: &Server, seconds: u64, shape: Shape) -> Result<Outcome> {
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(CREATE).await?;
    let mut producer = client.producer("detections", "load").await?;
    let mut detections = Detections::new(shape);
    let (mut acks, mut watches) = (JoinSet::new(), JoinSet::new());
    let (mut acked, mut seen) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let start = Start::now(server)?;
    let mut ticks = interval(Duration::from_secs(1) / PACE_BATCHES as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for i in 0..seconds as usize * PACE_BATCHES {
        let due = ticks.tick().await;
        let ack = producer.send(detections.batch(PACE_ROWS / PACE_BATCHES)?).await?;
        acks.spawn(async move {
            let outcome = ack.await;
            (due.elapsed(), outcome)
        });
        if i % WATCHED == 0 {
            watches.spawn(first_seen(client.clone(), detections.last_key(), due));
        }
        while let Some(done) = acks.try_join_next() {
            let (took, outcome) = done?;
            outcome?;
            acked.record(took.as_micros() as u64)?;
        }
        while let Some(done) = watches.try_join_next() {
            seen.record(done??.as_micros() as u64)?;
        }
    }
    while let Some(done) = acks.join_next().await {
        let (took, outcome) = done?;
        outcome?;
        acked.record(took.as_micros() as u64)?;
    }
    while let Some(done) = watches.join_next().await {
        seen.record(done??.as_micros() as u64)?;
    }
    let outcome = start.outcome(server, &client, seconds * PACE_ROWS as u64).await?;
    Ok(Outcome { ack: Some(Quantiles::of(&acked)), freshness: Some(Quantiles::of(&seen)), ..outcome })
}

/// Asks the loaded table for the row of this key until it is there; how long that was after `due`.
async fn first_seen(client: Client, key: i64, due: Instant) -> Result<Duration> {
    let sql = format!("SELECT count(*) FROM detections WHERE detection_oid = {key}");
    while number(&client, &sql).await? == 0.0 {}
    Ok(due.elapsed())
}
