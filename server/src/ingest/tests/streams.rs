//! Do streams keep order, bounds and their word? WriteStream from Open to the last answer.

use std::sync::Arc;
use std::time::Duration;

use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use futures::FutureExt;
use tidewater_proto::ingest::v1::payload::Format;
use tidewater_proto::ingest::v1::write_stream_request::Msg;
use tidewater_proto::ingest::v1::write_stream_response::Msg as Answer;
use tidewater_proto::ingest::v1::{
    Batch, BatchOptions, BatchResult, InitProducerRequest, OnRowError, Open, Opened, Payload, WriteStreamRequest,
    WriteStreamResponse,
};
use tidewater_storage::TokenLimits;
use tidewater_storage::env::ManualClock;
use tidewater_storage::memory::{MIN_LIMIT_BYTES, MemoryLedger, Share};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{Server, arrow, ids, json, producer, reason, reason_of, table};
use crate::auth::Limits;
use crate::ingest::decoding::{MAX_WAIT, space};
use crate::ingest::ipc::Declared;
use crate::ingest::schema_message;

/// A client that does what a test tells it.
struct Talk {
    requests: Option<mpsc::Sender<WriteStreamRequest>>,
    answers: Streaming<WriteStreamResponse>,
    last_batch_id: u64,
}

impl Talk {
    async fn open(server: &Server, open: Open) -> Result<(Self, Opened), Status> {
        let mut talk = Self::silent(server).await;
        talk.say(Msg::Open(open)).await;
        match talk.hear().await? {
            Some(Answer::Opened(opened)) => Ok((talk, opened)),
            other => panic!("{other:?}"),
        }
    }

    async fn silent(server: &Server) -> Self {
        let (requests, receiver) = mpsc::channel(1_000);
        let answers = server.ingest().write_stream(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests: Some(requests), answers, last_batch_id: 0 }
    }

    async fn say(&self, msg: Msg) {
        self.requests.as_ref().unwrap().send(WriteStreamRequest { msg: Some(msg) }).await.unwrap();
    }

    async fn batch(&mut self, sequence: u64, payload: Option<Payload>) {
        self.last_batch_id += 1;
        self.say(Msg::Batch(Batch { batch_id: self.last_batch_id, sequence, payload })).await;
    }

    async fn rows(&mut self, sequence: u64) {
        self.batch(sequence, arrow(&ids(&[sequence as i64]))).await;
    }

    fn done(&mut self) {
        self.requests = None;
    }

    async fn hear(&mut self) -> Result<Option<Answer>, Status> {
        Ok(self.answers.message().await?.map(|answer| answer.msg.unwrap()))
    }

    async fn result(&mut self) -> BatchResult {
        match self.hear().await.unwrap() {
            Some(Answer::Result(result)) => result,
            other => panic!("{other:?}"),
        }
    }
}

/// The next result of a stream that may be asked to send slower in between.
async fn result_of(talk: &mut Talk) -> BatchResult {
    loop {
        match talk.hear().await.unwrap() {
            Some(Answer::Throttle(_)) => {}
            Some(Answer::Result(result)) => return result,
            other => panic!("{other:?}"),
        }
    }
}

fn open_as(id: &str) -> Open {
    Open { table: table("t"), producer: producer(id), ..Open::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_batches_under_way_are_answered_in_order() {
    let server = Server::with_table().await;
    let (mut talk, opened) = Talk::open(&server, open_as("p")).await.unwrap();
    assert_eq!((opened.last_sequence, opened.max_batch_bytes), (0, 16 << 20));
    assert!(opened.max_inflight_batches > 1 && opened.max_inflight_bytes >= opened.max_batch_bytes);
    assert_eq!(opened.schema.unwrap().primary_key, ["id"]);
    for sequence in 1..=300 {
        talk.rows(sequence).await;
    }
    for sequence in 1..=300 {
        let result = talk.result().await;
        assert_eq!((result.batch_id, result.sequence, result.accepted), (sequence, sequence, 1));
        assert!(result.status.is_none() && !result.commit_token.is_empty());
    }
    talk.done();
    assert!(talk.hear().await.unwrap().is_none());

    let (mut talk, opened) = Talk::open(&server, open_as("p")).await.unwrap();
    assert_eq!(opened.last_sequence, 300);
    talk.rows(300).await;
    talk.rows(301).await;
    assert!(talk.result().await.repeated);
    assert!(!talk.result().await.repeated);
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":301}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_behind_a_refused_one_wait_for_it() {
    let server = Server::with_table().await;
    let (mut talk, _) = Talk::open(&server, open_as("p")).await.unwrap();
    talk.rows(1).await;
    talk.batch(2, Some(Payload { format: Some(Format::ArrowIpcStream(vec![1, 2, 3].into())) })).await;
    talk.rows(3).await;
    talk.rows(4).await;
    assert!(talk.result().await.status.is_none());
    assert_eq!(reason_of(&talk.result().await), (Code::InvalidArgument, "MALFORMED_PAYLOAD".to_owned()));
    for _ in 3..=4 {
        assert_eq!(reason_of(&talk.result().await), (Code::Aborted, "PREDECESSOR_FAILED".to_owned()));
    }
    for sequence in 2..=4 {
        talk.rows(sequence).await;
    }
    for sequence in 2..=4 {
        let result = talk.result().await;
        assert_eq!((result.sequence, result.status), (sequence, None));
    }
    // A gap is told with the number to go back to.
    talk.rows(9).await;
    talk.rows(10).await;
    assert_eq!(reason_of(&talk.result().await), (Code::OutOfRange, "SEQUENCE_GAP".to_owned()));
    assert_eq!(reason_of(&talk.result().await), (Code::Aborted, "PREDECESSOR_FAILED".to_owned()));
    talk.rows(5).await;
    assert!(talk.result().await.status.is_none());
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":5}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_may_begin_anywhere_begins_with_its_first_batch() {
    let server = Server::with_table().await;
    let init = InitProducerRequest { table: table("t"), producer_id: "p".to_owned(), reset: true };
    let epoch = server.ingest().init_producer(init).await.unwrap().into_inner().epoch;
    let options = BatchOptions { on_row_error: OnRowError::Abort.into(), ..BatchOptions::default() };
    let mut open = Open { options: Some(options), ..open_as("p") };
    open.producer.as_mut().unwrap().epoch = epoch;
    let (mut talk, _) = Talk::open(&server, open).await.unwrap();
    talk.batch(57, json(r#"{"id": null}"#)).await;
    talk.rows(58).await;
    assert_eq!(reason_of(&talk.result().await).1, "BAD_ROWS");
    assert_eq!(reason_of(&talk.result().await).1, "PREDECESSOR_FAILED", "58 waits for 57");
    for sequence in 57..=58 {
        talk.rows(sequence).await;
        let result = talk.result().await;
        assert!(result.status.is_none() && !result.repeated, "{sequence} was not stored before");
    }
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":2}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_under_the_schema_of_open() {
    let server = Server::with_table().await;
    let rows = ids(&[1, 2, 3]);
    let open = Open { arrow_schema: schema_message(&rows.schema()).unwrap().into(), ..open_as("p") };
    let (mut talk, _) = Talk::open(&server, open).await.unwrap();
    let (options, mut tracker) = (IpcWriteOptions::default(), DictionaryTracker::new(true));
    let (_, data) =
        IpcDataGenerator::default().encode(&rows, &mut tracker, &options, &mut IpcWriteContext::default()).unwrap();
    let mut message = Vec::new();
    write_message(&mut message, data, &options).unwrap();
    talk.batch(1, Some(Payload { format: Some(Format::ArrowIpcMessage(message.into())) })).await;
    assert_eq!(talk.result().await.accepted, 3);
    // Without a producer nothing is numbered, and nothing is held back.
    let (mut talk, _) = Talk::open(&server, Open { producer: None, ..open_as("-") }).await.unwrap();
    talk.batch(0, json("[")).await;
    talk.batch(0, json("{\"id\":4}")).await;
    assert_eq!(reason_of(&talk.result().await).1, "MALFORMED_PAYLOAD");
    assert_eq!(talk.result().await.accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_protocol_ends_the_stream() {
    let server = Server::with_table().await;
    let refused = async |mut talk: Talk| loop {
        match talk.hear().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(status) => break reason(&status),
        }
    };
    let mut talk = Talk::silent(&server).await;
    talk.rows(1).await;
    assert_eq!(refused(talk).await, (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));

    let (talk, _) = Talk::open(&server, open_as("p")).await.unwrap();
    talk.say(Msg::Open(open_as("p"))).await;
    assert_eq!(refused(talk).await.1, "INVALID_REQUEST");

    let (mut talk, _) = Talk::open(&server, open_as("p")).await.unwrap();
    talk.rows(1).await;
    talk.last_batch_id = 0;
    talk.rows(2).await;
    assert_eq!(refused(talk).await.1, "INVALID_REQUEST");
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":1}\n");

    let unknown = Open { table: table("nobody"), ..Open::default() };
    let Err(status) = Talk::open(&server, unknown).await else { panic!("opened") };
    assert_eq!(reason(&status), (Code::NotFound, "TABLE_NOT_FOUND".to_owned()));
}

/// Those behind the first one too: it would wait for them, and they for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_while_rows_hold_their_memory_and_is_not_refused() {
    let server = Server::with_table().await;
    let memory = server.app.storage.memory();
    let (mut talk, _) = Talk::open(&server, open_as("p")).await.unwrap();
    let rows = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let large: Vec<i64> = (0..1 << 17).collect();
    talk.batch(1, arrow(&ids(&large))).await;
    talk.batch(2, json("{\"id\": -1}")).await;
    let early = tokio::time::timeout(Duration::from_millis(300), result_of(&mut talk)).await;
    assert!(early.is_err(), "{early:?}");
    let status = server.write(super::write("q", 1, &[1 << 21])).await.unwrap_err();
    assert_eq!(reason(&status).1, "MEMORY_PRESSURE", "a call does not wait");
    drop(rows);
    assert_eq!(result_of(&mut talk).await.accepted, 1 << 17);
    assert_eq!(result_of(&mut talk).await.accepted, 1);
}

/// A server that takes a MiB of rows in each second of the clock, and a stream that has sent `n` batches, each of a little more.
async fn slowed_down(n: u64) -> (Server, Arc<ManualClock>, Talk) {
    let clock = Arc::new(ManualClock::at(0));
    let most = TokenLimits { bytes_per_s: Some(1 << 20), requests_per_s: None, concurrent_queries: None };
    let server = Server::limited(Limits::new(most, Arc::<ManualClock>::clone(&clock))).await;
    server.run("CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))").await;
    let (mut talk, _) = Talk::open(&server, open_as("p")).await.unwrap();
    // Few rows, of which little else is made, in messages that have places.
    for sequence in 1..=n {
        talk.batch(sequence, json(&format!("{{\"id\": {sequence}{}}}", " ".repeat(1 << 20)))).await;
    }
    (server, clock, talk)
}

/// Its message is not in hand: that has a place which others wait for.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_for_its_limit_keeps_no_memory() {
    let (server, clock, mut talk) = slowed_down(2).await;
    let (mut is_paced, mut n_stored) = (false, 0);
    while !is_paced || n_stored < 1 {
        match talk.hear().await.unwrap() {
            Some(Answer::Throttle(_)) => is_paced = true,
            Some(Answer::Result(result)) => n_stored += result.accepted,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((n_stored, server.app.storage.memory().used(Share::Unassigned)), (1, 0));
    clock.advance(Duration::from_secs(60));
    assert_eq!(result_of(&mut talk).await.accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_past_its_limit_ends_when_its_client_is_done() {
    let (server, clock, mut talk) = slowed_down(1).await;
    assert_eq!(result_of(&mut talk).await.accepted, 1);
    talk.done();
    let end = async {
        while let Some(answer) = talk.hear().await.unwrap() {
            assert!(matches!(answer, Answer::Throttle(_)), "{answer:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.expect("it ends, although its time does not come");
    let caller = server.app.auth.caller(None).await.unwrap();
    let limiter = server.app.limits.of(&caller);
    assert!(limiter.batch().is_err(), "what it sent counts for its caller");
    clock.advance(Duration::from_secs(60));
    assert!(limiter.batch().is_ok());
}

/// Thousands of streams may come at once, each with little.
#[tokio::test]
async fn a_small_batch_of_a_stream_is_counted_before_it_is_decoded() {
    let memory = MemoryLedger::new(MIN_LIMIT_BYTES);
    let few = || Box::pin(space(Declared::new(32 << 10), &memory, MAX_WAIT));
    let most = memory.share(Share::Realtime) / 100 * 75;
    let rows = memory.charge(Share::Realtime, most - (48 << 10));
    let (first, second) = (few().await.unwrap(), few().await.unwrap());
    let mut third = few();
    assert!(third.as_mut().now_or_never().is_none(), "the two before it have taken what was left");
    drop((first, rows));
    drop((third.await.unwrap(), second));
    assert_eq!(memory.used(Share::Realtime), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_producer_is_told_and_its_stream_ends() {
    let server = Server::with_table().await;
    let (mut talk, _) = Talk::open(&server, open_as("p")).await.unwrap();
    talk.rows(1).await;
    assert!(talk.result().await.status.is_none());
    let init = InitProducerRequest { table: table("t"), producer_id: "p".to_owned(), reset: false };
    server.ingest().init_producer(init).await.unwrap();
    talk.rows(2).await;
    assert_eq!(reason_of(&talk.result().await), (Code::FailedPrecondition, "PRODUCER_FENCED".to_owned()));
    assert_eq!(reason(&talk.hear().await.unwrap_err()).1, "PRODUCER_FENCED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_says_so_and_answers_what_it_read() {
    let server = Server::with_table().await;
    let (mut talk, _) = Talk::open(&server, open_as("p")).await.unwrap();
    talk.rows(1).await;
    assert!(talk.result().await.status.is_none());
    server.app.draining.cancel();
    match talk.hear().await.unwrap() {
        Some(Answer::GoAway(go_away)) => assert!(go_away.grace.is_some()),
        other => panic!("{other:?}"),
    }
    assert_eq!(reason(&talk.hear().await.unwrap_err()), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    let status = server.write(super::write("p", 2, &[2])).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_schema_is_told_before_the_first_result_under_it() {
    let server = Server::with_table().await;
    let (mut talk, opened) = Talk::open(&server, open_as("p")).await.unwrap();
    talk.rows(1).await;
    assert!(talk.result().await.status.is_none());
    server.run("ALTER TABLE t ADD COLUMN more VARCHAR").await;
    talk.rows(2).await;
    let Some(Answer::SchemaChanged(changed)) = talk.hear().await.unwrap() else { panic!("nothing was told") };
    let schema = changed.schema.unwrap();
    assert!(schema.version > opened.schema.unwrap().version, "{schema:?}");
    assert_eq!((talk.result().await.sequence, schema.primary_key), (2, vec!["id".to_owned()]));
    // Once for each change.
    talk.rows(3).await;
    assert_eq!(talk.result().await.sequence, 3);
    // Nothing is under way: it is told all the same.
    server.run("ALTER TABLE t ADD COLUMN and_more VARCHAR").await;
    let Some(Answer::SchemaChanged(changed)) = talk.hear().await.unwrap() else { panic!("nothing was told") };
    assert_eq!(changed.schema.unwrap().version, schema.version + 1);
    talk.batch(4, json("{\"id\": 4, \"more\": \"a\", \"and_more\": \"b\"}")).await;
    assert_eq!(talk.result().await.accepted, 1);
}
