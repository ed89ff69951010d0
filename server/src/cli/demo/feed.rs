//! How do rows reach the server at an even pace? Several producers, each a stream that stores every batch exactly once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use parking_lot::Mutex;
use tidewater_client::{BatchResult, Client, Identity, ProducerOptions, RetryPolicy, SequenceMode, WriteOptions};
use tidewater_storage::env::{Clock, SystemClock};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use super::items::{Items, Shape};
use super::oracle::Oracle;
use super::stream::{Kind, Row, Stream};
use super::table::{TABLE, batch};

/// Gateways that send at the same time, and duplicates of each other's rows.
pub(super) const N_PRODUCERS: usize = 4;

/// Batches a second of one producer.
const TICKS_PER_S: u64 = 20;

/// Of so many batches of a producer one is sent again under its old number, as a producer does that was not answered.
const REPEAT_EVERY: u64 = 25;

/// Of so many batches one has a row that is waited for until a query sees it.
const WATCH_EVERY: u64 = 20;

/// How often such a row comes.
pub(super) const WATCH_INTERVAL: Duration =
    Duration::from_millis(1_000 * WATCH_EVERY / (TICKS_PER_S * N_PRODUCERS as u64));

/// A server that takes nothing for so long will not by itself: its disk is full, for example. Whoever looks on wants to know.
const PATIENCE: Duration = Duration::from_secs(20);

/// Rows of a batch at most: of a fat one 10 MB, which is below the server's 16 MiB.
fn max_batch_rows(shape: Shape) -> usize {
    match shape {
        Shape::Thin => 10_000,
        Shape::Fat => 2_000,
    }
}

/// What is sent, and what is known of it.
pub(super) struct Source {
    stream: Stream,
    pub oracle: Oracle,
}

/// What all tasks of a demo share.
pub(super) struct Shared {
    pub source: Mutex<Source>,
    pub items: Items,
    pub shape: Shape,
    pub figures: Mutex<Figures>,
    clock: SystemClock,
}

impl Shared {
    pub(super) fn new(seed: u64, shape: Shape) -> Result<Self> {
        Ok(Self {
            source: Mutex::new(Source { stream: Stream::new(seed)?, oracle: Oracle::new(N_PRODUCERS) }),
            items: Items::new(shape),
            shape,
            figures: Mutex::new(Figures::new()?),
            clock: SystemClock::new(),
        })
    }

    pub(super) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// The next rows. From here on they count as sent: whoever took them must send them.
    fn take(&self, producer: usize, n: usize) -> Vec<Row> {
        let mut source = self.source.lock();
        let rows = source.stream.rows(n, self.now_us());
        source.oracle.record(producer, &rows);
        rows
    }
}

/// A row that is to be waited for: its key, and when it was due.
pub(super) type Watched = (i64, Instant);

pub(super) fn producer_name(producer: usize) -> String {
    format!("gateway-{}", producer + 1)
}

/// One of the producers.
pub(super) struct Feed {
    pub producer: usize,
    pub client: Client,
    pub shared: Arc<Shared>,
    /// Rows a second.
    pub rate: u64,
    /// Takes a row when the one before it was seen.
    pub watch: mpsc::Sender<Watched>,
}

impl Feed {
    /// Sends until it is told to stop, then until all is answered. What a slow server delays comes at once afterwards, and is timed from
    /// when it was due.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<()> {
        let id = producer_name(self.producer);
        let options = ProducerOptions { retry: retry(), ..ProducerOptions::default() };
        let mut producer = self.client.producer_with(TABLE, &id, options).await?;
        let mut acks: JoinSet<Result<()>> = JoinSet::new();
        let tick = Duration::from_secs(1) / TICKS_PER_S as u32;
        let mut ticks = interval_at(Instant::now() + tick * self.producer as u32 / N_PRODUCERS as u32, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut n_batches = 0;
        for i in 1_u64.. {
            let Some(due) = stop.run_until_cancelled(ticks.tick()).await else { break };
            let mut left = (self.rate * i / TICKS_PER_S - self.rate * (i - 1) / TICKS_PER_S) as usize;
            while left > 0 {
                let rows = self.shared.take(self.producer, left.min(max_batch_rows(self.shared.shape)));
                left -= rows.len();
                let batch = batch(&rows, &self.shared.items)?;
                if n_batches % WATCH_EVERY == 0 {
                    self.watch_one(&rows, due);
                }
                let again = (n_batches % REPEAT_EVERY == REPEAT_EVERY - 1).then(|| batch.clone());
                let n_rows = batch.num_rows() as u64;
                let ack = producer.send(batch).await?;
                let (sequence, shared) = (ack.sequence(), Arc::clone(&self.shared));
                let repeat = again.map(|batch| self.repeat(&id, producer.epoch(), sequence, batch));
                acks.spawn(async move {
                    let result = ack.await?;
                    answered(&shared, &result, n_rows, due);
                    match repeat {
                        Some(repeat) => repeat.await,
                        None => Ok(()),
                    }
                });
                n_batches += 1;
            }
            while let Some(done) = acks.try_join_next() {
                done??;
            }
        }
        producer.close().await?;
        while let Some(done) = acks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Lets the last row that is new be waited for, unless another is.
    fn watch_one(&self, rows: &[Row], due: Instant) {
        if let Some(row) = rows.iter().rev().find(|row| row.kind == Kind::OnTime) {
            let _ = self.watch.try_send((row.key, due));
        }
    }

    /// Sends a batch that was answered once more. Nothing may be stored.
    fn repeat(
        &self,
        id: &str,
        epoch: u64,
        sequence: u64,
        batch: RecordBatch,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (client, shared, producer) = (self.client.clone(), Arc::clone(&self.shared), self.producer);
        let identity = Identity::Producer { id: id.to_owned(), epoch, sequence, mode: SequenceMode::Contiguous };
        async move {
            let n_rows = batch.num_rows() as u64;
            shared.source.lock().oracle.record_repeat(producer, n_rows);
            let result = client.write(TABLE, &batch, identity, &WriteOptions::default()).await;
            let result = result.context("a batch cannot be sent again")?;
            ensure!(result.repeated, "batch {sequence} was stored a second time");
            shared.figures.lock().answered.repeated += n_rows;
            Ok(())
        }
    }
}

pub(super) fn retry() -> RetryPolicy {
    RetryPolicy { give_up_after: Some(PATIENCE), ..RetryPolicy::default() }
}

fn answered(shared: &Shared, result: &BatchResult, n_rows: u64, due: Instant) {
    let mut figures = shared.figures.lock();
    figures.answered.add(result, n_rows);
    figures.acks.record(due.elapsed());
}
