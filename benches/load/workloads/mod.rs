//! What is done to the server? One file for each kind of load, and what they share.

mod away;
mod dashboards;
mod day;
mod ingest;
mod keys;
mod restart;
mod staged;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use clap::ValueEnum;
use futures::TryStreamExt;
use hdrhistogram::Histogram;
use tidewater_client::{Ack, BatchResult, Client};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::report::{Bound, Report};
use crate::rows::{Detections, Shape};
use crate::server::{ANY_PORT, CpuByThread, Server};

const BATCH_ROWS: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// 10,000-row batches as fast as they are taken.
    Throughput,
    /// 10,000 rows a second.
    Paced,
    /// The same with names of 5,000 bytes, of which there are 20,000.
    FatRepeated,
    /// The same with names of 5,000 bytes, no two alike.
    FatUnique,
    /// The rows of a day with late ones as fast as they are taken: files, bytes, commits, and what was written for them.
    Day,
    /// A start after kill -9 with ten million rows that are in the log only.
    Restart,
    /// A pace with an object store that is there, and with one that is not.
    StoreAway,
    /// Ten queries over settled rows, beside DataFusion over the same files and DuckDB.
    Dashboards,
    /// 30 M numbers and 3 M texts as keys in 128 MiB, with kill -9 in the middle.
    KeyBudget,
    /// A pace beside streams of two million rows with the same keys, which are given up or committed.
    Staged,
}

pub async fn run(workload: Workload, bench: &Bench) -> Result<Report> {
    match workload {
        Workload::Throughput => ingest::throughput(bench).await,
        Workload::Paced => ingest::paced(bench, Shape::Thin).await,
        Workload::FatRepeated => ingest::paced(bench, Shape::FatRepeated).await,
        Workload::FatUnique => ingest::paced(bench, Shape::FatUnique).await,
        Workload::Day => day::run(bench).await,
        Workload::Restart => restart::run(bench).await,
        Workload::StoreAway => away::run(bench).await,
        Workload::Dashboards => dashboards::run(bench).await,
        Workload::KeyBudget => keys::run(bench).await,
        Workload::Staged => staged::run(bench).await,
    }
}

/// What a workload has to run with.
pub struct Bench {
    pub bin: PathBuf,
    /// Empty, on the disk that is measured, removed after the workload.
    pub folder: PathBuf,
    pub seconds: u64,
    pub rows: Option<usize>,
    pub memory_limit: Option<String>,
    pub python: Option<PathBuf>,
}

impl Bench {
    /// A server over this workload's one data folder, which may have been used before.
    pub fn server(&self, settings: &[(&str, &str)]) -> Result<Server> {
        self.server_with(settings, &[])
    }

    /// The interpreter that has moto and DuckDB.
    pub fn python(&self) -> Result<&Path> {
        self.python
            .as_deref()
            .context("this workload needs a Python with moto: --python (clients/conformance/venv.sh names one)")
    }

    /// The same with environment variables.
    pub fn server_with(&self, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Server> {
        self.start(ANY_PORT, settings, variables)
    }

    /// A server at an address that clients know already.
    pub fn server_at(&self, grpc: &str, settings: &[(&str, &str)]) -> Result<Server> {
        self.start(grpc, settings, &[])
    }

    fn start(&self, grpc: &str, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Server> {
        let mut all: Vec<(&str, String)> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        if let Some(limit) = &self.memory_limit {
            all.push(("memory.limit", limit.clone()));
        }
        Server::start(&self.bin, &self.data(), grpc, &all, variables)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("server")
    }
}

/// The first column of the first row, as a number.
pub async fn number(client: &Client, sql: &str) -> Result<f64> {
    let rows: Vec<_> = client.sql(sql).await?.try_collect().await?;
    let first = rows.iter().find(|r| r.num_rows() > 0).with_context(|| format!("no rows: {sql}"))?;
    Ok(cast(first.column(0), &DataType::Float64)?.as_primitive::<Float64Type>().value(0))
}

/// The same as text: a number that no float holds, or a name.
pub async fn text(client: &Client, sql: &str) -> Result<String> {
    let rows: Vec<_> = client.sql(sql).await?.try_collect().await?;
    let first = rows.iter().find(|r| r.num_rows() > 0).with_context(|| format!("no rows: {sql}"))?;
    Ok(cast(first.column(0), &DataType::Utf8)?.as_string::<i32>().value(0).to_owned())
}

/// Runs a procedure; what it answers is read to its end.
pub async fn call(client: &Client, sql: &str) -> Result<()> {
    let _: Vec<RecordBatch> = client.sql(sql).await?.try_collect().await?;
    Ok(())
}

pub async fn metric(client: &Client, name: &str) -> Result<f64> {
    number(client, &format!("SELECT coalesce(sum(value), 0) FROM system.metrics WHERE name = '{name}'")).await
}

/// Sends rows in batches of 10,000, at most so many batches a second, or as fast as they are taken; all must be accepted.
pub async fn send_all(
    client: &Client,
    producer: &str,
    detections: &mut Detections,
    rows: usize,
    batches_per_s: Option<u32>,
) -> Result<()> {
    let mut producer = client.producer("detections", producer).await?;
    let mut acks = JoinSet::new();
    let (mut accepted, mut left) = (0, rows);
    let mut ticks = batches_per_s.map(|n| interval(Duration::from_secs(1) / n));
    while left > 0 {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let n = left.min(BATCH_ROWS);
        left -= n;
        acks.spawn(producer.send(detections.batch(n)?).await?);
        while let Some(done) = acks.try_join_next() {
            accepted += done??.accepted;
        }
    }
    while let Some(done) = acks.join_next().await {
        accepted += done??.accepted;
    }
    ensure!(accepted == rows as u64, "{accepted} of {rows} rows were accepted");
    producer.close().await?;
    Ok(())
}

/// Rows a second of a paced workload, and batches a second that carry them.
pub const PACE_ROWS: usize = 10_000;
pub const PACE_BATCHES: usize = 100;

/// When the batches of a pace are due. Those that a slow server delays come at once afterwards.
pub fn pace() -> Interval {
    let mut ticks = interval(Duration::from_secs(1) / PACE_BATCHES as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// Acknowledgements under way. They are timed from when a batch was due, so that a server that falls behind cannot hide it.
#[derive(Default)]
pub struct Acks(JoinSet<(Duration, tidewater_client::Result<BatchResult>)>);

impl Acks {
    pub fn wait_for(&mut self, ack: Ack, due: Instant) {
        self.0.spawn(async move {
            let outcome = ack.await;
            (due.elapsed(), outcome)
        });
    }

    /// Records those that came, in microseconds.
    pub fn record(&mut self, times: &mut Histogram<u64>) -> Result<()> {
        while let Some(done) = self.0.try_join_next() {
            let (took, outcome) = done?;
            outcome?;
            times.record(took.as_micros() as u64)?;
        }
        Ok(())
    }

    /// Records all, however long they take.
    pub async fn record_all(&mut self, times: &mut Histogram<u64>) -> Result<()> {
        while let Some(done) = self.0.join_next().await {
            let (took, outcome) = done?;
            outcome?;
            times.record(took.as_micros() as u64)?;
        }
        Ok(())
    }
}

/// Bytes of all files under a folder.
pub fn bytes_under(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { bytes_under(&entry.path())? } else { kind.len() };
    }
    Ok(bytes)
}

/// Memory at its highest, which is never to be past the server's limit.
pub async fn peak(server: &Server, client: &Client, report: &mut Report) -> Result<()> {
    let peak = server.usage()?.rss_peak_bytes;
    let limit = metric(client, "tidewater_memory_limit_bytes").await?;
    report.marked("rss_peak_bytes", peak as f64, Bound::AtMost, limit);
    ensure!(peak as f64 <= limit, "the server held {peak} bytes, its limit is {limit}");
    Ok(())
}

/// The server's figures before rows are sent.
pub struct Start {
    cpu_s: f64,
    threads: CpuByThread,
    at: Instant,
}

impl Start {
    pub fn now(server: &Server) -> Result<Self> {
        Ok(Self { cpu_s: server.usage()?.cpu_s, threads: server.cpu_by_thread()?, at: Instant::now() })
    }

    /// What it took until now, when all `rows` of `detections` are acknowledged. Returns CPU seconds of the server.
    pub async fn report(self, server: &Server, client: &Client, rows: u64, report: &mut Report) -> Result<f64> {
        let wall_s = self.at.elapsed().as_secs_f64();
        let cpu_s = server.usage()?.cpu_s - self.cpu_s;
        let mut cpu_by_thread = server.cpu_by_thread()?;
        for (name, cpu_s) in &mut cpu_by_thread {
            *cpu_s -= self.threads.get(name).copied().unwrap_or_default();
        }
        let stored = number(client, "SELECT count(*) FROM detections").await?;
        ensure!(stored == rows as f64, "{stored} rows are there, {rows} were acknowledged");
        let log_s = metric(client, "tidewater_log_write_seconds_sum").await?;
        let n_log = metric(client, "tidewater_log_write_seconds_count").await?;
        report.figure("rows", rows);
        report.figure("wall_s", wall_s);
        report.figure("rows_per_s", rows as f64 / wall_s);
        report.figure("server_cpu_s", cpu_s);
        report.figure("server_cpu_s_by_thread", cpu_by_thread);
        report.figure("log_writes", n_log);
        report.figure("log_write_mean_ms", if n_log > 0.0 { log_s * 1e3 / n_log } else { 0.0 });
        Ok(cpu_s)
    }
}
