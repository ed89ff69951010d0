//! Which rows does a client send? The messages of a DoPut, checked and decoded one at a time.
//!
//! A client decides how fast its messages come, so what it has sent is held in the memory that all statements have together
//! while they collect. It is taken before a message is decoded, for what the message declares, and given back when the
//! stream ends, when the client says nothing for too long, and when the process shuts down.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream::{Stream, StreamExt};
use tidewater_storage::limits::MAX_STATEMENT_ROWS_BYTES;
use tidewater_storage::memory::{Collecting, MemoryLedger};
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::call::shutting_down;
use crate::ingest::decoding;
use crate::ingest::ipc::{Decoded, Decoder, Limits, flat_batch_bytes};
use crate::status::to_status;

/// How long a client may say nothing, in all, before its next rows are there: until then it holds memory that others wait
/// for. A message of the largest size comes in this time over 10 Mbit/s.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// How long a stream is not read while there is no memory for its rows.
const MAX_MEMORY_WAIT: Duration = Duration::from_secs(30);

/// The rows of a DoPut stream, after its first message told what it is.
pub(super) struct Incoming<S> {
    first: Option<FlightData>,
    rest: S,
    /// Away while a message is decoded on another thread.
    decoder: Option<Decoder>,
    /// For everything that was decoded: rows, and the dictionaries that rows may refer to.
    held: Collecting,
    draining: CancellationToken,
    /// How long the client may still be silent before rows come, and how long it may be behind them.
    patience: Duration,
    max_silence: Duration,
}

impl<S> Incoming<S>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    /// Reads the first message, which carries the descriptor. A stream without one is an error at once: an ADBC client
    /// with an empty reader sends nothing at all and waits for the answer.
    pub async fn open(
        mut stream: S,
        memory: &Arc<MemoryLedger>,
        draining: &CancellationToken,
    ) -> Result<(FlightDescriptor, Self), Status> {
        let Some(mut first) = next_of(&mut stream, MAX_SILENCE, draining).await? else {
            return Err(bad("empty DoPut stream: no FlightDescriptor", "send the schema, even when there are no rows"));
        };
        let Some(descriptor) = first.flight_descriptor.take() else {
            return Err(bad(
                "the first message of the DoPut stream has no FlightDescriptor",
                "put it into the first message",
            ));
        };
        let limits = Limits { copied_bytes: MAX_STATEMENT_ROWS_BYTES as u64, ..Limits::default() };
        let incoming = Self {
            first: Some(first),
            rest: stream,
            decoder: Some(Decoder::new(limits)),
            held: memory.collecting(),
            draining: draining.clone(),
            patience: MAX_SILENCE,
            max_silence: MAX_SILENCE,
        };
        Ok((descriptor, incoming))
    }

    /// The next batch, `None` at the client's half-close. It is held until [`Self::into_held`] is given back.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        while let Some(message) = self.message().await? {
            // A message may carry a descriptor or application metadata only.
            if message.data_header.is_empty() && message.data_body.is_empty() {
                continue;
            }
            let draining = self.draining.clone();
            let decoded = tokio::select! {
                biased;
                () = draining.cancelled() => Err(shutting_down()),
                decoded = self.decode(message) => decoded,
            };
            if let Some(batch) = decoded.map_err(|error| to_status(&error))? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The schema, once its message was read.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.decoder.as_ref().and_then(Decoder::schema)
    }

    /// The memory of the batches that were returned.
    pub fn into_held(self) -> Collecting {
        self.held
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

    async fn message(&mut self) -> Result<Option<FlightData>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let since = Instant::now();
        let message = next_of(&mut self.rest, self.patience, &self.draining).await;
        self.patience = self.patience.saturating_sub(since.elapsed());
        message
    }

    /// The rows of a message, if it has some. Memory is taken first, for all that the stream has sent: while the message is
    /// decoded nothing is waited for, so that streams which wait for each other never hold the place to decode.
    async fn decode(&mut self, message: FlightData) -> Result<Option<RecordBatch>> {
        let gone = || Error::internal("a stream goes on after an error");
        let FlightData { data_header, data_body, .. } = message;
        let declared = self.decoder.as_ref().ok_or_else(gone)?.declared_parts(&data_header, &data_body)?;
        self.hold(declared.bytes()).await?;
        let mut decoder = self.decoder.take().ok_or_else(gone)?;
        let work = move || -> Result<_> {
            let decoded = decoder.parts(&data_header, &data_body)?;
            let flat = match &decoded {
                Decoded::Rows(batch) => flat_batch_bytes(batch),
                Decoded::Schema | Decoded::Nothing => 0,
            };
            Ok((decoder, decoded, flat))
        };
        let ((decoder, decoded, flat), place) =
            decoding::run(declared, self.held.decoding(declared.bytes()), work).await?;
        drop(place);
        self.decoder = Some(decoder);
        let Decoded::Rows(batch) = decoded else { return Ok(None) };
        if batch.num_rows() == 0 {
            self.held.shrink(declared.bytes());
            return Ok(Some(batch));
        }
        self.patience = self.max_silence;
        // With dictionaries and views spelled out, as storage does it, rows may take more than they are.
        self.hold(flat.saturating_sub(declared.bytes())).await?;
        Ok(Some(batch))
    }

    /// Holds `more` bytes. While there is no memory for them the stream is not read.
    async fn hold(&mut self, more: u64) -> Result<()> {
        let total = self.held.bytes().saturating_add(more);
        if total > MAX_STATEMENT_ROWS_BYTES as u64 {
            return Err(too_large(total));
        }
        tokio::time::timeout(MAX_MEMORY_WAIT, self.held.grow(more)).await.unwrap_or_else(|_| Err(full()))
    }
}

/// The next message of a client that may be silent for `patience`.
async fn next_of<S>(
    stream: &mut S,
    patience: Duration,
    draining: &CancellationToken,
) -> Result<Option<FlightData>, Status>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    tokio::select! {
        biased;
        () = draining.cancelled() => Err(to_status(&shutting_down())),
        message = tokio::time::timeout(patience, stream.next()) => match message {
            Ok(message) => message.transpose(),
            Err(_) => Err(to_status(&silent())),
        },
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
        format!("the rows of one statement take more than {MAX_STATEMENT_ROWS_BYTES} bytes"),
    )
    .hint("send them in several bulk appends")
    .with("bytes", n_bytes)
    .with("limit_bytes", MAX_STATEMENT_ROWS_BYTES)
}
