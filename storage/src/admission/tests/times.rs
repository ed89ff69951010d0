//! What becomes of dates, times and zones?

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType as T, TimeUnit};

use super::{AdmissionRules, admit_batch, rejections, rules, table, texts};
use crate::catalog::tests::{instant, plain};
use crate::error::Code;

/// `input` sent in a session of `zone` to a column of type `to`: what is stored, what is not.
fn check(zone: Option<&str>, input: impl Array + 'static, to: T, stored: &[&str], rejected: &[&str]) {
    let def = table(&[("x", to)]);
    let rules = AdmissionRules { time_zone: zone.map(str::to_owned), ..rules() };
    let admitted = admit_batch(&def, vec![("x", Arc::new(input))], &rules).unwrap();
    assert_eq!(texts(admitted.rows.column(0)), stored);
    assert_eq!(rejections(&admitted), rejected, "{:?}", admitted.rejected);
}

#[test]
fn finer_than_microseconds_is_cut_towards_minus_infinity() {
    let ns = TimestampNanosecondArray::from(vec![1999, 1000, 0, -1, -1000, -1001]);
    let expected = [
        "1970-01-01T00:00:00.000001",
        "1970-01-01T00:00:00.000001",
        "1970-01-01T00:00:00",
        "1969-12-31T23:59:59.999999",
        "1969-12-31T23:59:59.999999",
        "1969-12-31T23:59:59.999998",
    ];
    check(None, ns, plain(), &expected, &[]);
    let text = StringArray::from(vec!["1969-12-31T23:59:59.9999999", "1970-01-01 00:00:00.0000019"]);
    check(None, text, plain(), &["1969-12-31T23:59:59.999999", "1970-01-01T00:00:00.000001"], &[]);
    let clock = T::Time64(TimeUnit::Microsecond);
    check(None, Time64NanosecondArray::from(vec![1999, -1]), clock.clone(), &["00:00:00.000001"], &["1 OUT_OF_RANGE"]);
    check(None, Time32SecondArray::from(vec![1]), clock.clone(), &["00:00:01"], &[]);
    check(None, Time32MillisecondArray::from(vec![1500]), clock, &["00:00:01.500"], &[]);
    check(None, Date64Array::from(vec![-1, 86_400_000]), T::Date32, &["1969-12-31", "1970-01-02"], &[]);
}

#[test]
fn coarser_units_widen_or_are_refused() {
    check(
        None,
        TimestampSecondArray::from(vec![Some(1), None, Some(i64::MAX)]),
        plain(),
        &["1970-01-01T00:00:01", "NULL"],
        &["2 OUT_OF_RANGE"],
    );
    check(None, TimestampMillisecondArray::from(vec![-1]), instant(), &["1969-12-31T23:59:59.999Z"], &[]);
    check(
        None,
        TimestampMicrosecondArray::from(vec![i64::MAX, i64::MIN, 0]),
        plain(),
        &["1970-01-01T00:00:00"],
        &["0 OUT_OF_RANGE", "1 OUT_OF_RANGE"],
    );
}

#[test]
fn instants_keep_their_number_in_every_zone() {
    for zone in [None, Some("America/New_York")] {
        for name in ["UTC", "+00:00", "Europe/Berlin", "-08:00"] {
            let input = TimestampMicrosecondArray::from(vec![0]).with_timezone(name);
            check(zone, input, instant(), &["1970-01-01T00:00:00Z"], &[]);
        }
    }
}

#[test]
fn between_instants_and_plain_times_stands_the_zone() {
    let berlin = Some("Europe/Berlin");
    // 2024-01-01 00:00 UTC and 2024-07-01 00:00 UTC.
    let utc = TimestampSecondArray::from(vec![1_704_067_200, 1_719_792_000]).with_timezone("UTC");
    check(None, utc.clone(), plain(), &["2024-01-01T00:00:00", "2024-07-01T00:00:00"], &[]);
    check(berlin, utc.clone(), plain(), &["2024-01-01T01:00:00", "2024-07-01T02:00:00"], &[]);
    check(Some("+05:30"), utc, plain(), &["2024-01-01T05:30:00", "2024-07-01T05:30:00"], &[]);
    let walls = TimestampSecondArray::from(vec![1_704_067_200, 1_719_792_000]);
    check(None, walls.clone(), instant(), &["2024-01-01T00:00:00Z", "2024-07-01T00:00:00Z"], &[]);
    check(berlin, walls, instant(), &["2023-12-31T23:00:00Z", "2024-06-30T22:00:00Z"], &[]);
}

#[test]
fn clocks_that_skip_or_repeat_an_hour() {
    let berlin = Some("Europe/Berlin");
    // The clocks went from 02:00 to 03:00 on 2024-03-31, and from 03:00 back to 02:00 on 2024-10-27.
    let text = StringArray::from(vec![
        "2024-03-31 01:59:59",
        "2024-03-31 02:30:00",
        "2024-03-31 03:00:00",
        "2024-10-27 02:30:00",
        "2024-10-27 02:30:00+01:00",
        "2024-10-27 03:00:00",
    ]);
    let stored = [
        "2024-03-31T00:59:59Z",
        "2024-03-31T01:00:00Z",
        "2024-10-27T00:30:00Z",
        "2024-10-27T01:30:00Z",
        "2024-10-27T02:00:00Z",
    ];
    check(berlin, text, instant(), &stored, &["1 OUT_OF_RANGE"]);
    // The same for times that came as times: 2024-03-31 02:30 on the wall.
    check(berlin, TimestampSecondArray::from(vec![1_711_852_200]), instant(), &[], &["0 OUT_OF_RANGE"]);
    // A plain column takes every time on the wall.
    check(berlin, StringArray::from(vec!["2024-03-31 02:30:00"]), plain(), &["2024-03-31T02:30:00"], &[]);
}

#[test]
fn text_to_timestamps() {
    let good = [
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
        ("2024-02-29t12:00:00z", "2024-02-29T12:00:00Z"),
        ("2024-02-29 12:00:00", "2024-02-29T12:00:00Z"),
        ("2024-02-29 12:00:00.5", "2024-02-29T12:00:00.500Z"),
        ("2024-02-29T12:00:00.123456+02:00", "2024-02-29T10:00:00.123456Z"),
        ("2024-02-29 12:00:00 -0330", "2024-02-29T15:30:00Z"),
        ("2024-02-29 12:00:00+02", "2024-02-29T10:00:00Z"),
        ("2024-02-29 12:00:00 UTC", "2024-02-29T12:00:00Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ];
    for (text, stored) in good {
        check(None, StringArray::from(vec![text]), instant(), &[stored], &[]);
    }
    let bad = [
        "",
        "2023-02-29",
        "2024-02-30T00:00:00Z",
        "2024-13-01",
        "24-01-01",
        "2024-1-1",
        "2024-01-01T",
        "2024-01-01T24:00:00",
        "2024-01-01T12:60:00",
        "2024-01-01T12:00:60Z",
        "2024-01-01T12:00",
        "2024-01-01T12:00:00.",
        "2024-01-01T12:00:00+2",
        "2024-01-01T12:00:00+24:00",
        "2024-01-01T12:00:00 Europe/Berlin",
        " 2024-01-01",
        "2024-01-01 ",
        "0000-01-01",
        "1700000000",
        "2024-01-01T12:00:00Zx",
        "２024-01-01",
    ];
    for text in bad {
        check(None, StringArray::from(vec![text]), instant(), &[], &["0 TYPE_MISMATCH"]);
    }
    check(None, StringArray::from(vec!["0001-01-01T00:00:00+01:00"]), instant(), &[], &["0 OUT_OF_RANGE"]);
    // A plain column takes the time on the session's wall.
    check(
        Some("Europe/Berlin"),
        StringArray::from(vec!["2024-07-01T00:00:00Z"]),
        plain(),
        &["2024-07-01T02:00:00"],
        &[],
    );
    check(
        Some("Europe/Berlin"),
        StringArray::from(vec!["2024-07-01T00:00:00"]),
        plain(),
        &["2024-07-01T00:00:00"],
        &[],
    );
}

#[test]
fn dates() {
    let day = |text: &str| StringArray::from(vec![text.to_owned()]);
    check(None, day("2024-02-29"), T::Date32, &["2024-02-29"], &[]);
    check(None, day("2024-02-29T00:00:00"), T::Date32, &[], &["0 TYPE_MISMATCH"]);
    check(None, day("1969-12-31"), T::Date32, &["1969-12-31"], &[]);
    let short = StringArray::from(vec!["2022-12-8", "2022-1-08", "2022-1-8", "2022-11-8"]);
    check(None, short, T::Date32, &["2022-12-08", "2022-01-08", "2022-01-08", "2022-11-08"], &[]);
    for text in
        ["2022-1-", "2022--1", "2022-1", "2022-1-32", "2022-13-1", "2022-001-1", "22-1-1", "2022-1-1 ", "2022-1-+"]
    {
        check(None, day(text), T::Date32, &[], &["0 TYPE_MISMATCH"]);
    }
    check(None, Date32Array::from(vec![1]), plain(), &["1970-01-02T00:00:00"], &[]);
    check(Some("Europe/Berlin"), Date32Array::from(vec![1]), instant(), &["1970-01-01T23:00:00Z"], &[]);
    check(
        None,
        TimestampNanosecondArray::from(vec![86_400_000_000_000, 1_000]),
        T::Date32,
        &["1970-01-02"],
        &["1 OUT_OF_RANGE"],
    );
    let clock = T::Time64(TimeUnit::Microsecond);
    check(
        None,
        StringArray::from(vec!["23:59:59.1234567", "24:00:00", "12:00"]),
        clock,
        &["23:59:59.123456"],
        &["1 TYPE_MISMATCH", "2 TYPE_MISMATCH"],
    );
}

#[test]
fn an_unknown_zone_is_an_error() {
    let def = table(&[("x", instant())]);
    let rules = AdmissionRules { time_zone: Some("Mars/Olympus".into()), ..rules() };
    let input: ArrayRef = Arc::new(StringArray::from(vec!["2024-01-01"]));
    let error = admit_batch(&def, vec![("x", input)], &rules).unwrap_err();
    assert_eq!(error.code(), Code::InvalidSetting);
}
