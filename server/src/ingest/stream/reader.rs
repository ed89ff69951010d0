//! What does the client send, and how much of it at once? The reading side of a stream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tidewater_proto::ingest::v1::write_stream_request::Msg;
use tidewater_proto::ingest::v1::write_stream_response::Msg as Answer;
use tidewater_proto::ingest::v1::{Batch, GoAway, Throttle, WriteStreamRequest, WriteStreamResponse};
use tidewater_storage::limits::MAX_BATCH_BYTES;
use tidewater_storage::memory::Share;
use tidewater_storage::{Code, Error, PreparedWrite, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::open::{Stream, broken};
use super::{
    Answers, GRACE, MAX_INFLIGHT_BATCHES, MAX_INFLIGHT_BYTES, Requests, SAY_AGAIN, THROTTLE_EVERY, THROTTLE_FROM,
};
use crate::App;
use crate::auth::Limiter;
use crate::call::shutting_down;
use crate::grpc::{MessagePlace, Places};
use crate::ingest::decoding::MAX_WAIT;
use crate::ingest::payload;
use crate::ingest::request::invalid;

/// Bytes are counted in these: a semaphore's permits have 32 bits.
const PERMIT_BYTES: usize = 1024;

/// What a client is asked to wait that nothing but its turn is missing for.
const SHORTEST: Duration = Duration::from_millis(1);

/// What the client sent, `None` at its half-close.
type Message = Result<Option<WriteStreamRequest>, Status>;

/// A batch that was read and is being decoded.
pub(super) struct Waiting {
    pub batch_id: u64,
    pub sequence: u64,
    /// Decoding and admission; aborted when nobody waits for it any more.
    pub prepared: Preparing,
    pub place: Place,
}

/// Work that ends when it is dropped.
pub(super) struct Preparing(JoinHandle<Result<PreparedWrite>>);

impl Preparing {
    pub async fn done(mut self) -> Result<PreparedWrite> {
        let done = (&mut self.0).await;
        done.unwrap_or_else(|error| Err(Error::internal(format!("a batch could not be prepared: {error}"))))
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A place among the batches under way; free again when dropped.
pub(super) struct Place {
    _batch: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
}

impl Place {
    /// Of a batch of so many bytes. What it does not need others have again.
    fn shrink(&mut self, n_bytes: usize) {
        let spare = self.bytes.num_permits().saturating_sub(permits(n_bytes));
        drop(self.bytes.split(spare));
    }
}

fn permits(n_bytes: usize) -> usize {
    (n_bytes / PERMIT_BYTES).max(1)
}

/// Why reading ended.
pub(super) enum End {
    /// The client is done, or gone.
    Client,
    /// The process shuts down.
    Draining,
    /// The protocol was broken.
    Broken(Error),
}

pub(super) struct Reader<'a> {
    app: &'a Arc<App>,
    stream: &'a Stream,
    answers: &'a Answers,
    batches: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limiter: &'a Limiter,
    last_batch_id: u64,
    /// When the client may be asked to slow down again.
    next_throttle: Instant,
    /// When it may be told again that it is past its limits.
    next_pace: Instant,
    /// The last batch waited for memory in vain.
    is_overloaded: bool,
}

impl<'a> Reader<'a> {
    pub fn new(app: &'a Arc<App>, limiter: &'a Limiter, stream: &'a Stream, answers: &'a Answers) -> Self {
        Self {
            app,
            stream,
            answers,
            batches: Arc::new(Semaphore::new(MAX_INFLIGHT_BATCHES)),
            bytes: Arc::new(Semaphore::new(MAX_INFLIGHT_BYTES / PERMIT_BYTES)),
            limiter,
            last_batch_id: 0,
            next_throttle: Instant::now(),
            next_pace: Instant::now(),
            is_overloaded: false,
        }
    }

    /// Reads until the end, and sets every batch to work. Returns why it ended; `waiting` is closed then.
    pub async fn run(mut self, (mut requests, in_hand): Requests, waiting: mpsc::Sender<Waiting>) -> End {
        let (app, answers) = (self.app, self.answers);
        loop {
            let next = tokio::select! {
                biased;
                () = answers.closed() => return End::Client,
                () = app.draining.cancelled() => {
                    self.go_away().await;
                    return End::Draining;
                }
                next = self.next(&mut requests, &in_hand) => next,
            };
            let Some((mut place, message)) = next else { return End::Client };
            let message_places = in_hand.take();
            let batch = match self.batch_of(message) {
                Ok(batch) => batch,
                Err(end) => return end,
            };
            let size = size_of(&batch);
            self.limiter.batch_came(size as u64);
            place.shrink(size);
            let prepared = tokio::select! {
                biased;
                prepared = self.prepare(batch, message_places, place) => prepared,
                () = answers.closed() => return End::Client,
                () = app.draining.cancelled() => {
                    self.go_away().await;
                    return End::Draining;
                }
            };
            if waiting.send(prepared).await.is_err() {
                return End::Client;
            }
        }
    }

    /// The next message, and the place of its batch. All that a batch of any size may have to wait for, but memory, is waited for before
    /// anything is in hand: a large message has a place that others wait for.
    async fn next(
        &mut self,
        requests: &mut Streaming<WriteStreamRequest>,
        in_hand: &MessagePlace,
    ) -> Option<(Place, Message)> {
        self.throttle().await;
        in_hand.hold_back(true);
        let end = tokio::select! {
            biased;
            () = pace((self.limiter, self.answers), SAY_AGAIN, &mut self.next_pace) => None,
            // No message comes now, only the end: who is done does not wait.
            end = requests.message() => Some(end),
        };
        in_hand.hold_back(false);
        let batch = Arc::clone(&self.batches).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(permits(MAX_BATCH_BYTES) as u32).await.ok()?;
        let message = match end {
            Some(end) => end,
            None => requests.message().await,
        };
        Some((Place { _batch: batch, bytes }, message))
    }

    /// What the client sent, if it is the next batch.
    fn batch_of(&mut self, message: Message) -> Result<Batch, End> {
        let batch = match message {
            Ok(Some(WriteStreamRequest { msg: Some(Msg::Batch(batch)) })) => batch,
            Ok(Some(WriteStreamRequest { msg: Some(Msg::Open(_)) })) => {
                let hint = "open another stream for another table or producer";
                return Err(End::Broken(invalid("a second Open", hint)));
            }
            Ok(Some(WriteStreamRequest { msg: None })) => {
                return Err(End::Broken(invalid("a message without content", "send batches after Open")));
            }
            Ok(None) => return Err(End::Client),
            Err(status) => return Err(End::Broken(broken(&status))),
        };
        if batch.batch_id <= self.last_batch_id {
            return Err(End::Broken(invalid(
                format!("batch_id {} after {}", batch.batch_id, self.last_batch_id),
                "number the batches of a stream from 1, each above the last, also when a batch is sent again",
            )));
        }
        self.last_batch_id = batch.batch_id;
        Ok(batch)
    }

    /// Decoding and admission begin as soon as there is memory, side by side with those of the batches before. Nothing is read meanwhile.
    async fn prepare(&mut self, batch: Batch, message: Places, place: Place) -> Waiting {
        let Batch { batch_id, sequence, payload } = batch;
        let Stream { target, decoder } = self.stream;
        // Once was enough: those that follow are refused at once, until there is some again.
        let at_most = if self.is_overloaded { Duration::ZERO } else { MAX_WAIT };
        let (payload, memory) = (payload.unwrap_or_default(), self.app.storage.memory());
        let ready = payload::Ready::within(at_most, target, payload, decoder.as_ref(), (message, memory)).await;
        self.is_overloaded = ready.as_ref().is_err_and(|error| error.code() == Code::MemoryPressure);
        let target = target.clone();
        let prepared = tokio::spawn(async move { ready?.decode().await?.prepare(&target, sequence).await });
        Waiting { batch_id, sequence, prepared: Preparing(prepared), place }
    }

    /// Asks the client to send slower when realtime memory fills up.
    async fn throttle(&mut self) {
        let fill = self.app.storage.memory().fill(Share::Realtime);
        let now = Instant::now();
        if fill < THROTTLE_FROM || now < self.next_throttle {
            return;
        }
        self.next_throttle = now + THROTTLE_EVERY;
        let urgency = ((fill - THROTTLE_FROM) / (1.0 - THROTTLE_FROM)).clamp(0.1, 1.0);
        let reason = format!("realtime rows hold {:.0} % of their memory", fill * 100.0);
        let delay = delay(THROTTLE_EVERY.mul_f64(urgency));
        say(self.answers, Answer::Throttle(Throttle { delay, reason })).await;
    }

    async fn go_away(&self) {
        let reason = shutting_down().message().to_owned();
        say(self.answers, Answer::GoAway(GoAway { grace: delay(GRACE), reason })).await;
    }
}

/// Waits until the caller's limits leave something for a batch, and asks the client to wait too: from `next` on, and then in each `say_again`.
/// The stream is not read meanwhile, so that no batch has to be sent again. `next` is later each time, so that a client whose every batch
/// waits is told once in each [`THROTTLE_EVERY`] at most.
async fn pace((limiter, answers): (&Limiter, &Answers), say_again: Duration, next: &mut Instant) {
    let mut in_time = pin!(limiter.batch_in_time());
    let mut say_at = *next;
    loop {
        tokio::select! {
            biased;
            () = &mut in_time => return,
            () = over(say_at) => {}
        }
        let throttle = match limiter.batch() {
            Err(error) => {
                let wait = error.retry_delay().unwrap_or(THROTTLE_EVERY);
                Throttle { delay: delay(wait), reason: error.message().to_owned() }
            }
            Ok(()) => {
                let reason = "others of this user or token, who are at its limit too, are first".to_owned();
                Throttle { delay: delay(SHORTEST), reason }
            }
        };
        // Without waiting for a place: this may hold the turn of its caller, and a client that reads nothing would keep it from all others.
        // Such a client has more to read than this, and hears it the next time.
        let _ = answers.try_send(Ok(WriteStreamResponse { msg: Some(Answer::Throttle(throttle)) }));
        let now = Instant::now();
        (*next, say_at) = (now + THROTTLE_EVERY, now + say_again);
    }
}

/// Returns at once when `at` is over.
async fn over(at: Instant) {
    if Instant::now() < at {
        tokio::time::sleep_until(at).await;
    }
}

async fn say(answers: &Answers, msg: Answer) {
    // A client that is gone is noticed at the next message.
    let _ = answers.send(Ok(WriteStreamResponse { msg: Some(msg) })).await;
}

/// Bytes of a batch's payload as they came.
fn size_of(batch: &Batch) -> usize {
    batch.payload.as_ref().and_then(|payload| payload.format.as_ref()).map_or(0, payload::size_of)
}

fn delay(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

#[cfg(test)]
mod tests;
