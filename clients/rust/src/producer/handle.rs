//! What does the program hold? A producer that hands over batches, and an Ack for each.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use backon::{BackoffBuilder, Retryable};
use tidewater_proto::ingest::v1 as pb;
use tidewater_proto::ingest::v1::SequenceMode;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tonic::Code;

use super::ProducerOptions;
use super::connection::state_lost;
use super::driver::{Driver, Progress};
use super::queue::{Pending, Queue};
use crate::client::Transport;
use crate::error::{Error, Result, reason};
use crate::ipc::{Compression, encode};
use crate::table::TableName;
use crate::write::BatchResult;

/// Stores batches of one table in order, each exactly once.
///
/// A task of its own keeps the connection. When the producer is dropped without [`Producer::close`], the task goes on until
/// everything handed over has been answered.
pub struct Producer {
    batches: mpsc::Sender<Pending>,
    progress: watch::Receiver<Progress>,
    driver: JoinHandle<()>,
    epoch: u64,
    known: bool,
    mode: SequenceMode,
    compression: Compression,
    /// The last number that was handed over, by this producer or, according to the server, by an earlier one.
    last: u64,
    /// The next batch may have any number up to `last + 1`, or any at all after a reset: nothing was handed over yet.
    fresh: bool,
    reset: bool,
    n_handed_over: u64,
}

/// The answer to one batch, which will come. Dropping it does not take the batch back.
#[must_use = "the batch is stored when this resolves"]
pub struct Ack {
    sequence: u64,
    reply: oneshot::Receiver<Result<BatchResult>>,
}

impl Producer {
    pub(crate) async fn start(
        ingest: IngestClient<Transport>,
        table: TableName,
        id: String,
        options: ProducerOptions,
    ) -> Result<Self> {
        let table: pb::TableRef = table.into();
        let request =
            pb::InitProducerRequest { table: Some(table.clone()), producer_id: id.clone(), reset: options.reset };
        let init = || async { Ok(ingest.clone().init_producer(request.clone()).await?.into_inner()) };
        let info = init
            .retry(options.retry.backoff().build())
            .when(Error::is_retryable)
            .notify(|error, delay| options.on_wait.tell(error, delay))
            .adjust(|error, delay| delay.map(|delay| error.retry_after().unwrap_or_default().max(delay)))
            .await?;
        if let Some(acked) = options.last_acked.filter(|acked| *acked > info.last_sequence && !options.reset) {
            return Err(state_lost(info.last_sequence, acked));
        }
        let producer = pb::Producer {
            id,
            epoch: info.epoch,
            mode: options.mode.into(),
            last_acked: Some(info.last_sequence).filter(|_| !options.reset),
        };
        let open = pb::Open {
            table: Some(table),
            producer: Some(producer),
            options: Some(options.write.to_proto()),
            ..Default::default()
        };
        // One batch waits here while the window is full: what is handed over is bounded by the server's window.
        let (batches, receiver) = mpsc::channel(1);
        let progress = Progress { last_sequence: info.last_sequence, ..Default::default() };
        let (progress, watcher) = watch::channel(progress);
        let backoff = options.retry.backoff().build();
        let (policy, on_wait) = (options.retry, options.on_wait);
        let queue = Queue::default();
        let mut driver =
            Driver { ingest, open, batches: receiver, progress, policy, on_wait, queue, closed: false, backoff };
        // The first connection is made here, so that a table that is not there is an error now.
        let connection = match driver.connect().await {
            Ok(connection) => Some(connection),
            Err(error) if error.is_retryable() => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            batches,
            progress: watcher,
            driver: tokio::spawn(driver.run(connection)),
            epoch: info.epoch,
            known: info.known,
            mode: options.mode,
            compression: options.write.compression,
            last: info.last_sequence,
            fresh: true,
            reset: options.reset,
            n_handed_over: 0,
        })
    }

    /// The epoch that fences older clients of this id.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The table had met this producer before.
    pub fn was_known(&self) -> bool {
        self.known
    }

    /// The highest sequence that is known to be stored; 0 if there is none. Right after the start this is where an earlier
    /// run of the program stopped.
    pub fn last_sequence(&self) -> u64 {
        self.progress.borrow().last_sequence
    }

    /// Hands over a batch under the next number. Waits while the server's window is full; the [`Ack`] resolves when the batch
    /// is stored. Errors: the rows cannot be encoded or are too many (the producer goes on), or the producer has stopped.
    pub async fn send(&mut self, batch: RecordBatch) -> Result<Ack> {
        self.send_at(self.last + 1, batch).await
    }

    /// Hands over a batch under a number of the program's own, such as the position in a file. A number that is stored
    /// already is answered as `repeated`; within one producer numbers only go up.
    pub async fn send_at(&mut self, sequence: u64, batch: RecordBatch) -> Result<Ack> {
        self.check_sequence(sequence)?;
        let payload = encode(&batch, self.compression)?;
        let limit = self.progress.borrow().max_batch_bytes;
        if limit > 0 && payload.len() as u64 > limit {
            let message =
                format!("a batch of {} bytes is above the server's limit of {limit}; split it", payload.len());
            return Err(Error::new(Code::InvalidArgument, "BATCH_TOO_LARGE", message));
        }
        let (reply, answer) = oneshot::channel();
        if self.batches.send(Pending { sequence, payload, reply }).await.is_err() {
            return Err(self.stopped());
        }
        self.last = sequence;
        self.fresh = false;
        self.n_handed_over += 1;
        Ok(Ack { sequence, reply: answer })
    }

    /// Returns when everything handed over is stored. An error if the producer stopped before.
    pub async fn flush(&mut self) -> Result<()> {
        let target = self.n_handed_over;
        let done = |progress: &Progress| progress.n_answered >= target || progress.stopped.is_some();
        let outcome = match self.progress.wait_for(done).await {
            Ok(progress) if progress.n_answered >= target => Ok(()),
            Ok(progress) => Err(progress.stopped.clone()),
            Err(_) => Err(None),
        };
        outcome.map_err(|stopped| stopped.unwrap_or_else(stopped_early))
    }

    /// Waits until everything handed over is stored, and ends the stream.
    pub async fn close(mut self) -> Result<()> {
        let flushed = self.flush().await;
        let Self { batches, driver, .. } = self;
        drop(batches);
        driver.await.map_err(|_| stopped_early())?;
        flushed
    }

    fn check_sequence(&self, sequence: u64) -> Result<()> {
        let next = self.last + 1;
        let fits = match self.mode {
            SequenceMode::Monotonic if self.fresh => sequence > 0,
            SequenceMode::Monotonic => sequence > self.last,
            _ if self.fresh => sequence > 0 && (self.reset || sequence <= next),
            _ => sequence == next,
        };
        if fits {
            return Ok(());
        }
        let message = format!("sequence {sequence} does not follow {}", self.last);
        Err(Error::new(Code::OutOfRange, reason::INVALID_ARGUMENT, message))
    }

    /// Why nothing can be handed over any more.
    fn stopped(&self) -> Error {
        self.progress.borrow().stopped.clone().unwrap_or_else(stopped_early)
    }
}

fn stopped_early() -> Error {
    Error::new(Code::Cancelled, reason::PRODUCER_STOPPED, "the producer was stopped before the batch was answered")
}

impl Ack {
    /// The number of the batch.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Future for Ack {
    type Output = Result<BatchResult>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(stopped_early())))
    }
}
