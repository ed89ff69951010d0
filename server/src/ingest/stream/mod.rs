//! How do many batches come in at once, in order? One stream of the protocol: read, decode side by side, submit in
//! order, answer in order.
//!
//! ```text
//! reader ──► Waiting (decode and admission run as tasks) ──► submitter ──► table's queue ──► answerer ──► client
//! ```
//!
//! Three loops of one task, joined by bounded queues. What is under way is bounded in number and bytes by permits that
//! a batch holds from before it is read until it is answered: past them the reader does not read, and the client's
//! window closes. While what it has read is past the caller's limits it looks for the end of the stream only, and while the last batch
//! waits for memory it does not read either: a stream is slowed down, and not refused; when the process shuts down meanwhile that batch
//! has no answer, and is sent again.
//! When the client goes away all three end; batches in the table's queue are stored all the same, and the producer's sequence
//! tells so when it comes back.

mod open;
mod order;
mod reader;
mod run;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use tidewater_proto::ingest::v1::{WriteStreamRequest, WriteStreamResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::App;
use crate::call::Call;
use crate::grpc::MessagePlace;

/// Batches of one stream that are under way.
const MAX_INFLIGHT_BATCHES: usize = 64;

/// Payloads of one stream that are under way. Four batches of the largest size.
const MAX_INFLIGHT_BYTES: usize = 64 << 20;

/// A client that opens a stream and says nothing holds it for nothing.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// From this share of realtime memory on, clients are asked to send slower.
const THROTTLE_FROM: f64 = 0.7;

/// How often, at most, and for how long, at most.
const THROTTLE_EVERY: Duration = Duration::from_secs(1);

/// How often, at least, a client is told that it still has to wait for its limits: who hears nothing for long takes the server for dead.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// How long answers are still sent after GoAway.
const GRACE: Duration = Duration::from_secs(10);

/// A client that reads no answers for this long has gone, whatever its connection says.
const STALLED: Duration = Duration::from_secs(60);

/// How often the caller's rights are looked at again: a few look-ups in memory.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Messages to the client that wait in front of the transport.
const ANSWERS: usize = 16;

/// What the client sends, and where the places of its large messages are.
type Requests = (Streaming<WriteStreamRequest>, MessagePlace);

type Answers = mpsc::Sender<Result<WriteStreamResponse, Status>>;

/// Serves a stream on a task of its own; the task ends with the stream.
pub(super) fn start(
    app: Arc<App>,
    call: Call,
    requests: Requests,
) -> ReceiverStream<Result<WriteStreamResponse, Status>> {
    let (answers, receiver) = mpsc::channel(ANSWERS);
    tokio::spawn(run::serve(app, call, requests, answers));
    ReceiverStream::new(receiver)
}
