//! How does a stream begin? Open, Opened, and what the server allows.

use std::time::Duration;

use tidewater_proto::ingest::v1 as pb;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::ingest::v1::write_stream_request::Msg as Ask;
use tidewater_proto::ingest::v1::write_stream_response::Msg as Answer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::queue::Window;
use crate::client::Transport;
use crate::error::{Error, Result};

/// A server that takes the call but does not answer Open in this time is left.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Open, and one batch that waits for HTTP/2's window; the rest waits in the queue, where it is counted.
const REQUESTS_WAITING: usize = 2;

/// One stream that was opened.
pub(super) struct Connection {
    pub requests: mpsc::Sender<pb::WriteStreamRequest>,
    pub responses: Streaming<pb::WriteStreamResponse>,
    pub window: Window,
    /// The largest payload the server takes.
    pub max_batch_bytes: u64,
    /// The last sequence it has.
    pub last_sequence: u64,
}

impl Connection {
    pub async fn open(ingest: &mut IngestClient<Transport>, open: pb::Open) -> Result<Self> {
        let last_acked = open.producer.as_ref().and_then(|producer| producer.last_acked);
        let connection = tokio::time::timeout(OPEN_TIMEOUT, Self::exchange(ingest, open))
            .await
            .map_err(|_| Error::transport(format!("the server did not answer within {OPEN_TIMEOUT:?}")))??;
        match last_acked {
            Some(acked) if connection.last_sequence < acked => Err(state_lost(connection.last_sequence, acked)),
            _ => Ok(connection),
        }
    }

    async fn exchange(ingest: &mut IngestClient<Transport>, open: pb::Open) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(REQUESTS_WAITING);
        let first = pb::WriteStreamRequest { msg: Some(Ask::Open(open)) };
        requests.send(first).await.map_err(|_| Error::transport("the stream ended before it began"))?;
        let mut responses = ingest.write_stream(ReceiverStream::new(receiver)).await?.into_inner();
        let opened = match responses.message().await?.and_then(|response| response.msg) {
            Some(Answer::Opened(opened)) => opened,
            Some(Answer::GoAway(bye)) => return Err(Error::transport(format!("the server goes away: {}", bye.reason))),
            _ => return Err(Error::protocol("the server did not begin the stream with Opened")),
        };
        // A limit of 0 would stop us for ever; it can only mean that there is none to speak of.
        let batches = usize::try_from(opened.max_inflight_batches).unwrap_or(usize::MAX).max(1);
        let window = Window { batches, bytes: unlimited_if_zero(opened.max_inflight_bytes) };
        let max_batch_bytes = unlimited_if_zero(opened.max_batch_bytes);
        Ok(Self { requests, responses, window, max_batch_bytes, last_sequence: opened.last_sequence })
    }
}

fn unlimited_if_zero(limit: u64) -> u64 {
    if limit == 0 { u64::MAX } else { limit }
}

/// The server has less than it acknowledged.
pub(super) fn state_lost(last_sequence: u64, acked: u64) -> Error {
    Error::new(
        Code::DataLoss,
        "PRODUCER_STATE_LOST",
        format!("the server stands at sequence {last_sequence} but had acknowledged {acked}: it lost data"),
    )
}
