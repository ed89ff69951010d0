//! Is a TIMESTAMP in a query what it is in a table? And are names and series read as SQL means them?

use datafusion::sql::parser::Statement as Parsed;

use super::{front_end, on_big_stack, without_names};
use crate::statement::Kind;

pub(super) fn shown(sql: &str) -> String {
    let sql = sql.to_string();
    on_big_stack(move || match front_end(&sql).map(|statement| statement.kind) {
        Ok(Kind::Query(query)) => match *query {
            Parsed::Statement(query) => without_names(&query.to_string()),
            other => without_names(&other.to_string()),
        },
        other => panic!("{sql}: {other:?}"),
    })
}

#[test]
fn fetch_first_is_a_limit() {
    for (sql, expected) in [
        ("SELECT a FROM t ORDER BY a FETCH FIRST 10 ROWS ONLY", "SELECT a FROM t ORDER BY a LIMIT 10"),
        ("SELECT a FROM t FETCH NEXT ROW ONLY", "SELECT a FROM t LIMIT 1"),
        ("SELECT a FROM t OFFSET 5 ROWS FETCH NEXT 10 ROWS ONLY", "SELECT a FROM t LIMIT 10 OFFSET 5 ROWS"),
        (
            "SELECT * FROM (SELECT a FROM t FETCH FIRST 2 ROWS ONLY) AS s",
            "SELECT * FROM (SELECT a FROM t LIMIT 2) AS s",
        ),
        ("SELECT a FROM t FETCH FIRST 2 ROWS WITH TIES", "SELECT a FROM t FETCH FIRST 2 ROWS WITH TIES"),
        ("SELECT a FROM t FETCH FIRST 2 PERCENT ROWS ONLY", "SELECT a FROM t FETCH FIRST 2 PERCENT ROWS ONLY"),
    ] {
        assert_eq!(shown(sql), expected);
    }
}

#[test]
fn value_is_a_column_behind_case_and_not() {
    for sql in [
        "SELECT repeat('ä', CASE value WHEN 5 THEN 2 ELSE 3 END) FROM t",
        "SELECT count_if(NOT value AND b) FROM t",
        "SELECT upper(value), f(a, CASE WHEN value THEN 1 END) FROM t",
    ] {
        assert_eq!(shown(sql), sql);
    }
    assert_eq!(shown("SELECT f(case\n VALUE when 1 then 2 end)"), "SELECT f(CASE VALUE WHEN 1 THEN 2 END)");
}

#[test]
fn a_series_with_parameters_is_a_list() {
    for (sql, expected) in [
        (
            "SELECT * FROM generate_series(1, ?)",
            "SELECT * FROM (SELECT unnest(generate_series(1, CAST($1 AS BIGINT))) AS value)",
        ),
        (
            "SELECT v FROM t JOIN RANGE($2, $1 + 1) AS r (v) ON true",
            "SELECT v FROM t JOIN (SELECT unnest(range(CAST($2 AS BIGINT), CAST($1 AS BIGINT) + 1)) AS value) AS r (v) ON true",
        ),
        (
            "SELECT * FROM generate_series(?, ?, INTERVAL '1 day')",
            "SELECT * FROM (SELECT unnest(generate_series(CAST($1 AS TIMESTAMP(6)), CAST($2 AS TIMESTAMP(6)), \
             INTERVAL '1 day')) AS value)",
        ),
        ("SELECT * FROM generate_series(1, 3), t WHERE a = ?", "SELECT * FROM generate_series(1, 3), t WHERE a = $1"),
        // What has a type keeps it, and what stands elsewhere has none of the series.
        (
            "SELECT * FROM generate_series(DATE '2020-01-01', $1::TIMESTAMP(3), $2)",
            "SELECT * FROM (SELECT unnest(generate_series(DATE '2020-01-01', $1::TIMESTAMP(3), \
             CAST($2 AS INTERVAL))) AS value)",
        ),
        (
            "SELECT * FROM generate_series(length(?), (SELECT max(n) FROM t WHERE name = ?), -(?))",
            "SELECT * FROM (SELECT unnest(generate_series(length($1), (SELECT max(n) FROM t WHERE name = $2), \
             -(CAST($3 AS BIGINT)))) AS value)",
        ),
        (
            "SELECT * FROM range(?, ?, ? * INTERVAL '1 day')",
            "SELECT * FROM (SELECT unnest(range(CAST($1 AS TIMESTAMP(6)), CAST($2 AS TIMESTAMP(6)), \
             $3 * INTERVAL '1 day')) AS value)",
        ),
    ] {
        assert_eq!(shown(sql), expected);
    }
}

#[test]
fn timestamps_without_a_precision_have_microseconds() {
    for (sql, expected) in [
        ("SELECT CAST(a AS TIMESTAMP)", "SELECT CAST(a AS TIMESTAMP(6))"),
        ("SELECT a::TIMESTAMPTZ", "SELECT a::TIMESTAMPTZ(6)"),
        ("SELECT TRY_CAST(a AS TIMESTAMP WITH TIME ZONE)", "SELECT TRY_CAST(a AS TIMESTAMP(6) WITH TIME ZONE)"),
        ("SELECT CAST(a AS TIMESTAMP(9))", "SELECT CAST(a AS TIMESTAMP(9))"),
        ("SELECT CAST(a AS DATETIME)", "SELECT CAST(a AS TIMESTAMP(6))"),
        ("SELECT CAST(a AS TIMESTAMP[])", "SELECT CAST(a AS TIMESTAMP(6)[])"),
        ("SELECT 1 WHERE a < TIMESTAMP '9999-12-31'", "SELECT 1 WHERE a < TIMESTAMP(6) '9999-12-31'"),
        ("VALUES (TIMESTAMPTZ '0001-01-01')", "VALUES (TIMESTAMPTZ(6) '0001-01-01')"),
        (
            "WITH t AS (SELECT TIMESTAMP '2020-01-01') SELECT (SELECT max(a::TIMESTAMP) FROM t)",
            "WITH t AS (SELECT TIMESTAMP(6) '2020-01-01') SELECT (SELECT max(a::TIMESTAMP(6)) FROM t)",
        ),
    ] {
        assert_eq!(shown(sql), expected);
        // As a view is stored.
        assert_eq!(shown(expected), expected);
    }
    // A series of times is made of nanoseconds, and only of those.
    let series = "SELECT * FROM generate_series(TIMESTAMP '2020-01-01', TIMESTAMP '2020-01-02', INTERVAL '1 day')";
    assert_eq!(shown(series), series);
    assert!(shown("EXPLAIN SELECT TIMESTAMP '2020-01-01'").contains("TIMESTAMP(6)"));
}
