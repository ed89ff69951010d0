//! How are the columns of an answer called, and may two be called the same? On every way that tells them: prepared, planned, and with the rows.

mod support;

use arrow::datatypes::Schema;
use support::{Fixture, collect};
use tidewater_query::{Code, PlannedKind, Session};

const TABLES: [&str; 4] = [
    "CREATE TABLE t (id BIGINT PRIMARY KEY, city VARCHAR, v DOUBLE, at TIMESTAMP, \"Odd\" BIGINT)",
    "CREATE TABLE u (id BIGINT PRIMARY KEY, t_id BIGINT, v DOUBLE)",
    "INSERT INTO t VALUES (1, 'a', 1.5, '2026-01-01', 7), (2, 'b', 2.5, '2026-01-02', 8)",
    "INSERT INTO u VALUES (10, 1, 10), (11, 1, 20), (12, 2, 30)",
];

fn names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// What the statement's columns are called; its rows end.
async fn called(fixture: &Fixture, session: &Session, sql: &str) -> Vec<String> {
    let prepared = fixture.engine.prepare(session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let planned = fixture.plan(session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let PlannedKind::Rows { schema, pending } = planned.kind else { panic!("{sql} gives no rows") };
    assert_eq!(prepared.dataset_schema, schema, "{sql}");
    // Every batch has the announced schema.
    let batches = collect(pending.start().await.expect(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(batches.iter().all(|batch| batch.schema() == schema), "{sql}");
    names(&schema)
}

fn check(cases: &[(&str, &[&str])]) {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for sql in TABLES {
            fixture.run(&session, sql).await.expect(sql);
        }
        for (sql, expected) in cases {
            assert_eq!(called(&fixture, &session, sql).await, *expected, "{sql}");
        }
    });
}

#[test]
fn a_column_without_a_name_is_called_as_it_is_written() {
    check(&[
        ("SELECT 1", &["1"]),
        ("SELECT 1.50, 'x', NULL, true", &["1.50", "'x'", "NULL", "true"]),
        ("SELECT 1 + 1, -v FROM t", &["1 + 1", "-v"]),
        ("SELECT count(*) FROM t", &["count(*)"]),
        ("SELECT COUNT(*), Sum(v) FROM t", &["COUNT(*)", "Sum(v)"]),
        ("SELECT sum(t.v) FROM t", &["sum(t.v)"]),
        ("SELECT CAST(1 AS TEXT), 1::BIGINT", &["CAST(1 AS TEXT)", "1::BIGINT"]),
        ("SELECT TIMESTAMP '2026-01-01 00:00:00'", &["TIMESTAMP '2026-01-01 00:00:00'"]),
        ("SELECT mod(7, 4), 'n' || 7 % 4", &["mod(7, 4)", "'n' || 7 % 4"]),
        ("SELECT (SELECT max(v) FROM u)", &["(SELECT max(v) FROM u)"]),
        ("SELECT row_number() OVER (ORDER BY id) FROM t", &["row_number() OVER (ORDER BY id)"]),
        ("SELECT current_schema, current_user", &["current_schema", "current_user"]),
        ("SELECT unnest([1, 2])", &["unnest([1, 2])"]),
        ("SELECT CASE WHEN v > 1 THEN 'x' END FROM t", &["CASE WHEN v > 1 THEN 'x' END"]),
        ("SELECT 1 UNION ALL SELECT 2", &["1"]),
        ("(SELECT 1) UNION (SELECT 2) ORDER BY 1", &["1"]),
        ("VALUES (1, 2)", &["column1", "column2"]),
        ("SHOW timezone", &["timezone"]),
    ]);
}

#[test]
fn a_column_has_its_own_name() {
    check(&[
        ("SELECT id, t.city, public.t.v, (at) FROM t", &["id", "city", "v", "at"]),
        ("SELECT ID, \"Odd\" FROM t", &["id", "Odd"]),
        ("SELECT * FROM t", &["id", "city", "v", "at", "Odd"]),
        ("SELECT v AS X, v AS \"X\" FROM t", &["x", "X"]),
        ("SELECT s.a FROM (SELECT named_struct('a', 1) AS s) AS q", &["a"]),
    ]);
}

#[test]
fn two_columns_may_be_called_the_same() {
    check(&[
        ("SELECT 1 AS a, 2 AS a", &["a", "a"]),
        ("SELECT 1, 1, 1", &["1", "1", "1"]),
        (
            "SELECT CAST(1 AS TEXT), CAST(1 AS FLOAT), CAST(1 AS TEXT)",
            &["CAST(1 AS TEXT)", "CAST(1 AS FLOAT)", "CAST(1 AS TEXT)"],
        ),
        ("SELECT count(*), (SELECT count(*) FROM u) FROM t", &["count(*)", "(SELECT count(*) FROM u)"]),
        ("SELECT id, id, t.id FROM t ORDER BY id", &["id", "id", "id"]),
        ("SELECT t.id, u.id FROM t JOIN u ON u.t_id = t.id ORDER BY u.id, t.id", &["id", "id"]),
        ("SELECT t.id, u.id, count(*) FROM t JOIN u ON u.t_id = t.id GROUP BY t.id, u.id", &["id", "id", "count(*)"]),
        ("SELECT t.*, u.* FROM t JOIN u ON u.t_id = t.id", &["id", "city", "v", "at", "Odd", "id", "t_id", "v"]),
        ("SELECT *, id FROM u", &["id", "t_id", "v", "id"]),
        ("SELECT *, * FROM u ORDER BY id", &["id", "t_id", "v", "id", "t_id", "v"]),
        ("SELECT u.*, 1 AS id, *, id FROM u", &["id", "t_id", "v", "id", "id", "t_id", "v", "id"]),
        (
            "SELECT *, u.* FROM t JOIN u ON u.t_id = t.id",
            &["id", "city", "v", "at", "Odd", "id", "t_id", "v", "id", "t_id", "v"],
        ),
        ("SELECT *, v * 2 AS v, 1 AS z FROM u ORDER BY z, id", &["id", "t_id", "v", "v", "z"]),
        ("SELECT DISTINCT city, city FROM t ORDER BY 1", &["city", "city"]),
        ("SELECT 1 AS a, 2 AS a UNION ALL SELECT 3 AS b, 4 AS b", &["a", "a"]),
        ("SELECT 1 AS a, 2 AS \"a:2\", 3 AS a", &["a", "a:2", "a"]),
        ("WITH w(x, y) AS (SELECT 1, 1) SELECT x, y, x FROM w", &["x", "y", "x"]),
    ]);
}

#[test]
fn names_are_known_where_a_query_is_a_part_of_another() {
    check(&[
        ("SELECT \"sum(v)\" FROM (SELECT city, sum(v) FROM t GROUP BY city) AS q", &["sum(v)"]),
        ("SELECT * FROM (SELECT sum(v), count(*) FROM t) AS q", &["sum(v)", "count(*)"]),
        ("WITH w AS (SELECT max(id) FROM t) SELECT \"max(id)\" + 1 FROM w", &["\"max(id)\" + 1"]),
        ("SELECT city, sum(v) FROM t GROUP BY city ORDER BY sum(v) DESC", &["city", "sum(v)"]),
        ("SELECT city AS c, sum(v) AS s FROM t GROUP BY c HAVING sum(v) > 0 ORDER BY s", &["c", "s"]),
        ("SELECT v + 1 FROM t GROUP BY v + 1 ORDER BY v + 1", &["v + 1"]),
        ("SELECT DISTINCT v + 1 FROM t ORDER BY v + 1", &["v + 1"]),
        ("SELECT DISTINCT Abs(V) FROM t ORDER BY abs(v)", &["Abs(V)"]),
        ("SELECT DISTINCT count(*) FROM t GROUP BY city ORDER BY count(*)", &["count(*)"]),
        ("SELECT DISTINCT t.id, u.id FROM t JOIN u ON u.t_id = t.id ORDER BY u.id DESC", &["id", "id"]),
        ("SELECT date_trunc('day', at), sum(v) FROM t GROUP BY 1 ORDER BY 1", &["date_trunc('day', at)", "sum(v)"]),
        ("SELECT sum(v) FROM t UNION ALL BY NAME SELECT sum(v) FROM u", &["sum(v)"]),
    ]);
}

#[test]
fn a_long_text_is_cut() {
    let sum = ["1"; 100].join(" + ");
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let found = called(&fixture, &session, &format!("SELECT {sum}, {sum}")).await;
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0].chars().count(), 120);
        assert!(found[0].starts_with("1 + 1 + 1") && found[0].ends_with('…'), "{}", found[0]);
        // Within a query they stay apart.
        let sql = format!("SELECT * FROM (SELECT {sum}, {sum} + 1) AS q");
        assert_eq!(called(&fixture, &session, &sql).await.len(), 2);
    });
}

/// A table, and a view, have each name once.
#[test]
fn what_is_stored_has_each_name_once() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for what in ["TABLE", "VIEW"] {
            for (columns, name) in [("1 AS a, 2 AS a", "a"), ("1 + 1, 1 + 1", "1 + 1")] {
                let error = fixture.run(&session, &format!("CREATE {what} x AS SELECT {columns}")).await;
                let error = error.expect_err(columns);
                assert_eq!(error.code(), Code::InvalidStatement, "{error}");
                assert!(error.message().contains(name), "{error}");
            }
        }
        // Names of a table's columns have no spaces.
        for (what, columns, first) in [("TABLE", "1, 2 AS b", "1"), ("VIEW", "1 + 1, 2 AS b", "1 + 1")] {
            fixture.run(&session, &format!("CREATE {what} n_{what} AS SELECT {columns}")).await.expect("created");
            let found = called(&fixture, &session, &format!("SELECT * FROM n_{what}")).await;
            assert_eq!(found, [first, "b"], "{what}");
        }
        // Rows go by their place.
        fixture.run(&session, "CREATE TABLE y (a BIGINT, b BIGINT)").await.expect("created");
        fixture.run(&session, "INSERT INTO y SELECT 1 AS n, 2 AS n").await.expect("inserted");
        assert_eq!(fixture.run(&session, "SELECT a, b FROM y").await.expect("read"), ["1|2"]);
    });
}

#[test]
fn two_columns_of_one_name_are_called_so_in_set_operations_too() {
    const BOTH: [&str; 7] = ["id", "city", "v", "at", "Odd", "t_id", "v"];
    check(&[
        ("SELECT * FROM t JOIN u USING (id) UNION ALL SELECT * FROM t JOIN u USING (id)", &BOTH),
        ("SELECT * FROM t JOIN u USING (id) EXCEPT SELECT * FROM t JOIN u USING (id)", &BOTH),
        ("SELECT * FROM t JOIN u USING (id) INTERSECT SELECT * FROM t JOIN u USING (id) ORDER BY id", &BOTH),
        ("SELECT (id) FROM t FULL JOIN u USING (id)", &["id"]),
        ("SELECT public.t.v, u.v FROM public.t, u", &["v", "v"]),
    ]);
}
