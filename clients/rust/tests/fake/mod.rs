//! What would a server do on a bad day? An in-process Ingest service that keeps the rules and follows a script of faults.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use tidewater_proto::ingest::v1 as pb;
use tidewater_proto::ingest::v1::ingest_server::{Ingest, IngestServer};
use tidewater_proto::ingest::v1::write_stream_request::Msg as Ask;
use tidewater_proto::ingest::v1::write_stream_response::Msg as Say;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// What one connection does after it has answered `answer` batches as it should.
#[derive(Clone)]
pub struct Act {
    pub answer: usize,
    pub then: Then,
}

#[derive(Clone)]
pub enum Then {
    /// Ends the stream with this status when the next batch arrives, which is not stored.
    Break(Code),
    /// Ends the stream without a status when the next batch arrives.
    HangUp,
    /// Stores so many more batches without an answer, then ends the stream: acknowledgements are lost.
    LoseAcks(usize),
    /// Refuses the next batch with this, once.
    Refuse(Code, &'static str),
    /// The same, and says that a millisecond later it would be taken.
    RefuseForNow(Code, &'static str),
    /// Answers the next batch as if it were the one behind it.
    Confuse,
    /// Says Throttle, then goes on.
    Throttle,
    /// Says GoAway, answers what comes, and ends when the client does.
    GoAway,
}

#[derive(Default)]
pub struct State {
    /// The sequence of each batch that was stored, in order.
    pub stored: Vec<u64>,
    pub repeats: usize,
    pub epoch: u64,
    pub connections: usize,
    pub script: VecDeque<Act>,
    /// A unary write is refused for its row 17.
    pub bad_rows: bool,
}

impl State {
    fn last(&self) -> u64 {
        self.stored.last().copied().unwrap_or_default()
    }
}

#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<State>>);

impl Fake {
    pub fn with_script(script: impl IntoIterator<Item = Act>) -> Self {
        let fake = Self::default();
        fake.0.lock().unwrap().script.extend(script);
        fake
    }

    /// Serves on a free port until the test's runtime ends.
    pub async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(IngestServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Stores a batch if its number is due.
    fn take(&self, batch: &pb::Batch) -> pb::BatchResult {
        let mut state = self.0.lock().unwrap();
        let last = state.last();
        let mut result = pb::BatchResult { received: 1, accepted: 1, ..answer_to(batch) };
        if batch.sequence <= last {
            state.repeats += 1;
            result.repeated = true;
        } else if batch.sequence == last + 1 {
            state.stored.push(batch.sequence);
        } else {
            return refusal(batch, Code::OutOfRange, "SEQUENCE_GAP");
        }
        result
    }
}

fn answer_to(batch: &pb::Batch) -> pb::BatchResult {
    pb::BatchResult { batch_id: batch.batch_id, sequence: batch.sequence, ..Default::default() }
}

fn refusal(batch: &pb::Batch, code: Code, reason: &str) -> pb::BatchResult {
    refused_with(batch, &status(code, reason))
}

fn refusal_for_now(batch: &pb::Batch, code: Code, reason: &str) -> pb::BatchResult {
    let mut details = ErrorDetails::with_error_info(reason, "tidewater", []);
    details.set_retry_info(Some(Duration::from_millis(1)));
    refused_with(batch, &Status::with_error_details(code, format!("refused as {reason}"), details))
}

fn refused_with(batch: &pb::Batch, status: &Status) -> pb::BatchResult {
    let status = tonic_types::Status::decode(status.details()).unwrap();
    pb::BatchResult { status: Some(status), ..answer_to(batch) }
}

pub fn status(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "tidewater", []);
    Status::with_error_details(code, format!("refused as {reason}"), details)
}

type Reply = Result<pb::WriteStreamResponse, Status>;

fn say(msg: Say) -> Reply {
    Ok(pb::WriteStreamResponse { msg: Some(msg) })
}

/// One stream. Returns when it is to end.
async fn stream(fake: Fake, mut requests: Streaming<pb::WriteStreamRequest>, out: mpsc::Sender<Reply>) {
    let act = {
        let mut state = fake.0.lock().unwrap();
        state.connections += 1;
        state.script.pop_front()
    };
    let Act { answer, mut then } = match act {
        Some(act) => act,
        None => Act { answer: usize::MAX, then: Then::HangUp },
    };
    let mut answered = 0;
    // The number that was refused: those behind it are refused until it comes again.
    let mut refused = None;
    while let Ok(Some(request)) = requests.message().await {
        let batch = match request.msg {
            Some(Ask::Open(_)) => {
                let last_sequence = fake.0.lock().unwrap().last();
                let opened = pb::Opened {
                    last_sequence,
                    max_inflight_batches: 4,
                    max_inflight_bytes: 1 << 20,
                    max_batch_bytes: 1 << 16,
                    ..Default::default()
                };
                out.send(say(Say::Opened(opened))).await.ok();
                continue;
            }
            Some(Ask::Batch(batch)) => batch,
            None => continue,
        };
        if refused.is_some_and(|refused| refused != batch.sequence) {
            out.send(say(Say::Result(refusal(&batch, Code::Aborted, "PREDECESSOR_FAILED")))).await.ok();
            continue;
        }
        refused = None;
        if answered < answer {
            answered += 1;
            out.send(say(Say::Result(fake.take(&batch)))).await.ok();
            continue;
        }
        match &mut then {
            Then::Break(code) => {
                out.send(Err(Status::new(*code, "the script says so"))).await.ok();
                return;
            }
            Then::HangUp => return,
            Then::LoseAcks(0) => return,
            Then::LoseAcks(n) => {
                *n -= 1;
                fake.take(&batch);
            }
            Then::Refuse(code, reason) => {
                refused = Some(batch.sequence);
                out.send(say(Say::Result(refusal(&batch, *code, reason)))).await.ok();
                answered = 0;
                then = Then::Throttle;
            }
            Then::RefuseForNow(code, reason) => {
                refused = Some(batch.sequence);
                out.send(say(Say::Result(refusal_for_now(&batch, *code, reason)))).await.ok();
                answered = 0;
                then = Then::Throttle;
            }
            Then::Confuse => {
                let result = pb::BatchResult { batch_id: batch.batch_id + 1, ..fake.take(&batch) };
                out.send(say(Say::Result(result))).await.ok();
            }
            Then::Throttle => {
                let delay = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
                out.send(say(Say::Throttle(pb::Throttle { delay, reason: "the script".into() }))).await.ok();
                out.send(say(Say::Result(fake.take(&batch)))).await.ok();
                answered = 0;
            }
            Then::GoAway => {
                let grace = Some(prost_types::Duration { seconds: 10, nanos: 0 });
                out.send(say(Say::GoAway(pb::GoAway { grace, reason: "the script".into() }))).await.ok();
                out.send(say(Say::Result(fake.take(&batch)))).await.ok();
            }
        }
    }
}

#[tonic::async_trait]
impl Ingest for Fake {
    type WriteStreamStream = ReceiverStream<Reply>;

    async fn write(&self, request: Request<pb::WriteRequest>) -> Result<Response<pb::WriteResponse>, Status> {
        let request = request.into_inner();
        if self.0.lock().unwrap().bad_rows {
            let mut details = ErrorDetails::with_error_info("BAD_ROWS", "tidewater", []);
            let violation =
                FieldViolation { reason: "OUT_OF_RANGE".into(), ..FieldViolation::new("rows[17].id", "too large") };
            details.set_bad_request(vec![violation]);
            return Err(Status::with_error_details(Code::InvalidArgument, "1 row cannot be stored", details));
        }
        let lose_answer = self.0.lock().unwrap().script.pop_front().is_some();
        let batch = pb::Batch { batch_id: 0, sequence: request.sequence, payload: request.payload };
        let result = Some(self.take(&batch));
        if lose_answer {
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(Response::new(pb::WriteResponse { result }))
    }

    async fn write_stream(
        &self,
        request: Request<Streaming<pb::WriteStreamRequest>>,
    ) -> Result<Response<Self::WriteStreamStream>, Status> {
        let (out, replies) = mpsc::channel(16);
        tokio::spawn(stream(self.clone(), request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(replies)))
    }

    async fn init_producer(
        &self,
        _: Request<pb::InitProducerRequest>,
    ) -> Result<Response<pb::InitProducerResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.epoch += 1;
        Ok(Response::new(pb::InitProducerResponse {
            epoch: state.epoch,
            last_sequence: state.last(),
            known: state.epoch > 1,
            state_ttl: None,
        }))
    }

    async fn get_table_schema(
        &self,
        _: Request<pb::GetTableSchemaRequest>,
    ) -> Result<Response<pb::GetTableSchemaResponse>, Status> {
        Err(status(Code::NotFound, "TABLE_NOT_FOUND"))
    }
}
