//! Is an entry ever taken for older than it is?

use crate::env::Moment;
use crate::ids::CommitSeq;
use crate::table::seal::times::{Arrivals, MARK_US, MAX_MARKS};

fn moment(uptime_us: u64) -> Moment {
    Moment { wall_us: 1_000_000_000 + uptime_us as i64, uptime_us }
}

#[test]
fn an_entry_has_the_moment_of_one_that_came_at_once_or_soon_after() {
    let mut arrivals = Arrivals::default();
    let came: Vec<u64> = vec![0, 1, MARK_US - 1, MARK_US, MARK_US + 5, 3 * MARK_US];
    for (seq, uptime_us) in (1..).zip(&came) {
        arrivals.note(CommitSeq(seq), moment(*uptime_us));
    }
    let known = |seq| arrivals.of(CommitSeq(seq)).map(|at| at.uptime_us);
    assert_eq!([1, 2, 3].map(known), [Some(MARK_US - 1); 3]);
    assert_eq!([4, 5].map(known), [Some(MARK_US + 5); 2]);
    assert_eq!([6, 7].map(known), [Some(3 * MARK_US), None]);
}

#[test]
fn what_is_built_is_forgotten() {
    let mut arrivals = Arrivals::default();
    for seq in 1..=10 {
        arrivals.note(CommitSeq(seq), moment(seq * MARK_US));
    }
    assert_eq!(arrivals.first_us(), Some(moment(MARK_US).wall_us));
    arrivals.forget(CommitSeq(4));
    assert_eq!(arrivals.first_us(), Some(moment(5 * MARK_US).wall_us));
    assert_eq!(arrivals.of(CommitSeq(5)), Some(moment(5 * MARK_US)));
    // Nobody asks for it; it is not taken for older than it is.
    assert_eq!(arrivals.of(CommitSeq(1)), Some(moment(5 * MARK_US)));
    arrivals.forget(CommitSeq(10));
    assert_eq!((arrivals.of(CommitSeq(10)), arrivals.first_us()), (None, None));
}

#[test]
fn many_marks_become_fewer_and_no_entry_becomes_older() {
    let mut arrivals = Arrivals::default();
    let n = 3 * MAX_MARKS as u64;
    for seq in 1..=n {
        arrivals.note(CommitSeq(seq), moment(seq * MARK_US));
    }
    assert!(arrivals.n_marks() <= MAX_MARKS);
    for seq in 1..=n {
        let at = arrivals.of(CommitSeq(seq)).expect("it is known");
        assert!(at.uptime_us >= seq * MARK_US, "{seq}");
    }
    assert_eq!(arrivals.of(CommitSeq(n)), Some(moment(n * MARK_US)));
}
