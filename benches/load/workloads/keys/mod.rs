//! Are many random keys kept exactly, within their memory, and at a cost that does not grow? Also across kill -9.
//!
//! Two tables, one of numbers and one of texts, get new keys as fast as they are taken; one row in twenty repeats a key of any age. In the
//! middle the server is killed with batches under way, which their producers send again to the one that comes after it.

mod costs;
mod feed;
mod files;
mod stream;

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tidewater_client::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{BATCH_ROWS, Bench, call, metric, number, peak, text};
use crate::report::{Bound, Report};
use crate::server::Server;
use crate::workloads::keys::costs::Costs;
use crate::workloads::keys::feed::Feed;
use crate::workloads::keys::files::Files;
use crate::workloads::keys::stream::{Keys, Kind};

const DEFAULT_KEYS: u64 = 30_000_000;
/// There are so many numbers for each text.
const NUMBERS_PER_TEXT: u64 = 10;
const KEYS_LIMIT_BYTES: u64 = 128 << 20;
const SETTINGS: [(&str, &str); 1] = [("dedup.memory", "128 MiB")];
/// Builds that are asked for, evenly over the keys, so that early ones can be compared with late ones; the server makes more when keys want
/// memory.
const BUILDS: u64 = 24;
/// Memory is looked at every so many batches.
const SAMPLED: u64 = 10;
/// Old keys that are sent once more at the end.
const AGAIN: [usize; 2] = [1_000_000, 100_000];
/// Below those that the system gives to connections: a client that tries again and again must not take it while nobody listens.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// One stretch of the stream.
#[derive(Serialize)]
struct Stretch {
    through_key: u64,
    rows: u64,
    rows_per_s: f64,
    rows_per_server_cpu_s: f64,
}

struct Load<'a> {
    bench: &'a Bench,
    server: Server,
    client: Client,
    numbers: Feed,
    texts: Feed,
    costs: Costs,
    /// Numbers between two builds that are asked for, and how many of these there were.
    build_every: u64,
    n_built: u64,
    /// Batches that were refused for a while, for want of memory, and sent again.
    n_refused: f64,
    stretches: Vec<Stretch>,
}

pub async fn run(bench: &Bench) -> Result<Report> {
    let n_keys = bench.rows.map_or(DEFAULT_KEYS, |rows| rows as u64);
    ensure!(n_keys >= NUMBERS_PER_TEXT && n_keys < i32::MAX as u64 / 2, "{n_keys} keys are too few or too many");
    let mut report = Report::default();
    let mut load = Load::start(bench, n_keys).await?;
    load.advance(n_keys / 3).await?;
    load.drain().await?;
    load.advance(n_keys / 2).await?;
    let mut load = load.crash(&mut report).await?;
    load.advance(n_keys / 3 * 2).await?;
    load.advance(n_keys).await?;
    load.drain().await?;
    load.finish(report).await
}

fn free_port() -> Result<String> {
    let mut ports = PORTS;
    let port = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("no port is free")?;
    Ok(format!("127.0.0.1:{port}"))
}

impl<'a> Load<'a> {
    async fn start(bench: &'a Bench, n_keys: u64) -> Result<Self> {
        let server = bench.server_at(&free_port()?, &SETTINGS)?;
        let client = Client::connect(&server.grpc).await?;
        let texts = Keys::new(Kind::Texts, n_keys / NUMBERS_PER_TEXT);
        Ok(Self {
            bench,
            numbers: Feed::new(&client, Keys::new(Kind::Numbers, n_keys)).await?,
            texts: Feed::new(&client, texts).await?,
            costs: Costs::of(&server),
            build_every: (n_keys / BUILDS).max(1),
            n_built: 0,
            n_refused: 0.0,
            stretches: Vec::new(),
            server,
            client,
        })
    }

    fn n_rows(&self) -> u64 {
        self.numbers.keys.n_rows + self.texts.keys.n_rows
    }

    /// Sends until so many numbers were sent, and as many texts as belong to them.
    async fn advance(&mut self, through_key: u64) -> Result<()> {
        let (begun, before, cpu_s) = (Instant::now(), self.n_rows(), self.server.usage()?.cpu_s);
        let mut n_batches = 0_u64;
        while self.numbers.keys.n_keys < through_key && self.numbers.send().await? {
            while self.texts.keys.n_keys * NUMBERS_PER_TEXT < self.numbers.keys.n_keys {
                if !self.texts.send().await? {
                    break;
                }
            }
            n_batches += 1;
            if n_batches.is_multiple_of(SAMPLED) {
                self.costs.sample(&self.client).await?;
            }
            if self.numbers.keys.n_keys / self.build_every > self.n_built {
                self.n_built = self.numbers.keys.n_keys / self.build_every;
                call(&self.client, "CALL build('numbers')").await?;
                self.costs.sample(&self.client).await?;
            }
        }
        let (wall_s, rows) = (begun.elapsed().as_secs_f64(), self.n_rows() - before);
        self.stretches.push(Stretch {
            through_key,
            rows,
            rows_per_s: rows as f64 / wall_s,
            rows_per_server_cpu_s: rows as f64 / (self.server.usage()?.cpu_s - cpu_s),
        });
        Ok(())
    }

    async fn drain(&mut self) -> Result<()> {
        self.numbers.drain().await?;
        self.texts.drain().await?;
        self.costs.sample(&self.client).await
    }

    /// kill -9 with batches under way, and another process over the same folder and port. The producers notice nothing but the wait.
    async fn crash(mut self, report: &mut Report) -> Result<Self> {
        let (peak, limit) =
            (self.server.usage()?.rss_peak_bytes, metric(&self.client, "tidewater_memory_limit_bytes").await?);
        report.figure("rss_peak_before_kill_bytes", peak);
        ensure!(peak as f64 <= limit, "the server held {peak} bytes, its limit is {limit}");
        self.n_refused += metric(&self.client, "tidewater_refused_batches_total").await?;
        let grpc = self.server.grpc.clone();
        self.server.kill()?;
        self.numbers.fall_silent().await?;
        self.texts.fall_silent().await?;
        report.figure("unanswered_batches_at_kill", self.numbers.n_waiting() + self.texts.n_waiting());
        let acked = [self.numbers.acked.accepted, self.texts.acked.accepted];
        let files = Files::look(&self.bench.data())?;
        files.mark_unread()?;
        (self.numbers.first_ack, self.texts.first_ack) = (None, None);

        let begun = Instant::now();
        self.server = self.bench.server_at(&grpc, &SETTINGS)?;
        let usage = self.server.usage()?;
        let n_read = files.n_read(&self.bench.folder)?;
        self.client = Client::connect(&grpc).await?;
        for (feed, acked) in [&self.numbers, &self.texts].into_iter().zip(acked) {
            let table = feed.keys.table();
            let found = number(&self.client, &format!("SELECT count(*) FROM {table}")).await?;
            ensure!(
                found >= acked as f64,
                "{acked} rows of {table} were acknowledged before kill -9, {found} are there"
            );
        }
        report.figure("restart_first_answers_s", begun.elapsed().as_secs_f64());
        self.costs.go_on(&self.server);
        self.drain().await?;
        let first_ack = self.numbers.first_ack.into_iter().chain(self.texts.first_ack).min();
        report.figure("restart_first_ack_s", first_ack.map(|at| (at - begun).as_secs_f64()));
        report.figure("restart_ready_s", self.server.ready_s);
        report.figure("restart_repeated_batches", self.numbers.n_repeated + self.texts.n_repeated);
        report.figure("restart_disk_read_bytes", usage.read_bytes);
        report.figure("restart_parquet_bytes", files.parquet_bytes);
        report.figure("restart_parquet_files", files.n_parquet());
        report.figure("restart_key_file_bytes", files.key_bytes);
        report.figure("restart_log_bytes", files.log_bytes);
        // The log is read twice where it was not flushed: by RocksDB, and for its entries.
        report.figure("restart_read_bytes", usage.called_read_bytes);
        match n_read {
            Some(n) => report.marked("restart_parquet_files_read", n as f64, Bound::AtMost, 0.0),
            None => report.figure("restart_parquet_files_read", "not known: the disk does not keep times of access"),
        }
        Ok(self)
    }

    /// Is everything there once? Then old keys once more.
    async fn finish(mut self, mut report: Report) -> Result<Report> {
        for feed in [&self.numbers, &self.texts] {
            self.check(feed).await?;
        }
        let begun = Instant::now();
        let mut n_again = 0;
        for (feed, n) in [&self.numbers, &self.texts].into_iter().zip(AGAIN) {
            n_again += self.send_again(feed, n).await?;
        }
        report.figure("old_keys_rows", n_again);
        report.figure("old_keys_rows_per_s", n_again as f64 / begun.elapsed().as_secs_f64());
        for feed in [&self.numbers, &self.texts] {
            self.check(feed).await?;
        }
        self.costs.sample(&self.client).await?;
        for feed in [&self.numbers, &self.texts] {
            self.report_keys(feed, &mut report).await?;
        }
        report.figure("stretches", &self.stretches);
        self.n_refused += metric(&self.client, "tidewater_refused_batches_total").await?;
        report.figure("refused_batches", self.n_refused);
        self.costs.report(KEYS_LIMIT_BYTES, &mut report);
        peak(&self.server, &self.client, &mut report).await?;
        self.server.stop()?;
        Ok(report)
    }

    async fn check(&self, feed: &Feed) -> Result<()> {
        let (keys, table, client) = (&feed.keys, feed.keys.table(), &self.client);
        ensure!(
            feed.acked.accepted == keys.n_keys && feed.acked.accepted + feed.acked.duplicates == keys.n_rows,
            "{table}: {:?} were acknowledged, {} keys in {} rows were sent",
            feed.acked,
            keys.n_keys,
            keys.n_rows
        );
        let producer = format!(
            "FROM system.producers WHERE producer = 'load' \
             AND table_id = (SELECT id FROM system.tables WHERE name = '{table}')"
        );
        for (what, sql, expected) in [
            ("rows", format!("SELECT count(*) FROM {table}"), keys.n_keys),
            ("places of first rows", format!("SELECT sum(place) FROM {table}"), keys.sum_places),
            ("rows of the producer", format!("SELECT rows {producer}"), keys.n_keys),
            ("duplicates of the producer", format!("SELECT duplicates {producer}"), keys.n_rows - keys.n_keys),
        ] {
            let found = number(client, &sql).await?;
            ensure!(found == expected as f64, "{table}: {what}: {found}, not {expected}");
        }
        if keys.kind == Kind::Numbers {
            let sum = text(client, &format!("SELECT sum(CAST(id AS DECIMAL(38, 0))) FROM {table}")).await?;
            ensure!(sum == keys.sum_keys.to_string(), "{table}: the keys' sum is {sum}, not {}", keys.sum_keys);
        }
        Ok(())
    }

    /// Sends up to `most` rows with keys of all ages, all of which must be known.
    async fn send_again(&self, feed: &Feed, most: usize) -> Result<u64> {
        let mut producer = self.client.producer(feed.keys.table(), "again").await?;
        let n_rows = most.min(feed.keys.n_keys as usize);
        let (mut acks, mut n_duplicates) = (JoinSet::new(), 0);
        for part in 0..n_rows.div_ceil(BATCH_ROWS) {
            let n = BATCH_ROWS.min(n_rows - part * BATCH_ROWS);
            acks.spawn(producer.send(feed.keys.old(part as u64, n)?).await?);
            while let Some(done) = acks.try_join_next() {
                n_duplicates += done??.duplicates;
            }
        }
        while let Some(done) = acks.join_next().await {
            n_duplicates += done??.duplicates;
        }
        let table = feed.keys.table();
        ensure!(n_duplicates == n_rows as u64, "{table}: {n_duplicates} of {n_rows} old keys were known");
        producer.close().await?;
        Ok(n_duplicates)
    }

    async fn report_keys(&self, feed: &Feed, report: &mut Report) -> Result<()> {
        let (table, n_keys) = (feed.keys.table(), feed.keys.n_keys as f64);
        let of = |column: &str| format!("SELECT {column} FROM system.tables WHERE name = '{table}'");
        report.figure(&format!("{table}_keys"), feed.keys.n_keys);
        let held = number(&self.client, &of("dedup_bytes")).await?;
        report.figure(&format!("{table}_key_memory_bytes_per_key"), held / n_keys);
        let mut built = Files::default();
        built.add(&self.bench.data().join("built").join(text(&self.client, &of("id")).await?))?;
        report.figure(&format!("{table}_key_disk_bytes_per_key"), built.key_bytes as f64 / n_keys);
        Ok(())
    }
}
