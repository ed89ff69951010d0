//! Who keeps the stream going? One task a producer: it sends, reads answers, and connects again.

use std::ops::ControlFlow;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff};
use tidewater_proto::ingest::v1 as pb;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::ingest::v1::write_stream_request::Msg as Ask;
use tidewater_proto::ingest::v1::write_stream_response::Msg;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::queue::{Answer, Pending, Queue};
use super::retry::{OnWait, RetryPolicy};
use crate::client::Transport;
use crate::error::{Error, Result};

/// How long the end of a stream is waited for when everything has been answered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// GoAway without a grace.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What the handle can see.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Batches that were answered, since the start of this producer.
    pub n_answered: u64,
    /// The highest sequence that is stored.
    pub last_sequence: u64,
    pub max_batch_bytes: u64,
    /// Why the producer stopped.
    pub stopped: Option<Error>,
}

pub(super) struct Driver {
    pub ingest: IngestClient<Transport>,
    pub open: pb::Open,
    pub batches: mpsc::Receiver<Pending>,
    pub progress: watch::Sender<Progress>,
    pub policy: RetryPolicy,
    pub on_wait: OnWait,
    pub queue: Queue,
    /// The caller is gone or done: nothing new will come.
    pub closed: bool,
    pub backoff: ExponentialBackoff,
}

/// How a connection ended.
enum End {
    /// Everything is answered and nothing more will come.
    Done,
    /// Another connection may do better.
    Broken(Error),
    /// The producer cannot go on.
    Stop(Error),
}

/// What restrains the sending side of one connection.
#[derive(Default)]
struct Pace {
    /// Nothing is sent before.
    resume_at: Option<Instant>,
    /// The server goes away: nothing new is sent, answers are read until then.
    leave_at: Option<Instant>,
    /// The sending half has ended; what is wrong comes with the answers.
    hung_up: bool,
}

impl Driver {
    pub async fn connect(&mut self) -> Result<Connection> {
        let connection = Connection::open(&mut self.ingest, self.open.clone()).await?;
        self.progress.send_modify(|progress| progress.max_batch_bytes = connection.max_batch_bytes);
        Ok(connection)
    }

    /// Works until everything is answered and the handle is gone, or until an error that waiting does not cure.
    pub async fn run(mut self, mut connection: Option<Connection>) {
        loop {
            let end = match connection.take() {
                Some(connection) => self.serve(connection).await,
                None => match self.connect().await {
                    Ok(connection) => self.serve(connection).await,
                    Err(error) => End::Broken(error),
                },
            };
            self.queue.disconnected();
            match end {
                End::Done => return,
                End::Stop(error) => return self.stop(error),
                End::Broken(error) => match self.delay(&error) {
                    Some(delay) => {
                        tracing::debug!(%error, ?delay, "the connection is made again");
                        tokio::time::sleep(delay).await;
                    }
                    None => {
                        let error = self.gave_up(error);
                        return self.stop(error);
                    }
                },
            }
            // An idle producer needs no connection.
            if self.queue.is_empty() && !self.receive().await {
                return;
            }
        }
    }

    /// Waits for a batch; false when there will be none.
    async fn receive(&mut self) -> bool {
        match self.batches.recv().await {
            Some(batch) => self.queue.push(batch),
            None => self.closed = true,
        }
        !self.closed
    }

    async fn serve(&mut self, connection: Connection) -> End {
        let Connection { requests, mut responses, window, .. } = connection;
        let mut pace = Pace::default();
        loop {
            if self.closed && self.queue.is_empty() {
                drop(requests);
                // Everything is acknowledged: a stream that does not end well loses nothing.
                let drained =
                    tokio::time::timeout(CLOSE_TIMEOUT, async { while let Ok(Some(_)) = responses.message().await {} });
                drained.await.ok();
                return End::Done;
            }
            if pace.leave_at.is_some() && self.queue.is_idle() {
                return End::Broken(left());
            }
            let sending = pace.resume_at.is_none() && pace.leave_at.is_none() && !pace.hung_up;
            tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => {
                        if let ControlFlow::Break(end) = self.take(response, &mut pace) {
                            return end;
                        }
                    }
                    Ok(None) => return End::Broken(Error::transport("the server ended the stream")),
                    Err(status) => return End::Broken(status.into()),
                },
                permit = requests.reserve(), if sending && self.queue.can_send(window) => match permit {
                    Ok(permit) => {
                        if let Some(batch) = self.queue.send() {
                            permit.send(pb::WriteStreamRequest { msg: Some(Ask::Batch(batch)) });
                        }
                    }
                    Err(_) => pace.hung_up = true,
                },
                batch = self.batches.recv(), if sending && !self.closed && self.queue.wants_more(window) => match batch {
                    Some(batch) => self.queue.push(batch),
                    None => self.closed = true,
                },
                () = wait_for(pace.resume_at), if pace.resume_at.is_some() => pace.resume_at = None,
                () = wait_for(pace.leave_at), if pace.leave_at.is_some() => return End::Broken(left()),
            }
        }
    }

    fn take(&mut self, response: pb::WriteStreamResponse, pace: &mut Pace) -> ControlFlow<End> {
        match response.msg {
            Some(Msg::Result(result)) => self.answered(result, pace),
            Some(Msg::Throttle(throttle)) => {
                pace.wait(to_duration(throttle.delay).unwrap_or_default());
                ControlFlow::Continue(())
            }
            Some(Msg::GoAway(bye)) => {
                pace.leave_at = Some(Instant::now() + to_duration(bye.grace).unwrap_or(DEFAULT_GRACE));
                ControlFlow::Continue(())
            }
            Some(Msg::Opened(_)) => {
                ControlFlow::Break(End::Broken(Error::protocol("the server opened a stream twice")))
            }
            // What is sent needs no change: columns match by name. A later kind of message that we do not know is none.
            Some(Msg::SchemaChanged(_)) | None => ControlFlow::Continue(()),
        }
    }

    fn answered(&mut self, result: pb::BatchResult, pace: &mut Pace) -> ControlFlow<End> {
        match self.queue.answer(result) {
            Ok(Answer::Taken(reply, result)) => {
                self.backoff = self.policy.backoff().build();
                self.acknowledged(result.sequence);
                // The caller may have dropped its Ack; the batch is stored all the same.
                reply.send(Ok(result)).ok();
                ControlFlow::Continue(())
            }
            // Refused because of the one before, whose wait is running.
            Ok(Answer::Again(error)) if error.reason() == "PREDECESSOR_FAILED" && pace.resume_at.is_some() => {
                ControlFlow::Continue(())
            }
            Ok(Answer::Again(error)) => match self.delay(&error) {
                Some(delay) => {
                    pace.wait(delay);
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(End::Stop(self.gave_up(error))),
            },
            Ok(Answer::Refused(batch, error)) => {
                let stop = error.with_message(format!(
                    "the producer stopped because batch {} was refused: {}",
                    batch.sequence,
                    error.message()
                ));
                batch.reply.send(Err(error)).ok();
                ControlFlow::Break(End::Stop(stop))
            }
            Err(error) if error.is_retryable() => ControlFlow::Break(End::Broken(error)),
            Err(error) => ControlFlow::Break(End::Stop(error)),
        }
    }

    fn acknowledged(&mut self, sequence: u64) {
        if let Some(producer) = &mut self.open.producer {
            producer.last_acked = producer.last_acked.max(Some(sequence));
        }
        self.progress.send_modify(|progress| {
            progress.n_answered += 1;
            progress.last_sequence = progress.last_sequence.max(sequence);
        });
    }

    /// How long to wait before the next try; `None` when there is none.
    fn delay(&mut self, error: &Error) -> Option<Duration> {
        if !error.is_retryable() {
            return None;
        }
        let delay = self.backoff.next()?.max(error.retry_after().unwrap_or_default());
        self.on_wait.tell(error, delay);
        Some(delay)
    }

    fn gave_up(&self, error: Error) -> Error {
        match self.policy.give_up_after {
            Some(limit) if error.is_retryable() => {
                error.with_message(format!("gave up after waits of {limit:?} in all: {}", error.message()))
            }
            _ => error,
        }
    }

    /// Answers all that waits with the error, and all that may come.
    fn stop(mut self, error: Error) {
        self.progress.send_modify(|progress| progress.stopped = Some(error.clone()));
        self.batches.close();
        for batch in self.queue.drain() {
            batch.reply.send(Err(error.clone())).ok();
        }
        while let Ok(batch) = self.batches.try_recv() {
            batch.reply.send(Err(error.clone())).ok();
        }
    }
}

impl Pace {
    fn wait(&mut self, delay: Duration) {
        self.resume_at = self.resume_at.max(Some(Instant::now() + delay));
    }
}

fn left() -> Error {
    Error::transport("the server asked to go elsewhere")
}

async fn wait_for(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn to_duration(duration: Option<prost_types::Duration>) -> Option<Duration> {
    Duration::try_from(duration?).ok()
}
