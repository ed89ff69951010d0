//! Is everything that is not ours refused, with its code and what to do instead?

use tidewater_storage::Code;

use super::read;

#[test]
fn statements_that_are_not_ours_say_what_to_do_instead() {
    let mut wrong = Vec::new();
    for (sql, part) in [
        ("DELETE FROM t LIMIT 1", "LIMIT"),
        ("DELETE FROM t WHERE a > 1 ORDER BY a", "ORDER BY"),
        ("DELETE FROM t USING u WHERE t.a = u.a", "USING"),
        ("DELETE FROM t WHERE a > 1 RETURNING a", "RETURNING"),
        ("DELETE t WHERE a = 1", "DELETE FROM"),
        ("DELETE FROM t, u", "one at a time"),
        ("DELETE FROM t JOIN u ON t.a = u.a", "EXISTS"),
        ("DELETE FROM (SELECT 1) AS x", "name the table"),
        ("DELETE FROM t AS x (a)", "alias"),
        ("DELETE FROM t TABLESAMPLE (10 PERCENT)", "TABLESAMPLE"),
        ("DELETE FROM t WHERE a IN (SELECT a FROM u TABLESAMPLE (10 ROWS))", "TABLESAMPLE"),
        ("UPDATE t SET a = 1", "rows are events"),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "first row of a key wins"),
        ("ALTER TABLE t ADD COLUMN b INT NOT NULL", "no value for it"),
        ("ALTER TABLE t ADD COLUMN b INT DEFAULT 1", "written again"),
        ("ALTER TABLE t ADD COLUMN b INT PRIMARY KEY", "as it was created"),
        ("ALTER TABLE t ADD COLUMN b INT CHECK (b > 1)", "CHECK"),
        ("ALTER TABLE t ADD COLUMN b INT FIRST", "is the last"),
        ("ALTER TABLE t ADD COLUMN b INT, ADD COLUMN c INT", "a statement of its own"),
        ("ALTER TABLE t DROP COLUMN b", "DROP COLUMN"),
        ("ALTER TABLE t RENAME COLUMN a TO b", "RENAME COLUMN"),
        ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", "SET NOT NULL"),
        ("ALTER TABLE t ALTER COLUMN a SET DEFAULT 1", "DEFAULT"),
        ("ALTER TABLE t ALTER COLUMN a DROP DEFAULT", "DEFAULT"),
        ("ALTER TABLE t MODIFY COLUMN a BIGINT", "ALTER COLUMN"),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", "constraints"),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", "constraints"),
        ("ALTER TABLE t RENAME TO other.u", "another schema"),
        ("ALTER TABLE t OWNER TO me", "tidewater user"),
        ("ALTER TABLE t SWAP WITH u", "RENAME TO"),
        ("ALTER TABLE t ENABLE TRIGGER x", "ENABLE TRIGGER"),
        ("ALTER TABLE ONLY t ADD COLUMN b INT", "an option"),
        ("ALTER VIEW v AS SELECT 1", "CREATE OR REPLACE VIEW"),
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
        ("EXPLAIN ANALYZE DELETE FROM t", "explain a SELECT"),
        ("EXPLAIN CALL seal('t')", "explain a SELECT"),
        ("WITH x AS (DELETE FROM t) SELECT * FROM x", "statement of its own"),
        ("EXPLAIN COPY t TO '/tmp/x'", "explain a SELECT"),
        ("WITH x AS (INSERT INTO t VALUES (1)) SELECT * FROM x", "statement of its own"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "first row of a key wins"),
        ("INSERT INTO t VALUES (1) RETURNING a", "RETURNING"),
        ("INSERT INTO t VALUES ((SELECT max(a) + 1 FROM t), 2)", "INSERT INTO t SELECT"),
        ("SELECT * FROM (VALUES (1), (2 * (1 + (SELECT 1)))) AS v(a)", "a subquery in VALUES"),
        ("VALUES (EXISTS (SELECT 1))", "a subquery in VALUES"),
        ("VALUES (1 IN (SELECT 1))", "a subquery in VALUES"),
        ("INSERT OVERWRITE t VALUES (1)", "TRUNCATE"),
        ("REPLACE INTO t VALUES (1)", "first row of a key wins"),
        ("INSERT INTO t DEFAULT VALUES", "VALUES"),
        ("USE s", "SET schema"),
        (
            "CALL nix('t')",
            "there are build('table'), seal('table'), compact('table'), verify('table'), give_up('table')",
        ),
        ("CALL public.seal('t')", "there is no procedure 'public.seal'"),
        ("CREATE USER anna PASSWORD 'y'", "tidewater user create"),
        ("create or replace user anna", "tidewater user create"),
        ("CREATE USER anna WITH ENCRYPTED PASSWORD 'y' VALID UNTIL '2030-01-01'", "tidewater user create"),
        ("CREATE USER IF NOT EXISTS anna IDENTIFIED BY 'y'", "tidewater user create"),
        ("CREATE USER 'anna'@'%' IDENTIFIED BY 'y'", "tidewater user create"),
        ("/* a */ ALTER USER anna WITH PASSWORD 'y'", "tidewater user alter NAME, with --password"),
        ("ALTER USER", "tidewater user alter"),
        ("DROP USER IF EXISTS anna CASCADE;", "tidewater user drop"),
        ("CREATE ROLE r LOGIN", "the roles are reader, writer and admin"),
        ("CREATE OR REPLACE ROLE r", "the roles are reader"),
        ("ALTER ROLE r RENAME TO s", "the roles are reader"),
        ("DROP ROLE r", "the roles are reader"),
        (";GRANT SELECT ON t TO u", "--grant ROLE:TABLES"),
        ("GRANT reader ON TABLES LIKE 'a%'", "--grant ROLE:TABLES"),
        ("REVOKE ALL ON t FROM u", "--grant ROLE:TABLES"),
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
        // Names that are words of the others.
        ("\"GRANT\" SELECT", Code::SyntaxError),
        ("CREATE \"USER\" u", Code::SyntaxError),
        ("COPY t FROM '/etc/passwd'", Code::SyntaxError),
        ("SELECT 'open", Code::SyntaxError),
        ("SELECT 1; SELECT 2", Code::InvalidStatement),
        ("INSERT INTO t (a, A) VALUES (1, 2)", Code::InvalidStatement),
        ("DROP TABLE other.public.t", Code::SchemaNotFound),
        ("DROP TABLE a.b.c.d", Code::InvalidName),
        ("SET timezone = 1 + 1", Code::InvalidSetting),
        ("DROP TABLE $1", Code::SyntaxError),
        ("DELETE FROM t WHERE", Code::SyntaxError),
        ("DELETE FROM other.public.t", Code::SchemaNotFound),
        // The catalog under which a DELETE looks for its own table.
        ("DELETE FROM locator.public.t", Code::SchemaNotFound),
        ("DELETE FROM t WHERE a IN (SELECT _row FROM locator.public.t)", Code::SchemaNotFound),
        ("ALTER TABLE t SET (a = 1, A = 2)", Code::InvalidOption),
        ("ALTER TABLE t SET (a = $1)", Code::InvalidOption),
        ("ALTER TABLE t SET ()", Code::SyntaxError),
        ("ALTER TABLE t", Code::SyntaxError),
        ("UNDROP t", Code::SyntaxError),
        ("UNDROP TABLE", Code::SyntaxError),
        ("UNDROP TABLE t u", Code::SyntaxError),
        ("UNDROP TABLE t; SELECT 1", Code::SyntaxError),
        ("UNDROP TABLE ?", Code::SyntaxError),
        ("UNDROP TABLE other.public.t", Code::SchemaNotFound),
        ("CALL seal", Code::InvalidStatement),
        ("CALL seal()", Code::InvalidStatement),
        ("CALL seal(t)", Code::InvalidStatement),
        ("CALL seal(?)", Code::InvalidStatement),
        ("CALL seal('a', 'b')", Code::InvalidStatement),
        ("CALL seal(DISTINCT 'a')", Code::InvalidStatement),
        ("CALL seal('a') OVER ()", Code::InvalidStatement),
        ("CALL seal('')", Code::InvalidName),
        ("CALL seal('a b')", Code::InvalidName),
        ("CALL seal('a;')", Code::InvalidName),
        ("CALL seal('\"a')", Code::InvalidName),
        ("CALL seal('a.b.c.d')", Code::InvalidName),
        ("CALL seal('other.public.t')", Code::SchemaNotFound),
        ("SELECT a, count(*) FROM t GROUP BY ROLLUP (3)", Code::InvalidStatement),
        ("SELECT a, count(*) FROM t GROUP BY CUBE ((a, 0))", Code::InvalidStatement),
        ("SELECT a, count(*) FROM t GROUP BY GROUPING SETS ((1.5), ())", Code::InvalidStatement),
        ("SELECT *, a FROM t GROUP BY ROLLUP (2)", Code::InvalidStatement),
        ("SELECT * FROM t GROUP BY ROLLUP (1)", Code::InvalidStatement),
        ("SELECT 1 WHERE a IN (SELECT a FROM t GROUP BY ROLLUP (9))", Code::InvalidStatement),
        ("SELECT sum(a) OVER w FROM t", Code::InvalidStatement),
        ("SELECT sum(a) OVER (w ORDER BY a) FROM t", Code::InvalidStatement),
        ("SELECT sum(a) OVER w FROM t WINDOW w AS (ORDER BY a), W AS (ORDER BY b)", Code::InvalidStatement),
        ("SELECT sum(a) OVER w FROM t WINDOW w AS (v), v AS (ORDER BY a)", Code::InvalidStatement),
        ("SELECT sum(a) OVER (w ORDER BY a) FROM t WINDOW w AS (ORDER BY a)", Code::InvalidStatement),
        ("SELECT sum(a) OVER (w PARTITION BY a) FROM t WINDOW w AS (ORDER BY a)", Code::InvalidStatement),
        ("SELECT sum(a) OVER (w) FROM t WINDOW w AS (ORDER BY a ROWS 1 PRECEDING)", Code::InvalidStatement),
        ("SELECT (SELECT sum(1) OVER w) FROM t WINDOW w AS (ORDER BY a)", Code::InvalidStatement),
        ("CALL attach()", Code::InvalidStatement),
        ("CALL attach(t)", Code::InvalidStatement),
        ("CALL attach('/t', 'a', 'b')", Code::InvalidStatement),
        ("CALL attach('/t', 'a b')", Code::InvalidName),
    ] {
        let (got, error) = read(sql).expect_err(sql);
        assert_eq!(got, code, "{sql}: {error}");
    }
}

#[test]
fn what_has_a_name_is_written_out_within_bounds() {
    let sum = |n: usize| vec!["a"; n].join(" + ");
    let sets = |n: usize| vec!["(1)"; n].join(", ");
    let sql = |terms: usize, n: usize| format!("SELECT {} FROM t GROUP BY GROUPING SETS ({})", sum(terms), sets(n));
    read(&sql(10, 100)).expect("what people write");
    read(&sql(400, 2)).expect("what people write");
    let (code, error) = read(&sql(400, 400)).expect_err("80,000 expressions");
    assert_eq!(code, Code::StatementTooComplex, "{error}");
    let sql = |terms: usize, n: usize| {
        format!("SELECT {} FROM t WINDOW w AS (ORDER BY {})", vec!["sum(a) OVER (w)"; n].join(", "), sum(terms))
    };
    read(&sql(10, 100)).expect("what people write");
    let (code, error) = read(&sql(400, 400)).expect_err("320,000 expressions");
    assert_eq!(code, Code::StatementTooComplex, "{error}");
}
