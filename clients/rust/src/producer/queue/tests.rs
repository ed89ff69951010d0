//! Does the queue send in order, within the window, and again when it must?

use std::collections::HashMap;

use prost::Message;
use tidewater_proto::ingest::v1 as pb;
use tonic_types::{ErrorDetails, StatusExt};

use super::*;

const WIDE: Window = Window { batches: 100, bytes: 1 << 20 };

fn queue(sequences: std::ops::RangeInclusive<u64>, bytes: usize) -> Queue {
    let mut queue = Queue::default();
    for sequence in sequences {
        let (reply, _) = oneshot::channel();
        queue.push(Pending { sequence, payload: vec![0; bytes].into(), reply });
    }
    queue
}

/// Sends what the window allows: (batch id, sequence).
fn send_all(queue: &mut Queue, window: Window) -> Vec<(u64, u64)> {
    let mut sent = Vec::new();
    while queue.can_send(window) {
        let batch = queue.send().unwrap();
        sent.push((batch.batch_id, batch.sequence));
    }
    sent
}

fn ok(batch_id: u64, sequence: u64) -> pb::BatchResult {
    pb::BatchResult { batch_id, sequence, ..Default::default() }
}

fn refused(batch_id: u64, sequence: u64, code: tonic::Code, reason: &str) -> pb::BatchResult {
    refused_with(batch_id, sequence, code, reason, &[])
}

fn refused_with(
    batch_id: u64,
    sequence: u64,
    code: tonic::Code,
    reason: &str,
    metadata: &[(&str, &str)],
) -> pb::BatchResult {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let details = ErrorDetails::with_error_info(reason, "tidewater", metadata.collect::<HashMap<_, _>>());
    let status = tonic::Status::with_error_details(code, "no", details);
    let status = tonic_types::Status::decode(status.details()).unwrap();
    pb::BatchResult { batch_id, sequence, status: Some(status), ..Default::default() }
}

fn again(queue: &mut Queue, batch_id: u64, sequence: u64, reason: &str) {
    let result = refused(batch_id, sequence, tonic::Code::ResourceExhausted, reason);
    assert!(matches!(queue.answer(result), Ok(Answer::Again(_))));
}

fn taken(queue: &mut Queue, batch_id: u64, sequence: u64) {
    match queue.answer(ok(batch_id, sequence)) {
        Ok(Answer::Taken(_, result)) => assert_eq!(result.sequence, sequence),
        _ => panic!("{sequence} was not taken"),
    }
}

#[test]
fn window_bounds_batches_and_bytes() {
    let mut by_count = queue(1..=5, 10);
    assert_eq!(send_all(&mut by_count, Window { batches: 2, bytes: 1000 }), [(1, 1), (2, 2)]);
    taken(&mut by_count, 1, 1);
    assert_eq!(send_all(&mut by_count, Window { batches: 2, bytes: 1000 }), [(3, 3)]);

    let mut by_bytes = queue(1..=5, 10);
    assert_eq!(send_all(&mut by_bytes, Window { batches: 9, bytes: 25 }), [(1, 1), (2, 2)]);
    // One that is above the whole window goes alone.
    let mut large = queue(1..=2, 100);
    assert_eq!(send_all(&mut large, Window { batches: 9, bytes: 25 }), [(1, 1)]);
}

#[test]
fn broken_connection_sends_again_under_the_same_numbers() {
    let mut queue = queue(7..=9, 1);
    assert_eq!(send_all(&mut queue, WIDE), [(1, 7), (2, 8), (3, 9)]);
    taken(&mut queue, 1, 7);
    queue.disconnected();
    assert_eq!(send_all(&mut queue, WIDE), [(4, 8), (5, 9)]);
}

#[test]
fn refusal_for_now_waits_for_the_answers_behind_it() {
    let mut queue = queue(1..=3, 1);
    send_all(&mut queue, WIDE);
    again(&mut queue, 1, 1, "MEMORY_PRESSURE");
    assert!(!queue.can_send(WIDE), "two answers are due");
    again(&mut queue, 2, 2, "PREDECESSOR_FAILED");
    again(&mut queue, 3, 3, "PREDECESSOR_FAILED");
    assert_eq!(send_all(&mut queue, WIDE), [(4, 1), (5, 2), (6, 3)]);
}

#[test]
fn a_later_batch_stored_behind_a_refused_one_is_fatal() {
    let mut queue = queue(1..=2, 1);
    send_all(&mut queue, WIDE);
    again(&mut queue, 1, 1, "MEMORY_PRESSURE");
    let error = queue.answer(ok(2, 2)).err().unwrap();
    assert!(!error.is_retryable(), "{error}");
}

#[test]
fn refusal_for_good_names_its_batch() {
    let mut queue = queue(1..=2, 1);
    send_all(&mut queue, WIDE);
    taken(&mut queue, 1, 1);
    let result = refused(2, 2, tonic::Code::FailedPrecondition, "SCHEMA_MISMATCH");
    match queue.answer(result) {
        Ok(Answer::Refused(batch, error)) => {
            assert_eq!((batch.sequence, error.reason()), (2, "SCHEMA_MISMATCH"));
        }
        _ => panic!("not refused"),
    }
}

#[test]
fn a_batch_that_met_an_alter_is_sent_again_and_another_version_is_final() {
    let mut queue = queue(1..=2, 1);
    send_all(&mut queue, WIDE);
    let met = refused(1, 1, tonic::Code::FailedPrecondition, "SCHEMA_VERSION_MISMATCH");
    assert!(matches!(queue.answer(met), Ok(Answer::Again(_))));
    again(&mut queue, 2, 2, "PREDECESSOR_FAILED");
    assert_eq!(send_all(&mut queue, WIDE), [(3, 1), (4, 2)]);
    // Who asked for a version is told the one that the table has.
    let code = tonic::Code::FailedPrecondition;
    let other = refused_with(3, 1, code, "SCHEMA_VERSION_MISMATCH", &[("schema_version", "2")]);
    match queue.answer(other) {
        Ok(Answer::Refused(batch, error)) => {
            assert_eq!((batch.sequence, error.is_retryable()), (1, false));
        }
        _ => panic!("not refused"),
    }
}

#[test]
fn answers_out_of_order_are_not_believed() {
    let mut queue = queue(1..=2, 1);
    send_all(&mut queue, WIDE);
    assert_eq!(queue.answer(ok(2, 2)).err().unwrap().reason(), "PROTOCOL");
    queue.disconnected();
    assert_eq!(queue.answer(ok(3, 1)).err().unwrap().reason(), "PROTOCOL");
}
