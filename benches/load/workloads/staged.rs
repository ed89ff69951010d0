//! Does a stream of millions of rows disturb a producer that sends the same keys? Given up half-way, and committed; each row once.
//!
//! The producer keeps its pace throughout. For a third of the time it is alone; then streams come beside it, one after another, that are
//! given up half-way, and then such that are committed. One row in ten of a stream has a key of the producer's: one that it has sent, one
//! that it sends meanwhile, or one that it will send. Whoever is first has the row.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use tidewater_client::Client;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::transport::Endpoint;

use super::{BATCH_ROWS, Bench, number, peak, text};
use crate::report::{Bound, Report};
use crate::rows::{key, mix, now_us};
use crate::server::Server;
use crate::yardsticks::Quantiles;

const CREATE: &str = "CREATE TABLE staged (
  id BIGINT NOT NULL, n BIGINT NOT NULL, origin INTEGER NOT NULL, sent_at TIMESTAMP NOT NULL, PRIMARY KEY (id)
) WITH (time_column = 'sent_at')";

/// Rows of one stream: 56 MB, so that they go to files as they come.
const DEFAULT_ROWS: usize = 2_000_000;
/// Where a stream is given up, in hundredths: behind its first file, which has 2^20 rows.
const GIVEN_UP_AT: usize = 55;
/// Rows a second of the producer, and batches a second that carry them.
const PACE_ROWS: u64 = 10_000;
const PACE_BATCHES: u64 = 100;
/// The 99th percentile of acknowledgements beside streams, to that without.
const MARK: f64 = 3.0;
/// One in so many rows of a stream has a key of the producer's.
const ROWS_PER_SHARED: u64 = 10;
/// Such a key is one of the producer's next ones: of so many for "meanwhile", and of so many for "later".
const MEANWHILE: u64 = PACE_ROWS / 10;
const LATER: u64 = 2 * PACE_ROWS;
/// The producer is not measured before this; and it goes on for so long, to send the later keys.
const WARM_UP: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(3);
/// How long a connection takes to let go of a stream, at most: it is a matter between our own tasks.
const LETTING_GO: Duration = Duration::from_secs(10);
/// Keys of streams alone begin here.
const FIRST_OWN: u64 = 1 << 40;
/// Distinct keys are counted in so many parts, each within little memory.
const PARTS: u64 = 8;

/// Who brought a row.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Producer,
    GivenUp,
    Committed,
}

/// An acknowledged batch.
struct Ack {
    due: Instant,
    took: Duration,
    accepted: u64,
    duplicates: u64,
}

/// What was sent in streams.
#[derive(Default)]
struct Streams {
    /// Numbers that no producer has, in all streams.
    n_own: u64,
    /// The producer's numbers that committed streams have, too.
    shared: BTreeSet<u64>,
    /// Numbers that only committed streams have.
    committed_own: Vec<Range<u64>>,
    /// Rows of committed streams that were stored, as they were answered.
    accepted: u64,
}

/// One of the three parts of the time.
struct Phase {
    begun: Instant,
    ended: Instant,
    /// Of the server: what it had taken when the phase began; in the end what it took in the phase.
    cpu_s: f64,
    n_streams: u64,
    stream_rows: u64,
}

pub async fn run(bench: &Bench) -> Result<Report> {
    let server = bench.server(&[])?;
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(CREATE).await?;
    let (sent, goes_on) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
    let pace = tokio::spawn(keep_pace(client.clone(), Arc::clone(&sent), Arc::clone(&goes_on)));
    let third = Duration::from_secs(bench.seconds) / 3;
    let n_rows = bench.rows.unwrap_or(DEFAULT_ROWS);
    let (mut streams, elsewhere) = (Streams::default(), Elsewhere::new()?);

    sleep(WARM_UP).await;
    let alone = Phase::begin(&server)?;
    sleep(third).await;
    let alone = alone.end(&server)?;
    let mut beside = Vec::new();
    for origin in [Origin::GivenUp, Origin::Committed] {
        let mut phase = Phase::begin(&server)?;
        while phase.n_streams == 0 || phase.begun.elapsed() < third {
            let (grpc, sent) = (server.grpc.clone(), Arc::clone(&sent));
            let (returned, rows) = elsewhere
                .run(async move {
                    let rows = streams.send(&grpc, origin, n_rows, &sent).await;
                    (streams, rows)
                })
                .await?;
            streams = returned;
            phase.stream_rows += rows?;
            phase.n_streams += 1;
        }
        beside.push(phase.end(&server)?);
        sleep(WARM_UP).await;
    }
    sleep(AFTER).await;
    goes_on.store(false, Ordering::Relaxed);
    let acks = pace.await??;

    let mut report = Report::default();
    let quiet = alone.acks(&acks)?;
    for (name, phase) in ["given_up", "committed"].into_iter().zip(&beside) {
        let acked = phase.acks(&acks)?;
        report.marked(&format!("ack_p99_{name}_to_alone"), acked.p99_ms / quiet.p99_ms, Bound::AtMost, MARK);
        report.figure(&format!("ack_{name}"), acked);
        phase.report(name, &alone, &mut report);
    }
    report.figure("ack_alone", quiet);
    let n_sent = sent.load(Ordering::Relaxed);
    check(&client, &acks, n_sent, &streams, beside[1].begun).await?;
    report.figure("producer_rows", n_sent);
    report.figure("producer_duplicates", acks.iter().map(|ack| ack.duplicates).sum::<u64>());
    report.figure("shared_keys", streams.shared.len());
    peak(&server, &client, &mut report).await?;
    server.stop()?;
    Ok(report)
}

/// Stands for the other machine that a stream comes from: its thread takes only what the producer and the server leave.
struct Elsewhere(Option<Runtime>);

impl Elsewhere {
    fn new() -> Result<Self> {
        let lowest = || {
            // Without the right to do so it stays where it is.
            let _ = rustix::process::setpriority_process(None, 19);
        };
        Ok(Self(Some(Builder::new_multi_thread().worker_threads(1).on_thread_start(lowest).enable_all().build()?)))
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        Ok(self.0.as_ref().context("its thread has ended")?.spawn(work).await?)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Rows with the keys of these numbers.
fn rows(numbers: &[u64], origin: Origin) -> Result<RecordBatch> {
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(numbers.iter().map(|n| key(*n))))),
        ("n", Arc::new(Int64Array::from_iter_values(numbers.iter().map(|n| *n as i64)))),
        ("origin", Arc::new(Int32Array::from_value(origin as i32, numbers.len()))),
        ("sent_at", Arc::new(TimestampMicrosecondArray::from_value(now_us(), numbers.len()))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Numbers from 0 on at the pace, for as long as it goes on; `sent` is the next one. All times run from when a batch was due.
async fn keep_pace(client: Client, sent: Arc<AtomicU64>, goes_on: Arc<AtomicBool>) -> Result<Vec<Ack>> {
    let mut producer = client.producer("staged", "pace").await?;
    let (mut waiting, mut acks) = (JoinSet::new(), Vec::new());
    let mut ticks = interval(Duration::from_secs(1) / PACE_BATCHES as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while goes_on.load(Ordering::Relaxed) {
        let due = ticks.tick().await;
        let first = sent.fetch_add(PACE_ROWS / PACE_BATCHES, Ordering::Relaxed);
        let numbers: Vec<u64> = (first..first + PACE_ROWS / PACE_BATCHES).collect();
        let ack = producer.send(rows(&numbers, Origin::Producer)?).await?;
        waiting.spawn(async move {
            let result = ack.await?;
            let (accepted, duplicates) = (result.accepted, result.duplicates);
            Ok::<_, tidewater_client::Error>(Ack { due, took: due.elapsed(), accepted, duplicates })
        });
        while let Some(done) = waiting.try_join_next() {
            acks.push(done??);
        }
    }
    while let Some(done) = waiting.join_next().await {
        acks.push(done??);
    }
    producer.close().await?;
    Ok(acks)
}

impl Phase {
    fn begin(server: &Server) -> Result<Self> {
        let begun = Instant::now();
        Ok(Self { begun, ended: begun, cpu_s: server.usage()?.cpu_s, n_streams: 0, stream_rows: 0 })
    }

    fn end(self, server: &Server) -> Result<Self> {
        Ok(Self { ended: Instant::now(), cpu_s: server.usage()?.cpu_s - self.cpu_s, ..self })
    }

    fn seconds(&self) -> f64 {
        (self.ended - self.begun).as_secs_f64()
    }

    /// Of the batches that were due in it.
    fn acks(&self, acks: &[Ack]) -> Result<Quantiles> {
        let mut took = Histogram::<u64>::new(3)?;
        for ack in acks.iter().filter(|ack| ack.due >= self.begun && ack.due < self.ended) {
            took.record(ack.took.as_micros() as u64)?;
        }
        Ok(Quantiles::of(&took))
    }

    fn report(&self, name: &str, alone: &Phase, report: &mut Report) {
        // What the pace takes by itself is not the streams'.
        let cpu_s = self.cpu_s - alone.cpu_s / alone.seconds() * self.seconds();
        report.figure(&format!("{name}_streams"), self.n_streams);
        report.figure(&format!("{name}_stream_rows"), self.stream_rows);
        report.figure(&format!("{name}_stream_rows_per_s"), self.stream_rows as f64 / self.seconds());
        report.figure(&format!("{name}_stream_server_cpu_s"), cpu_s);
        report.figure(&format!("{name}_stream_rows_per_server_cpu_s"), self.stream_rows as f64 / cpu_s);
    }
}

impl Streams {
    /// One bulk append over a connection of its own, which is given up half-way or committed. Returns the rows that were sent.
    async fn send(&mut self, grpc: &str, origin: Origin, n_rows: usize, sent: &AtomicU64) -> Result<u64> {
        let (mut batches, receiver) = mpsc::channel(2);
        let url = format!("http://{grpc}");
        let call = tokio::spawn(async move {
            let channel = Endpoint::from_shared(url)?.connect().await?;
            let stored = FlightSqlServiceClient::new(channel).execute_ingest(append(), receiver.map(Ok)).await?;
            anyhow::Ok(stored)
        });
        let is_committed = matches!(origin, Origin::Committed);
        let n_rows = if is_committed { n_rows } else { n_rows / 100 * GIVEN_UP_AT };
        let first_own = FIRST_OWN + self.n_own;
        let mut left = n_rows;
        while left > 0 {
            let numbers = self.numbers(left.min(BATCH_ROWS), is_committed, sent.load(Ordering::Relaxed));
            left -= numbers.len();
            if batches.send(rows(&numbers, origin)?).await.is_err() {
                break;
            }
        }
        if left > 0 || is_committed {
            // The end of the rows is what commits them. If nobody takes them any more, the answer says why.
            drop(batches);
            self.accepted += call.await??.cast_unsigned();
            ensure!(left == 0, "the server answered a stream before its end, with {left} rows to come");
            self.committed_own.push(first_own..FIRST_OWN + self.n_own);
        } else {
            call.abort();
            ensure!(
                call.await.is_err_and(|error| error.is_cancelled()),
                "a stream was answered before it was given up"
            );
            // To let go of the sender is to end the stream, and that would commit it: the connection has to let go first.
            let closed = async {
                while !batches.is_closed() {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(LETTING_GO, closed).await.context("the connection did not let go of a stream that was given up")?;
        }
        Ok(n_rows as u64)
    }

    /// Numbers of the next `n` rows, when `sent` is the producer's next one.
    fn numbers(&mut self, n: usize, is_committed: bool, sent: u64) -> Vec<u64> {
        let mut numbers = Vec::with_capacity(n);
        for _ in 0..n {
            let draw = mix(self.n_own ^ (numbers.len() as u64) << 40);
            if !draw.is_multiple_of(ROWS_PER_SHARED) {
                numbers.push(FIRST_OWN + self.n_own);
                self.n_own += 1;
                continue;
            }
            let (when, draw) = (draw / ROWS_PER_SHARED % 3, draw / ROWS_PER_SHARED / 3);
            let shared = match when {
                0 => draw % sent.max(1),
                1 => sent + draw % MEANWHILE,
                _ => sent + draw % LATER,
            };
            numbers.push(shared);
            if is_committed {
                self.shared.insert(shared);
            }
        }
        numbers
    }
}

fn append() -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Fail.into(),
            if_exists: TableExistsOption::Append.into(),
        }),
        table: "staged".into(),
        ..CommandStatementIngest::default()
    }
}

/// Each row that the producer or a committed stream has is there once, and no other.
async fn check(client: &Client, acks: &[Ack], n_sent: u64, streams: &Streams, committing: Instant) -> Result<()> {
    let later = || streams.shared.range(n_sent..).copied();
    let own = || streams.committed_own.iter().cloned().flatten();
    let n_rows = (n_sent + later().count() as u64 + own().count() as u64) as f64;
    let sum: i128 = (0..n_sent).chain(later()).chain(own()).map(|n| i128::from(key(n))).sum();
    let found = number(client, "SELECT count(*) FROM staged").await?;
    ensure!(found == n_rows, "{found} rows are there, not {n_rows}");
    let found = text(client, "SELECT sum(CAST(id AS DECIMAL(38, 0))) FROM staged").await?;
    ensure!(found == sum.to_string(), "the keys' sum is {found}, not {sum}");
    let mut distinct = 0.0;
    for part in 0..PARTS {
        let sql = format!("SELECT count(DISTINCT id) FROM staged WHERE n % {PARTS} = {part}");
        distinct += number(client, &sql).await?;
    }
    ensure!(distinct == n_rows, "{distinct} different keys are there, not {n_rows}");

    let (mut accepted, mut duplicates, mut before) = (0, 0, 0);
    for ack in acks {
        (accepted, duplicates) = (accepted + ack.accepted, duplicates + ack.duplicates);
        if ack.due + ack.took < committing {
            ensure!(ack.duplicates == 0, "{} rows had keys of streams that were given up", ack.duplicates);
            before += ack.accepted;
        }
    }
    ensure!(
        accepted + duplicates == n_sent,
        "{accepted} rows and {duplicates} duplicates were acknowledged of {n_sent}"
    );
    let (producer, given_up, committed) = (Origin::Producer as i32, Origin::GivenUp as i32, Origin::Committed as i32);
    for (what, condition, expected) in [
        ("rows of the producer", format!("origin = {producer}"), accepted),
        ("rows that were acknowledged before a stream", format!("origin = {producer} AND n < {before}"), before),
        ("rows of streams that were given up", format!("origin = {given_up}"), 0),
        ("rows of committed streams", format!("origin = {committed}"), streams.accepted),
    ] {
        let found = number(client, &format!("SELECT count(*) FROM staged WHERE {condition}")).await?;
        ensure!(found == expected as f64, "{found} {what} are there, not {expected}");
    }
    Ok(())
}
