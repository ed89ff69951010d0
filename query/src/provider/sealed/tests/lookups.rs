//! Are rows found by their key, and the same ones whatever has become of the sidecars? And is little read for it?

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int16Array, Int32Array, RecordBatch,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::{ExecutionPlan, collect};
use tidewater_storage::TableSnapshot;
use tidewater_storage::catalog::{ColumnDef, NewTable};

use super::deletes::delete;
use super::support::{Fixture, Session, keyed, narrow_rows_of};

/// Statements about the ids of [`four_files`], which are multiples of ten below 80,000.
const STATEMENTS: [&str; 28] = [
    "SELECT * FROM {t} WHERE id = 4210",
    "SELECT * FROM {t} WHERE id = 4211",
    "SELECT * FROM {t} WHERE 4210 = id",
    "SELECT v FROM {t} WHERE id = 79990 AND v > 1",
    "SELECT v FROM {t} WHERE id = 79990 AND v < 1",
    "SELECT * FROM {t} WHERE id IN (10, 25, 79990, -5, 40, 30, 77770)",
    "SELECT * FROM {t} WHERE id = 10 OR id = 20 OR id = 31",
    "SELECT * FROM {t} WHERE id = 10 OR v = 10",
    "SELECT * FROM {t} WHERE (id = 10 AND v = 5) OR (id = 20 AND v = 11) OR (id = 30 AND v = 15)",
    "SELECT * FROM {t} WHERE id = 10 AND id = 20",
    "SELECT * FROM {t} WHERE id IN (10, 20) AND id IN (20, 30)",
    "SELECT * FROM {t} WHERE id NOT IN (10, 20) AND id < 100",
    "SELECT * FROM {t} WHERE id = NULL",
    "SELECT * FROM {t} WHERE id IN (10, 40, 50, 60, NULL)",
    "SELECT * FROM {t} WHERE id IS NOT DISTINCT FROM 4210",
    "SELECT * FROM {t} WHERE id = 4210.0",
    "SELECT * FROM {t} WHERE id = 4210.5",
    "SELECT * FROM {t} WHERE id = 4.21e3",
    "SELECT * FROM {t} WHERE id = '4210'",
    "SELECT * FROM {t} WHERE CAST(id AS VARCHAR) = '4210'",
    "SELECT * FROM {t} WHERE CAST(id AS DOUBLE) = 4210",
    "SELECT * FROM {t} WHERE id = CAST(4210 AS SMALLINT)",
    "SELECT * FROM {t} WHERE id = 9223372036854775808",
    "SELECT * FROM {t} WHERE id + 0 = 4210",
    "SELECT * FROM {t} WHERE id BETWEEN 4210 AND 4210",
    "SELECT count(*), min(v) FROM {t} WHERE id = 4210",
    "SELECT id FROM {t} WHERE id IN (10, 20, 30, 79990) ORDER BY id DESC LIMIT 2",
    "SELECT a.v FROM {t} a JOIN {t} b ON a.id = b.id + 10 WHERE b.id = 4210",
];

/// What becomes of the bytes of a sidecar.
type Damage = fn(&[u8]) -> Vec<u8>;

fn ids_of(file: i64) -> impl Iterator<Item = i64> {
    (0..2_000).map(move |at| 10 * (4 * at + file))
}

/// Four files whose ids lie between the same bounds, and all of their rows as one batch.
async fn four_files() -> (Fixture, TableSnapshot, RecordBatch) {
    let fixture = Fixture::new(keyed()).await;
    let mut batches = Vec::new();
    for file in 0..4 {
        let batch = narrow_rows_of(ids_of(file), file);
        fixture.write(batch.clone()).await;
        fixture.build().await;
        batches.push(batch);
    }
    let snapshot = fixture.table.snapshot();
    assert_eq!(snapshot.files().len(), 4);
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("of one schema");
    (fixture, snapshot, all)
}

fn sidecars(fixture: &Fixture, snapshot: &TableSnapshot) -> Vec<PathBuf> {
    let data = fixture.folder.path().join("data");
    let path = |file: &tidewater_storage::sealed::FileRef| {
        data.join(file.sidecar().expect("a keyed table's file has a sidecar").1.to_string())
    };
    snapshot.files().iter().map(path).collect()
}

/// Asserts that all statements find in the files what they find in `rows`.
async fn check(snapshot: &TableSnapshot, rows: &RecordBatch, statements: &[&str]) {
    for target_partitions in [1, 3] {
        let session = Session::new(target_partitions);
        session.show("t", snapshot, false);
        session.0.register_batch("plain", rows.clone()).expect("a new name");
        for sql in statements {
            // Once without and once with what was kept.
            session.same(sql, "t", "plain").await;
            session.same(sql, "t", "plain").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_do_not_depend_on_sidecars() {
    let (fixture, snapshot, rows) = four_files().await;
    check(&snapshot, &rows, &STATEMENTS).await;
    let paths = sidecars(&fixture, &snapshot);
    let whole: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("it is there")).collect();
    let few = &STATEMENTS[..8];
    let damages: [Damage; 6] = [
        |bytes| vec![0; bytes.len()],
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |_| Vec::new(),
        |bytes| [bytes, &[0]].concat(),
        // Within a filter, then within the directory.
        |bytes| bytes.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 100)).collect(),
        |bytes| bytes.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at + 30 == bytes.len())).collect(),
    ];
    for damage in damages {
        for (path, whole) in paths.iter().zip(&whole) {
            fs::write(path, damage(whole)).expect("written");
        }
        check(&snapshot, &rows, few).await;
    }
    // Each is whole, of as many rows and bytes, and beside another file.
    assert!(whole.iter().all(|bytes| bytes.len() == whole[0].len()));
    for (path, other) in paths.iter().zip(whole.iter().cycle().skip(1)) {
        fs::write(path, other).expect("written");
    }
    check(&snapshot, &rows, few).await;
    for path in &paths {
        fs::remove_file(path).expect("removed");
    }
    check(&snapshot, &rows, &STATEMENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn longer_lists_of_keys_are_answered_too() {
    let (_fixture, snapshot, rows) = four_files().await;
    for n in [63, 64, 65, 300] {
        let keys: Vec<String> = (0..n).map(|at| (at * 35).to_string()).collect();
        let sql = format!("SELECT * FROM {{t}} WHERE id IN ({})", keys.join(", "));
        check(&snapshot, &rows, &[sql.as_str()]).await;
        let session = Session::new(1);
        session.show("t", &snapshot, false);
        let plan = session.explain(&sql.replace("{t}", "t")).await;
        assert_eq!(plan.contains(&format!("keys={n}")), n <= 64, "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_the_key_are_not_opened() {
    let (fixture, snapshot, _) = four_files().await;
    let (mut n_read, mut n_asked) = (0, 0);
    for id in (5..79_995).step_by(1_555) {
        let session = Session::new(2);
        let counters = session.show("t", &snapshot, false);
        let is_there = id % 10 == 0;
        let rows = session.rows(&format!("SELECT v FROM t WHERE id = {id}")).await;
        assert_eq!(rows.len(), usize::from(is_there), "{id}");
        assert_eq!(counters.files_read() + counters.files_pruned(), 4, "{id}");
        assert!(counters.files_read() >= u64::from(is_there), "{id}");
        n_read += counters.files_read() - u64::from(is_there);
        n_asked += 1;
    }
    // One in 256 of the files that do not have it.
    assert!(n_read <= n_asked / 10, "{n_read} files were read in vain for {n_asked} keys");
    // What was not built yet is found beside them.
    fixture.write(narrow_rows_of([7, 17].into_iter(), 4)).await;
    let session = Session::new(2);
    session.show("t", &fixture.table.snapshot(), false);
    assert_eq!(session.number("SELECT count(*) FROM (SELECT v FROM t WHERE id IN (7, 10, 17, 18, 20))").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_rows_are_not_found_by_their_key() {
    let (fixture, before, rows) = four_files().await;
    assert_eq!(delete(&fixture, "id % 3 = 0 OR id BETWEEN 4200 AND 4300").await, 2_674);
    let after = fixture.table.snapshot();
    let session = Session::new(2);
    session.0.register_batch("all_rows", rows).expect("a new name");
    session.show("t", &after, false);
    let left = "CREATE VIEW left_over AS SELECT * FROM all_rows WHERE NOT (id % 3 = 0 OR id BETWEEN 4200 AND 4300)";
    session.run(left).await;
    for sql in STATEMENTS {
        session.same(sql, "t", "left_over").await;
    }
    for id in (0..80_000).step_by(1_570) {
        session.same(&format!("SELECT * FROM {{t}} WHERE id IN ({id}, {})", id + 10), "t", "left_over").await;
    }
    // Who began before sees them.
    let session = Session::new(2);
    session.show("t", &before, false);
    assert_eq!(session.rows("SELECT v FROM t WHERE id = 4210").await.len(), 1);
}

/// Blocks that sidecars ruled out, and those that they left.
fn by_key(plan: &Arc<dyn ExecutionPlan>) -> (usize, usize) {
    let (mut pruned, mut left) = (0, 0);
    for metric in plan.metrics().iter().flat_map(|metrics| metrics.iter()) {
        if let MetricValue::PruningMetrics { name, pruning_metrics } = metric.value()
            && name == "blocks_pruned_key_filter"
        {
            pruned += pruning_metrics.pruned();
            left += pruning_metrics.matched();
        }
    }
    for child in plan.children() {
        let (more_pruned, more_left) = by_key(child);
        (pruned, left) = (pruned + more_pruned, left + more_left);
    }
    (pruned, left)
}

/// Blocks about which sidecars were asked for one key.
async fn blocks_asked_about(session: &Session) -> usize {
    let frame = session.0.sql("SELECT v FROM t WHERE id = 40").await.expect("planned");
    let plan = frame.create_physical_plan().await.expect("planned");
    let batches = collect(Arc::clone(&plan), session.0.task_ctx()).await.expect("it runs");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let (pruned, left) = by_key(&plan);
    pruned + left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_was_written_again_is_asked_again() {
    let fixture = Fixture::new(keyed()).await;
    fixture.write(narrow_rows_of(ids_of(0), 0)).await;
    fixture.table.seal().await.expect("sealed");
    let snapshot = fixture.table.snapshot();
    for path in sidecars(&fixture, &snapshot) {
        fs::write(path, b"damaged").expect("written");
    }
    let session = Session::new(1);
    session.show("t", &snapshot, false);
    assert_eq!(blocks_asked_about(&session).await, 0);
    let checks = fixture.table.verify().await.expect("asked");
    assert!(checks.iter().all(|check| check.is_ok == Some(true)), "{checks:?}");
    assert_eq!(blocks_asked_about(&session).await, 1);
}

/// One file of ten blocks, in each of which ids are as far apart as in the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_reads_one_block() {
    const ROWS: i64 = 300_000;
    let id = |at: i64| 2 * ((at * 7_919) % 300_007);
    let fixture = Fixture::new(keyed()).await;
    for first in (0..ROWS).step_by(50_000) {
        fixture.write(narrow_rows_of((first..first + 50_000).map(id), 0)).await;
    }
    let snapshot = fixture.build().await;
    assert_eq!(snapshot.files().len(), 1);
    let session = Session::new(3);
    session.show("t", &snapshot, false);
    let plan = session.explain(&format!("SELECT v, count(*) FROM t WHERE id = {} GROUP BY v", id(77))).await;
    assert!(plan.contains("sealed, partitions=1") && plan.contains("keys=1"), "{plan}");
    let plan = session.explain("SELECT v, count(*) FROM t WHERE v >= 0 GROUP BY v").await;
    assert!(plan.contains("sealed, partitions=3") && !plan.contains("keys="), "{plan}");
    let (mut left_of_hits, mut left_of_misses) = (0, 0);
    for at in (0..ROWS).step_by(5_000) {
        for (id, n_rows) in [(id(at), 1), (id(at) + 1, 0)] {
            let frame = session.0.sql(&format!("SELECT v FROM t WHERE id = {id}")).await.expect("planned");
            let plan = frame.create_physical_plan().await.expect("planned");
            let batches = collect(Arc::clone(&plan), session.0.task_ctx()).await.expect("it runs");
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), n_rows, "{id}");
            let (pruned, left) = by_key(&plan);
            assert_eq!(pruned + left, 10, "{id}");
            assert!(left >= n_rows, "{id}");
            if n_rows == 1 { left_of_hits += left } else { left_of_misses += left }
        }
    }
    // Of 60 keys each: one block, or none, and one in 256 of the others.
    assert!((60..=70).contains(&left_of_hits), "{left_of_hits}");
    assert!(left_of_misses <= 10, "{left_of_misses}");
    let text = session.text(&format!("EXPLAIN ANALYZE SELECT v FROM t WHERE id = {}", id(77))).await;
    assert!(text.contains("blocks_pruned_key_filter=10 total"), "{text}");
}

/// One partition would wait for the sidecars of all of them, one after another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_in_many_files_is_divided() {
    let fixture = Fixture::new(keyed()).await;
    let mut batches = Vec::new();
    for file in 0..4 {
        let batch = narrow_rows_of((0..3_000).map(|at| 10 * (4 * at + file)), file);
        fixture.write(batch.clone()).await;
        fixture.build().await;
        batches.push(batch);
    }
    let snapshot = fixture.table.snapshot();
    let rows = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("of one schema");
    check(&snapshot, &rows, &STATEMENTS).await;
    let session = Session::new(3);
    session.show("t", &snapshot, false);
    let plan = session.explain("SELECT v, count(*) FROM t WHERE id = 4210 GROUP BY v").await;
    assert!(plan.contains("sealed, partitions=2, files=4/4") && plan.contains("keys=1"), "{plan}");
}

fn column(name: &str, data_type: DataType) -> ColumnDef {
    ColumnDef { name: name.to_owned(), data_type, nullable: false, comment: None, max_chars: None }
}

fn table(columns: &[(&str, DataType)], key: &[&str]) -> NewTable {
    NewTable {
        schema_name: "public".to_owned(),
        name: "t".to_owned(),
        columns: columns.iter().map(|(name, of)| column(name, of.clone())).collect(),
        key: key.iter().map(|&name| name.to_owned()).collect(),
        ..NewTable::default()
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), false)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_several_columns_are_found_when_all_are_fixed() {
    let sites =
        ["", "a", "ab", "Zürich", "O'Hara", "a rather long name of a place, which is longer than a view's prefix"];
    let columns = [("site", DataType::Utf8), ("id", DataType::Int32), ("day", DataType::Date32)];
    let fixture = Fixture::new(table(&columns, &["day", "site", "id"])).await;
    let mut batches = Vec::new();
    for file in 0..3 {
        let rows: Vec<(&str, i32, i32)> =
            (0..600).map(|at| (sites[at % 6], 3 * (at / 6 % 20) as i32 + file, at as i32 / 120)).collect();
        let site: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>());
        let id: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1)));
        let day: ArrayRef = Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| row.2)));
        let rows = batch(vec![("site", site), ("id", id), ("day", day)]);
        fixture.write(rows.clone()).await;
        fixture.build().await;
        batches.push(rows);
    }
    let snapshot = fixture.table.snapshot();
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("of one schema");
    check(
        &snapshot,
        &all,
        &[
            "SELECT * FROM {t} WHERE site = 'ab' AND id = 17 AND day = DATE '1970-01-03'",
            "SELECT * FROM {t} WHERE site = 'ab' AND id = 17 AND day = DATE '1970-02-03'",
            "SELECT * FROM {t} WHERE site = '' AND id IN (0, 1, 2, 3, 99, -1) AND day = DATE '1970-01-01'",
            "SELECT * FROM {t} WHERE site = 'O''Hara' AND id = 5 AND day IN (DATE '1970-01-01', DATE '1970-01-05')",
            "SELECT * FROM {t} WHERE site IN ('a', 'Zürich', 'b', 'c') AND id IN (1, 2, 4, 8, 16) AND day = '1970-01-02'",
            "SELECT * FROM {t} WHERE site LIKE 'a rather%' AND id = 7 AND day = DATE '1970-01-04'",
            "SELECT * FROM {t} WHERE site = 'ab' AND id = 17",
            "SELECT * FROM {t} WHERE (site = 'a' AND id = 1 AND day = DATE '1970-01-01') OR (site = 'ab' AND id = 2 AND day = DATE '1970-01-02')",
            "SELECT * FROM {t} WHERE upper(site) = 'AB' AND id = 2 AND day = DATE '1970-01-02'",
            "SELECT * FROM {t} WHERE site = 'ab' AND id = NULL AND day = DATE '1970-01-02'",
        ],
    )
    .await;
    let session = Session::new(1);
    let counters = session.show("t", &snapshot, false);
    let fixed = "site = 'ab' AND id IN (16, 17, 18, 19) AND day = DATE '1970-01-03'";
    let plan = session.explain(&format!("SELECT * FROM t WHERE {fixed}")).await;
    assert!(plan.contains("keys=4"), "{plan}");
    let plan = session.explain("SELECT * FROM t WHERE site = 'ab' AND id = 17").await;
    assert!(!plan.contains("keys="), "{plan}");
    let sql = "SELECT day FROM t WHERE site = 'ab' AND id = 17 AND day = DATE '1970-01-03'";
    assert_eq!(session.rows(sql).await.len(), 1);
    // By their bounds all three files may hold it.
    assert!(counters.files_read() < 3, "{}", counters.files_read());
}

/// Values 0, 2, … 8 of a type (of BOOLEAN only the first), and how SQL writes the values 0 to 9.
fn values(data_type: &DataType) -> (ArrayRef, Vec<String>) {
    let even = [0_i64, 2, 4, 6, 8];
    let array: ArrayRef = match data_type {
        DataType::Int16 => Arc::new(Int16Array::from_iter_values(even.map(|n| n as i16 - 4))),
        DataType::UInt64 => Arc::new(UInt64Array::from_iter_values(even.map(|n| u64::MAX - n as u64))),
        DataType::Decimal128(precision, scale) => {
            let values = Decimal128Array::from_iter_values(even.map(|n| i128::from(n) * 12_500 - 50_000));
            Arc::new(values.with_precision_and_scale(*precision, *scale).expect("it fits"))
        }
        DataType::Binary => Arc::new(BinaryArray::from_iter_values(even.map(|n| vec![0, n as u8]))),
        DataType::Date32 => Arc::new(Date32Array::from_iter_values(even.map(|n| n as i32))),
        DataType::Time64(_) => Arc::new(Time64MicrosecondArray::from_iter_values(even.map(|n| n * 1_000_000))),
        DataType::Timestamp(_, zone) => {
            let values = TimestampMicrosecondArray::from_iter_values(even.map(|n| n * 1_000_000));
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        DataType::Boolean => Arc::new(BooleanArray::from(vec![true])),
        _ => Arc::new(StringArray::from_iter_values(even.map(|n| format!("name {n}")))),
    };
    let write = |n: i64| match data_type {
        DataType::Int16 => (n - 4).to_string(),
        DataType::UInt64 => (u64::MAX - n as u64).to_string(),
        DataType::Decimal128(..) => format!("{:.2}", n as f64 * 1.25 - 5.0),
        DataType::Binary => format!("X'00{n:02x}'"),
        DataType::Date32 => format!("DATE '1970-01-{:02}'", n + 1),
        DataType::Time64(_) => format!("arrow_cast(TIME '00:00:0{n}', 'Time64(Microsecond)')"),
        DataType::Timestamp(..) => format!("TIMESTAMP '1970-01-01 00:00:0{n}'"),
        DataType::Boolean => (n == 0).to_string(),
        _ => format!("'name {n}'"),
    };
    (array, (0..10).map(write).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_type_are_found() {
    let types = [
        DataType::Int16,
        DataType::UInt64,
        DataType::Decimal128(20, 4),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Boolean,
    ];
    for data_type in types {
        let (keys, literals) = values(&data_type);
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..keys.len() as i32));
        let rows = batch(vec![("k", keys), ("n", numbers)]);
        let fixture = Fixture::new(table(&[("k", data_type.clone()), ("n", DataType::Int32)], &["k"])).await;
        fixture.write(rows.clone()).await;
        let snapshot = fixture.build().await;
        let mut statements: Vec<String> =
            literals.iter().map(|literal| format!("SELECT n FROM {{t}} WHERE k = {literal}")).collect();
        statements.push(format!("SELECT n FROM {{t}} WHERE k IN ({})", literals[..6].join(", ")));
        statements.push(format!("SELECT n FROM {{t}} WHERE k IN ({}, NULL)", literals.join(", ")));
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        check(&snapshot, &rows, &statements).await;
        let session = Session::new(1);
        session.show("t", &snapshot, false);
        let found = session.number(&format!("SELECT count(*) FROM (SELECT n FROM t WHERE k = {})", literals[0])).await;
        assert_eq!(found, 1, "{data_type}");
    }
}
