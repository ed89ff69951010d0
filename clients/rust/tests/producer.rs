//! Is each acknowledged batch stored exactly once, whatever the server and the network do?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use fake::{Act, Fake, Then};
use tidewater_client::{
    Client, Error, Identity, OnWait, Producer, ProducerOptions, RetryPolicy, SequenceMode, WriteOptions,
};
use tonic::Code;

fn batch(n: i64) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![n]));
    RecordBatch::try_from_iter([("id", column)]).unwrap()
}

fn quick() -> RetryPolicy {
    RetryPolicy {
        min_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        give_up_after: Some(Duration::from_millis(200)),
    }
}

async fn producer(fake: &Fake) -> Producer {
    let client = Client::connect(&fake.serve().await.to_string()).await.unwrap();
    let options = ProducerOptions { retry: quick(), ..Default::default() };
    client.producer_with("events", "test", options).await.unwrap()
}

/// Sends 20 batches through a server with this script: all acknowledged, each stored once, in order.
async fn check(script: &[(usize, Then)]) -> Fake {
    let script = script.iter().map(|(answer, then)| Act { answer: *answer, then: then.clone() });
    let fake = Fake::with_script(script);
    let mut producer = producer(&fake).await;
    let mut acks = Vec::new();
    for n in 1..=20 {
        acks.push(producer.send(batch(n)).await.unwrap());
    }
    for (sequence, ack) in (1..).zip(acks) {
        let result = ack.await.unwrap();
        assert_eq!((result.sequence, result.received), (sequence, 1));
    }
    producer.close().await.unwrap();
    assert_eq!(fake.0.lock().unwrap().stored, (1..=20).collect::<Vec<_>>());
    fake
}

#[tokio::test]
async fn quiet_server_takes_all_on_one_stream() {
    let fake = check(&[]).await;
    assert_eq!(fake.0.lock().unwrap().connections, 1);
}

#[tokio::test]
async fn connection_drops_after_k_batches() {
    for k in [0, 1, 3, 4, 7] {
        check(&[(k, Then::HangUp)]).await;
        check(&[(k, Then::Break(Code::Unavailable)), (0, Then::Break(Code::Aborted)), (1, Then::HangUp)]).await;
    }
}

#[tokio::test]
async fn lost_acknowledgements_are_answered_as_repeats() {
    for k in [0, 1, 5] {
        let fake = check(&[(k, Then::LoseAcks(1)), (0, Then::LoseAcks(2)), (2, Then::LoseAcks(3))]).await;
        assert!(fake.0.lock().unwrap().repeats > 0);
    }
}

#[tokio::test]
async fn refusals_for_now_are_sent_again_in_order() {
    let full = Then::Refuse(Code::ResourceExhausted, "MEMORY_PRESSURE");
    let away = Then::Refuse(Code::Unavailable, "TABLE_CLOSED");
    // Without a delay it stays so until somebody acts.
    let keys = Then::RefuseForNow(Code::ResourceExhausted, "DEDUP_BUDGET");
    // ALTER TABLE came between the batch's preparation and its turn.
    let altered = Then::Refuse(Code::FailedPrecondition, "SCHEMA_VERSION_MISMATCH");
    for k in [0, 2, 19] {
        check(&[(k, full.clone())]).await;
        check(&[(k, altered.clone())]).await;
        check(&[(k, keys.clone())]).await;
        check(&[(k, away.clone())]).await;
    }
}

#[tokio::test]
async fn who_waits_is_told_why() {
    let full = Then::Refuse(Code::ResourceExhausted, "DISK_FULL");
    let script = [Act { answer: 1, then: Then::Break(Code::Unavailable) }, Act { answer: 0, then: full }];
    let fake = Fake::with_script(script);
    let client = Client::connect(&fake.serve().await.to_string()).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let on_wait = OnWait::new({
        let told = Arc::clone(&told);
        move |error, wait| told.lock().unwrap().push((error.code(), error.reason().to_owned(), wait > Duration::ZERO))
    });
    let options = ProducerOptions { retry: quick(), on_wait, ..Default::default() };
    let mut producer = client.producer_with("events", "test", options).await.unwrap();
    for n in 1..=3 {
        producer.send(batch(n)).await.unwrap().await.unwrap();
    }
    producer.close().await.unwrap();
    let expected = [(Code::Unavailable, String::new(), true), (Code::ResourceExhausted, "DISK_FULL".to_owned(), true)];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn throttle_and_go_away_are_honoured() {
    check(&[(3, Then::Throttle)]).await;
    let fake = check(&[(3, Then::GoAway), (3, Then::GoAway)]).await;
    assert_eq!(fake.0.lock().unwrap().connections, 3);
}

#[tokio::test]
async fn answers_that_make_no_sense_end_the_connection() {
    check(&[(2, Then::Confuse)]).await;
}

/// Sends until the producer stops: the error of the batch that met it, and of the next call.
async fn stops(then: Then) -> (Fake, Error, Error) {
    let fake = Fake::with_script([Act { answer: 2, then }]);
    let mut producer = producer(&fake).await;
    let mut acks = Vec::new();
    for n in 1..=6 {
        // The producer may have stopped before the last of them.
        if let Ok(ack) = producer.send(batch(n)).await {
            acks.push(ack);
        }
    }
    let mut refused = None;
    for (i, ack) in acks.into_iter().enumerate() {
        let answer = ack.await;
        assert_eq!(answer.is_ok(), i < 2, "batch {}", i + 1);
        refused = refused.or(answer.err());
    }
    let later = producer.send(batch(7)).await.err().unwrap();
    assert!(producer.close().await.is_err());
    (fake, refused.unwrap(), later)
}

#[tokio::test]
async fn errors_that_waiting_does_not_cure_stop_the_producer() {
    for (code, reason) in [
        (Code::FailedPrecondition, "PRODUCER_FENCED"),
        (Code::FailedPrecondition, "SCHEMA_MISMATCH"),
        (Code::AlreadyExists, "SEQUENCE_REUSED"),
        (Code::DataLoss, "PRODUCER_STATE_LOST"),
        (Code::InvalidArgument, "BAD_ROWS"),
        (Code::ResourceExhausted, "DEDUP_BUDGET"),
    ] {
        let (fake, refused, later) = stops(Then::Refuse(code, reason)).await;
        assert_eq!((refused.code(), refused.reason()), (code, reason));
        assert_eq!(later.reason(), reason);
        assert_eq!(fake.0.lock().unwrap().stored, [1, 2]);
    }
    let (_, refused, _) = stops(Then::Break(Code::PermissionDenied)).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up() {
    let script = (0..1000).map(|_| Act { answer: 0, then: Then::Break(Code::Unavailable) });
    let fake = Fake::with_script(script);
    let mut producer = producer(&fake).await;
    let error = producer.send(batch(1)).await.unwrap().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().starts_with("gave up"), "{error}");
}

#[tokio::test]
async fn a_server_that_forgot_is_found_out() {
    let fake = Fake::with_script([Act { answer: 3, then: Then::HangUp }]);
    let mut producer = producer(&fake).await;
    for n in 1..=3 {
        producer.send(batch(n)).await.unwrap().await.unwrap();
    }
    fake.0.lock().unwrap().stored.truncate(1);
    let error = producer.send(batch(4)).await.unwrap().await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::DataLoss, "PRODUCER_STATE_LOST"));

    let client = Client::connect(&fake.serve().await.to_string()).await.unwrap();
    let options = ProducerOptions { last_acked: Some(3), ..Default::default() };
    let error = client.producer_with("events", "test", options).await.err().unwrap();
    assert_eq!(error.reason(), "PRODUCER_STATE_LOST");
}

#[tokio::test]
async fn numbers_of_the_programs_own_may_repeat_what_is_stored() {
    let fake = Fake::default();
    let mut first = producer(&fake).await;
    for n in 1..=3 {
        first.send_at(n as u64, batch(n)).await.unwrap().await.unwrap();
    }
    first.close().await.unwrap();

    let mut second = producer(&fake).await;
    assert_eq!((second.last_sequence(), second.was_known(), second.epoch()), (3, true, 2));
    assert_eq!(second.send_at(5, batch(5)).await.err().unwrap().code(), Code::OutOfRange);
    assert!(second.send_at(2, batch(2)).await.unwrap().await.unwrap().repeated);
    assert_eq!(second.send_at(2, batch(2)).await.err().unwrap().code(), Code::OutOfRange);
    assert!(second.send(batch(3)).await.unwrap().await.unwrap().repeated);
    assert!(!second.send(batch(4)).await.unwrap().await.unwrap().repeated);
    second.flush().await.unwrap();
    assert_eq!(second.last_sequence(), 4);
}

#[tokio::test]
async fn a_batch_above_the_limit_is_refused_and_the_producer_goes_on() {
    let fake = Fake::default();
    let mut producer = producer(&fake).await;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 17)]));
    let large = RecordBatch::try_from_iter([("text", text)]).unwrap();
    assert_eq!(producer.send(large).await.err().unwrap().reason(), "BATCH_TOO_LARGE");
    assert_eq!(producer.send(batch(1)).await.unwrap().await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_dropped_producer_delivers_what_it_was_given() {
    let fake = Fake::with_script([Act { answer: 1, then: Then::HangUp }]);
    let mut producer = producer(&fake).await;
    let acks = [producer.send(batch(1)).await.unwrap(), producer.send(batch(2)).await.unwrap()];
    drop(producer);
    for ack in acks {
        ack.await.unwrap();
    }
    assert_eq!(fake.0.lock().unwrap().stored, [1, 2]);
}

#[tokio::test]
async fn one_write_is_sent_again_only_when_it_can_be_recognised() {
    let lost = Act { answer: 0, then: Then::HangUp };
    let fake = Fake::with_script([lost.clone()]);
    let options = tidewater_client::ClientOptions { retry: quick(), ..Default::default() };
    let client = Client::connect_with(&fake.serve().await.to_string(), options).await.unwrap();
    let identity = Identity::Producer { id: "test".into(), epoch: 0, sequence: 1, mode: SequenceMode::Contiguous };
    let result = client.write("events", &batch(1), identity, &WriteOptions::default()).await.unwrap();
    assert!(result.repeated, "the first try had stored it");

    fake.0.lock().unwrap().script.push_back(lost);
    let error = client.write("events", &batch(2), Identity::None, &WriteOptions::default()).await.unwrap_err();
    assert!(error.is_retryable());
    fake.0.lock().unwrap().bad_rows = true;
    let error = client.write("events", &batch(2), Identity::None, &WriteOptions::default()).await.unwrap_err();
    let row = &error.row_errors()[0];
    assert_eq!(
        (error.reason(), row.row, row.column.as_deref(), &*row.code),
        ("BAD_ROWS", 17, Some("id"), "OUT_OF_RANGE")
    );
    let error = client.table_schema("nowhere").await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::NotFound, "TABLE_NOT_FOUND"));
}
