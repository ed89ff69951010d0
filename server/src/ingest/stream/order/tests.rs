//! Are batches behind a refused one held back, and only those?

use super::*;

fn gap() -> Error {
    Error::new(Code::SequenceGap, "gap")
}

fn bad() -> Error {
    Error::new(Code::MalformedPayload, "bad")
}

#[test]
fn batches_behind_a_refused_one_wait_until_it_comes_again() {
    let mut order = Order::new(true);
    assert_eq!(order.admit(1).unwrap(), 0);
    assert_eq!(order.admit(2).unwrap(), 0);
    assert_eq!(order.refuse(0, 1, bad()).code(), Code::MalformedPayload);
    assert_eq!(order.admit(3).unwrap_err().code(), Code::PredecessorFailed);
    // Submitted before the refusal was known.
    assert_eq!(order.refuse(0, 2, gap()).code(), Code::PredecessorFailed);
    assert_eq!(order.admit(1).unwrap(), 1);
    assert_eq!(order.admit(2).unwrap(), 1);
    assert_eq!(order.admit(3).unwrap(), 1);
}

#[test]
fn a_late_refusal_of_an_old_round_holds_nothing_back() {
    let mut order = Order::new(true);
    for sequence in 1..=4 {
        order.admit(sequence).unwrap();
    }
    order.refuse(0, 1, bad());
    for sequence in 1..=4 {
        assert_eq!(order.admit(sequence).unwrap(), 1);
    }
    assert_eq!(order.refuse(0, 2, gap()).code(), Code::PredecessorFailed);
    assert_eq!(order.refuse(0, 3, gap()).code(), Code::PredecessorFailed);
    assert_eq!(order.admit(5).unwrap(), 1);
}

#[test]
fn a_gap_is_told_as_one_and_left_by_going_back() {
    let mut order = Order::new(true);
    order.admit(9).unwrap();
    assert_eq!(order.refuse(0, 9, gap()).code(), Code::SequenceGap);
    assert!(order.admit(10).is_err());
    assert_eq!(order.admit(7).unwrap(), 1);
    assert_eq!(order.admit(8).unwrap(), 1);
}

#[test]
fn other_producers_are_not_held_back() {
    let mut order = Order::new(false);
    order.admit(5).unwrap();
    assert_eq!(order.refuse(0, 5, bad()).code(), Code::MalformedPayload);
    assert_eq!(order.admit(6).unwrap(), 0);
}
