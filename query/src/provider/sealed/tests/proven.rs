//! Does a file that is read without what its bounds prove give the same rows? Random filters, NULLs, NaN, deletes, added columns, limits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_plan::{ExecutionPlan, collect};
use tidewater_storage::TableSnapshot;
use tidewater_storage::catalog::{ColumnDef, TableChange};

use super::deletes::delete;
use super::support::{Fixture, Session, every_type, narrow, narrow_rows, rows};
use crate::provider::sealed::opening::proven::Left;
use crate::provider::tests::support::Random;

/// The columns of [`few_rows`], by place.
const A: usize = 0;
const TEXT: usize = 1;
const PRICE: usize = 2;
const OK: usize = 3;
const FLOAT: usize = 4;

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("float", DataType::Float64, true),
    ]))
}

fn price(hundredths: i64) -> ScalarValue {
    ScalarValue::Decimal128(Some(i128::from(hundredths)), 10, 2)
}

/// A value of a column, or a literal beside it; sometimes NULL. The text is sometimes too long for a bound.
fn value(random: &mut Random, column: usize) -> ScalarValue {
    let n = random.below(5) as i64 - 2;
    let floats = [0.0, -0.0, f64::NAN, f64::NEG_INFINITY, 1.5];
    match (random.chance(6), column) {
        (true, A) => ScalarValue::Int64(None),
        (true, TEXT) => ScalarValue::Utf8(None),
        (true, PRICE) => ScalarValue::Decimal128(None, 10, 2),
        (true, OK) => ScalarValue::Boolean(None),
        (true, _) => ScalarValue::Float64(None),
        (false, A) => ScalarValue::Int64(Some(n)),
        (false, TEXT) if random.chance(20) => ScalarValue::from("b".repeat(70 + random.below(2) as usize)),
        (false, TEXT) => ScalarValue::from(random.pick(&["", "a", "b", "bb", "ü"])),
        (false, PRICE) => price(n),
        (false, OK) => ScalarValue::Boolean(Some(random.chance(50))),
        (false, _) => ScalarValue::Float64(Some(floats[(n + 2) as usize])),
    }
}

/// Few, so that their bounds are close.
fn few_rows(random: &mut Random) -> RecordBatch {
    let n = 1 + random.below(3);
    let array = |random: &mut Random, column: usize| {
        ScalarValue::iter_to_array((0..n).map(|_| value(random, column)).collect::<Vec<_>>()).expect("of one type")
    };
    let columns = [A, TEXT, PRICE, OK, FLOAT].map(|column| array(random, column));
    RecordBatch::try_new(schema(), columns.to_vec()).expect("columns of one length")
}

/// Bounds as files have them: right, but sometimes too wide.
fn bounds(random: &mut Random, values: &ArrayRef, column: usize) -> ColumnStatistics {
    let mut scalars: Vec<ScalarValue> = (0..values.len())
        .map(|at| ScalarValue::try_from_array(values, at).expect("a value"))
        .filter(|value| !value.is_null())
        .collect();
    scalars.sort_by(|a, b| a.partial_cmp(b).expect("of one type"));
    let wider = |bound: Option<ScalarValue>, is_min: bool, is_wide: bool| match bound {
        Some(ScalarValue::Int64(Some(n))) if is_wide => Some(ScalarValue::from(if is_min { n - 1 } else { n + 1 })),
        Some(ScalarValue::Utf8(Some(text))) if text.len() > 64 || is_wide => {
            Some(ScalarValue::from(if is_min { text.chars().take(1).collect() } else { format!("{text}z") }))
        }
        bound => bound,
    };
    let known = |bound: Option<ScalarValue>| match bound {
        Some(bound) if column == FLOAT => Precision::Inexact(bound),
        Some(bound) => Precision::Exact(bound),
        None => Precision::Absent,
    };
    ColumnStatistics {
        null_count: Precision::Exact(values.null_count()),
        min_value: known(wider(scalars.first().cloned(), true, random.chance(20))),
        max_value: known(wider(scalars.last().cloned(), false, random.chance(20))),
        ..ColumnStatistics::new_unknown()
    }
}

fn column(place: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema().field(place).name(), place))
}

fn literal(random: &mut Random, column: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(value(random, column)))
}

fn condition(random: &mut Random, depth: u64) -> Arc<dyn PhysicalExpr> {
    const OPS: [Operator; 8] = [
        Operator::Eq,
        Operator::NotEq,
        Operator::Lt,
        Operator::LtEq,
        Operator::Gt,
        Operator::GtEq,
        Operator::IsDistinctFrom,
        Operator::IsNotDistinctFrom,
    ];
    if depth > 0 && random.chance(60) {
        let op = if random.chance(60) { Operator::And } else { Operator::Or };
        return Arc::new(BinaryExpr::new(condition(random, depth - 1), op, condition(random, depth - 1)));
    }
    let of = random.below(5) as usize;
    match random.below(10) {
        0 => Arc::new(IsNullExpr::new(column(of))),
        1 => Arc::new(IsNotNullExpr::new(column(of))),
        2 => column(OK),
        3 => Arc::new(NotExpr::new(if random.chance(50) { column(OK) } else { condition(random, 0) })),
        4 => {
            let list = (0..1 + random.below(4)).map(|_| literal(random, of)).collect();
            let list = InListExpr::try_new(column(of), list, random.chance(60), &schema());
            Arc::new(list.expect("of one type"))
        }
        kind => {
            let op = OPS[random.below(8) as usize];
            let (left, right) = (column(of), literal(random, of));
            let (left, right) = if kind == 5 { (right, left) } else { (left, right) };
            Arc::new(BinaryExpr::new(left, op, right))
        }
    }
}

/// By row, whether a condition is TRUE.
fn is_true(condition: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Vec<bool> {
    let values = condition.evaluate(batch).and_then(|values| values.into_array(batch.num_rows())).expect("evaluated");
    let values: &BooleanArray = values.as_boolean();
    values.iter().map(|value| value == Some(true)).collect()
}

#[test]
fn what_is_left_passes_the_same_rows() {
    let mut random = Random::new(13);
    let (mut n_less, mut n_without) = (0, 0);
    for _ in 0..30_000 {
        let batch = few_rows(&mut random);
        let statistics = Statistics {
            num_rows: Precision::Exact(batch.num_rows()),
            total_byte_size: Precision::Absent,
            column_statistics: (0..5).map(|at| bounds(&mut random, batch.column(at), at)).collect(),
        };
        let filter = condition(&mut random, 2);
        let passes = is_true(&filter, &batch);
        match Left::of(&filter, &statistics) {
            Left::All => {}
            Left::Part(left) => {
                n_less += 1;
                assert_eq!(is_true(&left, &batch), passes, "{left} of {filter}: {batch:?}");
            }
            Left::Nothing => {
                n_without += 1;
                assert!(passes.iter().all(|passes| *passes), "{filter}: {batch:?} {statistics:?}");
            }
        }
    }
    assert!(n_less > 1_000 && n_without > 1_000, "{n_less} {n_without}");
}

#[test]
fn nothing_is_proven_about_what_has_another_type_or_no_known_bounds() {
    let known = |null_count, min_value, max_value| ColumnStatistics {
        null_count,
        min_value,
        max_value,
        ..ColumnStatistics::new_unknown()
    };
    let exact = |n: i64| Precision::Exact(ScalarValue::from(n));
    let above = |literal: ScalarValue| -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(column(A), Operator::Gt, Arc::new(Literal::new(literal))))
    };
    let is_left = |of: ColumnStatistics, filter: &Arc<dyn PhysicalExpr>| {
        let of_file = Statistics {
            num_rows: Precision::Exact(9),
            total_byte_size: Precision::Absent,
            column_statistics: vec![of],
        };
        matches!(Left::of(filter, &of_file), Left::All)
    };
    let zero = above(ScalarValue::from(0_i64));
    assert!(!is_left(known(Precision::Exact(0), exact(1), exact(5)), &zero));
    assert!(is_left(known(Precision::Exact(0), exact(0), exact(5)), &zero));
    assert!(is_left(known(Precision::Exact(1), exact(1), exact(5)), &zero));
    assert!(is_left(known(Precision::Inexact(0), exact(1), exact(5)), &zero));
    assert!(is_left(known(Precision::Absent, exact(1), exact(5)), &zero));
    assert!(is_left(known(Precision::Exact(0), Precision::Inexact(ScalarValue::from(1_i64)), exact(5)), &zero));
    assert!(is_left(known(Precision::Exact(0), Precision::Absent, exact(5)), &zero));
    for other in [ScalarValue::from(0_i32), ScalarValue::from(0.0), ScalarValue::Int64(None), price(0)] {
        assert!(is_left(known(Precision::Exact(0), exact(1), exact(5)), &above(other)));
    }
    let float = |of: f64| Precision::Exact(ScalarValue::from(of));
    assert!(is_left(known(Precision::Exact(0), float(1.0), float(5.0)), &above(ScalarValue::from(0.0))));
    let decimal = |of: i64| Precision::Exact(price(of));
    let finer = ScalarValue::Decimal128(Some(0), 10, 4);
    assert!(is_left(known(Precision::Exact(0), decimal(1), decimal(5)), &above(finer)));
    assert!(!is_left(known(Precision::Exact(0), decimal(1), decimal(5)), &above(price(0))));
    // Nothing is known of a column that is no column of files.
    assert!(matches!(Left::of(&zero, &Statistics::default()), Left::All));
}

/// Files that a plan, which ran, read without its filter, and with less than that.
fn read_with_less(plan: &Arc<dyn ExecutionPlan>) -> (usize, usize) {
    let metrics = plan.metrics();
    let count = |name: &str| {
        let sum = metrics.as_ref().and_then(|metrics| metrics.sum_by_name(name));
        sum.map_or(0, |sum| sum.as_usize())
    };
    let own = (count("files_read_without_filter"), count("files_read_with_less_filter"));
    plan.children().into_iter().map(read_with_less).fold(own, |all, one| (all.0 + one.0, all.1 + one.1))
}

async fn run(session: &Session, sql: &str) -> (Arc<dyn ExecutionPlan>, Vec<RecordBatch>) {
    let frame = session.0.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let plan = frame.create_physical_plan().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = collect(Arc::clone(&plan), session.0.task_ctx()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    (plan, rows)
}

/// A condition on each kind of column that bounds may prove of few rows, or must not.
fn sql_condition(random: &mut Random) -> String {
    let op = random.pick(&["=", "<", "<=", ">", ">=", "<>"]);
    let id = random.below(700);
    match random.below(18) {
        0..3 => format!("id {op} {id}"),
        3..5 => format!("ts {op} TIMESTAMP '1970-01-01 0{}:{}:00'", random.below(10), 10 + random.below(50)),
        5 => format!("id BETWEEN {id} AND {}", id + random.below(400)),
        6 => format!("id NOT IN ({id}, {}, 690)", id + 1),
        7 => format!("i8 {op} {}", random.pick(&["-128", "127", "0", "200"])),
        8 => format!("u64 {op} {}", random.pick(&["0", "18446744073709551615", "50"])),
        9 => format!("f64 {op} {}", random.pick(&["0.0", "-0.0", "-1e300", "1e300", "CAST('NaN' AS DOUBLE)"])),
        10 => format!("price {op} {}", random.pick(&["-50", "0.5", "50.0001"])),
        11 => format!("name {op} '{}'", random.pick(&["", "name 5", "z", "ü"])),
        12 => format!("day {op} DATE '{}'", random.pick(&["1940-01-01", "1970-06-01", "2000-01-01"])),
        13 => format!("seen {op} TIMESTAMP '{}'", random.pick(&["1969-01-01 00:00:00", "1971-01-01 00:00:00"])),
        14 => random.pick(&["ok", "NOT ok", "ok IS NULL", "ok IS NOT NULL", "u64 IS NOT NULL"]).to_owned(),
        15 => random.pick(&["extra IS NULL", "extra IS NOT NULL", "extra >= 7", "extra <> 8"]).to_owned(),
        16 => format!("_commit_seq {op} {}", random.below(12)),
        _ => format!("(i32 {op} 50 OR id >= {id})"),
    }
}

fn sql_filter(random: &mut Random) -> String {
    let mut sql = sql_condition(random);
    for _ in 0..random.below(3) {
        let junction = random.pick(&["AND", "AND", "AND", "OR"]);
        sql = format!("({sql}) {junction} ({})", sql_condition(random));
    }
    sql
}

/// `batch` with the column that the table got later.
fn with_extra(batch: &RecordBatch) -> RecordBatch {
    let mut fields = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("extra", DataType::UInt64, true)));
    let extra: UInt64Array = (0..batch.num_rows() as u64).map(|row| Some(7 + row % 3)).collect();
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(extra));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

/// Files of few rows, which bounds tell much about, and of many; older than a column and newer; with deleted rows and without; and fresh
/// rows.
async fn many_files(seed: u64) -> (Fixture, TableSnapshot) {
    let fixture = Fixture::new(every_type()).await;
    let mut random = Random::new(seed);
    let mut first = 0;
    for n in [1, 2, 3, 60, 1, 300] {
        fixture.write(rows(&mut random, first, n)).await;
        fixture.build().await;
        first += n;
    }
    let extra =
        ColumnDef { name: "extra".into(), data_type: DataType::UInt64, nullable: true, comment: None, max_chars: None };
    fixture.engine.alter_table("public", "t", TableChange::AddColumn(extra)).await.expect("added");
    for n in [2, 1, 200, 3] {
        fixture.write(with_extra(&rows(&mut random, first, n))).await;
        fixture.build().await;
        first += n;
    }
    assert!(delete(&fixture, "id % 5 = 1").await > 0);
    fixture.write(rows(&mut random, first, 100)).await;
    let snapshot = fixture.table.snapshot();
    (fixture, snapshot)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_bounds_prove_pass_the_same_rows() {
    for seed in 0..2 {
        let (_fixture, snapshot) = many_files(seed).await;
        let session = Session::new(1 + 2 * seed as usize);
        session.show("t", &snapshot, true);
        let mut random = Random::new(seed + 100);
        let (mut n_without, mut n_less) = (0, 0);
        for _ in 0..60 {
            let filter = sql_filter(&mut random);
            for select in [
                "SELECT * FROM {t} WHERE {f}",
                "SELECT id, _commit_seq, _ingested_at FROM {t} WHERE {f}",
                "SELECT count(*), count(name), sum(id), min(u64), max(name), max(f64) FROM {t} WHERE {f}",
                "SELECT i32, count(*) FROM {t} WHERE {f} GROUP BY i32",
                "SELECT id, ts FROM {t} WHERE {f} ORDER BY ts DESC LIMIT 7",
                "SELECT count(*) FROM (SELECT name FROM {t} WHERE {f} LIMIT 90)",
                "SELECT id, name FROM {t} WHERE id IN (SELECT id + 3 FROM t WHERE i32 > 40) AND ({f})",
            ] {
                let sql = select.replace("{f}", &filter);
                // No filter passes a limit: it is asked above the scan, of every row.
                session.same(&sql, "t", "(SELECT * FROM t LIMIT 1000000) AS s").await;
                let (plan, _) = run(&session, &sql.replace("{t}", "t")).await;
                let (without, less) = read_with_less(&plan);
                (n_without, n_less) = (n_without + without, n_less + less);
            }
        }
        assert!(n_without > 50 && n_less > 50, "{n_without} {n_less}");
    }
}

/// The second of four hours is cut by the filter, the first is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_without_what_their_bounds_prove() {
    const SINCE: &str = "ts >= TIMESTAMP '1970-01-01 01:00:02.5'";
    let fixture = Fixture::new(narrow()).await;
    for hour in 0..4 {
        fixture.write(narrow_rows(hour * 5_000, 5_000, hour, |id| (id % 7 > 0).then_some(id as f64))).await;
        fixture.build().await;
    }
    let snapshot = fixture.table.snapshot();
    for (filter, without, less, n) in [
        (SINCE.to_owned(), 2, 0, 12_500),
        (format!("{SINCE} AND id < 1000000"), 2, 1, 12_500),
        (format!("{SINCE} AND v >= 0"), 0, 2, 10_714),
        (format!("{SINCE} AND id > 9999"), 2, 0, 10_000),
        (format!("{SINCE} AND id IS NOT NULL AND ts < TIMESTAMP '1970-01-02 00:00:00'"), 2, 1, 12_500),
        (format!("({SINCE} OR v IS NULL) AND id >= 5000"), 2, 1, 12_857),
        ("v IS NOT NULL".to_owned(), 0, 0, 17_142),
    ] {
        let session = Session::new(1);
        let counters = session.show("t", &snapshot, false);
        let sql = format!("SELECT v, count(*) AS n FROM t WHERE {filter} GROUP BY v");
        let (plan, rows) = run(&session, &sql).await;
        let counts = rows.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().iter());
        assert_eq!(counts.sum::<i64>(), n, "{filter}");
        assert_eq!(read_with_less(&plan), (without, less), "{filter}");
        assert!(counters.rows_read_sealed() >= n as u64 && counters.rows_read_sealed() <= 20_000, "{filter}");
    }
    let session = Session::new(1);
    session.show("t", &snapshot, false);
    let sql = format!("SELECT v, count(*) FROM t WHERE {SINCE} GROUP BY v");
    let plan = session.explain(&sql).await;
    assert!(
        plan.contains("files=3/4") && plan.contains("predicate=ts@1 >= ") && !plan.contains("FilterExec"),
        "{plan}"
    );
    let text = session.text(&format!("EXPLAIN ANALYZE {sql}")).await;
    assert!(text.contains("files_read_without_filter=2"), "{text}");
    // A limit counts rows that pass, whichever way each file is read.
    for n in [1, 4_999, 10_001, 12_500, 20_000] {
        let sql = format!("SELECT count(*) FROM (SELECT v FROM t WHERE {SINCE} LIMIT {n})");
        assert_eq!(session.number(&sql).await, n.min(12_500), "{sql}");
    }
}

/// Several partitions read parts of it, some rows are deleted, and the bounds are those of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_file_are_read_without_what_is_proven() {
    const ROWS: i64 = 300_000;
    let fixture = Fixture::new(narrow()).await;
    for first in (0..ROWS).step_by(50_000) {
        fixture.write(narrow_rows(first, 50_000, 0, |id| Some((id % 1_000) as f64))).await;
    }
    let before = fixture.build().await;
    let n = delete(&fixture, "id < 1000 OR id BETWEEN 131000 AND 140000").await as i64;
    let after = fixture.table.snapshot();
    let session = Session::new(3);
    session.show("before", &before, false);
    session.show("after", &after, false);
    for (table, n_rows) in [("before", ROWS), ("after", ROWS - n)] {
        let sql = format!("SELECT v, count(*) AS n FROM {table} WHERE id >= 0 AND id < {ROWS} GROUP BY v");
        let (plan, _) = run(&session, &sql).await;
        assert_eq!(read_with_less(&plan), (3, 0), "{table}");
        let sum = format!("SELECT CAST(sum(n) AS BIGINT) FROM ({sql})");
        assert_eq!(session.number(&sum).await, n_rows, "{table}");
        let sql = format!("SELECT v, count(*) AS n FROM {table} WHERE id >= 0 AND v >= 500 GROUP BY v");
        let (plan, _) = run(&session, &sql).await;
        assert_eq!(read_with_less(&plan), (0, 3), "{table}");
    }
}
