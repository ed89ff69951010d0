//! Does the watermark stand on visible entries alone?

use super::Activity;
use crate::ids::{CommitSeq, ProducerId};

const SECOND: i64 = 1_000_000;

fn producer(id: &str) -> ProducerId {
    ProducerId::new(id).expect("an id")
}

fn watermark(activity: &Activity, now_s: i64, visible: u64) -> Option<i64> {
    activity.watermark(now_s * SECOND, CommitSeq(visible)).map(|event_us| event_us / SECOND)
}

fn note(activity: &Activity, id: &str, (seq, visible): (u64, u64), stamp_s: i64, event_s: i64) {
    let places = (CommitSeq(seq), CommitSeq(visible));
    activity.note(&producer(id), places, stamp_s * SECOND, Some(event_s * SECOND));
}

#[test]
fn what_nobody_sees_yet_does_not_count() {
    let activity = Activity::default();
    note(&activity, "a", (1, 0), 1_000, 900);
    assert_eq!(watermark(&activity, 1_000, 0), None);
    assert_eq!(watermark(&activity, 1_000, 1), Some(900));
    note(&activity, "a", (2, 1), 1_001, 950);
    note(&activity, "a", (2, 1), 1_001, 960);
    note(&activity, "a", (3, 1), 1_001, 970);
    assert_eq!(watermark(&activity, 1_001, 1), Some(900));
    assert_eq!(watermark(&activity, 1_001, 2), Some(960));
    assert_eq!(watermark(&activity, 1_001, 9), Some(970));
}

#[test]
fn the_slowest_active_producer_holds_it_back() {
    let activity = Activity::default();
    note(&activity, "fast", (1, 0), 1_000, 999);
    note(&activity, "slow", (2, 0), 1_000, 500);
    assert_eq!(watermark(&activity, 1_001, 2), Some(500));
    note(&activity, "fast", (3, 2), 1_050, 1_049);
    assert_eq!(watermark(&activity, 1_060, 3), Some(500));
    // It has been silent for more than a minute.
    assert_eq!(watermark(&activity, 1_061, 3), Some(1_049));
    assert_eq!(watermark(&activity, 1_200, 3), None);
}

#[test]
fn what_the_log_does_not_have_does_not_count() {
    let activity = Activity::default();
    note(&activity, "lost", (1, 0), 1_000, 990);
    activity.clear();
    // The entry is another's.
    note(&activity, "a", (1, 1), 1_000, 900);
    assert_eq!(watermark(&activity, 1_000, 1), Some(900));
    note(&activity, "a", (2, 2), 1_000, 995);
    assert_eq!(watermark(&activity, 1_000, 2), Some(995), "nobody else holds it back");
}

#[test]
fn it_is_never_ahead_of_the_clock() {
    let activity = Activity::default();
    note(&activity, "a", (1, 0), 1_000, 4_000);
    assert_eq!(watermark(&activity, 1_000, 1), Some(1_000));
}
