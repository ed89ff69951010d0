//! Do the rules hold for each case of the protocol?

use super::*;
use crate::env::Moment;
use crate::error::Code;
use crate::ids::{CommitSeq, ProducerId};

fn batch(epoch: u64, sequence: u64) -> ProducerBatch {
    let id = ProducerId::new("p").expect("a valid id");
    ProducerBatch { id, epoch, sequence, mode: SequenceMode::Contiguous, last_acked: None }
}

/// A producer that sent 1 to `last`; the hash of batch n is n.
fn state(last: u64) -> ProducerState {
    let mut state = ProducerState::new("me");
    for n in 1..=last {
        let counts = BatchCounts { received: n, accepted: n, ..BatchCounts::default() };
        state.note(n, n, counts, (CommitSeq(n), Moment::default()));
    }
    state
}

fn check(state: Option<&ProducerState>, batch: &ProducerBatch, hash: u64, expected: Result<Decision, Code>) {
    assert_eq!(decide(state, batch, hash, "me", false).map_err(|e| e.code()), expected, "{batch:?}");
}

#[test]
fn known_producer() {
    let s = state(7);
    check(Some(&s), &batch(0, 8), 8, Ok(Decision::Accept));
    check(Some(&s), &batch(0, 9), 9, Err(Code::SequenceGap));
    check(Some(&s), &batch(0, 0), 0, Err(Code::InvalidProducer));
    let first = Some(BatchCounts { received: 7, accepted: 7, ..BatchCounts::default() });
    check(Some(&s), &batch(0, 7), 7, Ok(Decision::Repeat { first }));
    check(Some(&s), &batch(0, 1), 1, Ok(Decision::Repeat { first: None }));
    check(Some(&s), &batch(0, 7), 99, Err(Code::SequenceReused));
    check(Some(&s), &batch(1, 8), 8, Err(Code::ProducerStateLost));
    check(Some(&s), &ProducerBatch { last_acked: Some(8), ..batch(0, 9) }, 9, Err(Code::ProducerStateLost));
    assert_eq!(decide(Some(&s), &batch(0, 8), 8, "you", false).map_err(|e| e.code()), Err(Code::ProducerOwned));
}

#[test]
fn unknown_producer() {
    check(None, &batch(0, 1), 1, Ok(Decision::Accept));
    check(None, &batch(0, 57), 1, Err(Code::UnknownProducer));
    check(None, &batch(3, 1), 1, Err(Code::ProducerStateLost));
    check(None, &ProducerBatch { last_acked: Some(4), ..batch(0, 1) }, 1, Err(Code::ProducerStateLost));
}

#[test]
fn epochs_and_reset() {
    let mut s = state(7);
    s.begin_epoch(next_epoch(Some(&s)), false);
    check(Some(&s), &batch(0, 8), 8, Err(Code::ProducerFenced));
    check(Some(&s), &batch(1, 8), 8, Ok(Decision::Accept));
    s.begin_epoch(next_epoch(Some(&s)), true);
    assert_eq!((s.epoch, s.last_sequence), (2, 0));
    check(Some(&s), &batch(2, 4_000), 1, Ok(Decision::Accept));
    s.note(4_000, 1, BatchCounts::default(), (CommitSeq(9), Moment::default()));
    check(Some(&s), &batch(2, 4_001), 1, Ok(Decision::Accept));
    check(Some(&s), &batch(2, 3), 1, Ok(Decision::Repeat { first: None }));
}

#[test]
fn monotonic_numbers_may_skip() {
    let mut s = state(7);
    s.begin_epoch(1, false);
    let skip = |sequence| ProducerBatch { mode: SequenceMode::Monotonic, ..batch(1, sequence) };
    check(Some(&s), &skip(100), 1, Ok(Decision::Accept));
    check(Some(&s), &ProducerBatch { epoch: 0, ..skip(100) }, 1, Err(Code::InvalidProducer));
}

#[test]
fn disk_form_keeps_everything() {
    let s = state(100);
    assert_eq!(ProducerState::from_disk(&s.to_disk()).expect("own bytes"), s);
    assert_eq!(s.hash_of(100), Some(100));
    assert_eq!(s.hash_of(36), None, "only the last 64 hashes are kept");
    let mut other = s.to_disk();
    other[1] = 9;
    assert_eq!(ProducerState::from_disk(&other).map_err(|e| e.code()), Err(Code::LogUnknownVersion));
}
