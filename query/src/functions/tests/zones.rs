//! Is a time of a zone what clocks there show? Each is looked for minute by minute around changes; known answers of queries.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate};

use super::{context, value};
use crate::functions::zone::{ZoneClock, instant_us, read_texts};

const MINUTE_US: i64 = 60_000_000;

/// Quarters of the hours behind a midnight in UTC and a minute later, when some clocks are put back, with the microseconds around them.
fn window([year, month, day]: [u32; 3]) -> Vec<i64> {
    let start = NaiveDate::from_ymd_opt(year as i32, month, day).expect("a date").and_hms_opt(0, 0, 0).expect("a time");
    let start = start.and_utc().timestamp_micros();
    let steps =
        (0..80 * 60).step_by(15).flat_map(|minute| [minute, minute + 1]).map(|minute| start + minute * MINUTE_US);
    steps.flat_map(|at| [at - 1, at, at + 1]).collect()
}

/// Zones, days before a change, and whether it puts clocks back.
const CHANGES: [(&str, [u32; 3], bool); 10] = [
    ("Europe/Berlin", [2024, 3, 30], false),
    ("Europe/Berlin", [2024, 10, 26], true),
    ("Australia/Lord_Howe", [2024, 4, 5], true),
    ("Australia/Lord_Howe", [2024, 10, 4], false),
    // A minute past midnight: back to the day before.
    ("America/St_Johns", [2008, 11, 1], true),
    ("America/Havana", [2024, 11, 2], true),
    ("America/Sao_Paulo", [2018, 11, 3], false),
    ("Pacific/Apia", [2011, 12, 29], false),
    ("Europe/Berlin", [1945, 5, 23], false),
    ("+05:45", [1969, 12, 31], false),
];

/// Wall times beside an instant, and the instants up to which clocks have shown nothing as late.
#[test]
fn wall_times_from_an_instant_on_are_those_not_shown_before_it() {
    for (zone, day, _) in CHANGES {
        let mut clock = ZoneClock::new(zone).expect("a zone");
        let instants = window(day);
        let froms: Vec<(i64, i64)> =
            instants.iter().map(|instant| (*instant, clock.latest_shown(instant - 1).expect("in range") + 1)).collect();
        for local in &instants {
            let first = clock.first_instant(*local).expect("in range");
            for (instant, from) in &froms {
                assert_eq!(first >= *instant, local >= from, "{zone}: {local} and {instant}, from {from}");
            }
        }
    }
}

/// What a clock shows beside a constant, and the one instant from which on it is as late.
#[test]
fn a_time_that_is_shown_once_is_one_instant() {
    for (zone, day, is_back) in CHANGES {
        let mut clock = ZoneClock::new(zone).expect("a zone");
        let instants = window(day);
        let shown: Vec<(i64, i64)> =
            instants.iter().map(|instant| (*instant, clock.local(*instant).expect("in range"))).collect();
        let mut n_twice = 0;
        for local in shown.iter().map(|(_, local)| *local).chain(instants.iter().copied()) {
            let first = clock.first_instant(local).expect("in range");
            match clock.only_instant(local) {
                Some(only) => {
                    assert_eq!(only, first, "{zone}: {local}");
                    for (instant, shown) in &shown {
                        assert_eq!(*shown >= local, *instant >= only, "{zone}: {local} and {instant}");
                    }
                }
                None => {
                    n_twice += 1;
                    assert!(shown.iter().any(|(at, shown)| *at > first && *shown < local), "{zone}: {local}");
                }
            }
        }
        assert_eq!(n_twice > 0, is_back, "{zone}, {day:?}: {n_twice}");
    }
}

/// Also one that clocks show twice, or skip.
#[test]
fn a_text_is_the_instant_of_the_time_that_it_says() {
    for (zone, day, _) in CHANGES {
        let mut clock = ZoneClock::new(zone).expect("a zone");
        let locals = window(day);
        let written = |local: &i64| DateTime::from_timestamp_micros(*local).expect("in range").naive_utc().to_string();
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(locals.iter().map(written)));
        let read = read_texts(&texts, (&Arc::from(zone), TimeUnit::Microsecond), false).expect("times");
        for (local, instant) in locals.iter().zip(read.as_primitive::<TimestampMicrosecondType>().values()) {
            let first = clock.first_instant(*local);
            assert_eq!(first, Some(*instant), "{zone}: {local}");
            assert_eq!(instant_us(&written(local), zone).ok(), first, "{zone}: {local}");
        }
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("2024-10-27 02:30:00"), Some("soon"), None]));
    let berlin: (&Arc<str>, TimeUnit) = (&Arc::from("Europe/Berlin"), TimeUnit::Second);
    assert!(read_texts(&texts, berlin, false).expect_err("no time").to_string().contains("'soon'"));
    assert_eq!(read_texts(&texts, berlin, true).expect("NULL for it").null_count(), 2);
}

#[test]
fn the_ends_of_time_are_no_instants() {
    let mut clock = ZoneClock::new("Europe/Berlin").expect("a zone");
    for us in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
        let _ = (clock.latest_shown(us), clock.only_instant(us));
    }
}

async fn check(zone: &str, sql: &str, expected: &str) {
    let got = value(&context(zone), &format!("SELECT {sql}")).await;
    assert_eq!(got.unwrap_or_else(|error| panic!("{sql}: {error}")), expected, "{sql} in {zone}");
}

fn utc(at: &str) -> String {
    format!("arrow_cast('{at}', 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

#[tokio::test]
async fn instants_are_shown_in_the_zone_of_the_session() {
    let at = utc("2024-03-31T22:47:12.345678Z");
    for (sql, in_utc, in_berlin) in [
        (format!("extract(hour FROM {at})"), "22", "0"),
        (format!("date_part('day', {at})"), "31", "1"),
        (format!("extract(epoch FROM {at})"), "1711925232.345678", "1711925232.345678"),
        (format!("CAST({at} AS DATE)"), "2024-03-31", "2024-04-01"),
        (format!("TRY_CAST({at} AS DATE)"), "2024-03-31", "2024-04-01"),
        (format!("to_date({at})"), "2024-03-31", "2024-04-01"),
        (format!("CAST({at} AS TIMESTAMP)"), "2024-03-31T22:47:12.345678", "2024-04-01T00:47:12.345678"),
        (format!("to_local_time({at})"), "2024-03-31T22:47:12.345678", "2024-04-01T00:47:12.345678"),
        (format!("CAST({at} AS TIME)"), "22:47:12.345678", "00:47:12.345678"),
        (format!("CAST({at} AS VARCHAR)"), "2024-03-31T22:47:12.345678Z", "2024-04-01T00:47:12.345678+02:00"),
        (format!("to_char({at}, '%d. %H:%M %z')"), "31. 22:47 +0000", "01. 00:47 +0200"),
        (format!("timezone('Asia/Tokyo', {at})"), "2024-04-01T07:47:12.345678", "2024-04-01T07:47:12.345678"),
        ("to_date(to_timestamp_seconds(-1))".to_owned(), "1969-12-31", "1970-01-01"),
    ] {
        check("UTC", &sql, in_utc).await;
        check("Europe/Berlin", &sql, in_berlin).await;
    }
    // Before clocks were set by zones, and before 1970.
    check("Europe/Berlin", &format!("CAST({} AS TIMESTAMP)", utc("1880-01-01T00:00:00Z")), "1880-01-01T00:53:28").await;
    check("Europe/Berlin", &format!("CAST({} AS DATE)", utc("1969-12-31T23:00:00Z")), "1970-01-01").await;
    check("America/New_York", &format!("CAST({} AS DATE)", utc("1970-01-01T04:59:59.999999Z")), "1969-12-31").await;
    check("Europe/Berlin", "extract(hour FROM TIMESTAMP '2024-03-31 22:47:12')", "22").await;
    let none = "CAST(arrow_cast(NULL, 'Timestamp(Microsecond, Some(\"UTC\"))') AS DATE) IS NULL";
    check("Europe/Berlin", none, "true").await;
}

#[tokio::test]
async fn a_day_later_clocks_show_the_same() {
    for (at, moved, expected) in [
        ("2024-10-26T12:00:00Z", "+ INTERVAL '1 day'", "2024-10-27T13:00:00Z"),
        ("2024-10-27T13:00:00Z", "- INTERVAL '1 day'", "2024-10-26T12:00:00Z"),
        ("2024-10-26T12:00:00Z", "+ INTERVAL '24 hours'", "2024-10-27T12:00:00Z"),
        ("2024-10-26T12:00:00Z", "+ INTERVAL '1 day 1 hour'", "2024-10-27T14:00:00Z"),
        ("2024-02-29T23:30:00Z", "+ INTERVAL '1 month'", "2024-03-31T22:30:00Z"),
        ("2024-03-30T23:30:00Z", "- INTERVAL '1 month'", "2024-02-28T23:30:00Z"),
        // Skipped, and shown twice.
        ("2024-03-30T01:30:00Z", "+ INTERVAL '1 day'", "2024-03-31T01:00:00Z"),
        ("2024-10-26T00:30:00Z", "+ INTERVAL '1 day'", "2024-10-27T00:30:00Z"),
        ("2024-10-27T01:30:00Z", "+ INTERVAL '0 days'", "2024-10-27T01:30:00Z"),
        ("1969-12-31T23:30:00.000001Z", "- INTERVAL '1 day'", "1969-12-30T23:30:00.000001Z"),
    ] {
        check("Europe/Berlin", &format!("{} {moved}", utc(at)), expected).await;
    }
    let at = utc("2024-10-26T12:00:00Z");
    check("Europe/Berlin", &format!("INTERVAL '1 day' + {at}"), "2024-10-27T13:00:00Z").await;
    check("UTC", &format!("{at} + INTERVAL '1 day'"), "2024-10-27T12:00:00Z").await;
}
