//! Which files are tested when?

use std::time::Duration;

use super::picker::{Candidate, LOOK_INTERVAL, LogTests, Now, ScrubOptions, due};
use crate::error::Code;

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_US: i64 = 3_600_000_000;

fn local(name: &str, created_at_us: i64, tested: Option<Duration>) -> Candidate<'_> {
    Candidate { name, created_at_us, is_local: true, tested }
}

fn at(uptime: Duration) -> Now {
    Now { uptime, wall_us: 0, last_wall_us: 0 }
}

#[test]
fn after_a_start_all_are_due_and_the_newest_first() {
    let files = [local("a", 5, None), local("b", 9, None), local("c", 7, None)];
    assert_eq!(due(&files, at(Duration::ZERO), &ScrubOptions::default()), [1, 2, 0]);
}

#[test]
fn a_file_is_due_again_after_the_interval_behind_all_that_were_never_tested() {
    let options = ScrubOptions { interval: Some(HOUR), ..ScrubOptions::default() };
    let files = [
        local("a", 1, Some(HOUR)),
        local("b", 2, Some(Duration::ZERO)),
        local("c", 3, Some(Duration::from_secs(3601))),
        local("d", 0, None),
    ];
    assert_eq!(due(&files, at(2 * HOUR), &options), [3, 1, 0]);
    assert_eq!(due(&files, at(2 * HOUR), &ScrubOptions { interval: None, ..options }), [3]);
}

#[test]
fn files_elsewhere_are_due_once_in_an_interval_and_only_if_that_is_asked_for() {
    let names: Vec<String> = (0..200).map(|n| format!("file {n}")).collect();
    let files: Vec<Candidate<'_>> =
        names.iter().map(|name| Candidate { is_local: false, ..local(name, 0, None) }).collect();
    let options = ScrubOptions { remote_interval: Some(24 * HOUR), ..ScrubOptions::default() };
    let mut n_tested = vec![0; files.len()];
    let mut most = 0;
    // Two days, hour by hour.
    for hour in 0..48 {
        let now = Now { uptime: Duration::ZERO, wall_us: (hour + 1) * HOUR_US, last_wall_us: hour * HOUR_US };
        let found = due(&files, now, &options);
        most = most.max(found.len());
        found.into_iter().for_each(|at| n_tested[at] += 1);
        assert!(due(&files, now, &ScrubOptions::default()).is_empty());
        assert!(due(&files, Now { wall_us: now.last_wall_us, ..now }, &options).is_empty(), "no time has passed");
    }
    assert!(n_tested.iter().all(|n| *n == 2), "{n_tested:?}");
    assert!(most < 30, "{most} of 200 in one hour of 24");
}

#[test]
fn a_log_that_cannot_be_asked_is_told_once_and_asked_less_and_less() {
    let options = ScrubOptions { interval: Some(24 * HOUR), ..ScrubOptions::default() };
    let mut log = LogTests::default();
    let mut wait_after = |outcome| {
        let uptime = log.due;
        let is_news = log.note(outcome, uptime, &options);
        ((log.due - uptime).as_secs(), is_news)
    };
    let (away, damaged) = (Err(Code::StoreUnavailable), Err(Code::DeltaDamaged));
    let look = LOOK_INTERVAL.as_secs();
    assert_eq!(wait_after(away), (look, true));
    assert_eq!(wait_after(away), (2 * look, false));
    assert_eq!(wait_after(away), (4 * look, false));
    assert_eq!(wait_after(damaged), (8 * look, true), "another reason");
    // Who commits waits for the store as well.
    assert_eq!(wait_after(Ok(None)), (look, false));
    assert_eq!(wait_after(damaged), (2 * look, false));
    for _ in 0..100 {
        assert!(!wait_after(damaged).1);
    }
    assert_eq!(wait_after(damaged), (3600, false));
    for (whole, wait) in [(true, 24 * 3600), (false, look)] {
        assert_eq!(wait_after(Ok(Some(whole))), (wait, false));
        assert_eq!(wait_after(damaged), (look, true), "it was asked in between");
    }
}

#[test]
fn a_store_is_away_until_it_answers() {
    let options = ScrubOptions::default();
    let mut log = LogTests::default();
    let mut is_away_after = |outcome| {
        log.note(outcome, Duration::ZERO, &options);
        log.is_away()
    };
    assert!(!is_away_after(Ok(None)));
    for answer in [Ok(Some(true)), Ok(Some(false)), Err(Code::DeltaDamaged)] {
        assert!(is_away_after(Err(Code::StoreUnavailable)));
        assert!(is_away_after(Ok(None)), "nobody asked");
        assert!(!is_away_after(answer), "{answer:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_due() {
    let files = [Candidate { is_local: false, ..local("a", 0, None) }];
    let options = ScrubOptions { remote_interval: Some(HOUR), ..ScrubOptions::default() };
    let now = Now { uptime: Duration::ZERO, wall_us: -10 * HOUR_US, last_wall_us: 10 * HOUR_US };
    assert!(due(&files, now, &options).is_empty());
}
