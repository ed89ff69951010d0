//! Which rows does a client send? The messages of a DoPut, checked and decoded one at a time.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream::{Stream, StreamExt};
use tidewater_storage::{Code, Error};
use tonic::Status;

use crate::ingest::ipc::{Decoded, Decoder, Limits};
use crate::status::to_status;

/// Decoded bytes of one message: what a batch of a statement may hold.
const MAX_MESSAGE_DECODED_BYTES: u64 = 256 << 20;

/// The rows of a DoPut stream, after its first message told what it is.
pub(super) struct Incoming<S> {
    first: Option<FlightData>,
    rest: S,
    decoder: Decoder,
}

impl<S> Incoming<S>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    /// Reads the first message, which carries the descriptor. A stream without one is an error at once: an ADBC client
    /// with an empty reader sends nothing at all and waits for the answer.
    pub async fn open(mut stream: S) -> Result<(FlightDescriptor, Self), Status> {
        let Some(first) = stream.next().await else {
            return Err(bad("empty DoPut stream: no FlightDescriptor", "send the schema, even when there are no rows"));
        };
        let mut first = first?;
        let Some(descriptor) = first.flight_descriptor.take() else {
            return Err(bad(
                "the first message of the DoPut stream has no FlightDescriptor",
                "put it into the first message",
            ));
        };
        let limits = Limits { decoded_bytes: MAX_MESSAGE_DECODED_BYTES, ..Limits::default() };
        Ok((descriptor, Self { first: Some(first), rest: stream, decoder: Decoder::new(limits) }))
    }

    /// The next batch, `None` at the client's half-close.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        while let Some(message) = self.message().await? {
            // A message may carry a descriptor or application metadata only.
            if message.data_header.is_empty() && message.data_body.is_empty() {
                continue;
            }
            let decoded = self.decoder.parts(&message.data_header, &message.data_body);
            if let Decoded::Rows(batch) = decoded.map_err(|error| to_status(&error))? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The schema, once its message was read.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.decoder.schema()
    }

    /// What of the stream nobody has read.
    pub fn into_rest(self) -> S {
        self.rest
    }

    async fn message(&mut self) -> Result<Option<FlightData>, Status> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.rest.next().await.transpose(),
        }
    }
}

fn bad(message: &str, hint: &str) -> Status {
    to_status(&Error::new(Code::InvalidRequest, message).hint(hint))
}
