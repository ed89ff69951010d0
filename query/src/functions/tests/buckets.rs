//! Are buckets what their definition says? Each is looked for minute by minute with the zone's rules alone.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::functions::bucket::{Buckets, Width};
use crate::functions::zone::ZoneClock;

const MINUTE_US: i64 = 60_000_000;

fn local(tz: Tz, minute: i64) -> NaiveDateTime {
    let at = DateTime::from_timestamp(minute * 60, 0).expect("in range").naive_utc();
    at + TimeDelta::seconds(i64::from(tz.offset_from_utc_datetime(&at).fix().local_minus_utc()))
}

fn date(year: i32, month: u32, day: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date").and_hms_opt(0, 0, 0).expect("a time")
}

/// The multiple of the width at or before a wall time, by counting up from the origin of the definition.
fn floor(local: NaiveDateTime, width: Width) -> NaiveDateTime {
    match width {
        Width::Time(us) => {
            let since = local - date(2000, 1, 3);
            let minutes = since.num_minutes();
            let width = us / MINUTE_US;
            local - TimeDelta::minutes(minutes - minutes.div_euclid(width) * width)
        }
        Width::Months(n) => {
            let mut months = 0;
            let start = |months: i32| date(2000 + months.div_euclid(12), months.rem_euclid(12) as u32 + 1, 1);
            while start(months + n as i32) <= local {
                months += n as i32;
            }
            start(months)
        }
    }
}

/// The bucket by definition, in minutes since 1970.
fn oracle(tz: Tz, minute: i64, width: Width) -> i64 {
    let start = floor(local(tz, minute), width);
    if !matches!(width, Width::Time(us) if us < 1440 * MINUTE_US) {
        // The first minute at which clocks show the start, else the first at which they have passed it.
        let from = start.and_utc().timestamp() / 60 - 26 * 60;
        let window = || from..from + 52 * 60;
        let shown = window().find(|&minute| local(tz, minute) == start);
        return shown.or_else(|| window().find(|&minute| local(tz, minute) >= start)).expect("within a day");
    }
    // Back to the last minute at which the clock showed a start, or skipped one.
    let mut at = minute;
    loop {
        let (now, before) = (local(tz, at), local(tz, at - 1));
        let shows = floor(now, width) == now;
        let skipped = now - before > TimeDelta::minutes(1) && floor(now, width) > before;
        if shows || skipped {
            return at;
        }
        at -= 1;
    }
}

fn check(zone: &str, from: NaiveDateTime, hours: i64) {
    let tz: Tz = zone.parse().expect("a zone");
    let mut clock = ZoneClock::new(zone).expect("a zone");
    let minutes = |n: i64| Width::Time(n * MINUTE_US);
    let widths = [
        minutes(5),
        minutes(15),
        minutes(30),
        minutes(60),
        minutes(90),
        minutes(120),
        minutes(360),
        minutes(1439),
        minutes(1440),
        minutes(7 * 1440),
        Width::Months(1),
        Width::Months(3),
        Width::Months(12),
    ];
    let first = from.and_utc().timestamp() / 60;
    for width in widths {
        let buckets = Buckets { width, origin: width.default_origin() };
        // Every minute near the change would take long for wide buckets: steps share no factor with an hour.
        let step = 7;
        for minute in (first..first + hours * 60).step_by(step) {
            let got = buckets.floor_in(&mut clock, minute * MINUTE_US + 1_234_567).expect("in range");
            let expected = oracle(tz, minute, width);
            assert_eq!(
                got,
                expected * MINUTE_US,
                "{zone}, {width:?}, local {}: got {}, should be {}",
                local(tz, minute),
                DateTime::from_timestamp_micros(got).expect("in range"),
                DateTime::from_timestamp(expected * 60, 0).expect("in range")
            );
            assert!(got <= minute * MINUTE_US + 1_234_567);
        }
    }
}

#[test]
fn berlin() {
    check("Europe/Berlin", date(2024, 3, 30), 60);
    check("Europe/Berlin", date(2024, 10, 26), 60);
}

#[test]
fn half_hours_of_lord_howe() {
    check("Australia/Lord_Howe", date(2024, 4, 5), 60);
    check("Australia/Lord_Howe", date(2024, 10, 4), 60);
}

#[test]
fn one_minute_past_midnight_in_st_johns() {
    check("America/St_Johns", date(2008, 3, 8), 60);
    check("America/St_Johns", date(2008, 11, 1), 60);
    check("America/St_Johns", date(2024, 11, 2), 60);
}

#[test]
fn midnights_that_are_skipped_or_shown_twice() {
    check("America/Havana", date(2024, 3, 9), 60);
    check("America/Havana", date(2024, 11, 2), 60);
    check("America/Sao_Paulo", date(2018, 11, 3), 60);
}

#[test]
fn a_day_that_never_was() {
    check("Pacific/Apia", date(2011, 12, 29), 80);
}

#[test]
fn a_fixed_offset_is_plain_arithmetic() {
    let mut clock = ZoneClock::new("+05:45").expect("an offset");
    let offset = (5 * 60 + 45) * MINUTE_US;
    let buckets = Buckets { width: Width::Time(60 * MINUTE_US), origin: Width::Time(1).default_origin() };
    for us in [0, 1, -1, 1_700_000_123_456_789, -9_000_000_000_000_001] {
        let plain = buckets.floor(us + offset).expect("in range") - offset;
        assert_eq!(buckets.floor_in(&mut clock, us).expect("in range"), plain);
    }
}

#[test]
fn the_ends_of_time_are_errors_not_panics() {
    let mut clock = ZoneClock::new("Europe/Berlin").expect("a zone");
    for width in [Width::Time(7), Width::Time(86_400_000_000), Width::Months(1), Width::Months(u32::MAX / 2)] {
        for us in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, -62_135_596_800_000_000] {
            let buckets = Buckets { width, origin: width.default_origin() };
            let _ = buckets.floor(us);
            let _ = buckets.floor_in(&mut clock, us);
        }
    }
}

#[test]
fn months_count_from_an_origin_in_mid_month() {
    let at = |y, m, d| date(y, m, d).and_utc().timestamp_micros();
    let buckets = Buckets { width: Width::Months(1), origin: at(2024, 1, 15) };
    assert_eq!(buckets.floor(at(2024, 3, 14)).expect("in range"), at(2024, 2, 15));
    assert_eq!(buckets.floor(at(2024, 3, 15)).expect("in range"), at(2024, 3, 15));
    assert_eq!(buckets.floor(at(2023, 1, 1)).expect("in range"), at(2022, 12, 15));
}

#[test]
fn many_times_have_the_starts_that_each_has_alone() {
    let edges = [i64::MIN, -1, 0, 1, 946_684_800_000_000, 1_700_000_123_456_789, i64::MAX];
    let mut random = 1_u64;
    for width in [1, 2, 3, 7, 1_000, 59_999_999, 60_000_000, 86_400_000_000, (1 << 62) - 1, 1 << 62, i64::MAX] {
        for origin in [Width::Time(width).default_origin(), 0, -5, i64::MIN, i64::MAX] {
            let buckets = Buckets { width: Width::Time(width), origin };
            for edge in edges {
                let mut times: Vec<i64> = vec![edge];
                for shift in 0..40 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    times.push(edge.saturating_add(((random >> 1) as i64 - (1 << 62)) >> shift));
                    times.push(edge.saturating_add(width.saturating_mul(shift - 20)));
                }
                let (min, max) = (*times.iter().min().expect("some"), *times.iter().max().expect("some"));
                let alone: Result<Vec<i64>, _> = times.iter().map(|us| buckets.floor(*us)).collect();
                match (buckets.even(min, max), alone) {
                    (Some(even), Ok(alone)) => {
                        let together: Vec<i64> = times.iter().map(|us| even.floor(*us)).collect();
                        assert_eq!(together, alone, "{width} from {origin}, about {edge}");
                        // What stands where a value is NULL.
                        for us in edges {
                            let _ = even.floor(us);
                        }
                    }
                    (even, alone) => assert_eq!(even.is_some(), alone.is_ok(), "{width} from {origin}, about {edge}"),
                }
            }
        }
    }
    assert!(Buckets { width: Width::Months(1), origin: 0 }.even(0, 1).is_none());
}
