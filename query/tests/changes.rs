//! Do DELETE and CALL run as they should? Once, over one snapshot, within their deadline, and not after they were refused.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use support::{Fixture, collect, render};
use tidewater_query::{Code, Error, Parameters, PlannedKind, QueryState, RunOptions, Session, UpdateOutcome};
use tidewater_storage::RowsRequest;
use tidewater_storage::admission::json;
use tidewater_storage::env::FailAction;

/// Never ends within a test.
const ENDLESS: &str = "SELECT a.value FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b WHERE a.value + b.value < 0";

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|e| e.code())
}

/// Runs a statement without rows.
async fn change(
    fixture: &Fixture,
    session: &Session,
    sql: &str,
    parameters: Option<Parameters>,
    options: RunOptions,
) -> Result<UpdateOutcome, Error> {
    match fixture.engine.plan(session, sql, parameters, options).await?.kind {
        PlannedKind::Update(outcome) => Ok(outcome),
        PlannedKind::Rows { .. } => panic!("{sql} gives rows"),
    }
}

fn numbers(columns: &[&[i64]]) -> Parameters {
    let array = |values: &[i64]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let arrays = columns.iter().enumerate().map(|(i, values)| (format!("p{i}"), array(values)));
    Parameters(RecordBatch::try_from_iter(arrays).expect("a batch"))
}

/// `t` with ids 1 to 100, and `n` a tenth of each, without its rest.
async fn table(fixture: &Fixture, session: &Session) {
    fixture.run(session, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").await.expect("created");
    let rows = "INSERT INTO t SELECT value, value / 10 FROM generate_series(1, 100)";
    fixture.run(session, rows).await.expect("inserted");
}

fn files(fixture: &Fixture) -> usize {
    fixture.engine.storage().table("public", "t").expect("the table").snapshot().files().len()
}

#[test]
fn a_delete_tells_exactly_how_many_rows_went() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        let delete = async |sql: &str| change(&fixture, &session, sql, None, RunOptions::default()).await;
        let some = delete("DELETE FROM t WHERE n = 3").await.expect("deleted");
        assert_eq!((some.affected, some.notices.as_slice()), (10, &["10 rows".to_owned()][..]));
        let options = RunOptions { min_commit: vec![some.token.expect("a commit")], ..RunOptions::default() };
        let none = change(&fixture, &session, "DELETE FROM t WHERE n = 3", None, options).await.expect("deleted");
        assert_eq!((none.affected, none.token.is_some()), (0, true));
        let half = delete("DELETE FROM t WHERE n < 5").await.expect("deleted");
        assert_eq!(half.affected, 39);
        assert_eq!(fixture.run(&session, "SELECT count(*), min(id) FROM t").await.expect("counted"), ["51|50"]);
        fixture.run(&session, "INSERT INTO t VALUES (200, 5)").await.expect("inserted");
        assert_eq!(delete("DELETE FROM t").await.expect("deleted").affected, 52);
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("counted"), ["0"]);
        let newest = &fixture.engine.queries(&session.principal)[1];
        assert_eq!((newest.sql.as_str(), newest.state), ("DELETE FROM t", QueryState::Finished));
        assert_eq!(newest.summary.rows_read_realtime, 0, "it looks at files only");
    });
}

#[test]
fn rows_of_parameters_are_deletes_that_commit_together() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        let delete = async |sql: &str, parameters: Parameters| {
            change(&fixture, &session, sql, Some(parameters), RunOptions::default()).await
        };
        let sql = "DELETE FROM t AS x WHERE x.id = ? OR (x.id = ? AND n >= 0)";
        let before = fixture.engine.storage().table("public", "t").expect("the table").snapshot().upper().0;
        // A row that two of them name goes once.
        let gone = delete(sql, numbers(&[&[1, 2, 2], &[1, 50, 51]])).await.expect("deleted");
        assert_eq!(gone.affected, 4);
        assert_eq!(gone.token.expect("a commit").seq.0, before + 1);
        let left = fixture.run(&session, "SELECT count(*) FROM t WHERE id IN (1, 2, 50, 51)").await.expect("counted");
        assert_eq!(left, ["0"]);
        let many: Vec<i64> = (1..=101).collect();
        assert_eq!(code(delete(sql, numbers(&[&many, &many])).await), Some(Code::InvalidParameter));
        assert_eq!(code(delete(sql, numbers(&[&[1]])).await), Some(Code::InvalidParameter));
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("counted"), ["96"]);
    });
}

#[test]
fn a_delete_keeps_its_deadline_and_deletes_nothing() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        // What is built needs no time any more.
        fixture.run(&session, "CALL build('t')").await.expect("built");
        fixture.engine.set(&session, "statement_timeout", Some("200ms")).expect("set");
        let endless = format!("DELETE FROM t WHERE n >= 0 OR id IN ({ENDLESS})");
        assert_eq!(code(fixture.run(&session, &endless).await), Some(Code::QueryDeadline));
        fixture.engine.set(&session, "statement_timeout", None).expect("reset");
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("counted"), ["100"]);
    });
}

/// What becomes of a DELETE while `between` runs behind its evaluation, before its commit.
async fn with_something_between(fixture: &Fixture, session: &Session, delete: &'static str, between: &[&str]) -> u64 {
    const EVALUATED: &str = "delete.evaluated";
    let fail = Arc::clone(&fixture.engine.storage().env().fail);
    fail.arm(EVALUATED, FailAction::Hold(1));
    let (engine, own) = (Arc::clone(&fixture.engine), session.clone());
    let deleting = tokio::spawn(async move { engine.plan(&own, delete, None, RunOptions::default()).await });
    while fail.visits(EVALUATED) == 0 {
        tokio::task::yield_now().await;
    }
    for sql in between {
        fixture.run(session, sql).await.expect(sql);
    }
    fail.release(EVALUATED);
    match deleting.await.expect("no panic").expect("deleted").kind {
        PlannedKind::Update(outcome) => outcome.affected,
        PlannedKind::Rows { .. } => panic!("{delete} gives rows"),
    }
}

#[test]
fn rows_that_come_while_a_delete_runs_stay() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        let between = ["INSERT INTO t VALUES (200, 3), (201, 4)", "CALL build('t')"];
        let gone = with_something_between(&fixture, &session, "DELETE FROM t WHERE n = 3", &between).await;
        assert_eq!(gone, 10);
        assert_eq!(fixture.run(&session, "SELECT id FROM t WHERE n = 3").await.expect("rows"), ["200"]);
    });
}

#[test]
fn a_delete_builds_only_if_a_fresh_row_may_match() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        fixture.run(&session, "CALL build('t')").await.expect("built");
        fixture.run(&session, "INSERT INTO t VALUES (200, 50), (201, 51)").await.expect("inserted");
        let n_fresh = async || {
            let sql = "SELECT realtime_rows FROM system.tables WHERE name = 't'";
            fixture.run(&session, sql).await.expect("counted")
        };
        // The bounds of the fresh rows rule all of them out.
        let elsewhere = [
            ("DELETE FROM t WHERE n = 3", 10),
            ("DELETE FROM t AS x WHERE x.id = 7 OR x.id = 8", 2),
            ("DELETE FROM t WHERE n = 4 AND id IN (SELECT id FROM t WHERE n <> 5)", 10),
            ("DELETE FROM t WHERE id < 0", 0),
            ("DELETE FROM t WHERE false", 0),
        ];
        for (sql, n_rows) in elsewhere {
            let gone = change(&fixture, &session, sql, None, RunOptions::default()).await.expect("deleted");
            assert_eq!((gone.affected, n_fresh().await), (n_rows, vec!["2".to_owned()]), "{sql}");
        }
        // What comes while it runs stays, also when it is built before the commit.
        let between = ["INSERT INTO t VALUES (300, 6)", "CALL build('t')"];
        let gone = with_something_between(&fixture, &session, "DELETE FROM t WHERE n = 6", &between).await;
        assert_eq!(gone, 10);
        assert_eq!(fixture.run(&session, "SELECT id FROM t WHERE n = 6").await.expect("rows"), ["300"]);
        // One of these may match, or nothing is known.
        let fresh = [("n >= 50", 1, 1), ("id % 2 = 0 AND id >= 400", 1, 2), ("id IN (SELECT max(id) FROM t)", 1, 3)];
        for (condition, n_rows, round) in fresh {
            let rows = format!("INSERT INTO t VALUES ({0}, {0}), ({0} + 1, 0)", 400 + 2 * round);
            fixture.run(&session, &rows).await.expect("inserted");
            let sql = format!("DELETE FROM t WHERE ({condition}) AND id >= 400");
            let gone = change(&fixture, &session, &sql, None, RunOptions::default()).await.expect("deleted");
            assert_eq!((gone.affected, n_fresh().await), (n_rows, vec!["0".to_owned()]), "{sql}");
        }
    });
}

#[test]
fn a_row_that_two_deletes_name_counts_for_one_of_them() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        let between = ["DELETE FROM t WHERE id BETWEEN 30 AND 33", "CALL seal('t')"];
        let gone = with_something_between(&fixture, &session, "DELETE FROM t WHERE n = 3", &between).await;
        assert_eq!(gone, 6);
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("counted"), ["90"]);
    });
}

/// Files that go between evaluation and commit: the statement begins anew, over what is there now.
#[test]
fn a_delete_that_meets_a_truncate_begins_anew() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        let between = ["TRUNCATE t", "INSERT INTO t VALUES (7, 3), (8, 0)"];
        let gone = with_something_between(&fixture, &session, "DELETE FROM t WHERE n = 3", &between).await;
        assert_eq!(gone, 1);
        assert_eq!(fixture.run(&session, "SELECT id FROM t").await.expect("rows"), ["8"]);
        assert_eq!(fixture.engine.queries(&session.principal)[0].state, QueryState::Finished);
    });
}

#[test]
fn procedures_run_once_and_answer_with_one_row() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        assert_eq!(files(&fixture), 0);
        let only_updates = RunOptions { only_updates: true, ..RunOptions::default() };
        for sql in ["CALL build('t')", "SELECT 1", "SHOW TABLES"] {
            let refused = fixture.engine.plan(&session, sql, None, only_updates.clone()).await;
            assert_eq!(code(refused), Some(Code::InvalidStatement), "{sql}");
        }
        assert_eq!(files(&fixture), 0, "it was refused before it ran");

        // It has run when it is planned; its answer waits.
        let planned = fixture.plan(&session, "CALL build('T')").await.expect("built");
        assert_eq!(files(&fixture), 1);
        let PlannedKind::Rows { schema, pending } = planned.kind else { panic!("no rows") };
        assert_eq!(schema, fixture.engine.prepare(&session, "CALL build('t')").await.expect("prepared").dataset_schema);
        let rows = render(&collect(pending.start().await.expect("started")).await.expect("a row"));
        let [built] = rows.as_slice() else { panic!("{rows:?}") };
        assert!(built.starts_with("public.t|NULL|1|100|1|file://"), "{built}");

        fixture.run(&session, "INSERT INTO t VALUES (200, 0)").await.expect("inserted");
        let rows = fixture.run(&session, "CALL seal('public.t')").await.expect("sealed");
        let [sealed] = rows.as_slice() else { panic!("{rows:?}") };
        let fields: Vec<&str> = sealed.split('|').collect();
        assert_eq!([fields[0], fields[2], fields[3], fields[4]], ["public.t", "2", "101", "2"], "{sealed}");
        let version: u64 = fields[1].parse().expect("a version");
        assert_eq!(built.rsplit('|').next(), fields.last().copied(), "one location");

        fixture.run(&session, "DELETE FROM t WHERE n < 5").await.expect("deleted");
        let rows = fixture.run(&session, "CALL seal('t')").await.expect("sealed");
        let fields: Vec<&str> = rows[0].split('|').collect();
        assert!(fields[1].parse::<u64>().expect("a version") > version, "{rows:?}");
        assert_eq!(fields[3], "51", "{rows:?}");

        assert_eq!(code(fixture.run(&session, "CALL seal('nosuch')").await), Some(Code::TableNotFound));
        assert_eq!(code(fixture.run(&session, "CALL seal('system.tables')").await), Some(Code::InvalidStatement));
    });
}

#[test]
fn rejected_rows_are_replayed_once_they_fit() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        let stored = fixture.engine.storage().table("public", "t").expect("the table");
        let rows = json::decode(&stored.def(), b"{\"id\": 900, \"n\": 1, \"more\": 2}\n{\"id\": \"x\"}", false);
        let rejected =
            stored.write(RowsRequest::new("me", vec![rows.expect("read")])).await.expect("answered").rejected;
        assert_eq!(rejected, 2);
        assert_eq!(fixture.run(&session, "CALL replay_rejected('t')").await.expect("tried"), ["public.t|0|0|2"]);
        change(&fixture, &session, "ALTER TABLE t ADD COLUMN more BIGINT", None, RunOptions::default())
            .await
            .expect("altered");
        for (sql, expected) in [
            ("CALL replay_rejected('t', 'p')", "public.t|0|0|0"),
            ("CALL replay_rejected('t', NULL, '2999-01-01')", "public.t|0|0|0"),
            ("CALL replay_rejected('t', '', '2001-01-01 00:00:00+02:00')", "public.t|1|0|1"),
            ("CALL replay_rejected('t')", "public.t|0|0|1"),
        ] {
            assert_eq!(fixture.run(&session, sql).await.expect("replayed"), [expected], "{sql}");
        }
        let sql = "SELECT n, more FROM t WHERE id = 900";
        assert_eq!(fixture.run(&session, sql).await.expect("there"), ["1|2"]);
        for sql in ["CALL replay_rejected('t', NULL, 'soon')", "CALL replay_rejected()", "CALL replay_rejected('t', 1)"]
        {
            fixture.run(&session, sql).await.expect_err(sql);
        }
    });
}

#[test]
fn what_was_dropped_or_replaced_is_purged_when_an_admin_says_so() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let none = fixture.run(&session, "CALL purge_dropped('t')").await.expect_err("nothing was dropped");
        assert_eq!(none.code(), Code::TableNotFound);
        table(&fixture, &session).await;
        for sql in ["CREATE OR REPLACE TABLE t (id BIGINT)", "CREATE OR REPLACE TABLE t (id BIGINT)"] {
            fixture.run(&session, sql).await.expect("replaced");
        }
        fixture.run(&session, "INSERT INTO t VALUES (7)").await.expect("stored");
        let purged = fixture.run(&session, "CALL purge_dropped('T')").await.expect("purged");
        assert_eq!(purged.len(), 2);
        assert!(purged.iter().all(|row| row.starts_with("public.t|")), "{purged:?}");
        assert_eq!(fixture.run(&session, "SELECT id FROM t").await.expect("it is there"), ["7"]);
        fixture.run(&session, "DROP TABLE t").await.expect("dropped");
        fixture.run(&session, "CALL purge_dropped('public.t')").await.expect("purged");
        fixture.run(&session, "UNDROP TABLE t").await.expect_err("it is gone");
        let hinted = fixture.run(&session, "DROP TABLE t PURGE").await.expect_err("not so");
        assert!(hinted.hint_text().is_some_and(|hint| hint.contains("purge_dropped")), "{hinted}");
    });
}

#[test]
fn a_damaged_file_is_given_up_when_an_admin_says_so() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        fixture.run(&session, "CALL seal('t')").await.expect("sealed");
        let none = fixture.run(&session, "CALL give_up('t')").await.expect("nothing to do");
        assert_eq!(none, Vec::<String>::new());
        let (location, name) = {
            let table = fixture.engine.storage().table("public", "t").expect("the table");
            (table.location(), table.snapshot().files()[0].place.path.to_string())
        };
        let local = location.strip_prefix("file://").expect("on the local disk");
        let data = local.split("/tables/").next().expect("in the data folder");
        let path = std::path::Path::new(data).join(&name);
        let mut bytes = std::fs::read(&path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).expect("written");
        let checks = fixture.run(&session, "CALL verify('t')").await.expect("checked");
        assert!(checks.iter().any(|check| check.starts_with("files|false|")), "{checks:?}");
        let sum = "SELECT count(*), sum(n) FROM t";
        assert_eq!(code(fixture.run(&session, sum).await), Some(Code::FileDamaged));

        let prepared = fixture.engine.prepare(&session, "CALL give_up('t')").await.expect("prepared");
        let names: Vec<&str> = prepared.dataset_schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["file", "rows", "reason"]);
        let given_up = fixture.run(&session, "CALL give_up('t')").await.expect("given up");
        assert_eq!(given_up, [format!("{name}|100|its bytes do not match its checksum")]);
        assert_eq!(fixture.run(&session, sum).await.expect("summed"), ["0|NULL"]);
        let insert = "INSERT INTO t VALUES (1, 0), (200, 7)";
        let inserted = change(&fixture, &session, insert, None, RunOptions::default()).await.expect("inserted");
        assert_eq!(inserted.affected, 1, "keys of lost rows are remembered");
        assert_eq!(fixture.run(&session, sum).await.expect("summed"), ["1|7"]);
        let checks = fixture.run(&session, "CALL verify('t')").await.expect("checked");
        assert!(!checks.is_empty() && checks.iter().all(|check| !check.contains("|false|")), "{checks:?}");
    });
}

/// A DELETE waits for a slot like a query, and for no longer than its deadline.
#[test]
fn a_delete_waits_like_a_query() {
    let fixture = Fixture::with(2, 1, 4);
    fixture.block_on(async {
        let session = fixture.admin();
        table(&fixture, &session).await;
        let running = fixture.start(&session, ENDLESS).await.expect("started");
        fixture.engine.set(&session, "statement_timeout", Some("500ms")).expect("set");
        assert_eq!(code(fixture.run(&session, "DELETE FROM t WHERE id = 1").await), Some(Code::QueryDeadline));
        fixture.engine.set(&session, "statement_timeout", None).expect("reset");
        drop(running);
        let options = RunOptions { timeout: Some(Duration::from_secs(60)), ..RunOptions::default() };
        let gone = change(&fixture, &session, "DELETE FROM t WHERE id = 1", None, options).await.expect("deleted");
        assert_eq!(gone.affected, 1);
    });
}

/// Some 40 MiB of text, by number.
const WIDE: &str = "SELECT value AS id, repeat('x', 1000) AS body FROM generate_series(1, 40000)";

#[test]
fn more_rows_than_an_entry_holds_are_one_commit() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let run = async |sql: &str| change(&fixture, &session, sql, None, RunOptions::default()).await;
        let made = run(&format!("CREATE TABLE t (PRIMARY KEY (id)) AS {WIDE}")).await.expect("made");
        assert_eq!((made.affected, made.notices.as_slice()), (40_000, &["40000 rows".to_owned()][..]));
        let table = fixture.engine.storage().table("public", "t").expect("the table");
        let snapshot = table.snapshot();
        assert_eq!((snapshot.n_rows(), snapshot.upper().0, snapshot.parts().len()), (40_000, 1, 0), "one entry");
        let again = run(&format!("INSERT INTO t {WIDE} UNION ALL SELECT 0, 'y'")).await.expect("inserted");
        assert_eq!((again.affected, again.notices), (1, vec!["1 row, 40000 duplicate keys dropped".to_owned()]));
        let sum = fixture.run(&session, "SELECT count(*), sum(id), sum(length(body)) FROM t").await.expect("summed");
        assert_eq!(sum, ["40001|800020000|40000001"]);
    });
}

#[test]
fn many_rows_that_end_with_a_bad_one_are_not_stored() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, body VARCHAR)").await.expect("created");
        let bad = format!("INSERT INTO t {WIDE} UNION ALL SELECT NULL, 'y'");
        assert_eq!(code(fixture.run(&session, &bad).await), Some(Code::BadRows));
        let bad = format!("CREATE TABLE u (PRIMARY KEY (id)) AS {WIDE} UNION ALL SELECT NULL, 'y'");
        assert_eq!(code(fixture.run(&session, &bad).await), Some(Code::BadRows));
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("counted"), ["0"]);
        assert_eq!(code(fixture.run(&session, "SELECT count(*) FROM u").await), Some(Code::TableNotFound));
    });
}

#[test]
fn a_change_tells_whether_there_was_anything_to_do() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for (sql, is_unchanged) in [
            ("CREATE TABLE IF NOT EXISTS n (id BIGINT)", false),
            ("CREATE TABLE IF NOT EXISTS n (id BIGINT)", true),
            ("CREATE TABLE IF NOT EXISTS n AS SELECT 1 AS id", true),
            ("CREATE OR REPLACE TABLE n (id BIGINT)", false),
            ("INSERT INTO n VALUES (1)", false),
            ("CREATE VIEW IF NOT EXISTS v AS SELECT 1", false),
            ("CREATE VIEW IF NOT EXISTS v AS SELECT 1", true),
            ("ALTER TABLE n ADD COLUMN IF NOT EXISTS id BIGINT", true),
            ("ALTER TABLE IF EXISTS missing ADD COLUMN x BIGINT", true),
            ("DROP VIEW IF EXISTS v", false),
            ("DROP VIEW IF EXISTS v", true),
            ("DROP TABLE IF EXISTS missing, n", false),
            ("DROP TABLE IF EXISTS missing, n", true),
        ] {
            let outcome = change(&fixture, &session, sql, None, RunOptions::default()).await.expect(sql);
            assert_eq!(outcome.is_unchanged, is_unchanged, "{sql}");
        }
    });
}
