//! Which clocks delete a file?

use crate::env::Moment;
use crate::table::past_before;

const DAY_US: i64 = 86_400_000_000;

fn moment(wall_days: i64, uptime_days: i64) -> Moment {
    Moment { wall_us: wall_days * DAY_US, uptime_us: (uptime_days * DAY_US).unsigned_abs() }
}

/// Whether a file goes whose newest row has this event time.
fn is_past(newest_us: i64, since: Moment, now: Moment, retention_us: i64) -> bool {
    past_before(since, now, retention_us).is_some_and(|cut| newest_us < cut)
}

#[test]
fn a_file_is_past_when_its_newest_row_is() {
    let (since, retention) = (moment(1000, 50), 30 * DAY_US);
    let newest = 1000 * DAY_US;
    assert!(!is_past(newest, since, moment(1030, 80), retention));
    assert!(is_past(newest - 1, since, moment(1030, 80), retention));
    assert!(!is_past(newest + 1, since, moment(1030, 80), retention));
}

#[test]
fn a_clock_that_jumps_ahead_deletes_nothing() {
    let (since, retention) = (moment(1000, 50), 30 * DAY_US);
    assert!(!is_past(999 * DAY_US, since, moment(1400, 52), retention));
    assert!(!is_past(999 * DAY_US, since, moment(1400, 79), retention));
    assert!(is_past(999 * DAY_US, since, moment(1400, 81), retention));
}

#[test]
fn time_that_the_server_does_not_run_only_delays() {
    let (since, retention) = (moment(1000, 50), 30 * DAY_US);
    // Ten days of uptime in forty.
    assert!(!is_past(999 * DAY_US, since, moment(1040, 60), retention));
    assert!(is_past(999 * DAY_US, since, moment(1070, 90), retention));
}

#[test]
fn old_rows_that_came_late_stay_for_a_day_all_the_same() {
    let (since, retention) = (moment(1000, 50), 30 * DAY_US);
    let newest = 971 * DAY_US - 1;
    assert!(!is_past(newest, since, Moment { uptime_us: moment(0, 51).uptime_us - 1, ..moment(1010, 51) }, retention));
    assert!(is_past(newest, since, moment(1001, 51), retention));
    // A short retention waits no longer than it is.
    assert!(is_past(
        999 * DAY_US,
        since,
        Moment { wall_us: 1000 * DAY_US + DAY_US / 2, uptime_us: moment(0, 50).uptime_us + 43_200_000_000 },
        DAY_US / 2
    ));
}

#[test]
fn a_clock_that_goes_back_deletes_nothing() {
    assert!(!is_past(999 * DAY_US, moment(1000, 50), moment(900, 150), 30 * DAY_US));
}
