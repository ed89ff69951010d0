//! Are integers exact, or refused? Sums and arithmetic at the ends of their types, in every way in which they are computed.

use super::{context, run, value};

const MAX: &str = "9223372036854775807";
const MIN: &str = "(-9223372036854775808)";
/// Four numbers in two groups, with NULLs; those of `a` pass the end of BIGINT on the way and come back, those of `b` do not.
const VALUES: &str = "(VALUES ('a', 9223372036854775807, 1), ('a', 9223372036854775807, 2), ('a', NULL, 3), \
                      ('a', -9223372036854775807, 4), ('b', 9223372036854775807, 1), ('b', 1, 2), ('b', NULL, 3)) AS t(g, n, i)";

async fn rows(sql: &str) -> Result<Vec<String>, String> {
    let batches = run(&context("UTC"), sql).await.map_err(|error| error.to_string())?;
    let text = arrow::util::pretty::pretty_format_batches(&batches).expect("printable").to_string();
    let row = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|");
    let mut rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).skip(1).map(row).collect();
    rows.sort();
    Ok(rows)
}

async fn refused(sql: &str, part: &str) {
    let error = rows(sql).await.expect_err(sql);
    assert!(error.contains(part), "{sql}: {error}");
}

#[tokio::test]
async fn arithmetic_that_fits_is_exact() {
    for (sql, expected) in [
        (format!("{MAX} - 1 + 1"), MAX),
        (format!("{MIN} + {MAX}"), "-1"),
        ("3000000000 * 3000000000".into(), "9000000000000000000"),
        ("2 + 3 * 4 - 5".into(), "9"),
        ("(2 + 3) * 4 - (5 - 7)".into(), "22"),
        ("-(2 - 5)".into(), "3"),
        ("CAST(100 AS TINYINT) + CAST(27 AS TINYINT)".into(), "127"),
        ("CAST(1 AS BIGINT UNSIGNED) - CAST(1 AS BIGINT UNSIGNED)".into(), "0"),
        ("18446744073709551615 + 1".into(), "18446744073709551616"),
        ("NULL + 1".into(), ""),
        (format!("CAST({MAX} AS DECIMAL(38, 0)) + 1"), "9223372036854775808"),
        ("1.5 + 2".into(), "3.5"),
        ("arrow_typeof(1 + 2)".into(), "Int64"),
        ("DATE '2024-03-01' - DATE '2024-02-01'".into(), "29"),
    ] {
        let got =
            value(&context("UTC"), &format!("SELECT {sql}")).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(got, expected, "{sql}");
    }
}

#[tokio::test]
async fn arithmetic_that_does_not_fit_is_refused() {
    for (sql, part) in [
        (format!("{MAX} + 1"), "9223372036854775807 + 1 does not fit into BIGINT"),
        (format!("{MIN} - 1"), "does not fit into BIGINT"),
        (format!("{MAX} * 2"), "does not fit into BIGINT"),
        (format!("1 + {MAX} - 1"), "does not fit into BIGINT"),
        ("CAST(100 AS TINYINT) + CAST(28 AS TINYINT)".into(), "does not fit into TINYINT"),
        ("CAST(1 AS BIGINT UNSIGNED) - CAST(2 AS BIGINT UNSIGNED)".into(), "does not fit into UBIGINT"),
    ] {
        // A constant, a column, and a column among arguments.
        refused(&format!("SELECT {sql}"), part).await;
        refused(&format!("SELECT * FROM (SELECT 1 AS x) WHERE ({sql}) > 0"), part).await;
        refused(&format!("SELECT sum({sql}) FROM (VALUES (1), (2)) AS t(x) GROUP BY x"), part).await;
    }
    refused(&format!("SELECT -n FROM (VALUES ({MIN}), (1)) AS t(n)"), "does not fit into BIGINT").await;
    refused(&format!("SELECT n + n FROM {VALUES}"), "does not fit into BIGINT").await;
    refused(&format!("SELECT i FROM {VALUES} ORDER BY n * 2"), "does not fit into BIGINT").await;
    refused(&format!("SELECT 1 FROM {VALUES} WHERE i < (SELECT max(n) + 1 FROM {VALUES})"), "does not fit").await;
    // What a CASE does not choose is not computed.
    let chosen =
        format!("SELECT CASE WHEN n IS NULL THEN 0 WHEN n < 5 THEN n + 1 ELSE -1 END FROM {VALUES} WHERE g = 'b'");
    assert_eq!(rows(&chosen).await, Ok(vec!["-1".into(), "0".into(), "2".into()]));
}

/// What a condition excludes is not computed, wherever the condition stands.
#[tokio::test]
async fn arithmetic_of_excluded_rows_does_not_fail() {
    let n = "(SELECT i, i % 2 AS g, CASE WHEN i % 4 < 2 THEN i ELSE 9000000000000000000 END AS v, \
             CASE WHEN i % 4 < 2 THEN true END AS small FROM generate_series(1, 16) AS s(i)) AS n";
    for (sql, expected) in [
        (format!("SELECT count(*) FROM {n} WHERE v < 1000000 AND v * 1000 > 5000"), vec!["5"]),
        (format!("SELECT count(*) FROM {n} WHERE v * 1000 > 5000 AND v < 1000000"), vec!["5"]),
        (format!("SELECT count(*) FROM {n} WHERE small AND v * 1000 > 5000"), vec!["5"]),
        (format!("SELECT count(*) FROM {n} WHERE v >= 1000000 OR v * 1000 > 5000"), vec!["13"]),
        (format!("SELECT count(*) FROM {n} WHERE NOT (v >= 1000000 OR v * 1000 > 5000)"), vec!["3"]),
        (
            format!(
                "SELECT count(*), sum(w) FROM (SELECT v * 1000 AS w FROM {n} WHERE v < 1000000) AS t WHERE w > 5000"
            ),
            vec!["5|58000"],
        ),
        (format!("SELECT g, sum(v * 1000) FILTER (WHERE v < 1000000) FROM {n} GROUP BY g"), vec!["0|40000", "1|28000"]),
        (
            format!(
                "SELECT g, sum(v * 1000) FILTER (WHERE v < 1000000), max(v * 1000) FILTER (WHERE v < 1000000) \
                 FROM {n} GROUP BY g"
            ),
            vec!["0|40000|16000", "1|28000|13000"],
        ),
        // Nothing is asked about a value that is made up where a row is excluded.
        (
            format!(
                "SELECT g, sum(100 / (i + 1)) FILTER (WHERE small), max(100 % (i - 3)) FILTER (WHERE i <> 3) FROM {n} GROUP BY g"
            ),
            vec!["0|43|9", "1|83|4"],
        ),
        (format!("SELECT count(*) FROM {n} WHERE i = 3 OR 100 / (i - 3 + 0) > 20"), vec!["5"]),
        (
            format!(
                "SELECT count(*) FROM (SELECT row_number() OVER (PARTITION BY small AND i + 1 > 2 ORDER BY i) FROM {n}) AS t"
            ),
            vec!["16"],
        ),
        (
            format!("SELECT i, v < 1000000 AND v * 1000 > 1000, v >= 1000000 OR v * 1000 > 1000 FROM {n} WHERE i < 4"),
            vec!["1|false|false", "2|false|true", "3|false|true"],
        ),
        (
            format!("SELECT i, CASE WHEN v < 1000000 THEN v * 1000 > 1000 ELSE false END FROM {n} WHERE i < 3"),
            vec!["1|false", "2|false"],
        ),
    ] {
        let expected = expected.iter().map(|&row| row.to_owned()).collect::<Vec<_>>();
        assert_eq!(rows(&sql).await, Ok(expected), "{sql}");
    }
    // NULL beside arithmetic says what it says in SQL.
    let nulls = "(VALUES (1, NULL, 1), (2, true, 9), (3, false, 9), (4, NULL, 9)) AS t(i, a, v)";
    let sql = format!("SELECT i, a AND v + 1 > 5, a OR v + 1 > 5 FROM {nulls}");
    let expected = ["1|false|", "2|true|true", "3|false|true", "4||true"];
    assert_eq!(rows(&sql).await.as_deref(), Ok(&expected.map(str::to_owned)[..]));
    refused(&format!("SELECT count(*) FROM {n} WHERE v > 5 AND v * 1000 > 5000"), "does not fit into BIGINT").await;
}

#[tokio::test]
async fn operators_keep_their_names_and_long_chains_their_order() {
    let context = context("UTC");
    let frame = context.sql("SELECT n + 1, n * 2 - i, -n FROM (VALUES (1, 2)) AS t(n, i)").await.expect("plans");
    let names: Vec<_> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["t.n + Int64(1)", "t.n * Int64(2) - t.i", "(- t.n)"]);
    frame.collect().await.expect("runs");
    let chain = format!("SELECT {} - 100 + 7 * 3 FROM (VALUES (1)) AS t(n)", vec!["n"; 200].join(" + "));
    assert_eq!(value(&context, &chain).await.expect("runs"), "121");
    let plan =
        value(&context, "SELECT count(*) FROM (VALUES (1), (2), (3)) AS t(n) GROUP BY n + 1 HAVING n + 1 > 3").await;
    assert_eq!(plan.expect("runs"), "1");
}

#[tokio::test]
async fn sums_are_exact_in_any_order() {
    for (sql, expected) in [
        (format!("SELECT sum(n) FROM {VALUES} WHERE g = 'a'"), vec!["9223372036854775807"]),
        (format!("SELECT g, sum(n) FROM {VALUES} WHERE i <> 2 GROUP BY g"), vec!["a|0", "b|9223372036854775807"]),
        (format!("SELECT g, sum(n) FROM {VALUES} WHERE g = 'a' GROUP BY g"), vec!["a|9223372036854775807"]),
        (
            format!("SELECT sum(n) FILTER (WHERE i = 3), sum(n) FILTER (WHERE i = 4) FROM {VALUES}"),
            vec!["|-9223372036854775807"],
        ),
        (
            format!("SELECT g, sum(n) FILTER (WHERE i > 2) FROM {VALUES} GROUP BY g"),
            vec!["a|-9223372036854775807", "b|"],
        ),
        (format!("SELECT sum(DISTINCT n), count(i) FROM {VALUES} WHERE i > 1 AND g = 'b'"), vec!["1|2"]),
        (format!("SELECT sum(DISTINCT n) FROM {VALUES} WHERE g = 'a'"), vec!["0"]),
        ("SELECT sum(n) FROM (VALUES (1)) AS t(n) WHERE false".into(), vec![""]),
        ("SELECT sum(CAST(n AS SMALLINT)) FROM (VALUES (32767), (32767)) AS t(n)".into(), vec!["65534"]),
        ("SELECT sum(CAST(n AS BIGINT UNSIGNED)) FROM (VALUES (1), (2)) AS t(n)".into(), vec!["3"]),
        ("SELECT sum(CAST(n AS DECIMAL(10, 2))) FROM (VALUES (1.25), (2.5)) AS t(n)".into(), vec!["3.75"]),
        ("SELECT sum(CAST(n AS DECIMAL(60, 2))) FROM (VALUES (1.25), (2.5)) AS t(n)".into(), vec!["3.75"]),
        ("SELECT sum(n) FROM (VALUES (0.5), (0.25)) AS t(n)".into(), vec!["0.75"]),
        (format!("SELECT sum(CAST(n AS DECIMAL(38, 0))) FROM {VALUES} WHERE g = 'b'"), vec!["9223372036854775808"]),
        ("SELECT arrow_typeof(sum(CAST(n AS INTEGER))) FROM (VALUES (1)) AS t(n)".into(), vec!["Int64"]),
        (
            "SELECT arrow_typeof(sum(CAST(n AS DECIMAL(5, 2)))) FROM (VALUES (1)) AS t(n)".into(),
            vec!["Decimal128(15, 2)"],
        ),
    ] {
        assert_eq!(
            rows(&sql).await.as_deref(),
            Ok(&expected.iter().map(|&row| row.to_owned()).collect::<Vec<_>>()[..]),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn sums_over_windows_are_exact() {
    let sliding = "ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW";
    let numbers =
        "(VALUES (1, 9223372036854775807), (2, -9223372036854775807), (3, 5), (4, NULL), (5, NULL), (6, 7)) AS t(i, n)";
    let sql = format!("SELECT i, sum(n) OVER ({sliding}) FROM {numbers}");
    let expected = ["1|9223372036854775807", "2|0", "3|-9223372036854775802", "4|5", "5|", "6|7"];
    assert_eq!(rows(&sql).await.as_deref(), Ok(&expected.map(str::to_owned)[..]));
    let sql = format!("SELECT i, sum(n) OVER (ORDER BY i) FROM {numbers}");
    let expected = ["1|9223372036854775807", "2|0", "3|5", "4|5", "5|5", "6|12"];
    assert_eq!(rows(&sql).await.as_deref(), Ok(&expected.map(str::to_owned)[..]));
    let numbers = "(VALUES (1, 3), (2, 3), (3, 4), (4, NULL)) AS t(i, n)";
    let sql = format!("SELECT i, sum(DISTINCT n) OVER ({sliding}) FROM {numbers}");
    assert_eq!(rows(&sql).await.as_deref(), Ok(&["1|3", "2|3", "3|7", "4|4"].map(str::to_owned)[..]));
}

#[tokio::test]
async fn sums_that_do_not_fit_are_refused() {
    let big = "10000000000000000000000000000000000000";
    for (sql, part) in [
        (format!("SELECT sum(n) FROM {VALUES}"), "the sum does not fit into BIGINT"),
        (format!("SELECT g, sum(n) FROM {VALUES} GROUP BY g"), "the sum does not fit into BIGINT"),
        (format!("SELECT sum(DISTINCT n), count(i) FROM {VALUES} WHERE g = 'b'"), "the sum does not fit into BIGINT"),
        (format!("SELECT sum(n) OVER (ORDER BY i) FROM {VALUES} WHERE g = 'b'"), "the sum does not fit into BIGINT"),
        (
            format!(
                "SELECT sum(n) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM {VALUES} WHERE g = 'b'"
            ),
            "the sum does not fit into BIGINT",
        ),
        (
            "SELECT sum(n) FROM (VALUES (18446744073709551615), (18446744073709551615)) AS t(n)".into(),
            "does not fit into UBIGINT",
        ),
        (
            format!("SELECT sum(CAST('{big}' AS DECIMAL(38, 0))) FROM generate_series(1, 11)"),
            "the sum does not fit into DECIMAL(38,0)",
        ),
        (
            format!("SELECT sum(CAST('{big}' AS DECIMAL(38, 0))) FROM generate_series(1, 1000)"),
            "the sum does not fit into DECIMAL(38,0)",
        ),
    ] {
        refused(&sql, part).await;
    }
}

/// As without groups: NaN stands behind the numbers.
#[tokio::test]
async fn extremes_of_groups_are_those_of_all_rows() {
    let floats = "(VALUES ('a', 1.0), ('a', CAST('NaN' AS DOUBLE)), ('a', 2.0), ('b', CAST('-Infinity' AS DOUBLE)), ('b', NULL), \
                  ('c', NULL), ('d', CAST('Infinity' AS DOUBLE)), ('d', CAST('NaN' AS DOUBLE)), ('e', CAST('NaN' AS DOUBLE))) AS t(g, v)";
    let expected = ["a|NaN|1.0", "b|-inf|-inf", "c||", "d|NaN|inf", "e|NaN|NaN"];
    for of in ["v", "CAST(v AS REAL)"] {
        let sql = format!("SELECT g, max({of}), min({of}) FROM {floats} GROUP BY g");
        assert_eq!(rows(&sql).await.as_deref(), Ok(&expected.map(str::to_owned)[..]), "{sql}");
        let sql = format!("SELECT 'a', max({of}), min({of}) FROM {floats} WHERE g = 'a'");
        assert_eq!(
            rows(&sql).await.as_deref(),
            Ok(&expected[..1].iter().map(|row| (*row).to_owned()).collect::<Vec<_>>()[..])
        );
    }
    let sql = format!("SELECT g, max(v) FILTER (WHERE v < 2) FROM {floats} GROUP BY g");
    let expected = ["a|1.0", "b|-inf", "c|", "d|", "e|"];
    assert_eq!(rows(&sql).await.as_deref(), Ok(&expected.map(str::to_owned)[..]));
    let sql =
        "SELECT g, max(v), min(s) FROM (VALUES (1, 5, 'x'), (1, 7, 'a'), (2, NULL, NULL)) AS t(g, v, s) GROUP BY g";
    assert_eq!(rows(sql).await.as_deref(), Ok(&["1|7|a", "2||"].map(str::to_owned)[..]));
}

#[tokio::test]
async fn now_is_as_fine_as_a_column() {
    assert_eq!(value(&context("UTC"), "SELECT arrow_typeof(now())").await.expect("runs"), "Timestamp(µs, \"UTC\")");
    let end = "arrow_cast('9999-12-31T00:00:00', 'Timestamp(Microsecond, None)')";
    for sql in
        [format!("SELECT {end} > now()"), format!("SELECT {end} > current_timestamp"), "SELECT now() = now()".into()]
    {
        assert_eq!(value(&context("UTC"), &sql).await.expect("runs"), "true", "{sql}");
    }
}
