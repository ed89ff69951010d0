//! What does a stream begin with? Its first message, and the answer to it.

use std::sync::Arc;
use std::time::Duration;

use tidewater_proto::ingest::v1::write_stream_request::Msg;
use tidewater_proto::ingest::v1::{Opened, WriteStreamRequest};
use tidewater_storage::limits::MAX_BATCH_BYTES;
use tidewater_storage::{Code, Error, Result};
use tonic::{Status, Streaming};

use super::{MAX_INFLIGHT_BATCHES, MAX_INFLIGHT_BYTES, OPEN_TIMEOUT};
use crate::App;
use crate::call::Call;
use crate::ingest::answer;
use crate::ingest::ipc::{Decoder, Limits};
use crate::ingest::request::{Target, invalid};

/// When a message that found no place may find one.
const RETRY: Duration = Duration::from_secs(1);

/// What all batches of a stream have in common.
#[derive(Clone)]
pub(super) struct Stream {
    pub target: Target,
    /// The schema of payloads that are single messages.
    pub decoder: Option<Arc<Decoder>>,
}

/// Reads Open. `None` when the client ended the stream without a message.
pub(super) async fn open(
    app: &App,
    call: &Call,
    requests: &mut Streaming<WriteStreamRequest>,
) -> Result<Option<(Stream, Opened)>> {
    let first = tokio::time::timeout(OPEN_TIMEOUT, requests.message());
    let first = first.await.map_err(|_| invalid("no Open came", "send Open as the first message of the stream"))?;
    let open = match first.map_err(|status| broken(&status))? {
        None => return Ok(None),
        Some(WriteStreamRequest { msg: Some(Msg::Open(open)) }) => open,
        Some(_) => {
            return Err(invalid("the first message is not Open", "send Open, wait for Opened, then send batches"));
        }
    };
    let target = Target::of_open(app, &open, &call.principal)?;
    let decoder = match open.arrow_schema.is_empty() {
        true => None,
        false => Some(Arc::new(decoder(&open.arrow_schema)?)),
    };
    let last_sequence = match target.producer_id() {
        Some(id) => target.table.producer(id).await?.map_or(0, |info| info.last_sequence),
        None => 0,
    };
    let opened = Opened {
        schema: Some(answer::table_schema(&target.table.def())?),
        last_sequence,
        max_inflight_batches: MAX_INFLIGHT_BATCHES as u32,
        max_inflight_bytes: MAX_INFLIGHT_BYTES as u64,
        max_batch_bytes: MAX_BATCH_BYTES as u64,
        durability: answer::durability(target.durability()).into(),
    };
    Ok(Some((Stream { target, decoder }, opened)))
}

fn decoder(schema: &[u8]) -> Result<Decoder> {
    let decoder = Decoder::under_schema(schema, Limits::default())?;
    if decoder.has_dictionaries() {
        return Err(invalid(
            "the schema of the stream has dictionaries",
            "send plain columns, or complete streams as 'arrow_ipc_stream'",
        ));
    }
    Ok(decoder)
}

/// The client's side of the stream ended with an error: it went away, or sent what is not of the protocol. Or a large message found no
/// place, or stopped in its middle: the same may be sent again.
pub(super) fn broken(status: &Status) -> Error {
    const HINT: &str = "connect again and send what has no answer";
    match status.code() {
        tonic::Code::ResourceExhausted => {
            let what = "so many messages are on their way that the next one of the stream has no place";
            Error::new(Code::MemoryPressure, what).hint(HINT).retry_after(RETRY)
        }
        tonic::Code::DeadlineExceeded => {
            Error::new(Code::QueryDeadline, "a message of the stream stopped in its middle").hint(HINT)
        }
        _ => invalid(format!("the stream of requests broke: {}", status.message()), HINT),
    }
}

#[cfg(test)]
mod tests;
