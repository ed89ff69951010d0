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

/// A monotonic producer: nobody but this rule knows that 20 is missing when 30 comes.
#[test]
fn a_lower_number_does_not_end_a_refusal() {
    let mut order = Order::new(true);
    order.admit(10).unwrap();
    let round = order.admit(20).unwrap();
    assert_eq!(order.refuse(round, 20, bad()).code(), Code::MalformedPayload);
    // A repeat, and a number that was left out before.
    for lower in [10, 15] {
        order.admit(lower).unwrap();
        let held_back = order.admit(30).unwrap_err();
        assert_eq!(held_back.code(), Code::PredecessorFailed);
        assert!(held_back.metadata().contains(&("refused_sequence", "20".to_owned())), "{held_back:?}");
    }
    order.admit(20).unwrap();
    order.admit(30).unwrap();
}

#[test]
fn every_refused_number_has_to_come_again() {
    let mut order = Order::new(true);
    for sequence in [20, 15, 12] {
        let round = order.admit(sequence).unwrap();
        assert_eq!(order.refuse(round, sequence, bad()).code(), Code::MalformedPayload);
    }
    for (sequence, next) in [(12, 15), (15, 20)] {
        order.admit(sequence).unwrap();
        assert!(order.admit(next + 1).is_err());
    }
    let round = order.admit(20).unwrap();
    // Refused once more.
    order.refuse(round, 20, bad());
    assert!(order.admit(21).is_err());
    order.admit(20).unwrap();
    order.admit(21).unwrap();
}

/// The batches from the missing one on are sent again; they are one round, whose refusals count.
#[test]
fn going_back_below_a_refused_number_is_one_round() {
    let mut order = Order::new(true);
    order.admit(9).unwrap();
    order.admit(10).unwrap();
    assert_eq!(order.refuse(0, 9, gap()).code(), Code::SequenceGap);
    for sequence in 7..=10 {
        assert_eq!(order.admit(sequence).unwrap(), 1);
    }
    assert_eq!(order.refuse(0, 10, gap()).code(), Code::PredecessorFailed);
    assert_eq!(order.refuse(1, 7, bad()).code(), Code::MalformedPayload);
    assert_eq!(order.refuse(1, 8, gap()).code(), Code::PredecessorFailed);
    assert!(order.admit(11).is_err());
    assert_eq!(order.admit(7).unwrap(), 2);
}

#[test]
fn refused_numbers_are_bounded() {
    let mut order = Order::new(true);
    let lowest = 1_000_000 - MAX_REFUSED as u64 + 1;
    for sequence in (lowest..=1_000_000).rev() {
        let round = order.admit(sequence).unwrap();
        order.refuse(round, sequence, bad());
    }
    assert_eq!(order.refused.len(), MAX_REFUSED);
    assert_eq!(order.admit(5).unwrap_err().code(), Code::PredecessorFailed);
    order.admit(lowest).unwrap();
    order.admit(5).unwrap();
}

#[test]
fn other_producers_are_not_held_back() {
    let mut order = Order::new(false);
    order.admit(5).unwrap();
    assert_eq!(order.refuse(0, 5, bad()).code(), Code::MalformedPayload);
    assert_eq!(order.admit(6).unwrap(), 0);
}
