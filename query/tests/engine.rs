//! Does a statement start, stop and end as it should? Cancels, deadlines, caps, queues, parameters, the schema of every answer.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt;
use support::{Fixture, collect, render};
use tidewater_query::{
    Canceled, Code, Error, Interface, Parameters, PlannedKind, Principal, QueryState, Role, RunOptions, Session,
};
use tidewater_storage::View;
use tidewater_storage::env::FailAction;
use tidewater_storage::memory::Share;

/// Never ends within a test, and yields often.
const ENDLESS: &str = "SELECT a.value FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b WHERE a.value + b.value < 0";
/// Gives batch after batch.
const MANY_ROWS: &str = "SELECT a.value FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b";

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|e| e.code())
}

fn batch(columns: Vec<ArrayRef>) -> Parameters {
    let field = |(i, c): (usize, &ArrayRef)| Field::new(format!("p{i}"), c.data_type().clone(), true);
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
    Parameters(RecordBatch::try_new(Arc::new(schema), columns).expect("a batch"))
}

async fn run_with(
    fixture: &Fixture,
    session: &Session,
    sql: &str,
    parameters: Parameters,
) -> Result<Vec<String>, Error> {
    match fixture.engine.plan(session, sql, Some(parameters), RunOptions::default()).await?.kind {
        PlannedKind::Rows { pending, .. } => Ok(render(&collect(pending.start().await?).await?)),
        PlannedKind::Update(outcome) => Ok(outcome.notices),
    }
}

#[test]
fn a_cancelled_query_ends_with_its_reason() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let options = RunOptions { query_id: Some("q1".into()), ..RunOptions::default() };
        let planned = fixture.engine.plan(&session, ENDLESS, None, options.clone()).await.expect("planned");
        assert_eq!(planned.query_id, "q1");
        assert_eq!(code(fixture.engine.plan(&session, "SELECT 1", None, options).await), Some(Code::QueryExists));
        let PlannedKind::Rows { pending, .. } = planned.kind else { panic!("no rows") };
        let mut stream = pending.start().await.expect("started");
        let stranger = Principal::with_role("stranger", Role::Reader);
        assert_eq!(code(fixture.engine.cancel(&stranger, "q1")), Some(Code::QueryNotFound));
        assert!(fixture.engine.queries(&stranger).is_empty());
        assert_eq!(fixture.engine.cancel(&session.principal, "q1").expect("known"), Canceled::Stopped);
        let last = stream.next().await.expect("an error");
        assert_eq!(code(last), Some(Code::QueryCancelled));
        assert!(stream.next().await.is_none());
        assert_eq!(fixture.engine.cancel(&session.principal, "q1").expect("known"), Canceled::Already);
        assert_eq!(code(fixture.engine.cancel(&session.principal, "q2")), Some(Code::QueryNotFound));
    });
}

/// A stop is not answered and then outlived by what it should have stopped.
#[test]
fn a_change_that_is_being_committed_is_past_cancelling() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let fail = Arc::clone(&fixture.engine.storage().env().fail);
        let statements = [
            ("CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))", "create_table"),
            ("INSERT INTO t VALUES (1)", "rows"),
            ("DELETE FROM t WHERE id = 1", "delete"),
            ("ALTER TABLE t ADD COLUMN n BIGINT", "alter"),
            ("TRUNCATE TABLE t", "truncate"),
            ("CREATE VIEW v AS SELECT 1 AS n", "create_view"),
            ("DROP VIEW v", "drop_view"),
            ("DROP TABLE t", "drop_table"),
            ("UNDROP TABLE t", "undrop_table"),
            ("DROP TABLE t", "drop_table"),
        ];
        for (sql, kind) in statements {
            let point = format!("log.before_write/{kind}");
            fail.arm(&point, FailAction::Hold(1));
            let options = RunOptions { query_id: Some(kind.into()), ..RunOptions::default() };
            let change = fixture.engine.plan(&session, sql, None, options);
            let cancel = async {
                while fail.visits(&point) == 0 {
                    tokio::task::yield_now().await;
                }
                let cancelled = fixture.engine.cancel(&session.principal, kind);
                fail.release(&point);
                cancelled
            };
            let (changed, cancelled) = tokio::join!(change, cancel);
            assert_eq!(cancelled.expect("known"), Canceled::TooLate, "{sql}");
            changed.expect(sql);
            let info = &fixture.engine.queries(&session.principal)[0];
            assert_eq!((info.query_id.as_str(), info.state), (kind, QueryState::Finished));
        }
        assert_eq!(code(fixture.run(&session, "SELECT * FROM t").await), Some(Code::TableNotFound));
    });
}

/// Waits until nothing runs; the queries end on their own threads.
async fn all_ended(fixture: &Fixture, session: &Session) {
    loop {
        let queries = fixture.engine.queries(&session.principal);
        if queries.iter().all(|q| matches!(q.state, QueryState::Finished | QueryState::Failed | QueryState::Cancelled))
        {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn dropping_the_stream_or_the_pending_query_cancels_it() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let mut stream = fixture.start(&session, MANY_ROWS).await.expect("started");
        assert_eq!(stream.next().await.expect("a batch").expect("no error").num_rows(), 8192);
        assert!(stream.summary().rows_out >= 8192);
        drop(stream);
        drop(fixture.plan(&session, MANY_ROWS).await.expect("planned"));
        all_ended(&fixture, &session).await;
        let states: Vec<_> = fixture.engine.queries(&session.principal).iter().map(|q| q.state).collect();
        assert_eq!(states, [QueryState::Cancelled, QueryState::Cancelled]);
    });
}

/// Ingest goes on, so that somebody has to give the memory back.
#[test]
fn who_keeps_most_of_what_tables_let_go_is_stopped() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let memory = Arc::clone(fixture.engine.storage().memory());
        fixture
            .run(&session, "CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))")
            .await
            .expect("created");
        // Each small enough for the realtime half.
        for i in 0..20 {
            let insert = format!("INSERT INTO t SELECT {i}000 + value, repeat('x', 5000) FROM generate_series(0, 999)");
            fixture.run(&session, &insert).await.expect("stored");
        }
        let mut other = fixture.start(&session, MANY_ROWS).await.expect("started");
        let mut slow =
            fixture.start(&session, "SELECT a.id FROM t AS a, t AS b, t AS c, t AS d").await.expect("started");
        slow.next().await.expect("a batch").expect("no error");
        let all = memory.used(Share::Realtime);
        fixture.run(&session, "TRUNCATE TABLE t").await.expect("done");
        let most = memory.share(Share::Queries) / 2;
        assert!(all > most / 3, "{all}: who keeps less than a quarter of what is too much is not to blame");
        let kept = memory.charge(Share::Queries, most - all / 2);
        let last = async {
            loop {
                match slow.next().await.expect("an error") {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => break error,
                }
            }
        };
        let last = tokio::time::timeout(Duration::from_secs(60), last).await.expect("it is stopped");
        assert_eq!(last.code(), Code::QueryMemory, "{last}");
        assert!(last.to_string().contains("let go"), "{last}");
        // Nobody is stopped who keeps nothing.
        other.next().await.expect("a batch").expect("no error");
        drop((kept, other, slow));
        all_ended(&fixture, &session).await;
        while memory.used(Share::Queries) > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_deadline_is_kept_on_the_stream() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.engine.set(&session, "statement_timeout", Some("50ms")).expect("set");
        assert_eq!(code(fixture.run(&session, ENDLESS).await), Some(Code::QueryDeadline));
        // A reader that stops reading meets the deadline, too.
        let mut stream = fixture.start(&session, MANY_ROWS).await.expect("started");
        let last = loop {
            match stream.next().await {
                Some(Ok(_)) => tokio::task::yield_now().await,
                other => break other,
            }
        };
        assert_eq!(code(last.expect("an error")), Some(Code::QueryDeadline));
        fixture.engine.set(&session, "statement_timeout", None).expect("reset");
        let options = RunOptions { timeout: Some(Duration::from_millis(20)), ..RunOptions::default() };
        let planned = fixture.engine.plan(&session, ENDLESS, None, options).await.expect("planned");
        let PlannedKind::Rows { pending, .. } = planned.kind else { panic!("no rows") };
        assert_eq!(code(collect(pending.start().await.expect("started")).await), Some(Code::QueryDeadline));
    });
}

#[test]
fn an_insert_keeps_its_deadline_and_stores_nothing() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await.expect("created");
        fixture.engine.set(&session, "statement_timeout", Some("50ms")).expect("set");
        assert_eq!(code(fixture.run(&session, &format!("INSERT INTO t {ENDLESS}")).await), Some(Code::QueryDeadline));
        fixture.engine.set(&session, "statement_timeout", None).expect("reset");
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("counted"), ["0"]);
    });
}

#[test]
fn a_full_queue_refuses_and_metadata_still_answers() {
    let fixture = Fixture::with(2, 1, 1);
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await.expect("created");
        fixture.run(&session, "INSERT INTO t SELECT value FROM generate_series(1, 20000)").await.expect("inserted");
        let running = fixture.start(&session, "SELECT a.id FROM t a, t b").await.expect("started");
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let planned = fixture.plan(&session, "SELECT id FROM t").await.expect("planned");
            let PlannedKind::Rows { pending, .. } = planned.kind else { panic!("no rows") };
            waiting.push(tokio::spawn(pending.start()));
        }
        // One of the two waits, the other is one too many.
        let (first, _, mut rest) = futures::future::select_all(waiting).await;
        let refused = first.expect("no panic").err().expect("a refusal");
        assert_eq!(refused.code(), Code::QueryQueueFull);
        assert!(refused.retry_delay().is_some());
        let listed =
            fixture.run(&session, "SELECT count(*) FROM system.queries WHERE state = 'running'").await.expect("listed");
        assert_eq!(listed.len(), 1);
        assert_eq!(fixture.run(&session, "SHOW timezone").await.expect("shown"), ["UTC"]);
        drop(running);
        let stream = rest.remove(0).await.expect("no panic").expect("admitted");
        assert_eq!(collect(stream).await.expect("rows").iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    });
}

#[test]
fn parameters_are_bound_by_position() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture
            .run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR, at TIMESTAMP)")
            .await
            .expect("created");
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 2]));
        let names: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "c"]));
        let insert = "INSERT INTO t (name, id) VALUES (?, ?)";
        let notices = run_with(&fixture, &session, insert, batch(vec![names, ids])).await.expect("inserted");
        assert_eq!(notices, ["2 rows, 1 duplicate key dropped"]);
        let computed = "INSERT INTO t (id, name) VALUES ($1 + 10, upper($2))";
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        let notices = run_with(&fixture, &session, computed, batch(vec![ids, names])).await.expect("inserted");
        assert_eq!(notices, ["2 rows"]);
        let rows = fixture.run(&session, "SELECT id, name FROM t ORDER BY id").await.expect("rows");
        assert_eq!(rows, ["1|a", "2|b", "11|X", "12|Y"]);
        let one: ArrayRef = Arc::new(Int64Array::from(vec![2]));
        for (sql, expected) in [
            ("SELECT name FROM t WHERE id = ?", "b"),
            ("SELECT count(*) FROM t WHERE id IN (?, 11)", "2"),
            ("SELECT name FROM t ORDER BY id LIMIT 1 OFFSET ?", "X"),
            ("SELECT $1 + $1", "4"),
            ("EXPLAIN SELECT name FROM t WHERE id = $1", "logical_plan"),
        ] {
            let rows = run_with(&fixture, &session, sql, batch(vec![Arc::clone(&one)])).await;
            let rows = rows.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert!(rows[0].starts_with(expected), "{sql}: {rows:?}");
        }
        let text: ArrayRef = Arc::new(StringArray::from(vec!["2"]));
        let rows =
            run_with(&fixture, &session, "SELECT name FROM t WHERE id = ?", batch(vec![text])).await.expect("cast");
        assert_eq!(rows, ["b"]);
        let null: ArrayRef = Arc::new(NullArray::new(1));
        let rows = run_with(&fixture, &session, "SELECT ? IS NULL", batch(vec![null])).await.expect("null");
        assert_eq!(rows, ["true"]);
        let two: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let each = run_with(&fixture, &session, "SELECT $1", batch(vec![two])).await.expect("one row an execution");
        assert_eq!(each, ["1", "2"]);
        for (sql, columns) in [("SELECT $1, $2", vec![Arc::clone(&one)]), ("SELECT 1", vec![one])] {
            assert_eq!(
                code(run_with(&fixture, &session, sql, batch(columns)).await),
                Some(Code::InvalidParameter),
                "{sql}"
            );
        }
    });
}

#[test]
fn preparing_tells_types_and_changes_nothing() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let prepare = async |sql: &str| fixture.engine.prepare(&session, sql).await;
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR)").await.expect("created");
        let types = |schema: &Schema| {
            schema.fields().iter().map(|f| format!("{}:{}", f.name(), f.data_type())).collect::<Vec<_>>()
        };
        let select = prepare("SELECT id, name, ? AS x FROM t WHERE id = ? AND name LIKE ?").await.expect("prepared");
        assert!(!select.is_update);
        assert_eq!(types(&select.dataset_schema), ["id:Int64", "name:Utf8", "x:Null"]);
        assert_eq!(types(&select.parameter_schema), ["1:Null", "2:Int64", "3:Utf8"]);
        let insert = prepare("INSERT INTO t (name, id) VALUES (?, ?)").await.expect("prepared");
        assert!(insert.is_update && insert.dataset_schema.fields().is_empty());
        assert_eq!(types(&insert.parameter_schema), ["1:Utf8", "2:Int64"]);
        for sql in [
            "CREATE TABLE u (a BIGINT)",
            "DROP TABLE t",
            "TRUNCATE t",
            "DELETE FROM t",
            "ALTER TABLE t ADD COLUMN n BIGINT",
            "UNDROP TABLE t",
            "SET timezone = 'Asia/Tokyo'",
            "INSERT INTO t VALUES (1, 'a')",
        ] {
            let prepared = prepare(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert!(prepared.is_update && prepared.runs_when_planned, "{sql}");
            assert!(prepared.dataset_schema.fields().is_empty(), "{sql}");
        }
        let delete = prepare("DELETE FROM t AS x WHERE x.id = ? OR name LIKE ?").await.expect("prepared");
        assert_eq!(types(&delete.parameter_schema), ["1:Int64", "2:Utf8"]);
        let call = prepare("CALL seal('t')").await.expect("prepared");
        assert!(!call.is_update && call.runs_when_planned);
        let columns = ["table", "delta_version", "through", "rows", "files", "location"];
        assert!(call.dataset_schema.fields().iter().map(|field| field.name()).eq(columns));
        assert_eq!(code(prepare("DELETE FROM t WHERE nosuch = 1").await), Some(Code::ColumnNotFound));
        assert_eq!(fixture.run(&session, "SHOW timezone").await.expect("shown"), ["UTC"]);
        assert_eq!(fixture.run(&session, "SHOW TABLES").await.expect("shown"), ["public|t|BASE TABLE"]);
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("counted"), ["0"]);
        assert_eq!(code(prepare("SELECT nosuch FROM t").await), Some(Code::ColumnNotFound));
    });
}

/// What preparing announces, what planning announces, and what every batch has, are the same schema.
#[test]
fn announced_schemas_are_those_of_the_batches() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, s VARCHAR NOT NULL, d DOUBLE, at TIMESTAMPTZ)").await.expect("created");
        fixture.run(&session, "CREATE TABLE empty (id BIGINT PRIMARY KEY, s VARCHAR)").await.expect("created");
        let rows = "INSERT INTO t VALUES (1, 'a', 1.5, '2026-01-01T00:00:00Z'), (2, 'b', NULL, NULL)";
        fixture.run(&session, rows).await.expect("inserted");
        for sql in [
            "SELECT min(id), max(id), count(*) FROM t",
            "SELECT min(s), max(s), count(s) FROM t",
            "SELECT min(id), max(s), sum(d), avg(d) FROM empty JOIN t USING (id, s)",
            "SELECT count(DISTINCT s), approx_distinct(s) FROM t",
            "SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY d), median(d) FROM t",
            "SELECT array_agg(s ORDER BY s), string_agg(s, ',' ORDER BY s) FROM t",
            "SELECT first_value(s ORDER BY id), bool_and(d > 1) FROM t",
            "SELECT CASE WHEN id = 1 THEN 'one' END, CASE id WHEN 1 THEN 1 ELSE 2.5 END FROM t",
            "SELECT COALESCE(d, 0), NULLIF(s, 'a'), IFNULL(d, 1) FROM t",
            "SELECT a.s, b.s FROM t a LEFT JOIN empty b ON a.id = b.id",
            "SELECT a.s, b.s FROM t a FULL JOIN empty b ON a.id = b.id",
            "SELECT id FROM t UNION ALL SELECT d FROM t",
            "SELECT s FROM t UNION SELECT 'x' UNION SELECT NULL",
            "SELECT row_number() OVER (ORDER BY id), lag(s) OVER (ORDER BY id), rank() OVER (ORDER BY id) FROM t",
            "SELECT sum(d) OVER (PARTITION BY s), ntile(2) OVER (ORDER BY id) FROM t",
            "SELECT 1, 1.5, 'x', NULL, true, X'00', DATE '2026-01-01', INTERVAL '1 day'",
            "SELECT now(), current_date, TIMESTAMP '2026-01-01' AS a, TIMESTAMPTZ '2026-01-01' AS b",
            "SELECT date_trunc('hour', at), date_part('year', at), date_bin(INTERVAL '1 hour', at) FROM t",
            "SELECT 'x'::text AS a, 'x'::varchar AS b, CAST(id AS VARCHAR), concat(s, 'y'), substr(s, 1, 1) FROM t",
            "SELECT arrow_cast(s, 'Utf8View'), arrow_cast(s, 'LargeUtf8'), arrow_cast(s, 'Dictionary(Int32, Utf8)') FROM t",
            "SELECT arrow_cast(id, 'Decimal256(40, 2)'), arrow_cast(d, 'Float16'), arrow_cast(id, 'UInt64') FROM t",
            "SELECT [1, 2], ['a', NULL], struct(id, s), named_struct('a', 1) FROM t",
            "SELECT map(['k'], [1]), make_array(s) FROM t",
            "EXPLAIN SELECT * FROM t",
            "EXPLAIN ANALYZE SELECT * FROM t",
            "SHOW TABLES",
            "SHOW ALL",
            "DESCRIBE t",
            "SHOW FUNCTIONS",
            "VALUES (1, 'a'), (2, NULL)",
            "SELECT * FROM empty",
            "SELECT * FROM t WHERE false",
            "SELECT * FROM t LIMIT 0",
            "SELECT id, id FROM t",
            "SELECT id + 1, id + 2, s || 'x' FROM t",
            "SELECT * FROM t ORDER BY s DESC LIMIT 1",
            "SELECT DISTINCT s, d FROM t",
            "SELECT s, sum(d) FROM t GROUP BY ROLLUP (s)",
            "SELECT *, _commit_seq, _ingested_at FROM t",
            "SELECT (SELECT max(id) FROM t) FROM t WHERE EXISTS (SELECT 1 FROM empty)",
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT * FROM r",
            "SELECT * FROM generate_series(1, 3)",
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM system.tables",
        ] {
            let prepared = fixture.engine.prepare(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            let planned = fixture.plan(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            let PlannedKind::Rows { schema, pending } = planned.kind else { panic!("{sql}: no rows") };
            assert_eq!(prepared.dataset_schema, schema, "{sql}");
            let stream = pending.start().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(stream.schema(), schema, "{sql}");
            collect(stream).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            for field in schema.fields() {
                let plain = !matches!(
                    field.data_type(),
                    DataType::Utf8View | DataType::LargeUtf8 | DataType::BinaryView | DataType::Dictionary(_, _) | DataType::Float16
                );
                assert!(plain && field.is_nullable(), "{sql}: {field:?}");
            }
        }
    });
}

#[test]
fn hostile_statements_are_answered_or_refused() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        fixture.run(&session, "INSERT INTO t VALUES (1), (2)").await.expect("inserted");
        let sum = format!("SELECT {} FROM t WHERE a = 1", vec!["a"; 200].join("+"));
        assert_eq!(fixture.run(&session, &sum).await.expect("200 terms"), ["200"]);
        let or = format!(
            "SELECT count(*) FROM t WHERE {}",
            (0..500).map(|i| format!("a = {i}")).collect::<Vec<_>>().join(" OR ")
        );
        assert_eq!(fixture.run(&session, &or).await.expect("500 alternatives"), ["2"]);
        let union = vec!["SELECT a FROM t WHERE a = 1"; 200].join(" UNION ALL ");
        assert_eq!(fixture.run(&session, &union).await.expect("200 parts").len(), 200);
        let case =
            |n: usize| format!("SELECT {}1{} FROM t", "CASE WHEN a = 1 THEN 0 ELSE ".repeat(n), " END".repeat(n));
        assert_eq!(fixture.run(&session, &case(30)).await.expect("30 levels"), ["0", "1"]);
        for sql in [
            format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
            case(1_000),
            format!("SELECT '{}'", "x".repeat(1 << 20)),
            format!("SELECT {}", vec!["1"; 100_000].join("+")),
        ] {
            let error = fixture.run(&session, &sql).await.expect_err("too much");
            assert!(matches!(error.code(), Code::StatementTooComplex | Code::StatementTooLarge), "{error}");
        }
        // Long chains within the limits are answered, or overrun their planning deadline; the server goes on either way.
        let chain = format!("SELECT {} FROM t", vec!["a"; 2_000].join("+"));
        if let Err(error) = fixture.run(&session, &chain).await {
            assert_eq!(error.code(), Code::PlanningDeadline);
        }
        assert_eq!(fixture.run(&session, "SELECT 1").await.expect("still there"), ["1"]);
    });
}

#[test]
fn sessions_do_not_share_settings_and_explain_is_text() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let (one, two) =
            (fixture.admin(), fixture.engine.session(Principal::with_role("b", Role::Reader), Interface::Http));
        fixture.engine.set(&one, "timezone", Some("Asia/Tokyo")).expect("set");
        assert_eq!(fixture.run(&two, "SHOW timezone").await.expect("shown"), ["UTC"]);
        let text = fixture.engine.explain(&two, "SELECT 1 + 1", false).await.expect("explained");
        assert!(text.contains("logical_plan:") && text.contains("physical_plan:"), "{text}");
        let text =
            fixture.engine.explain(&two, "SELECT count(*) FROM generate_series(1, 10)", true).await.expect("analysed");
        assert!(text.contains("output_rows"), "{text}");
    });
}

#[test]
fn a_query_is_accounted() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        fixture.run(&session, "INSERT INTO t SELECT value FROM generate_series(1, 1000)").await.expect("inserted");
        let mut stream = fixture.start(&session, "SELECT a FROM t ORDER BY a % 7").await.expect("started");
        while let Some(batch) = stream.next().await {
            batch.expect("a batch");
        }
        let summary = stream.summary();
        assert_eq!((summary.rows_out, summary.rows_read_realtime, summary.tables.len()), (1000, 1000, 1));
        assert_eq!((summary.rows_read_sealed, summary.rows_read_built, summary.fraction), (0, 0, Some(1.0)));
        assert!(summary.bytes_out >= 8000 && summary.cpu_ms > 0.0 && summary.memory_peak > 0, "{summary:?}");
        let newest = &fixture.engine.queries(&session.principal)[0];
        assert_eq!((newest.state, newest.summary.rows_out), (QueryState::Finished, 1000));
        let min_commit = summary.tables.iter().map(|table| table.token).collect();
        let options = RunOptions { min_commit, ..RunOptions::default() };
        assert!(fixture.engine.plan(&session, "SELECT 1", None, options).await.is_ok());
        drop(fixture.run(&session, "SELECT nosuch FROM t").await.expect_err("refused"));
        let newest = &fixture.engine.queries(&session.principal)[0];
        assert_eq!((newest.state, newest.error_code.as_deref()), (QueryState::Failed, Some("TW-1012")));
    });
}

#[test]
fn rows_are_counted_where_they_are() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        fixture.run(&session, "INSERT INTO t SELECT value FROM generate_series(1, 1000)").await.expect("inserted");
        let read = async || {
            let mut stream = fixture.start(&session, "SELECT a FROM t WHERE a % 10 = 3").await.expect("started");
            while let Some(batch) = stream.next().await {
                batch.expect("a batch");
            }
            stream.summary()
        };
        let fresh = read().await;
        assert_eq!((fresh.rows_out, fresh.rows_read_realtime, fresh.rows_read_sealed), (100, 1000, 0));
        assert_eq!((fresh.bytes_read, fresh.fraction), (0, Some(1.0)));
        fixture.run(&session, "CALL build('t')").await.expect("built");
        let built = read().await;
        assert_eq!((built.rows_out, built.rows_read_realtime, built.rows_read_sealed), (100, 0, 1000));
        assert!(built.rows_read_built == 0 || built.rows_read_built == 1000, "{built:?}");
        fixture.run(&session, "CALL seal('t')").await.expect("sealed");
        let sealed = read().await;
        assert_eq!((sealed.rows_read_realtime, sealed.rows_read_sealed, sealed.rows_read_built), (0, 1000, 0));
        assert_eq!((sealed.bytes_read > 0, sealed.fraction), (true, Some(1.0)));
        // What is known of the files answers, and nothing is read.
        let mut stream = fixture.start(&session, "SELECT count(*) FROM t").await.expect("started");
        while stream.next().await.is_some() {}
        let counted = stream.summary();
        assert_eq!((counted.rows_read_sealed, counted.fraction, counted.tables.len()), (0, None, 1));
    });
}

#[test]
fn a_stopping_server_refuses_and_ends_queries() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let mut stream = fixture.start(&session, ENDLESS).await.expect("started");
        fixture.engine.shutdown(Duration::from_millis(1)).await;
        assert_eq!(code(stream.next().await.expect("an error")), Some(Code::ShuttingDown));
        assert_eq!(code(fixture.run(&session, "SELECT 1").await), Some(Code::ShuttingDown));
    });
}

/// One KB of SQL may name what it names again and again. It is refused at once, in whatever it stands, and what comes next is planned.
#[test]
fn statements_that_double_are_refused_in_time_and_block_nobody() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        let chain = |levels: usize, layer: &str| {
            let names = (1..=levels).map(|i| format!(", c{i} AS ({})", layer.replace("{}", &format!("c{}", i - 1))));
            format!("WITH c0 AS (SELECT a FROM t){} SELECT a FROM c{levels} WHERE a > 1", names.collect::<String>())
        };
        let sums = (0..30).fold("SELECT a FROM t".to_owned(), |inner, _| format!("SELECT a + a AS a FROM ({inner})"));
        let start = tokio::time::Instant::now();
        for sql in [
            chain(30, "SELECT x.a FROM {} x, {} y"),
            chain(30, "SELECT (SELECT max(a) FROM {}) + (SELECT min(a) FROM {}) AS a"),
            format!("SELECT * FROM ({sums}) WHERE a > 1"),
            chain(100, "SELECT a + a AS a FROM {}"),
        ] {
            // More than there are planners and plannings that may be abandoned.
            let many = futures::future::join_all((0..10).map(|_| fixture.plan(&session, &sql))).await;
            for refused in many {
                assert_eq!(code(refused), Some(Code::StatementTooComplex), "{sql}");
            }
            assert_eq!(code(fixture.engine.prepare(&session, &sql).await), Some(Code::StatementTooComplex), "{sql}");
            let explained = fixture.engine.explain(&session, &sql, false).await;
            assert_eq!(code(explained), Some(Code::StatementTooComplex), "{sql}");
            for before in ["INSERT INTO t ", "CREATE VIEW v AS ", "CREATE TABLE w AS "] {
                let refused = fixture.run(&session, &format!("{before}{sql}")).await;
                assert_eq!(code(refused), Some(Code::StatementTooComplex), "{before}{sql}");
            }
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it took {:?}", start.elapsed());
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("planned"), ["0"]);
    });
}

#[test]
fn views_that_double_are_refused() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        // Past the front end, which takes none that is too large: replaced from below, views grow later.
        for i in 0..16 {
            let below = if i == 0 { "t".to_owned() } else { format!("v{}", i - 1) };
            let below = format!("SELECT a FROM tidewater.public.{below}");
            let sql = if i == 0 { below } else { format!("{below} UNION ALL {below}") };
            let view = View { schema_name: "public".into(), name: format!("v{i}"), sql };
            fixture.engine.storage().create_view(view, false).await.expect("created");
        }
        for sql in ["SELECT count(*) FROM v15", "CREATE VIEW w AS SELECT x.a FROM v13 x, v13 y", "DESCRIBE v15"] {
            assert_eq!(code(fixture.run(&session, sql).await), Some(Code::StatementTooComplex), "{sql}");
        }
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM v3").await.expect("planned"), ["0"]);
    });
}

/// What is left of a query that was cancelled, or that has all it wants, gives its threads back.
#[test]
fn joins_that_find_nothing_hold_no_threads() {
    const BY_HASH: &str = "SELECT a.value FROM generate_series(1, 1000000) AS a JOIN generate_series(1, 1000000) AS b \
                           ON a.value / 1000001 = b.value / 1000001 WHERE a.value + b.value < 0";
    let fixture = Fixture::with(2, 1, 4);
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        fixture.engine.set(&session, "statement_timeout", Some("60s")).expect("set");
        for join in [ENDLESS, BY_HASH] {
            drop(fixture.start(&session, join).await.expect("started"));
            assert_eq!(
                fixture.run(&session, "SELECT count(*) FROM t").await.expect("a thread is free"),
                ["0"],
                "{join}"
            );
            let limited = format!("SELECT CAST(1 AS BIGINT) AS value UNION ALL {join} LIMIT 1");
            assert_eq!(fixture.run(&session, &limited).await.expect("one row is enough"), ["1"], "{join}");
            assert_eq!(
                fixture.run(&session, "SELECT count(*) FROM t").await.expect("a thread is free"),
                ["0"],
                "{join}"
            );
        }
    });
}

/// Rows that a series or a recursion makes are work like any other, and keep out of the places from which a full server is looked at.
#[test]
fn what_reads_no_table_waits_like_the_others() {
    let fixture = Fixture::with(2, 1, 4);
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        let running = fixture.start(&session, ENDLESS).await.expect("started");
        fixture.engine.set(&session, "statement_timeout", Some("200ms")).expect("set");
        for sql in [
            "SELECT value FROM generate_series(1, 3)",
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT * FROM r",
            "SELECT a.column1 FROM (VALUES (1), (2)) a, (VALUES (1), (2)) b",
            // Its deadline holds while it waits, which may be half a minute otherwise.
            "INSERT INTO t SELECT value FROM generate_series(1, 3)",
        ] {
            assert_eq!(code(fixture.run(&session, sql).await), Some(Code::QueryDeadline), "{sql}");
        }
        fixture.engine.set(&session, "statement_timeout", None).expect("reset");
        for sql in ["SELECT 1", "SHOW TABLES", "SELECT count(*) FROM system.queries", "INSERT INTO t VALUES (1), (2)"] {
            fixture.run(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        drop(running);
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("a slot is free"), ["2"]);
    });
}
