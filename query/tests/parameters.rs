//! Do bound values mean what they would mean written out? Each row of them, in queries and in INSERT, on every path.

mod support;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int64Array, NullArray, RecordBatch, StringArray, StringViewArray,
    Time32MillisecondArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array, make_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, i256};
use support::{Fixture, collect, render};
use tidewater_query::wire_types::Profile;
use tidewater_query::{Code, Error, Parameters, PlannedKind, RunOptions, Session};

fn parameters(columns: Vec<ArrayRef>) -> Parameters {
    let field = |(i, column): (usize, &ArrayRef)| Field::new(i.to_string(), column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
    Parameters(RecordBatch::try_new(schema, columns).expect("a batch"))
}

fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Runs anything with values bound, and gives its rows as text.
async fn run(fixture: &Fixture, session: &Session, sql: &str, bound: Vec<ArrayRef>) -> Result<Vec<String>, Error> {
    let planned = fixture.engine.plan(session, sql, Some(parameters(bound)), RunOptions::default()).await?;
    match planned.kind {
        PlannedKind::Rows { pending, .. } => Ok(render(&collect(pending.start().await?).await?)),
        PlannedKind::Update(_) => Ok(Vec::new()),
    }
}

#[test]
fn a_query_runs_once_for_each_row_in_their_order() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR)").await.expect("created");
        fixture.run(&session, "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await.expect("inserted");
        let sql = "SELECT id, name FROM t WHERE id >= $1 AND name <> $2 ORDER BY id DESC";
        let rows = run(&fixture, &session, sql, vec![numbers([3, 9, 1]), texts(&["x", "x", "b"])]).await.expect("rows");
        // The second execution gives none.
        assert_eq!(rows, ["3|c", "3|c", "1|a"]);
        let all = run(&fixture, &session, "SELECT $1 + 1 AS n", vec![numbers(0..500)]).await.expect("rows");
        assert_eq!(all, (1..=500).map(|n| n.to_string()).collect::<Vec<_>>(), "more than are planned at once");
        let moved = "SELECT TIMESTAMP '2026-01-01 00:00:00' - $1 * INTERVAL '90 minutes' AS at";
        let rows = run(&fixture, &session, moved, vec![numbers([2, 0])]).await.expect("rows");
        assert_eq!(rows, ["2025-12-31T21:00:00", "2026-01-01T00:00:00"]);
        let null: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
        assert_eq!(run(&fixture, &session, "SELECT $1 AS n", vec![null]).await.expect("rows"), ["NULL", "1"]);
    });
}

#[test]
fn all_rows_of_parameters_see_one_snapshot() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await.expect("created");
        fixture.run(&session, "INSERT INTO t VALUES (1)").await.expect("inserted");
        let sql = "SELECT count(*) FROM t WHERE id >= $1";
        let bound = parameters(vec![numbers([0; 50])]);
        let planned = fixture.engine.plan(&session, sql, Some(bound), RunOptions::default()).await.expect("planned");
        let PlannedKind::Rows { pending, .. } = planned.kind else { panic!("a query") };
        fixture.run(&session, "INSERT INTO t VALUES (2), (3)").await.expect("inserted");
        let rows = render(&collect(pending.start().await.expect("started")).await.expect("rows"));
        assert_eq!(rows, vec!["1"; 50]);
    });
}

#[test]
fn a_later_row_that_fails_ends_the_answer_with_an_error() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let failed = run(&fixture, &session, "SELECT 1 / $1 AS n", vec![numbers([1, 0])]).await.expect_err("failed");
        assert_eq!(failed.code(), Code::QueryFailed);
        fixture.engine.set(&session, "max_rows", Some("3")).expect("set");
        let capped = run(&fixture, &session, "SELECT $1 AS n", vec![numbers(0..4)]).await.expect_err("too many rows");
        assert_eq!(capped.code(), Code::ResultTooLarge, "the cap is that of all rows together");
    });
}

#[test]
fn types_follow_from_where_a_parameter_stands() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR, d DECIMAL(20, 3), at TIMESTAMP, b BOOLEAN)";
        fixture.run(&session, table).await.expect("created");
        for (sql, expected) in [
            ("SELECT ?", "Null"),
            ("SELECT $1, $1, $2", "Null, Null"),
            ("SELECT * FROM t WHERE id = $2 AND name = $1", "Utf8, Int64"),
            ("SELECT * FROM t LIMIT ? OFFSET ?", "Int64, Int64"),
            ("SELECT * FROM t WHERE id IN (?, ?)", "Int64, Int64"),
            ("SELECT * FROM t WHERE name LIKE ?", "Utf8"),
            ("SELECT * FROM t WHERE d BETWEEN ? AND ?", "Decimal128(20, 3), Decimal128(20, 3)"),
            ("SELECT CAST(? AS BIGINT), ?::VARCHAR", "Int64, Utf8"),
            ("SELECT coalesce(name, ?) FROM t", "Utf8"),
            ("SELECT CASE WHEN id = ? THEN ? ELSE name END FROM t", "Int64, Utf8"),
            ("SELECT * FROM t WHERE id = (SELECT max(id) FROM t WHERE name = ?)", "Utf8"),
            (
                "SELECT * FROM t WHERE at >= ? - INTERVAL '1 day' AND at < INTERVAL '1 hour' + ?",
                "Timestamp(µs), Timestamp(µs)",
            ),
            ("SELECT * FROM t WHERE ? - INTERVAL '1 day' - INTERVAL '1 hour' < at", "Timestamp(µs)"),
            ("SELECT * FROM t WHERE at BETWEEN ? - INTERVAL '1 hour' AND ?", "Timestamp(µs), Timestamp(µs)"),
            ("SELECT * FROM t WHERE at BETWEEN ? - 2 * INTERVAL '1 hour' AND ?", "Timestamp(µs), Timestamp(µs)"),
            (
                "SELECT * FROM t WHERE at >= now() - ? * INTERVAL '1 minute' AND at < ? + INTERVAL '1 hour' / ?",
                "Float64, Timestamp(µs), Float64",
            ),
            ("SELECT * FROM t WHERE t.at NOT BETWEEN ? AND (? + INTERVAL '1 hour')", "Timestamp(µs), Timestamp(µs)"),
            ("SELECT * FROM t WHERE name LIKE ? ESCAPE '/' OR name NOT LIKE ? ESCAPE ?", "Utf8, Utf8, Utf8"),
            ("SELECT * FROM t WHERE name LIKE '%' || ? || '%' ESCAPE '/'", "Utf8"),
            ("SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN ? PRECEDING AND ? FOLLOWING) FROM t", "Int64, Int64"),
            ("SELECT CAST(? AS VARCHAR(3))", "Utf8"),
            ("SELECT * FROM generate_series(1, ?)", "Int64"),
            ("SELECT v FROM range(?, ?) AS r(v)", "Int64, Int64"),
            ("SELECT * FROM generate_series(DATE '2026-01-01', ?, INTERVAL '1 day')", "Date32"),
            ("DELETE FROM t WHERE at < ?", "Timestamp(µs)"),
            ("INSERT INTO t VALUES (?, ?, ?, ?, ?)", "Int64, Utf8, Decimal128(20, 3), Timestamp(µs), Boolean"),
            ("INSERT INTO t (d, id) VALUES ($2, $1)", "Int64, Decimal128(20, 3)"),
            ("INSERT INTO t (id, name, d) VALUES (?, 'x', ?)", "Int64, Decimal128(20, 3)"),
            ("INSERT INTO t (id, name) VALUES (?, lower('X'))", "Int64"),
            ("INSERT INTO t (id, d) VALUES (?, CAST(? AS DECIMAL(38, 0)))", "Int64, Decimal128(38, 0)"),
            ("INSERT INTO t (id, name) SELECT ?, ?", "Int64, Utf8"),
            ("INSERT INTO t (id, name) SELECT ? AS a, name FROM t", "Int64"),
        ] {
            let prepared = fixture.engine.prepare(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            let types = prepared.parameter_schema.fields().iter().map(|field| field.data_type().to_string());
            assert_eq!(types.collect::<Vec<_>>().join(", "), expected, "{sql}");
        }
    });
}

/// The JDBC driver puts milliseconds into times of any unit, and cannot bind what has no type.
#[test]
fn jdbc_is_told_types_that_it_binds_right() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin().with_types(Profile::Jdbc);
        let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP, instant TIMESTAMPTZ, clock TIME, n UBIGINT)";
        fixture.run(&session, table).await.expect("created");
        for (sql, expected) in [
            ("SELECT ?", "Utf8"),
            ("SELECT concat('<', ?, '>')", "Utf8"),
            ("SELECT * FROM t WHERE at = ? AND clock > ?", "Timestamp(ms), Time32(ms)"),
            ("INSERT INTO t VALUES (?, ?, ?, ?, ?)", "Int64, Timestamp(ms), Timestamp(ms, \"UTC\"), Time32(ms), Int64"),
        ] {
            let prepared = fixture.engine.prepare(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            let types = prepared.parameter_schema.fields().iter().map(|field| field.data_type().to_string());
            assert_eq!(types.collect::<Vec<_>>().join(", "), expected, "{sql}");
        }
    });
}

/// The JDBC driver makes a BIGINT of a BigDecimal: above 2^63 - 1 it comes as a negative number, with which any row would be compared.
#[test]
fn what_the_jdbc_driver_wraps_is_refused() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (u UBIGINT, n BIGINT)").await.expect("created");
        fixture.run(&session, "INSERT INTO t VALUES (18446744073709551615, 1), (5, 2)").await.expect("inserted");
        let jdbc = fixture.admin().with_types(Profile::Jdbc);
        for (sql, code) in [
            ("SELECT n FROM t WHERE u > $1", Code::InvalidParameter),
            ("DELETE FROM t WHERE u > $1", Code::InvalidParameter),
            ("INSERT INTO t SELECT u, 3 FROM t WHERE u > $1", Code::InvalidParameter),
            ("INSERT INTO t VALUES ($1, 3)", Code::BadRows),
        ] {
            let refused = run(&fixture, &jdbc, sql, vec![numbers([-1])]).await.expect_err(sql);
            assert_eq!(refused.code(), code, "{sql}: {refused}");
        }
        let signed = run(&fixture, &jdbc, "SELECT n FROM t WHERE n > $1 ORDER BY n", vec![numbers([-1])]).await;
        assert_eq!(signed.expect("rows"), ["1", "2"], "all are there, and a BIGINT may be negative");
        // What the hint says.
        let whole: ArrayRef =
            Arc::new(Decimal128Array::from(vec![(1_i128 << 63) + 1]).with_precision_and_scale(20, 0).expect("a type"));
        let sql = "SELECT n FROM t WHERE u > CAST($1 AS DECIMAL(20,0))";
        assert_eq!(run(&fixture, &jdbc, sql, vec![whole]).await.expect("rows"), ["1"]);
        // Who binds a number with a sign, and means it.
        let rows = run(&fixture, &session, "SELECT n FROM t WHERE u > $1 ORDER BY n", vec![numbers([-1])]).await;
        assert_eq!(rows.expect("rows"), ["1", "2"]);
    });
}

#[test]
fn coarser_times_are_as_fine_as_columns() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture
            .run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP, clock TIME)")
            .await
            .expect("created");
        let at = || Arc::new(TimestampMillisecondArray::from(vec![1_769_862_896_789])) as ArrayRef;
        let clock = || Arc::new(Time32MillisecondArray::from(vec![45_296_500])) as ArrayRef;
        let insert = "INSERT INTO t VALUES ($1, $2, $3)";
        run(&fixture, &session, insert, vec![numbers([1]), at(), clock()]).await.expect("inserted");
        let stored = "SELECT $1 FROM t WHERE at = TIMESTAMP '2026-01-31 12:34:56.789' AND clock = TIME '12:34:56.5'";
        assert_eq!(run(&fixture, &session, stored, vec![numbers([1])]).await.expect("rows"), ["1"]);
        for (sql, bound) in [
            ("SELECT id FROM t WHERE at = $1", at()),
            ("SELECT id FROM t WHERE at <= $1 AND at BETWEEN $1 AND $1", at()),
            ("SELECT id FROM t WHERE at > $1 - INTERVAL '1 day'", at()),
            ("SELECT id FROM t WHERE at < INTERVAL '1 hour' + $1", at()),
            ("SELECT id FROM t WHERE at BETWEEN $1 - INTERVAL '1 hour' AND $1", at()),
            ("SELECT id FROM t WHERE clock = $1", clock()),
        ] {
            assert_eq!(run(&fixture, &session, sql, vec![bound]).await.expect(sql), ["1"], "{sql}");
        }
    });
}

/// The planner does not know that it is one.
#[test]
fn a_date_to_which_hours_are_added_is_a_time() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP)").await.expect("created");
        let rows = "INSERT INTO t VALUES (1, '2023-12-31 23:30:00'), (2, '2024-01-01 00:30:00')";
        fixture.run(&session, rows).await.expect("inserted");
        // 2024-01-01.
        let day = || -> ArrayRef { Arc::new(Date32Array::from(vec![19_723])) };
        for (sql, expected) in [
            ("SELECT $1 + INTERVAL '36 hours' AS at", "2024-01-02T12:00:00"),
            ("SELECT INTERVAL '36 hours' + $1 AS at", "2024-01-02T12:00:00"),
            ("SELECT $1 - INTERVAL '1 hour' - INTERVAL '1 hour' AS at", "2023-12-31T22:00:00"),
            ("SELECT $1 + INTERVAL '1 day' AS day", "2024-01-02"),
            ("WITH p AS (SELECT $1 AS d) SELECT d + INTERVAL '36 hours' AS at FROM p", "2024-01-02T12:00:00"),
            ("SELECT at FROM (VALUES ($1 + INTERVAL '36 hours')) AS v(at)", "2024-01-02T12:00:00"),
            ("SELECT count(*) FROM t WHERE at >= $1 - INTERVAL '1 hour'", "2"),
            ("SELECT count(*) FROM t WHERE at < INTERVAL '1 hour' + $1", "2"),
            ("SELECT count(*) FROM t WHERE at BETWEEN $1 - INTERVAL '1 hour' AND $1", "1"),
        ] {
            let answer = run(&fixture, &session, sql, vec![day()]).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(answer, [expected], "{sql}");
        }
        let days: ArrayRef = Arc::new(Date32Array::from(vec![19_723, 19_724]));
        let insert = "INSERT INTO t VALUES ($1, $2 + INTERVAL '36 hours')";
        run(&fixture, &session, insert, vec![numbers([10, 11]), days]).await.expect("inserted");
        run(&fixture, &session, "DELETE FROM t WHERE at < $1 + INTERVAL '1 hour'", vec![day()]).await.expect("deleted");
        let left = fixture.run(&session, "SELECT id, at FROM t ORDER BY id").await.expect("rows");
        assert_eq!(left, ["10|2024-01-02T12:00:00", "11|2024-01-03T12:00:00"]);
    });
}

#[test]
fn a_pattern_is_escaped_by_what_is_bound() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR)").await.expect("created");
        fixture.run(&session, "INSERT INTO t VALUES (1, 'a%b'), (2, 'axb'), (3, 'a/b')").await.expect("inserted");
        for (sql, bound, expected) in [
            ("name LIKE '%' || $1 || '%' ESCAPE '/'", vec![texts(&["/%", "//", "x"])], &["1", "3", "2"][..]),
            ("name NOT LIKE $1 ESCAPE '/'", vec![texts(&["a/%b"])], &["2", "3"][..]),
            ("name ILIKE $1 ESCAPE $2", vec![texts(&["A!%B"]), texts(&["!"])], &["1"][..]),
        ] {
            let sql = format!("SELECT id FROM t WHERE {sql} ORDER BY id");
            assert_eq!(run(&fixture, &session, &sql, bound).await.expect(&sql), expected, "{sql}");
        }
        let sql = "SELECT id FROM t WHERE name LIKE $1 ESCAPE $2";
        let refused = run(&fixture, &session, sql, vec![texts(&["a"]), texts(&["!!"])]).await.expect_err("refused");
        assert!(refused.message().contains("one character"), "{refused}");
    });
}

#[test]
fn a_frame_reaches_as_far_as_its_parameters_say() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP)").await.expect("created");
        let rows = "INSERT INTO t VALUES (1, '2026-01-01 00:00:00'), (2, '2026-01-01 01:00:00'), \
                    (4, '2026-01-01 04:00:00')";
        fixture.run(&session, rows).await.expect("inserted");
        for (frame, bound, expected) in [
            (
                "ORDER BY id ROWS BETWEEN $1 PRECEDING AND $2 FOLLOWING",
                vec![numbers([1]), numbers([0])],
                ["1", "3", "6"],
            ),
            (
                "ORDER BY id ROWS $1 PRECEDING",
                vec![Arc::new(Float64Array::from(vec![1.0])) as ArrayRef],
                ["1", "3", "6"],
            ),
            ("ORDER BY id RANGE BETWEEN CURRENT ROW AND $1 FOLLOWING", vec![numbers([2])], ["3", "6", "4"]),
            ("ORDER BY at RANGE BETWEEN $1 PRECEDING AND CURRENT ROW", vec![texts(&["3 hours"])], ["1", "3", "6"]),
        ] {
            for sql in [
                format!("SELECT sum(id) OVER ({frame}) FROM t ORDER BY id"),
                format!("SELECT sum(id) OVER w FROM t WINDOW w AS ({frame}) ORDER BY id"),
            ] {
                fixture.engine.prepare(&session, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
                assert_eq!(run(&fixture, &session, &sql, bound.clone()).await.expect(&sql), expected, "{sql}");
            }
        }
        let sql = "SELECT sum(id) OVER (ORDER BY id ROWS $1 PRECEDING) FROM t";
        let null: ArrayRef = Arc::new(Int64Array::from(vec![None::<i64>]));
        for (bound, part) in
            [(numbers([-1]), "is no number of rows"), (numbers([1, 2]), "differs between rows"), (null, "is NULL")]
        {
            let refused = run(&fixture, &session, sql, vec![bound]).await.expect_err(part);
            assert_eq!(refused.code(), Code::InvalidParameter, "{refused}");
            assert!(refused.message().contains(part), "{refused}");
        }
        let sql = "SELECT sum(id) OVER (ORDER BY id RANGE $1 PRECEDING) FROM t";
        let refused = run(&fixture, &session, sql, vec![numbers([-1])]).await.expect_err("negative");
        assert_eq!(refused.code(), Code::InvalidParameter, "{refused}");
        let sql = "SELECT sum(id) OVER (ORDER BY at RANGE $1 PRECEDING) FROM t";
        let refused = run(&fixture, &session, sql, vec![numbers([1])]).await.expect_err("a number over times");
        assert!(refused.message().contains("takes an INTERVAL"), "{refused}");
    });
}

#[test]
fn a_series_ends_where_its_parameter_says() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for (sql, bound, expected) in [
            ("SELECT * FROM generate_series(1, $1)", numbers([2, 0, 3]), &["1", "2", "1", "2", "3"][..]),
            ("SELECT s.v + 1 FROM range(1, $1 + 1, 2) AS s(v) ORDER BY 1", numbers([5]), &["2", "4", "6"][..]),
            (
                "SELECT value FROM generate_series(DATE '2026-01-31', $1, INTERVAL '1 day')",
                Arc::new(Date32Array::from(vec![20_485])) as ArrayRef,
                &["2026-01-31", "2026-02-01"][..],
            ),
        ] {
            assert_eq!(run(&fixture, &session, sql, vec![bound]).await.expect(sql), expected, "{sql}");
        }
        let sql = "SELECT count(*) FROM generate_series(1, $1)";
        let refused = run(&fixture, &session, sql, vec![numbers([i64::MAX])]).await.expect_err("refused");
        assert_eq!(refused.code(), Code::ExpansionTooLarge);
    });
}

#[test]
fn a_value_that_does_not_fit_is_named_by_its_place() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR, at TIMESTAMP)";
        fixture.run(&session, table).await.expect("created");
        fixture.run(&session, "INSERT INTO t VALUES (1, '5', '2026-01-01 00:00:00')").await.expect("inserted");
        let sql = "SELECT id FROM t WHERE name <> $1 AND id = $2";
        let refused = run(&fixture, &session, sql, vec![texts(&["x"]), texts(&["abc"])]).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidParameter);
        assert_eq!(refused.message(), "parameter 2: 'abc' is no BIGINT");
        let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"x"]));
        let sql = "SELECT id FROM t WHERE id = $1";
        let refused = run(&fixture, &session, sql, vec![bytes]).await.expect_err("refused");
        assert!(refused.message().starts_with("parameter 1: "), "{refused}");
        for (sql, bound) in [
            ("SELECT id FROM t WHERE id = $1", texts(&["1"])),
            ("SELECT id FROM t WHERE at = $1", texts(&["2026-01-01"])),
            ("SELECT id FROM t WHERE name = $1", numbers([5])),
            ("SELECT id FROM t WHERE id < $1", Arc::new(Float64Array::from(vec![1.5])) as ArrayRef),
        ] {
            assert_eq!(run(&fixture, &session, sql, vec![bound]).await.expect(sql), ["1"], "{sql}");
        }
        let beyond = Decimal128Array::from(vec![10_i128.pow(37)]).with_precision_and_scale(38, 1).expect("fits");
        let forged = beyond.to_data().into_builder().data_type(DataType::Decimal128(3, 1)).build();
        let forged = make_array(forged.expect("the layout is the same"));
        let refused = run(&fixture, &session, "SELECT $1", vec![forged]).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidParameter);
        assert!(refused.message().starts_with("parameter 1: "), "{refused}");
    });
}

/// A value of each kind that a client may bind, small and at its ends.
fn values() -> Vec<ArrayRef> {
    let words: DictionaryArray<Int32Type> = ["5"].into_iter().collect();
    let decimal = Decimal128Array::from(vec![12_345_678_901_234_567_891]);
    let mut values: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(1)),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(Int8Array::from(vec![-128])),
        Arc::new(UInt64Array::from(vec![u64::MAX])),
        Arc::new(Float32Array::from(vec![0.1])),
        Arc::new(decimal.with_precision_and_scale(20, 3).expect("fits")),
        Arc::new(Decimal256Array::from(vec![i256::from_i128(5)]).with_precision_and_scale(60, 1).expect("fits")),
        Arc::new(StringViewArray::from(vec!["5.5"])),
        Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"])),
        Arc::new(Date32Array::from(vec![-1])),
        Arc::new(Time64MicrosecondArray::from(vec![86_399_999_999])),
        Arc::new(TimestampMicrosecondArray::from(vec![-1])),
        Arc::new(TimestampNanosecondArray::from(vec![1_500]).with_timezone("UTC")),
        Arc::new(words),
    ];
    values.extend([0, 1, i64::MAX, i64::MIN].map(|n| numbers([n])));
    let fraction = |n: f64| Arc::new(Float64Array::from(vec![n])) as ArrayRef;
    values.extend([1.5, -0.0, 1e300, f64::NAN, f64::INFINITY].map(fraction));
    let words = ["", "x", "1", "-1.25", "true", "2026-01-31", "2026-01-31 12:00:00", "12:00:00", "1e3"];
    values.extend(words.map(|text| texts(&[text])));
    values
}

const TYPES: [&str; 13] = [
    "BOOLEAN",
    "TINYINT",
    "INTEGER",
    "BIGINT",
    "BIGINT UNSIGNED",
    "REAL",
    "DOUBLE",
    "DECIMAL(20, 3)",
    "VARCHAR",
    "VARBINARY",
    "DATE",
    "TIME",
    "TIMESTAMP",
];

/// Both tables have the same rows; their order is that of the inserts.
async fn compare(fixture: &Fixture, session: &Session, data_type: &str) {
    let rows =
        async |table: &str| fixture.run(session, &format!("SELECT n, v FROM {table} ORDER BY n")).await.expect("rows");
    assert_eq!(rows("bound").await, rows("planned").await, "{data_type}");
    for table in ["bound", "planned"] {
        fixture.run(session, &format!("DROP TABLE {table}")).await.expect("dropped");
    }
}

async fn create(fixture: &Fixture, session: &Session, data_type: &str) {
    for table in ["bound", "planned"] {
        let sql = format!("CREATE TABLE {table} (n BIGINT PRIMARY KEY, v {data_type})");
        fixture.run(session, &sql).await.expect("created");
    }
}

fn code<T>(result: &Result<T, Error>) -> Option<Code> {
    result.as_ref().err().map(Error::code)
}

#[test]
fn bound_rows_are_stored_as_planned_rows_are() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for data_type in TYPES {
            create(&fixture, &session, data_type).await;
            for (n, value) in values().into_iter().enumerate() {
                let bound = vec![numbers([n as i64]), value];
                let fast = run(&fixture, &session, "INSERT INTO bound VALUES ($1, $2)", bound.clone()).await;
                let slow = run(&fixture, &session, "INSERT INTO planned SELECT $1, $2", bound.clone()).await;
                assert_eq!(code(&fast), code(&slow), "{:?} into {data_type}: {fast:?}, {slow:?}", bound[1]);
            }
            compare(&fixture, &session, data_type).await;
        }
    });
}

#[test]
fn constants_beside_parameters_are_stored_as_in_any_insert() {
    const CONSTANTS: [&str; 14] = [
        "NULL",
        "true",
        "'x'",
        "'2026-01-31'",
        "0",
        "-1",
        "+300",
        "1.5",
        "-0.0005",
        "1e3",
        "12345678901234567.891",
        "-12345678901234567.8915",
        "18446744073709551615",
        "99999999999999999999999999999999999999999",
    ];
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        for data_type in TYPES {
            create(&fixture, &session, data_type).await;
            for (n, constant) in CONSTANTS.into_iter().enumerate() {
                let sql = format!("INSERT INTO bound (v, n) VALUES ({constant}, $1)");
                let fast = run(&fixture, &session, &sql, vec![numbers([n as i64])]).await;
                let slow = fixture.run(&session, &format!("INSERT INTO planned (v, n) VALUES ({constant}, {n})")).await;
                assert_eq!(code(&fast), code(&slow), "{constant} into {data_type}: {fast:?}, {slow:?}");
            }
            compare(&fixture, &session, data_type).await;
        }
    });
}

/// A small message may stand for any number of rows, and each has a copy of the constants.
#[test]
fn constants_of_many_rows_have_a_bound() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (ok BOOLEAN, note VARCHAR)").await.expect("created");
        let sql = format!("INSERT INTO t VALUES ($1, '{}')", "x".repeat(100_000));
        let rows = |n: usize| vec![Arc::new(BooleanArray::from(vec![true; n])) as ArrayRef];
        let refused = run(&fixture, &session, &sql, rows(1_000_000)).await.expect_err("100 GB");
        assert_eq!(refused.code(), Code::StatementRowsTooLarge);
        run(&fixture, &session, &sql, rows(50)).await.expect("stored");
        let stored = fixture.run(&session, "SELECT count(*), sum(length(note)) FROM t").await.expect("rows");
        assert_eq!(stored, ["50|5000000"]);
    });
}

#[test]
fn what_all_executions_read_is_counted() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (a BIGINT PRIMARY KEY)").await.expect("created");
        fixture.run(&session, "INSERT INTO t SELECT value FROM generate_series(1, 1000)").await.expect("inserted");
        fixture.run(&session, "CALL seal('t')").await.expect("sealed");
        let bound = parameters(vec![numbers([3, 4, 5])]);
        let sql = "SELECT a FROM t WHERE a % 10 = $1";
        let planned = fixture.engine.plan(&session, sql, Some(bound), RunOptions::default()).await.expect("planned");
        let PlannedKind::Rows { pending, .. } = planned.kind else { panic!("a query") };
        let watch = pending.watch();
        assert_eq!(render(&collect(pending.start().await.expect("started")).await.expect("rows")).len(), 300);
        let summary = watch.summary();
        assert_eq!((summary.rows_read_sealed, summary.rows_read_realtime, summary.fraction), (3000, 0, Some(1.0)));
        assert!(summary.bytes_read > 0);
    });
}

#[test]
fn many_bound_rows_are_one_commit_or_none() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        let table = "CREATE TABLE t (id BIGINT NOT NULL, kind VARCHAR, d DECIMAL(5, 2))";
        fixture.run(&session, table).await.expect("created");
        let sql = "INSERT INTO t VALUES ($1, 'sensor', -1.005)";
        run(&fixture, &session, sql, vec![numbers(0..10_000)]).await.expect("stored");
        let upper = || fixture.engine.storage().table("public", "t").expect("the table").snapshot().upper().0;
        assert_eq!(upper(), 1);
        let rows = fixture.run(&session, "SELECT count(*), max(id), min(kind), min(d) FROM t").await.expect("rows");
        assert_eq!(rows, ["10000|9999|sensor|-1.01"]);
        let with_null: ArrayRef = Arc::new(Int64Array::from_iter((0..10_000).map(|n| (n != 9_999).then_some(n))));
        let refused = run(&fixture, &session, sql, vec![with_null]).await.expect_err("refused");
        assert_eq!(refused.code(), Code::BadRows);
        assert!(refused.message().contains("row 9999"), "{refused}");
        assert_eq!(upper(), 1);
    });
}

/// As one execution after the other, in one entry of the log: of two rows with one key the earlier stays.
#[test]
fn several_tuples_take_rows_of_parameters_in_their_order() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, v DOUBLE, name VARCHAR)").await.expect("created");
        let upper = || fixture.engine.storage().table("public", "t").expect("the table").snapshot().upper().0;
        let sql = "INSERT INTO t VALUES ($1, $2, $3), ($4, $5, $6)";
        let floats = |values: [f64; 2]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
        let nulls: ArrayRef = Arc::new(NullArray::new(2));
        let bound = |ids: [[i64; 2]; 2], v: ArrayRef, name: ArrayRef| {
            vec![numbers(ids[0]), floats([0.5, 1.5]), texts(&["a", "b"]), numbers(ids[1]), v, name]
        };
        // 2 comes from the first row's second tuple, and 1 from its first.
        let alike = bound([[1, 2], [2, 1]], floats([2.5, 3.5]), texts(&["c", "d"]));
        run(&fixture, &session, sql, alike).await.expect("stored");
        // NULLs have the type of the others; whole numbers are cast as they would be alone.
        run(&fixture, &session, sql, bound([[3, 4], [4, 3]], numbers([7, 8]), Arc::clone(&nulls)))
            .await
            .expect("stored");
        run(&fixture, &session, sql, bound([[5, 6], [6, 5]], nulls, texts(&["c", "d"]))).await.expect("stored");
        assert_eq!(upper(), 3, "each is one entry");
        let rows = fixture.run(&session, "SELECT id, v, name FROM t ORDER BY id").await.expect("rows");
        assert_eq!(rows, ["1|0.5|a", "2|2.5|c", "3|0.5|a", "4|7.0|NULL", "5|0.5|a", "6|NULL|c"]);

        // All or none, and the row that is refused has its number in this order.
        let bad: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(9)]));
        let mut refused = bound([[7, 8], [0, 0]], floats([0.0, 0.0]), texts(&["c", "d"]));
        refused[3] = bad;
        let refused = run(&fixture, &session, sql, refused).await.expect_err("refused");
        assert_eq!(refused.code(), Code::BadRows);
        assert!(refused.message().contains("row 1"), "{refused}");
        assert_eq!(upper(), 3);
    });
}

/// A parameter may stand in any number of tuples, each of which has a copy of it.
#[test]
fn copies_of_parameters_have_a_bound() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let session = fixture.admin();
        fixture.run(&session, "CREATE TABLE t (note VARCHAR)").await.expect("created");
        let sql = format!("INSERT INTO t VALUES {}", vec!["($1)"; 300].join(", "));
        let long = "x".repeat(1 << 20);
        let refused =
            run(&fixture, &session, &sql, vec![texts(&[long.as_str(), long.as_str()])]).await.expect_err("600 MiB");
        assert_eq!(refused.code(), Code::StatementRowsTooLarge);
        run(&fixture, &session, &sql, vec![texts(&["a", "b"])]).await.expect("stored");
        assert_eq!(fixture.run(&session, "SELECT count(*) FROM t").await.expect("rows"), ["600"]);
    });
}
