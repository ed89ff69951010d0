//! Which tables does a statement read, when some of its names are its own?

use tidewater_storage::Code;

use super::{front_end, on_big_stack, read};

#[test]
fn with_nests_a_few_levels() {
    let nested = |n: usize| format!("{}SELECT 1{}", "WITH a AS (".repeat(n), ") SELECT * FROM a".repeat(n));
    assert_eq!(read(&nested(8)).err(), None);
    assert_eq!(read(&nested(9)).map_err(|(code, _)| code), Err(Code::StatementTooComplex));
    let beside = (1..200).map(|i| format!("a{i} AS (SELECT * FROM a{})", i - 1)).collect::<Vec<_>>().join(", ");
    assert_eq!(read(&format!("WITH a0 AS (SELECT 1), {beside} SELECT * FROM a199")).err(), None);
}

/// The names that a statement reads, sorted.
fn reads(sql: &str) -> Vec<String> {
    let sql = sql.to_string();
    on_big_stack(move || {
        let statement = front_end(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut names: Vec<_> = statement.reads("public").iter().map(ToString::to_string).collect();
        names.sort();
        names
    })
}

#[test]
fn names_of_with_are_in_scope_behind_their_query() {
    for (sql, expected) in [
        ("SELECT * FROM a, s.b JOIN tidewater.s.c ON true", vec!["public.a", "s.b", "s.c"]),
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t", vec!["public.t"]),
        ("WITH t AS (SELECT 1) SELECT * FROM t", vec![]),
        ("WITH t AS (SELECT 1) SELECT * FROM public.t", vec!["public.t"]),
        ("WITH T AS (SELECT 1) SELECT * FROM t, \"T\"", vec!["public.T"]),
        // A name is there for those that follow, not for those before it.
        ("WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM a, b", vec!["public.b"]),
        ("WITH a AS (SELECT * FROM a), b AS (SELECT * FROM a, b) SELECT * FROM b", vec!["public.a", "public.b"]),
        // A name of a subquery says nothing outside of it, and one from outside holds in all of them.
        ("SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) AS x, t", vec!["public.t"]),
        ("SELECT * FROM t WHERE EXISTS (WITH t AS (SELECT 1) SELECT * FROM t)", vec!["public.t"]),
        ("WITH t AS (SELECT 1) SELECT (SELECT max(a) FROM t) FROM u WHERE a IN (SELECT a FROM t)", vec!["public.u"]),
        ("WITH t AS (WITH u AS (SELECT * FROM t) SELECT * FROM u) SELECT * FROM t, u", vec!["public.t", "public.u"]),
        ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT a FROM r, t) SELECT * FROM r", vec!["public.t"]),
        ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT * FROM b) SELECT * FROM a", vec!["public.b"]),
        ("EXPLAIN ANALYZE WITH t AS (SELECT * FROM t) SELECT * FROM t", vec!["public.t"]),
        ("INSERT INTO target WITH t AS (SELECT * FROM t) SELECT * FROM t", vec!["public.t"]),
        ("CREATE VIEW v AS WITH t AS (SELECT * FROM t) SELECT * FROM t", vec!["public.t"]),
        ("DELETE FROM t WHERE a IN (SELECT a FROM s.u)", vec!["public.t", "s.u"]),
        ("DELETE FROM t AS x WHERE EXISTS (WITH u AS (SELECT 1) SELECT * FROM u, t)", vec!["public.t"]),
        ("ALTER TABLE t RENAME TO u", vec![]),
        ("CALL seal('t')", vec![]),
        ("DESCRIBE t", vec!["public.t"]),
        ("DROP TABLE t", vec![]),
    ] {
        assert_eq!(reads(sql), expected, "{sql}");
    }
}
