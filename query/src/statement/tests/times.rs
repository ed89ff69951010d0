//! Is a TIMESTAMP in a query what it is in a table?

use datafusion::sql::parser::Statement as Parsed;

use super::{front_end, on_big_stack};
use crate::statement::Kind;

fn shown(sql: &str) -> String {
    let sql = sql.to_string();
    on_big_stack(move || match front_end(&sql).map(|statement| statement.kind) {
        Ok(Kind::Query(query)) => match *query {
            Parsed::Statement(query) => query.to_string(),
            other => other.to_string(),
        },
        other => panic!("{sql}: {other:?}"),
    })
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
    assert!(shown("EXPLAIN SELECT TIMESTAMP '2020-01-01'").contains("TIMESTAMP(6)"));
}
