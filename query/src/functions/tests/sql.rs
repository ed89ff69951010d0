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
async fn a_time_of_day_is_truncated_and_compared() {
    for (unit, expected) in [
        ("hour", "14:00:00"),
        ("minutes", "14:30:00"),
        ("second", "14:30:45"),
        ("millisecond", "14:30:45.123"),
        ("microsecond", "14:30:45.123456"),
    ] {
        check("Europe/Berlin", &format!("date_trunc('{unit}', TIME '14:30:45.123456')"), expected).await;
    }
    check("UTC", "arrow_typeof(date_trunc('hour', TIME '14:30:45'))", "Time64(µs)").await;
    check("UTC", "date_trunc('hour', CAST(NULL AS TIME)) IS NULL", "true").await;
    refused("date_trunc('day', TIME '14:30:45')", "a TIME has no day").await;
    refused("date_trunc('month', TIME '14:30:45')", "a TIME has no month").await;
    refused("date_trunc('hour', TIME '14:30:45', 'UTC')", "needs a TIMESTAMPTZ").await;
    check("UTC", "arrow_typeof(current_time())", "Time64(µs)").await;
    for zone in ["UTC", "Asia/Tokyo", "-03:30"] {
        check(zone, "current_time() = arrow_cast(now(), 'Time64(Microsecond)')", "true").await;
    }
}

#[tokio::test]
async fn text_of_a_column_is_read_as_times_in_the_zone_of_the_session() {
    let days = "FROM (VALUES ('2020-09-08'), ('2020-09-09 12:00:00')) AS t(day)";
    for function in
        ["to_timestamp", "to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros", "to_timestamp_nanos"]
    {
        check("UTC", &format!("max({function}(day)) {days}"), "2020-09-09T12:00:00Z").await;
        check("Asia/Tokyo", &format!("max({function}(day)) {days}"), "2020-09-09T12:00:00+09:00").await;
    }
    let formats = "FROM (VALUES ('2020-09-08', CAST(NULL AS VARCHAR)), ('09.09.2020', '%d.%m.%Y')) AS t(day, format)";
    check("UTC", &format!("max(to_timestamp(day, format, '%Y-%m-%d')) {formats}"), "2020-09-09T00:00:00Z").await;
}

#[tokio::test]
async fn text_is_read_as_times_of_the_years_1_to_9999() {
    for function in ["to_timestamp", "to_timestamp_micros"] {
        check("UTC", &format!("{function}('2300-01-01')"), "2300-01-01T00:00:00Z").await;
        check("UTC", &format!("{function}('0001-01-01 09:00:00+09:00')"), "0001-01-01T00:00:00Z").await;
        let latest = format!("max({function}(day)) FROM (VALUES ('9999-12-31T23:59:59.999999'), (NULL)) AS t(day)");
        check("UTC", &latest, "9999-12-31T23:59:59.999999Z").await;
    }
    refused("to_timestamp('2300-13-01')", "2300-13-01").await;
}

#[tokio::test]
async fn date_bin_is_as_fine_as_its_time() {
    let (at, origin) = (
        "cast('2024-05-15 13:47:12' as timestamp(6))",
        "arrow_cast('1970-01-01T00:00:00', 'Timestamp(Microsecond, None)')",
    );
    let utc = "arrow_cast('2024-05-15T13:47:12Z', 'Timestamp(Microsecond, Some(\"UTC\"))')";
    for (sql, expected) in [
        (format!("date_bin(INTERVAL '5 minutes', {at})"), "2024-05-15T13:45:00"),
        (format!("date_bin(INTERVAL '5 minutes', {at}, {origin})"), "2024-05-15T13:45:00"),
        (format!("date_bin('5 minutes', {at}, '1970-01-01T00:01:00')"), "2024-05-15T13:46:00"),
        (format!("date_bin('1 month', {at}, DATE '1970-01-01')"), "2024-05-01T00:00:00"),
        (format!("arrow_typeof(date_bin(INTERVAL '5 minutes', {at}, {origin}))"), "Timestamp(µs)"),
        (
            format!("arrow_typeof(date_bin(INTERVAL '5 minutes', {at}, TIMESTAMP '1970-01-01T00:00:00Z'))"),
            "Timestamp(µs)",
        ),
        (format!("arrow_typeof(date_bin('5 minutes', {utc}, {origin}))"), "Timestamp(µs, \"UTC\")"),
        ("arrow_typeof(date_bin('5 minutes', '2024-05-15 13:47:12'))".into(), "Timestamp(µs)"),
        (format!("date_bin(NULL, {at}) IS NULL"), "true"),
        // Before and after what nanoseconds reach.
        ("date_bin('1 day', cast('9999-12-31 13:47:12' as timestamp(6)))".into(), "9999-12-31T00:00:00"),
        ("date_bin('1 month', cast('9999-12-31 13:47:12' as timestamp(6)))".into(), "9999-12-01T00:00:00"),
        ("date_bin('1 hour', cast('0001-01-01 13:47:12' as timestamp(6)), '2024-01-01')".into(), "0001-01-01T13:00:00"),
        (
            "max(date_bin('1 day', t)) FROM (VALUES (cast('9999-12-31' as timestamp(6)))) AS v(t)".into(),
            "9999-12-31T00:00:00",
        ),
        ("date_bin('1 day', cast(NULL as timestamp(6))) IS NULL".into(), "true"),
        (format!("date_bin('1 day', {at}, NULL) IS NULL"), "true"),
        ("date_bin('1 hour', TIME '10:30:00', CAST(NULL AS TIME)) IS NULL".into(), "true"),
        (format!("arrow_typeof(date_bin('1 day', {at}, NULL))"), "Timestamp(µs)"),
        (
            "date_bin('1 day', cast('2300-01-02 05:00:00' as timestamp(6)), cast('2300-01-01 06:00:00' as timestamp(6)))"
                .into(),
            "2300-01-01T06:00:00",
        ),
    ] {
        check("UTC", &sql, expected).await;
    }
    refused(&format!("date_bin('0 minutes', {at})"), "must be non-zero").await;
    refused(&format!("time_bucket('2000000000 days', {at})"), "less than 100,000,000 days").await;
    refused("date_bin('5 minutes', 7)", "takes a timestamp").await;
    refused(&format!("date_bin(5, {at})"), "is an interval").await;
    refused(&format!("date_bin('5 minutes', {at}, 7)"), "origin of date_bin").await;
}

#[tokio::test]
async fn counts_are_signed() {
    let rows = "FROM (VALUES (1), (2), (2)) AS t(v)";
    for (sql, expected) in [
        ("array_length([1, 2, 3])", "3"),
        ("cardinality([1, 2, 3])", "3"),
        ("array_ndims([[1], [2]])", "2"),
        ("array_position([5, 6, 7], 6)", "2"),
        ("list_length([1, 2, 3])", "3"),
        ("array_positions([1, 2, 1], 1)", "[1, 3]"),
    ] {
        check("UTC", sql, expected).await;
    }
    for call in
        ["array_length([1])", "cardinality([1])", "array_ndims([1])", "array_position([5], 5)", "list_length([1])"]
    {
        check("UTC", &format!("arrow_typeof({call})"), "Int64").await;
    }
    for call in [
        "row_number() OVER ()",
        "rank() OVER (ORDER BY v)",
        "dense_rank() OVER (ORDER BY v)",
        "ntile(2) OVER (ORDER BY v)",
    ] {
        check("UTC", &format!("arrow_typeof({call}) {rows}"), "Int64").await;
    }
    check("UTC", &format!("max(r) FROM (SELECT rank() OVER (ORDER BY v) AS r {rows})"), "2").await;
    check("UTC", &format!("sum(r) FROM (SELECT row_number() OVER (PARTITION BY v ORDER BY v) AS r {rows})"), "4").await;
    check("UTC", &format!("arrow_typeof(approx_distinct(v)) {rows}"), "Int64").await;
    check("UTC", &format!("approx_distinct(v) {rows}"), "2").await;
    check("UTC", &format!("sum(n) FROM (SELECT v, approx_distinct(v) AS n {rows} GROUP BY v)"), "2").await;
    check("UTC", &format!("arrow_typeof(regr_count(v, v)) {rows}"), "Int64").await;
    // What is declared unsigned stays so.
    check("UTC", "arrow_typeof(max(arrow_cast(1, 'UInt64')))", "UInt64").await;
}

#[tokio::test]
async fn a_session_knows_where_it_is() {
    // With names that DataFusion's own parser lets pass; ours knows all of them.
    for (sql, expected) in [("current_schema()", "public"), ("current_database()", "datafusion")] {
        check("UTC", sql, expected).await;
    }
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
