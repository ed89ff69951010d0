//! Which rows does a client send? The messages of a DoPut, checked and decoded one at a time.
//!
//! A client decides how fast its messages come, so the rows of a bulk append are held in the memory that all statements have
//! together while they collect. It is taken before a message is decoded, for what the message declares, goes on with the rows
//! to whoever keeps them, and is given back when the client says nothing for too long, which is soon while the process shuts
//! down. While there is little of it, streams are read in turn, and their clients wait in HTTP/2's flow control. A message that is
//! here waits with the place that it came in, so no other is counted for it, and none is refused that had one. Parameters are few:
//! they have a limit of their own and wait for no rows, so that queries go on when memory for rows is full.
//!
//! Who waits for memory with rows in hand may wait for others who do: whoever keeps rows writes them when the next do not come
//! (`give_way`), whether those wait here, for a turn, or for a place.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream::{Stream, StreamExt};
use tidewater_storage::limits::MAX_STATEMENT_ROWS_BYTES;
use tidewater_storage::memory::{Collecting, MemoryLedger, ReadTurn};
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::prepared::Arriving;
use crate::auth::Limiter;
use crate::call::shutting_down;
use crate::grpc::{MessagePlace, Places};
use crate::ingest::decoding;
use crate::ingest::ipc::{Decoded, Decoder, Limits, MAX_DICTIONARY_BYTES, flat_batch_bytes};
use crate::status::to_flight_status as to_status;

/// How long a client may say nothing, in all, before its next rows are there: until then it holds memory that others wait
/// for. A message of the largest size comes in this time over 10 Mbit/s.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// How long a client may say nothing between two messages while the process shuts down: what is on its way still comes. The
/// grace that connections have is longer, and ends those who go on.
const MAX_SILENCE_DRAINING: Duration = Duration::from_secs(2);

/// How long a message waits for memory for its rows.
const MAX_MEMORY_WAIT: Duration = Duration::from_secs(30);

/// How long a stream waits for its turn to be read. Each turn before it may take as long as a message waits.
const MAX_TURN_WAIT: Duration = Duration::from_secs(120);

/// How long a client may keep its turn and send nothing.
const MAX_TURN_SILENCE: Duration = Duration::from_secs(2);

fn limits() -> Limits {
    Limits { copied_bytes: MAX_STATEMENT_ROWS_BYTES as u64, ..Limits::default() }
}

/// The rows of a DoPut stream, after its first message told what it is.
pub(super) struct Incoming<S> {
    first: Option<FlightData>,
    rest: S,
    /// What came while the client's limits let no message in: its end, as a rule.
    ahead: Option<Option<Result<FlightData, Status>>>,
    /// The limits let the next message in.
    is_in_time: bool,
    /// Where the places of messages are, and that of the one in hand until it is decoded.
    place: MessagePlace,
    in_hand: Places,
    /// Away while a message is decoded on another thread.
    decoder: Option<Decoder>,
    /// For what was decoded and is here: the last rows, and the dictionaries that rows may refer to.
    held: Collecting,
    /// Of these, for the last rows.
    rows_bytes: u64,
    /// Holds it instead when the stream has parameters.
    parameters: Option<Arriving>,
    /// Of the largest message so far, as it was sent: the next one is thought to be like it.
    message_bytes: u64,
    /// Held until the message is decoded.
    turn: Option<ReadTurn>,
    /// How fast the client may send.
    limiter: Option<Arc<Limiter>>,
    memory: Arc<MemoryLedger>,
    /// There is no memory for the next rows.
    is_held_up: Arc<AtomicBool>,
    draining: CancellationToken,
    /// How long the client may still be silent before rows come, and how long it may be behind them.
    patience: Duration,
    max_silence: Duration,
    max_silence_draining: Duration,
    max_turn_silence: Duration,
}

/// What one message brings.
pub(super) enum Came<R> {
    Rows(R),
    /// What rows need, as a schema or a dictionary, or nothing at all.
    Nothing,
    /// The client's half-close.
    End,
}

impl<S> Incoming<S>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    /// Reads the first message, which carries the descriptor. A stream without one is an error at once: an ADBC client
    /// with an empty reader sends nothing at all and waits for the answer.
    pub async fn open(
        (mut stream, place): (S, MessagePlace),
        memory: &Arc<MemoryLedger>,
        draining: &CancellationToken,
    ) -> Result<(FlightDescriptor, Self), Status> {
        let next = next_of((&mut stream, &place), MAX_SILENCE, MAX_SILENCE_DRAINING, draining);
        let Some(mut first) = next.await? else {
            return Err(bad("empty DoPut stream: no FlightDescriptor", "send the schema, even when there are no rows"));
        };
        let Some(descriptor) = first.flight_descriptor.take() else {
            return Err(bad(
                "the first message of the DoPut stream has no FlightDescriptor",
                "put it into the first message",
            ));
        };
        let incoming = Self {
            first: Some(first),
            rest: stream,
            ahead: None,
            is_in_time: false,
            in_hand: place.take(),
            place,
            decoder: Some(Decoder::new(limits())),
            held: memory.collecting(),
            rows_bytes: 0,
            parameters: None,
            message_bytes: 0,
            turn: None,
            limiter: None,
            memory: Arc::clone(memory),
            is_held_up: Arc::default(),
            draining: draining.clone(),
            patience: MAX_SILENCE,
            max_silence: MAX_SILENCE,
            max_silence_draining: MAX_SILENCE_DRAINING,
            max_turn_silence: MAX_TURN_SILENCE,
        };
        Ok((descriptor, incoming))
    }

    /// The rows are parameters: `arriving` holds them, until this is dropped.
    pub fn of_parameters(self, arriving: Arriving) -> Self {
        let decoder = Decoder::new(Limits { unions: true, ..limits() });
        Self { decoder: Some(decoder), parameters: Some(arriving), ..self }
    }

    /// The stream is read no faster than `limiter` allows.
    pub fn limited_by(self, limiter: Arc<Limiter>) -> Self {
        Self { limiter: Some(limiter), ..self }
    }

    /// Returns when the limits of the client let its next message in, or its stream has ended: who is done does not wait. Nothing is read
    /// before, and nobody else waits for it, unless it is not polled: it may have the turn of all who have the same limits.
    pub async fn may_read(&mut self) -> Result<(), Status> {
        if self.first.is_some() || self.is_in_time {
            return Ok(());
        }
        // The one before, of a message without rows.
        self.turn = None;
        self.in_hand.clear();
        if let Some(limiter) = &self.limiter {
            self.place.hold_back(true);
            let mut in_time = pin!(limiter.bytes_in_time());
            loop {
                tokio::select! {
                    biased;
                    () = &mut in_time => break,
                    () = self.draining.cancelled() => return Err(to_status(&shutting_down())),
                    next = self.rest.next(), if self.ahead.is_none() => {
                        // A message comes only where nobody counts them; it waits as it would have on its way.
                        let is_message = matches!(next, Some(Ok(_)));
                        self.ahead = Some(next);
                        if !is_message {
                            break;
                        }
                    }
                }
            }
            self.place.hold_back(false);
        }
        self.is_in_time = true;
        Ok(())
    }

    /// What the next message brings, and the memory that it is held in. It waits for the limits of the client as [`Self::may_read`] does,
    /// unless that has returned.
    pub async fn read_held(&mut self) -> Result<Came<(RecordBatch, Collecting)>, Status> {
        let came = self.read().await?;
        let held = self.held.split(std::mem::take(&mut self.rows_bytes));
        // The decoder keeps no more dictionaries: others took the place of those before.
        self.held.shrink(self.held.bytes().saturating_sub(MAX_DICTIONARY_BYTES));
        Ok(match came {
            Came::Rows(batch) => Came::Rows((batch, held)),
            Came::Nothing => Came::Nothing,
            Came::End => Came::End,
        })
    }

    /// The next batch and the memory that it is held in, `None` at the client's half-close.
    #[cfg(test)]
    pub async fn next_held(&mut self) -> Result<Option<(RecordBatch, Collecting)>, Status> {
        loop {
            match self.read_held().await? {
                Came::Rows(rows) => return Ok(Some(rows)),
                Came::Nothing => {}
                Came::End => return Ok(None),
            }
        }
    }

    /// The next batch, `None` at the client's half-close. It is held until the stream is dropped.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        loop {
            match self.read().await? {
                Came::Rows(batch) => return Ok(Some(batch)),
                Came::Nothing => {}
                Came::End => return Ok(None),
            }
        }
    }

    /// What the next message brings. It is held until the stream is dropped.
    async fn read(&mut self) -> Result<Came<RecordBatch>, Status> {
        let Some(message) = self.message().await? else { return Ok(Came::End) };
        // A message may carry a descriptor or application metadata only.
        if message.data_header.is_empty() && message.data_body.is_empty() {
            return Ok(Came::Nothing);
        }
        let batch = self.decode(message).await.map_err(|error| to_status(&error))?;
        Ok(batch.map_or(Came::Nothing, Came::Rows))
    }

    /// Whether the next rows wait for memory: whoever holds some for the rows before can give way.
    pub fn held_up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_held_up)
    }

    /// The schema, once its message was read.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.decoder.as_ref().and_then(Decoder::schema)
    }

    /// What of the stream nobody has read.
    pub fn into_rest(self) -> S {
        self.rest
    }

    /// With a client that may be silent for so long.
    #[cfg(test)]
    pub fn with_max_silence(self, max_silence: Duration) -> Self {
        Self { patience: max_silence, max_silence, ..self }
    }

    /// With a client that may be silent for so long while the process shuts down.
    #[cfg(test)]
    pub fn with_max_silence_draining(self, max_silence_draining: Duration) -> Self {
        Self { max_silence_draining, ..self }
    }

    /// With a client that may keep its turn for so long.
    #[cfg(test)]
    pub fn with_max_turn_silence(self, max_turn_silence: Duration) -> Self {
        Self { max_turn_silence, ..self }
    }

    async fn message(&mut self) -> Result<Option<FlightData>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        // Before the turn: others do not wait for the limit of this client. Nor is the client blamed for this time.
        self.may_read().await?;
        self.is_in_time = false;
        let ahead = match self.ahead.take() {
            Some(Some(Ok(message))) => Some(message),
            Some(end) => return end.transpose(),
            None => None,
        };
        self.take_turn().await.map_err(|error| to_status(&error))?;
        let message = match ahead {
            Some(message) => Ok(Some(message)),
            None => self.next_sent().await,
        };
        if let (Some(limiter), Ok(Some(message))) = (&self.limiter, &message) {
            limiter.came((message.data_header.len() + message.data_body.len()) as u64);
        }
        message
    }

    /// The next message, as it comes.
    async fn next_sent(&mut self) -> Result<Option<FlightData>, Status> {
        let since = Instant::now();
        let message = {
            let sent = (&mut self.rest, &self.place);
            let mut next = pin!(next_of(sent, self.patience, self.max_silence_draining, &self.draining));
            match tokio::time::timeout(self.max_turn_silence, &mut next).await {
                Ok(message) => message,
                Err(_) => {
                    self.turn = None;
                    next.await
                }
            }
        };
        let has_waited = self.place.has_waited();
        self.in_hand = self.place.take();
        if !has_waited {
            self.patience = self.patience.saturating_sub(since.elapsed());
        }
        message
    }

    async fn take_turn(&mut self) -> Result<()> {
        if self.parameters.is_none() {
            let turn = self.memory.turn_to_read(self.message_bytes);
            self.turn = tokio::select! {
                biased;
                turn = waiting(&self.is_held_up, MAX_TURN_WAIT, turn) => turn?,
                () = self.draining.cancelled() => return Err(shutting_down()),
            };
        }
        Ok(())
    }

    /// The rows of a message, if it has some. Memory is taken first, for all that the stream has sent: while the message is
    /// decoded nothing is waited for, so that streams which wait for each other never hold the place to decode.
    async fn decode(&mut self, message: FlightData) -> Result<Option<RecordBatch>> {
        let gone = || Error::internal("a stream goes on after an error");
        let FlightData { data_header, data_body, .. } = message;
        let declared = self.decoder.as_ref().ok_or_else(gone)?.declared_parts(&data_header, &data_body)?;
        self.message_bytes = self.message_bytes.max(data_body.len() as u64);
        self.hold(declared.bytes()).await?;
        let mut decoder = self.decoder.take().ok_or_else(gone)?;
        let in_hand = std::mem::take(&mut self.in_hand);
        let work = move || -> Result<_> {
            // Goes with the message, whether or not anybody waits for this.
            let _in_hand = in_hand;
            let decoded = decoder.parts(&data_header, &data_body)?;
            let flat = match &decoded {
                Decoded::Rows(batch) => flat_batch_bytes(batch),
                Decoded::Schema | Decoded::Nothing => 0,
            };
            Ok((decoder, decoded, flat))
        };
        // The rows are counted already, whoever holds them.
        let place = self.held.decoding(declared.bytes());
        let ((decoder, decoded, flat), place) = decoding::run(declared, place, work).await?;
        drop(place);
        self.turn = None;
        self.decoder = Some(decoder);
        let Decoded::Rows(batch) = decoded else { return Ok(None) };
        if batch.num_rows() == 0 {
            match &mut self.parameters {
                Some(parameters) => parameters.shrink(declared.bytes()),
                None => self.held.shrink(declared.bytes()),
            }
            return Ok(Some(batch));
        }
        self.patience = self.max_silence;
        // With dictionaries and views spelled out, as storage does it, rows may take more than they are.
        self.hold(flat.saturating_sub(declared.bytes())).await?;
        self.rows_bytes += flat.max(declared.bytes());
        Ok(Some(batch))
    }

    /// Holds `more` bytes. While there is no memory for rows the stream is not read.
    async fn hold(&mut self, more: u64) -> Result<()> {
        if let Some(parameters) = &mut self.parameters {
            return parameters.grow(more);
        }
        let total = self.held.bytes().saturating_add(more);
        if total > MAX_STATEMENT_ROWS_BYTES as u64 {
            return Err(too_large(total));
        }
        waiting(&self.is_held_up, MAX_MEMORY_WAIT, self.held.grow(more)).await
    }
}

/// Waits for memory, so long at most. `is_held_up` meanwhile.
async fn waiting<T>(is_held_up: &AtomicBool, at_most: Duration, memory: impl Future<Output = Result<T>>) -> Result<T> {
    is_held_up.store(true, Ordering::Relaxed);
    let held = tokio::time::timeout(at_most, memory).await;
    is_held_up.store(false, Ordering::Relaxed);
    held.unwrap_or_else(|_| Err(full()))
}

/// The next message of a client that may be silent for `patience`, and for `patience_draining` once the process shuts down. A
/// message that is there is always taken, and one that waits for its place waits as long as it may there.
async fn next_of<S>(
    (stream, place): (&mut S, &MessagePlace),
    patience: Duration,
    patience_draining: Duration,
    draining: &CancellationToken,
) -> Result<Option<FlightData>, Status>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    let stopping = async {
        draining.cancelled().await;
        tokio::time::sleep(patience_draining).await;
    };
    let silence = async {
        tokio::time::sleep(patience).await;
        while place.waits() {
            tokio::time::sleep(MAX_TURN_SILENCE).await;
        }
        if place.has_waited() {
            tokio::time::sleep(patience).await;
        }
    };
    tokio::select! {
        biased;
        message = stream.next() => message.transpose(),
        () = stopping => Err(to_status(&shutting_down())),
        () = silence => Err(to_status(&silent())),
    }
}

fn bad(message: &str, hint: &str) -> Status {
    to_status(&Error::new(Code::InvalidRequest, message).hint(hint))
}

fn silent() -> Error {
    Error::new(Code::QueryDeadline, format!("no rows came for {} s, so nothing was stored", MAX_SILENCE.as_secs()))
        .hint("collect the rows first, then send them at once; or send them as batches with the ingest service")
}

fn full() -> Error {
    Error::new(Code::MemoryPressure, "memory for fresh rows is full")
        .hint("send fewer rows in one statement, or try again later")
        .retry_after(Duration::from_secs(5))
}

fn too_large(n_bytes: u64) -> Error {
    Error::new(
        Code::StatementRowsTooLarge,
        format!("the rows of one message take more than {MAX_STATEMENT_ROWS_BYTES} bytes"),
    )
    .hint("send fewer rows in one message")
    .with("bytes", n_bytes)
    .with("limit_bytes", MAX_STATEMENT_ROWS_BYTES)
}
