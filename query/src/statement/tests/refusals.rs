//! Is everything that is not ours refused, with its code and what to do instead?

use tidewater_storage::Code;

use super::read;

#[test]
fn statements_that_are_not_ours_say_what_to_do_instead() {
    let mut wrong = Vec::new();
    for (sql, part) in [
        ("DELETE FROM t WHERE false", "TRUNCATE"),
        ("UPDATE t SET a = 1", "rows are events"),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "first row of a key wins"),
        ("ALTER TABLE t ADD COLUMN b INT", "not supported yet"),
        ("BEGIN", "autocommit"),
        ("COMMIT", "autocommit"),
        ("ROLLBACK", "autocommit"),
        ("SET TRANSACTION READ ONLY", "autocommit"),
        ("COPY t TO '/tmp/x.csv'", "COPY"),
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "COPY"),
        ("PREPARE p AS SELECT 1", "prepared statements"),
        ("EXECUTE p", "prepared statements"),
        ("DEALLOCATE p", "prepared statements"),
        ("LOCK TABLE t", "LOCK"),
        ("CREATE INDEX i ON t (a)", "sort_by"),
        ("CREATE SCHEMA s", "makes its schema"),
        ("CREATE DATABASE d", "makes its schema"),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "use a view"),
        ("CREATE VIEW v (a) AS SELECT 1", "AS"),
        ("CREATE FUNCTION f() RETURNS INT RETURN 1", "view"),
        ("DROP TABLE t CASCADE", "leave it out"),
        ("DROP SCHEMA s", "DROP TABLE"),
        ("SELECT * INTO u FROM t", "INSERT INTO … SELECT"),
        ("SELECT * FROM t TABLESAMPLE (10 PERCENT)", "TABLESAMPLE"),
        ("SELECT * FROM (SELECT * FROM t TABLESAMPLE (10 ROWS)) AS x", "TABLESAMPLE"),
        ("SELECT * FROM t FOR UPDATE", "snapshot"),
        ("EXPLAIN SELECT * FROM t TABLESAMPLE (10 PERCENT)", "TABLESAMPLE"),
        ("EXPLAIN INSERT INTO t VALUES (1)", "explain the SELECT"),
        ("EXPLAIN ANALYZE DELETE FROM t", "DELETE"),
        ("EXPLAIN COPY t TO '/tmp/x'", "explain a SELECT"),
        ("WITH x AS (INSERT INTO t VALUES (1)) SELECT * FROM x", "statement of its own"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "first row of a key wins"),
        ("INSERT INTO t VALUES (1) RETURNING a", "RETURNING"),
        ("INSERT OVERWRITE t VALUES (1)", "TRUNCATE"),
        ("REPLACE INTO t VALUES (1)", "first row of a key wins"),
        ("INSERT INTO t DEFAULT VALUES", "VALUES"),
        ("USE s", "SET schema"),
        ("CALL seal('t')", "not supported yet"),
        ("GRANT SELECT ON t TO u", "tidewater user"),
        ("KILL 1", "cancel"),
        ("VACUUM t", "not needed"),
        ("SHOW CREATE TABLE t", "DESCRIBE"),
        ("ATTACH DATABASE 'x' AS y", "is not supported"),
        ("LOAD spatial", "is not supported"),
        ("PRAGMA x", "is not supported"),
        ("SET LOCAL timezone = 'UTC'", "session"),
    ] {
        match read(sql) {
            Err((Code::UnsupportedStatement, error)) if error.contains(part) => {}
            other => wrong.push(format!("{sql}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wrong_statements_have_their_codes() {
    for (sql, code) in [
        ("", Code::SyntaxError),
        (";;", Code::SyntaxError),
        ("SELEC 1", Code::SyntaxError),
        ("COPY t FROM '/etc/passwd'", Code::SyntaxError),
        ("SELECT 'open", Code::SyntaxError),
        ("SELECT 1; SELECT 2", Code::InvalidStatement),
        ("INSERT INTO t (a, A) VALUES (1, 2)", Code::InvalidStatement),
        ("DROP TABLE other.public.t", Code::SchemaNotFound),
        ("DROP TABLE a.b.c.d", Code::InvalidName),
        ("SET timezone = 1 + 1", Code::InvalidSetting),
        ("DROP TABLE $1", Code::SyntaxError),
    ] {
        let (got, error) = read(sql).expect_err(sql);
        assert_eq!(got, code, "{sql}: {error}");
    }
}
