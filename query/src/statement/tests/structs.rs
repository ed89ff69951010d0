//! Is `STRUCT(…)` with fields the type, and with values the call?

use super::read;
use super::times::shown;

#[test]
fn fields_in_parentheses_are_those_in_angle_brackets() {
    for (sql, expected) in [
        ("SELECT CAST(x AS STRUCT(a INT))", "SELECT CAST(x AS STRUCT<a INT>)"),
        ("SELECT x::struct( a Int ), (1)", "SELECT x::STRUCT<a INT>, (1)"),
        ("SELECT CAST(x AS STRUCT(a STRUCT(b INT)))", "SELECT CAST(x AS STRUCT<a STRUCT<b INT>>)"),
        ("SELECT x::STRUCT(a STRUCT(b DECIMAL(5, 2))[])[]", "SELECT x::STRUCT<a STRUCT<b DECIMAL(5,2)>[]>[]"),
        (r#"SELECT x::STRUCT("A" INT, b VARCHAR)"#, r#"SELECT x::STRUCT<"A" INT, b VARCHAR>"#),
    ] {
        assert_eq!(shown(sql), expected);
        // As a view is stored.
        assert_eq!(shown(expected), expected);
    }
    let table = |columns: &str| read(&format!("CREATE TABLE t ({columns})")).expect(columns);
    assert_eq!(table("s STRUCT(a INT, b STRUCT(c INT)[]), d INT"), table("s STRUCT<a INT, b STRUCT<c INT>[]>, d INT"));
}

#[test]
fn calls_stay_calls() {
    for sql in [
        "SELECT struct(1, 2)",
        "SELECT struct(a, b) FROM t",
        "SELECT struct(a AS b) FROM t",
        "SELECT struct(a IS NULL, b) FROM t",
        "SELECT struct(a AND b) FROM t",
        "SELECT struct(a NOT IN (1, 2)) FROM t",
        "SELECT struct(NOT a) FROM t",
        "SELECT struct(CASE a WHEN 1 THEN 2 END) FROM t",
        "SELECT struct(INTERVAL '1 day', DATE '2020-01-01')",
        "SELECT struct(a AT TIME ZONE 'UTC') FROM t",
    ] {
        let text = shown(sql);
        assert!(text.to_lowercase().starts_with("select struct("), "{sql}: {text}");
    }
}

#[test]
fn what_is_not_closed_is_an_error() {
    for sql in ["SELECT x::STRUCT(a INT", "SELECT x::STRUCT(a INT))", "CREATE TABLE t (s STRUCT(a INT)"] {
        read(sql).expect_err(sql);
    }
}
