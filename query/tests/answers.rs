//! Is an answer of one moment, and is all of it there? Tables that are written while they are read, large INSERTs, parameters by the row, other zones than UTC.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use support::{Fixture, collect, render};
use tidewater_query::{Code, Error, Parameters, PlannedKind, RunOptions, Session};

/// Ends the reader, also when the writer fails.
struct EndsReader(Arc<AtomicBool>);

impl Drop for EndsReader {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

async fn run_with(
    fixture: &Fixture,
    session: &Session,
    sql: &str,
    columns: Vec<ArrayRef>,
) -> Result<Vec<String>, Error> {
    let field = |(i, c): (usize, &ArrayRef)| Field::new(format!("p{i}"), c.data_type().clone(), true);
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
    let parameters = Parameters(RecordBatch::try_new(Arc::new(schema), columns).expect("a batch"));
    match fixture.engine.plan(session, sql, Some(parameters), RunOptions::default()).await?.kind {
        PlannedKind::Rows { pending, .. } => Ok(render(&collect(pending.start().await?).await?)),
        PlannedKind::Update(outcome) => Ok(outcome.notices),
    }
}

/// A payment is never there without its order, in whichever order a statement, or a view in it, names them.
#[test]
fn tables_of_a_statement_are_of_one_moment() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for sql in [
            "CREATE TABLE a_orders (id BIGINT PRIMARY KEY)",
            "CREATE TABLE b_payments (id BIGINT PRIMARY KEY)",
            "CREATE VIEW a_view AS SELECT count(*) AS n FROM a_orders",
        ] {
            fixture.run(&session, sql).await.expect(sql);
        }
        let done = Arc::new(AtomicBool::new(false));
        let ends_reader = EndsReader(Arc::clone(&done));
        let reads = async {
            let mut n_reads = 0;
            while !done.load(Ordering::Acquire) {
                for sql in [
                    "SELECT count(*) FROM b_payments p WHERE NOT EXISTS (SELECT 1 FROM a_orders o WHERE o.id = p.id)",
                    "SELECT greatest((SELECT count(*) FROM b_payments) - (SELECT n FROM a_view), 0)",
                ] {
                    assert_eq!(fixture.run(&session, sql).await.expect("read"), ["0"], "{sql}");
                    n_reads += 1;
                }
            }
            n_reads
        };
        let writes = async {
            for id in 0..60 {
                for table in ["a_orders", "b_payments"] {
                    fixture.run(&session, &format!("INSERT INTO {table} VALUES ({id})")).await.expect("written");
                }
            }
            drop(ends_reader);
        };
        let (n_reads, ()) = tokio::join!(reads, writes);
        assert!(n_reads > 0);
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM b_payments").await.expect("read"), ["60"]);
    });
}

/// A zone of a run counts as a zone: 16 of them are no 16 runs.
#[test]
fn the_rows_of_an_insert_are_counted_once() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for sql in [
            "CREATE TABLE wide (id BIGINT PRIMARY KEY, text VARCHAR)",
            "CREATE TABLE copy (id BIGINT PRIMARY KEY, text VARCHAR)",
        ] {
            fixture.run(&session, sql).await.expect(sql);
        }
        // Each is small enough to stay in memory.
        for from in [1, 50_001, 100_001] {
            let rows =
                format!("SELECT value, repeat('x', 200) || value FROM generate_series({from}, {})", from + 49_999);
            fixture.run(&session, &format!("INSERT INTO wide {rows}")).await.expect("inserted");
        }
        let table = fixture.engine.storage().table("public", "wide").expect("created");
        while !table.snapshot().parts().iter().any(|part| part.sorted) {
            tokio::task::yield_now().await;
        }
        // About 30 MB, most of it in one run; counted as the run with each of its zones it would be 500 MB.
        fixture.run(&session, "INSERT INTO copy SELECT * FROM wide").await.expect("copied");
        let sums = "SELECT count(*), sum(id), sum(length(text)) FROM";
        let wide = fixture.run(&session, &format!("{sums} wide")).await.expect("read");
        assert_eq!(fixture.run(&session, &format!("{sums} copy")).await.expect("read"), wide);
    });
}

#[test]
fn many_rows_of_parameters_are_computed_by_one_plan() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let create = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR, at TIMESTAMP, n BIGINT)";
        fixture.run(&session, create).await.expect("created");
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1_000).map(|i| i / 2)));
        let names: ArrayRef =
            Arc::new((0..1_000).map(|i| (i % 7 != 0).then(|| format!("n{i}"))).collect::<StringArray>());
        let unit: ArrayRef = Arc::new(StringArray::from(vec!["day"; 1_000]));
        let insert = "INSERT INTO t VALUES ($1 * 10, upper($2), date_trunc($3, TIMESTAMP '2026-01-01 10:00:00'), $1)";
        let columns = vec![Arc::clone(&ids), Arc::clone(&names), unit];
        let notices = run_with(&fixture, &session, insert, columns).await.expect("inserted");
        // The first row of a key is the first row of parameters.
        assert_eq!(notices, ["500 rows, 500 duplicate keys dropped"]);
        let rows = fixture.run(&session, "SELECT * FROM t WHERE id < 40 ORDER BY id").await.expect("read");
        assert_eq!(
            rows,
            [
                "0|NULL|2026-01-01T00:00:00|0",
                "10|N2|2026-01-01T00:00:00|1",
                "20|N4|2026-01-01T00:00:00|2",
                "30|N6|2026-01-01T00:00:00|3"
            ]
        );
        // What reads something else for each row is planned for each, and takes fewer.
        let select = "INSERT INTO t (id, n) SELECT $1 + 100000, count(*) FROM t WHERE n < $1";
        let refused = run_with(&fixture, &session, select, vec![Arc::clone(&ids)]).await;
        assert_eq!(refused.err().map(|error| error.code()), Some(Code::InvalidParameter));
        let few: ArrayRef = Arc::new(Int64Array::from(vec![1, 5]));
        assert_eq!(run_with(&fixture, &session, select, vec![few]).await.expect("inserted"), ["2 rows"]);
        let rows = fixture.run(&session, "SELECT id, n FROM t WHERE id > 99999 ORDER BY id").await.expect("read");
        assert_eq!(rows, ["100001|1", "100005|5"]);
        let refused = run_with(&fixture, &session, "INSERT INTO t (id) VALUES (sum($1))", vec![ids]).await;
        assert!(refused.is_err());
    });
}

#[test]
fn explain_takes_what_the_query_takes() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await.expect("created");
        for sql in [
            "SELECT id, id FROM t",
            "SELECT 1, 1",
            "SELECT id, 1 FROM t",
            "SELECT *, id FROM t ORDER BY id",
            "SELECT *, * FROM t",
        ] {
            fixture.run(&session, sql).await.expect(sql);
            let text = fixture.engine.explain(&session, sql, false).await.expect(sql);
            assert!(text.contains("physical_plan:"), "{text}");
        }
    });
}

/// By the bounds of times zones and files are left out in a session of another zone, too.
#[test]
fn outside_of_utc_bounds_count_as_in_it() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for sql in [
            "CREATE TABLE times (id BIGINT PRIMARY KEY, at TIMESTAMPTZ, wall TIMESTAMP)",
            "INSERT INTO times VALUES (1, '2024-07-01 10:00:00Z', '2024-07-01 12:00:00')",
            "SET timezone = 'Europe/Berlin'",
        ] {
            fixture.run(&session, sql).await.expect(sql);
        }
        for (condition, zones) in [
            ("at > now() - INTERVAL '1 day'", "zones=0/1"),
            ("wall >= now() - INTERVAL '5 minutes'", "zones=0/1"),
            ("wall < TIMESTAMPTZ '2024-07-01 10:00:00Z'", "zones=0/1"),
            ("wall <= TIMESTAMPTZ '2024-07-01 10:00:00Z'", "zones=1/1"),
            ("CAST(at AS DATE) = DATE '2024-07-02'", "zones=0/1"),
            ("CAST(at AS TIMESTAMP) > '2024-07-01 12:00:00'", "zones=0/1"),
            ("CAST(at AS TIMESTAMP) >= '2024-07-01 12:00:00'", "zones=1/1"),
            ("extract(year FROM at) = 2025", "zones=0/1"),
            ("at AT TIME ZONE 'Asia/Tokyo' > '2024-07-01 19:00:00'", "zones=0/1"),
            // Clocks show it twice: rows are asked.
            ("CAST(at AS TIMESTAMP) > '2024-10-27 02:30:00'", "zones=1/1"),
        ] {
            let sql = format!("SELECT id FROM times WHERE {condition}");
            let plan = fixture.engine.explain(&session, &sql, false).await.expect(&sql);
            assert!(plan.contains(zones), "{sql}: {plan}");
        }
    });
}

/// A parameter is shown in the session's zone, as a column is.
#[test]
fn parameters_are_shown_in_the_zone_of_the_session() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "SET timezone = 'Europe/Berlin'").await.expect("set");
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_711_925_232_000_000]).with_timezone("UTC"));
        let sql = "SELECT extract(hour FROM $1), CAST(CAST($2 AS TIMESTAMPTZ) AS DATE), $3 AT TIME ZONE 'Asia/Tokyo'";
        let rows = run_with(&fixture, &session, sql, vec![Arc::clone(&at), Arc::clone(&at), at]).await;
        assert_eq!(rows.expect("run"), ["0|2024-04-01|2024-04-01T07:47:12"]);
    });
}

/// Bounds are asked about two columns of a UNION that are one of the table, unless something is sorted by both.
#[test]
fn like_columns_of_a_union_have_bounds() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for sql in ["CREATE TABLE t (id BIGINT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"] {
            fixture.run(&session, sql).await.expect(sql);
        }
        let union = "(SELECT id AS a, id AS b FROM t UNION ALL SELECT id, -1 FROM t) AS u";
        let sql = format!("SELECT * FROM {union} WHERE b = 7");
        let plan = fixture.engine.explain(&session, &sql, false).await.expect(&sql);
        assert!(plan.contains("zones=0/1"), "{plan}");
        let rows = fixture.run(&session, &format!("SELECT a, b FROM {union} ORDER BY a, b")).await.expect("run");
        assert_eq!(rows, ["1|-1", "1|1", "2|-1", "2|2"]);
    });
}

/// The bounds of what a join finds are asked about a key of the rows that a semi join gives, and about no other column of that name.
#[test]
fn like_columns_of_a_semi_join_are_told_apart() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for sql in [
            "CREATE TABLE p1 (id BIGINT PRIMARY KEY, a BIGINT)",
            "CREATE TABLE p2 (id BIGINT PRIMARY KEY, a BIGINT, b BIGINT)",
            "INSERT INTO p1 SELECT value, value FROM generate_series(1, 2000)",
            "INSERT INTO p2 SELECT value, value + 500000, value FROM generate_series(1, 2000)",
            "CALL seal('p1')",
            "CALL seal('p2')",
        ] {
            fixture.run(&session, sql).await.expect(sql);
        }
        for of in [
            "SELECT * FROM p1 WHERE a IN (SELECT y.b FROM p2 AS y WHERE y.a <> p1.id)",
            "SELECT * FROM p1 WHERE EXISTS (SELECT 1 FROM p2 AS y WHERE y.b = p1.a AND y.a <> p1.id)",
            "SELECT a, id FROM p1 INTERSECT SELECT b AS id, id AS a FROM p2",
        ] {
            let sql = format!(
                "SELECT s.v, x.id FROM (VALUES (5), (7), (9)) AS s(v) JOIN ({of}) AS x ON s.v = x.a ORDER BY 1"
            );
            let rows = fixture.run(&session, &sql).await.expect(&sql);
            assert_eq!(rows, ["5|5", "7|7", "9|9"], "{sql}");
        }
    });
}

/// A join that finds something for next to each row looks at it once, not in the scan as well; one that finds little rules rows out there.
#[test]
fn rows_are_not_asked_what_all_of_them_pass() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for sql in [
            "CREATE TABLE facts (id BIGINT PRIMARY KEY, place BIGINT)",
            "CREATE TABLE places (place BIGINT PRIMARY KEY, region BIGINT)",
            "INSERT INTO facts SELECT value, value % 1000 FROM generate_series(1, 300000)",
            "INSERT INTO places SELECT value, value / 500 FROM generate_series(0, 999)",
            "CALL seal('facts')",
        ] {
            fixture.run(&session, sql).await.expect(sql);
        }
        let from = "FROM facts JOIN places USING (place)";
        for (sql, rows, is_asked) in [
            (format!("SELECT region, count(*) {from} GROUP BY region ORDER BY 1"), vec!["0|150000", "1|150000"], false),
            (
                format!("SELECT region, count(*) {from} WHERE places.place IN (7, 907) GROUP BY 1 ORDER BY 1"),
                vec!["0|300", "1|300"],
                true,
            ),
            (format!("SELECT count(*) {from} WHERE region + 1 = 2 AND places.place % 2 = 0"), vec!["75000"], true),
        ] {
            assert_eq!(fixture.run(&session, &sql).await.expect(&sql), rows, "{sql}");
            let plan = fixture.engine.explain(&session, &sql, true).await.expect(&sql);
            let unasked = plan.split("rows_not_asked_dynamic_filter=").nth(1).and_then(|rest| rest.chars().next());
            assert_eq!(unasked.map(|first| first == '0'), Some(is_asked), "{sql}: {plan}");
        }
    });
}

/// Constants are computed before anything runs, and both zeros are one there, too.
#[test]
fn a_parameter_may_be_either_zero() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let zero: ArrayRef = Arc::new(Float64Array::from(vec![-0.0]));
        let sql = "SELECT $1 IN (0.0, 5.0, 6.0, 7.0, 8.0), CASE $2 WHEN 0.0 THEN 'zero' END, nullif($3, 0.0)";
        let rows = run_with(&fixture, &session, sql, vec![Arc::clone(&zero), Arc::clone(&zero), zero]).await;
        assert_eq!(rows.expect("run"), ["true|zero|NULL"]);
    });
}
