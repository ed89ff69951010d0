//! What does the front end make of a text: a statement of ours, or a refusal that says what to do?

mod changes;
mod create_table;
mod expansion;
mod hostile;
mod refusals;
mod scope;
mod structs;
mod times;

use tidewater_storage::{Code, Error};

use super::{Kind, Source, Statement, classify, hide_system_columns, read_text};

/// Runs on a stack like that of a planner thread, as the front end does in production.
fn on_big_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(crate::limits::DEEP_STACK_BYTES).spawn(work).expect("a thread");
    thread.join().expect("the front end does not panic")
}

/// What a statement is, as text, or the error's code and text.
fn read(sql: &str) -> Result<String, (Code, String)> {
    let sql = sql.to_string();
    on_big_stack(move || match front_end(&sql) {
        Ok(statement) => Ok(format!("{:?}", statement.kind)),
        Err(error) => Err((error.code(), error.to_string())),
    })
}

fn front_end(sql: &str) -> Result<Statement, Error> {
    classify(read_text(sql, "public")?, "public")
}

#[test]
fn names_are_folded_and_resolved() {
    for (sql, part) in [
        ("DROP TABLE Orders", r#"schema: "public", name: "orders""#),
        (r#"DROP TABLE "Orders""#, r#"name: "Orders""#),
        ("DROP TABLE IF EXISTS Sales.Orders;", r#"schema: "sales", name: "orders" }], if_exists: true"#),
        ("DROP TABLE tidewater.sales.orders", r#"schema: "sales""#),
        ("TRUNCATE orders", "Truncate"),
        ("TRUNCATE TABLE a, b", r#"name: "b""#),
        ("DROP VIEW v", "DropViews"),
        ("DESCRIBE orders", "Columns"),
        ("SHOW COLUMNS FROM orders", "Columns"),
        ("SHOW timezone", r#"Setting("timezone")"#),
        ("SHOW TIME ZONE", r#"Setting("time zone")"#),
        ("SHOW ALL", "AllSettings"),
        ("SET timezone = 'Europe/Berlin'", r#"Set { name: "timezone", value: Some("Europe/Berlin") }"#),
        ("SET TIME ZONE 'UTC'", r#"Set { name: "timezone", value: Some("UTC") }"#),
        ("SET max_rows TO 10", r#"value: Some("10")"#),
        ("SET schema = sales", r#"value: Some("sales")"#),
        ("SET timezone = DEFAULT", r#"value: None"#),
        ("RESET timezone", r#"Set { name: "timezone", value: None }"#),
        ("RESET ALL", r#"Set { name: "all", value: None }"#),
        (
            "INSERT INTO t (A, b) VALUES (?, ?)",
            r#"columns: ["a", "b"], source: Parameters([[Parameter(0), Parameter(1)]])"#,
        ),
        (
            "INSERT INTO t VALUES ($2, $1), ($3, $1)",
            "Parameters([[Parameter(1), Parameter(0)], [Parameter(2), Parameter(0)]])",
        ),
        (
            "INSERT INTO t VALUES (?, NULL, true, 'a', -1.50)",
            r#"[[Parameter(0), Null, Boolean(true), Text("a"), Number(Number("-1.50"))]]"#,
        ),
        ("INSERT INTO t SELECT * FROM u", "source: Query"),
    ] {
        let got = read(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert!(got.contains(part), "{sql}: {got}");
    }
}

#[test]
fn parameters_are_counted_and_styles_not_mixed() {
    let count = |sql: &str| {
        let sql = sql.to_string();
        on_big_stack(move || front_end(&sql).map(|s| s.n_parameters).map_err(|e| e.code()))
    };
    assert_eq!(count("SELECT ?, ? WHERE ? > 1"), Ok(3));
    assert_eq!(count("SELECT $2"), Ok(2));
    assert_eq!(count("SELECT '?', 1"), Ok(0));
    assert_eq!(count("DELETE FROM t WHERE a = ? OR b = ?"), Ok(2));
    assert_eq!(count("SELECT ?, $1"), Err(Code::InvalidParameter));
    assert_eq!(count("SELECT $name"), Err(Code::InvalidParameter));
    assert_eq!(count("SELECT $0"), Err(Code::InvalidParameter));
    assert_eq!(count("DROP TABLE t WHERE ?"), Err(Code::SyntaxError));
}

/// A statement without the names that its unnamed expressions were given.
pub(in crate::statement) fn without_names(sql: &str) -> String {
    let (mut out, mut rest) = (String::new(), sql);
    while let Some((before, name)) = rest.split_once(" AS \"") {
        out.push_str(before);
        let end = name.replace("\"\"", "__").find('"').expect("a name ends");
        rest = &name[end + 1..];
    }
    out + rest
}

#[test]
fn question_marks_are_numbered_in_the_order_of_the_text() {
    let sql = "SELECT ? FROM t WHERE a = ? ORDER BY b LIMIT ?";
    let shown = on_big_stack(move || match front_end(sql).map(|s| s.kind) {
        Ok(Kind::Query(query)) => without_names(&query.to_string()),
        other => format!("{other:?}"),
    });
    assert_eq!(shown, "SELECT $1 FROM t WHERE a = $2 ORDER BY b LIMIT $3");
}

#[test]
fn wildcards_leave_system_columns_out() {
    let hide = |sql: &'static str| {
        on_big_stack(move || {
            let statement = front_end(sql).map_err(|e| e.to_string())?;
            assert!(statement.names_hidden, "{sql}");
            let Kind::Query(query) = statement.kind else { return Err("no query".into()) };
            let datafusion::sql::parser::Statement::Statement(mut query) = *query else {
                return Err("no query".into());
            };
            let shows = |name: &super::TableName| name.name.starts_with('t');
            hide_system_columns(&mut *query, "public", &shows).map_err(|e| e.to_string())?;
            Ok(query.to_string())
        })
    };
    let out = "EXCLUDE (_commit_seq, _ingested_at)";
    for (sql, expected) in [
        ("SELECT *, _commit_seq FROM t", format!("SELECT t.* {out}, _commit_seq FROM t")),
        ("SELECT x.*, _ingested_at FROM t AS x", format!("SELECT x.* {out}, _ingested_at FROM t AS x")),
        ("SELECT * FROM (SELECT _commit_seq FROM t)", "SELECT * FROM (SELECT _commit_seq FROM t)".into()),
        (
            "SELECT * FROM t1 JOIN u ON t1._commit_seq = u.a",
            format!("SELECT t1.* {out}, u.* FROM t1 JOIN u ON t1._commit_seq = u.a"),
        ),
        (
            "WITH t AS (SELECT _commit_seq FROM t2) SELECT * FROM t",
            "WITH t AS (SELECT _commit_seq FROM t2) SELECT * FROM t".into(),
        ),
        (
            "WITH t AS (SELECT * FROM t WHERE _commit_seq > 5) SELECT * FROM t",
            // Of two that are called so the table has an alias of its own.
            format!("WITH t AS (SELECT \"public.t\".* {out} FROM t WHERE _commit_seq > 5) SELECT * FROM t"),
        ),
        (
            "SELECT * FROM (WITH t AS (SELECT 1 AS a) SELECT * FROM t) AS x, t WHERE _commit_seq > 5",
            format!(
                "SELECT x.*, \"public.t\".* {out} FROM (WITH t AS (SELECT 1 AS a) SELECT * FROM t) AS x, t WHERE _commit_seq > 5"
            ),
        ),
        (
            "SELECT * FROM t1 JOIN u USING (_commit_seq)",
            "SELECT t1.* EXCLUDE (\"_commit_seq\", _ingested_at), u.* EXCLUDE (\"_commit_seq\") FROM t1 JOIN u USING(_commit_seq)"
                .into(),
        ),
        ("SELECT count(*) FROM t WHERE _commit_seq > 3", "SELECT count(*) FROM t WHERE _commit_seq > 3".into()),
    ] {
        assert_eq!(hide(sql).map(|text| without_names(&text)), Ok(expected), "{sql}");
    }
    let exclude = "SELECT * EXCLUDE (b) FROM t1 JOIN t2 USING (a) WHERE t1._commit_seq > 3";
    for sql in [exclude, "SELECT _commit_seq FROM t1 NATURAL JOIN t2"] {
        let error: String = hide(sql).unwrap_err();
        assert!(error.contains("name the columns"), "{sql}: {error}");
    }
}

#[test]
fn a_source_of_plain_parameters_needs_no_plan() {
    let is_bound = |sql: &'static str| {
        on_big_stack(move || match front_end(sql).map(|s| s.kind) {
            Ok(Kind::Insert(insert)) => matches!(insert.source, Source::Parameters(_)),
            other => panic!("{other:?}"),
        })
    };
    assert!(is_bound("INSERT INTO t VALUES ($1)"));
    assert!(!is_bound("INSERT INTO t VALUES ($1 + 1)"));
    assert!(!is_bound("INSERT INTO t VALUES ($1) LIMIT 1"));
    assert!(!is_bound("INSERT INTO t SELECT $1"));
}
