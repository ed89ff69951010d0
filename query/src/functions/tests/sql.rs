//! What do the functions answer in SQL? Known answers, NULLs, types, and what is refused.

use super::{context, value};

async fn check(time_zone: &str, sql: &str, expected: &str) {
    let got = value(&context(time_zone), &format!("SELECT {sql}")).await;
    assert_eq!(got.unwrap_or_else(|error| panic!("{sql}: {error}")), expected, "{sql} in {time_zone}");
}

async fn refused(sql: &str, part: &str) {
    let error = value(&context("UTC"), &format!("SELECT {sql}")).await.expect_err(sql).to_string();
    assert!(error.contains(part), "{sql}: {error}");
}

#[tokio::test]
async fn time_bucket_of_plain_times() {
    let at = "TIMESTAMP '2024-05-15 13:47:12.345'";
    for (sql, expected) in [
        (format!("time_bucket(INTERVAL '5 minutes', {at})"), "2024-05-15T13:45:00"),
        (format!("time_bucket('5 minutes', {at})"), "2024-05-15T13:45:00"),
        (format!("time_bucket('1 week', {at})"), "2024-05-13T00:00:00"),
        (format!("time_bucket('2 days', {at})"), "2024-05-14T00:00:00"),
        (format!("time_bucket('3 months', {at})"), "2024-04-01T00:00:00"),
        (format!("time_bucket('1 year', {at})"), "2024-01-01T00:00:00"),
        (format!("time_bucket('1 hour', {at}, TIMESTAMP '2024-01-01 00:20:00')"), "2024-05-15T13:20:00"),
        (format!("time_bucket('1 week', {at}, '2024-01-07')"), "2024-05-12T00:00:00"),
        (format!("time_bucket('1 week', {at}, DATE '2024-01-07')"), "2024-05-12T00:00:00"),
        ("time_bucket('1 month', DATE '2024-05-15')".into(), "2024-05-01"),
        ("time_bucket('1 day', TIMESTAMP '1999-12-31 23:59:59')".into(), "1999-12-31T00:00:00"),
        (
            format!("arrow_typeof(time_bucket('1 day', arrow_cast({at}, 'Timestamp(Microsecond, None)')))"),
            "Timestamp(µs)",
        ),
        ("arrow_typeof(time_bucket('1 day', DATE '2024-05-15'))".into(), "Date32"),
        (format!("time_bucket(NULL, {at}) IS NULL"), "true"),
        ("time_bucket('1 day', CAST(NULL AS TIMESTAMP)) IS NULL".into(), "true"),
        (format!("time_bucket('1 day', {at}, NULL) IS NULL"), "true"),
    ] {
        check("UTC", &sql, expected).await;
    }
}

#[tokio::test]
async fn time_bucket_of_instants() {
    let at = "arrow_cast('2024-03-31T08:30:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')";
    for (sql, expected) in [
        (format!("time_bucket('1 day', {at})"), "2024-03-31T00:00:00Z"),
        // Clocks in Berlin went forward that night: the day began at 23:00 UTC.
        (format!("time_bucket('1 day', {at}, 'Europe/Berlin')"), "2024-03-30T23:00:00Z"),
        (format!("time_bucket('12 hours', {at}, 'Europe/Berlin')"), "2024-03-30T23:00:00Z"),
        (format!("time_bucket('1 day', {at}, '2024-01-01 06:00:00', 'Europe/Berlin')"), "2024-03-31T04:00:00Z"),
        (format!("time_bucket('1 month', {at}, 'Europe/Berlin')"), "2024-02-29T23:00:00Z"),
        (format!("time_bucket('1 day', {at}, '+05:30')"), "2024-03-30T18:30:00Z"),
    ] {
        check("UTC", &sql, expected).await;
        check("America/New_York", &sql, expected).await;
    }
}

#[tokio::test]
async fn time_bucket_refuses_what_it_cannot_mean() {
    let at = "TIMESTAMP '2024-05-15 13:47:12'";
    refused(&format!("time_bucket('0 minutes', {at})"), "positive").await;
    refused(&format!("time_bucket('-1 day', {at})"), "positive").await;
    refused(&format!("time_bucket('1 month 1 day', {at})"), "not both").await;
    refused(&format!("time_bucket('soon', {at})"), "not an interval").await;
    refused(&format!("time_bucket('1 day', {at}, 'Europe/Berlin')"), "needs a TIMESTAMPTZ").await;
    refused(&format!("time_bucket('1 day', {at}, 'Mars/Olympus')"), "neither a time zone nor an origin").await;
    refused("time_bucket('1 hour', DATE '2024-05-15')", "whole days").await;
    refused("time_bucket('1 hour', 7)", "TIMESTAMP").await;
    refused(&format!("time_bucket({at})"), "needs a width").await;
}

#[tokio::test]
async fn date_trunc_follows_the_session() {
    let at = "arrow_cast('2024-03-31T22:47:12.345678Z', 'Timestamp(Microsecond, Some(\"UTC\"))')";
    check("UTC", &format!("date_trunc('day', {at})"), "2024-03-31T00:00:00Z").await;
    check("Europe/Berlin", &format!("date_trunc('day', {at})"), "2024-03-31T22:00:00Z").await;
    check("+02:00", &format!("date_trunc('month', {at})"), "2024-03-31T22:00:00Z").await;
    check("Europe/Berlin", &format!("date_trunc('day', {at}, 'UTC')"), "2024-03-31T00:00:00Z").await;
    check("UTC", &format!("date_trunc('DAY', {at}, 'America/New_York')"), "2024-03-31T04:00:00Z").await;
    // Plain times are what they are.
    check("Europe/Berlin", "date_trunc('day', TIMESTAMP '2024-03-31 22:47:12')", "2024-03-31T00:00:00").await;
    refused("date_trunc('day', TIMESTAMP '2024-03-31 22:47:12', 'UTC')", "needs a TIMESTAMPTZ").await;
    refused(&format!("date_trunc('day', {at}, 'Mars')"), "not a time zone").await;
    refused(&format!("date_trunc('fortnight', {at})"), "not a unit").await;
}

#[tokio::test]
async fn date_trunc_knows_its_units() {
    for (unit, expected) in [
        ("microsecond", "2024-08-17T13:47:12.345678"),
        ("milliseconds", "2024-08-17T13:47:12.345"),
        ("second", "2024-08-17T13:47:12"),
        ("minute", "2024-08-17T13:47:00"),
        ("hour", "2024-08-17T13:00:00"),
        ("day", "2024-08-17T00:00:00"),
        ("week", "2024-08-12T00:00:00"),
        ("month", "2024-08-01T00:00:00"),
        ("quarter", "2024-07-01T00:00:00"),
        ("year", "2024-01-01T00:00:00"),
        ("decade", "2020-01-01T00:00:00"),
        ("century", "2001-01-01T00:00:00"),
        ("millennium", "2001-01-01T00:00:00"),
    ] {
        check("UTC", &format!("date_trunc('{unit}', TIMESTAMP '2024-08-17 13:47:12.345678')"), expected).await;
    }
    check("UTC", "date_trunc('month', DATE '2024-08-17')", "2024-08-01T00:00:00").await;
    check("UTC", "date_trunc('century', TIMESTAMP '2000-06-01 00:00:00')", "1901-01-01T00:00:00").await;
    check("UTC", "date_trunc('day', NULL) IS NULL", "true").await;
}

#[tokio::test]
async fn buckets_group_rows() {
    let sql = "SELECT count(*) FROM (SELECT time_bucket('1 hour', to_timestamp(i * 600)) AS b FROM generate_series(0, 599) AS s(i) GROUP BY 1)";
    assert_eq!(value(&context("UTC"), sql).await.expect("runs"), "100");
}

#[tokio::test]
async fn the_version_is_that_of_this_program() {
    let version = value(&context("UTC"), "SELECT version()").await.expect("answers");
    assert_eq!(version, concat!("Tidewater ", env!("CARGO_PKG_VERSION")));
}
