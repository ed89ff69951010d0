//! Are deleted rows gone from every answer, and only they? Counts, bounds, orders, NULLs, parts of files.

use roaring::RoaringBitmap;
use tidewater_storage::TableSnapshot;

use super::support::{Fixture, Session, every_type, narrow, narrow_rows, rows};
use crate::provider::tests::support::Random;

/// Deletes the rows for which `condition` is true, by their addresses. Returns how many.
pub(super) async fn delete(fixture: &Fixture, condition: &str) -> u64 {
    let snapshot = fixture.build().await;
    let session = Session::new(2);
    session.show_addresses("t", &snapshot);
    let mut found: Vec<(usize, RoaringBitmap)> = Vec::new();
    for batch in session.run(&format!("SELECT \"(file)\", \"(row)\" FROM t WHERE {condition}")).await {
        let files = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int32Type>(batch.column(0));
        let numbers = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(1));
        for (&file, &row) in files.values().iter().zip(numbers.values()) {
            let file = usize::try_from(file).expect("a place");
            let row = u32::try_from(row).expect("a row");
            match found.iter_mut().find(|(known, _)| *known == file) {
                Some((_, rows)) => assert!(rows.insert(row), "row {row} of file {file} came twice"),
                None => found.push((file, RoaringBitmap::from_iter([row]))),
            }
        }
    }
    if found.is_empty() {
        return 0;
    }
    fixture.table.delete(&snapshot, found).await.expect("deleted").0
}

/// Asserts that `after` has the rows of `before` for which `condition` is not true.
async fn check(before: &TableSnapshot, after: &TableSnapshot, condition: &str, statements: &[&str]) {
    for target_partitions in [1, 3] {
        let session = Session::new(target_partitions);
        session.show("before", before, false);
        session.show("after", after, false);
        session.run(&format!("CREATE VIEW left_over AS SELECT * FROM before WHERE ({condition}) IS NOT TRUE")).await;
        for sql in statements {
            session.same(sql, "after", "left_over").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_in_no_answer() {
    const STATEMENTS: [&str; 10] = [
        "SELECT * FROM {t}",
        "SELECT count(*) FROM {t}",
        "SELECT count(u64), count(f64), count(name), count(nested) FROM {t}",
        "SELECT min(id), max(id), min(ts), max(ts), min(u64), max(u64), min(name), max(name) FROM {t}",
        "SELECT id FROM {t} WHERE i32 IS NULL",
        "SELECT id FROM {t} WHERE u64 IS NOT NULL AND i8 > 0",
        "SELECT id, u64 FROM {t} ORDER BY ts DESC LIMIT 11",
        "SELECT id, f64 FROM {t} ORDER BY f64 DESC NULLS LAST, id LIMIT 11",
        "SELECT i32, count(*) FROM {t} WHERE id % 3 = 1 GROUP BY i32",
        "SELECT count(*) FROM {t} WHERE nested['a'] = 3",
    ];
    for condition in [
        "id % 7 = 3",
        "id < 100 OR id >= 2900",
        "i32 IS NULL",
        "i32 IS NOT NULL",
        "u64 > 17 AND array_has(tags, 'tag 1')",
        "nested['b'] > 0 OR id IN (5, 6, 7)",
        "id = 1000",
    ] {
        let fixture = Fixture::new(every_type()).await;
        let mut random = Random::new(5);
        fixture.write(rows(&mut random, 0, 2_000)).await;
        fixture.build().await;
        fixture.write(rows(&mut random, 2_000, 1_000)).await;
        let before = fixture.table.snapshot();
        let n = delete(&fixture, condition).await;
        let after = fixture.table.snapshot();
        assert!(n > 0 && n < 3_000, "{condition}: {n}");
        assert_eq!(after.n_rows(), 3_000 - n, "{condition}");
        check(&before, &after, condition, &STATEMENTS).await;
        // Deleting again finds nothing, and what came later is there.
        assert_eq!(delete(&fixture, condition).await, 0, "{condition}");
        fixture.write(rows(&mut random, 3_000, 10)).await;
        let session = Session::new(2);
        session.show("t", &fixture.table.snapshot(), false);
        assert_eq!(session.number("SELECT count(*) FROM t").await, 3_010 - n as i64);
    }
}

/// As many NULLs as rows that are left must not make the column all NULL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nulls_of_deleted_rows_do_not_count_as_rows() {
    let fixture = Fixture::new(narrow()).await;
    fixture.write(narrow_rows(0, 100, 0, |id| (id >= 10).then_some(id as f64))).await;
    // The NULLs, and all values but ten.
    assert_eq!(delete(&fixture, "id < 90").await, 90);
    let session = Session::new(1);
    session.show("t", &fixture.table.snapshot(), false);
    for (sql, expected) in [
        ("SELECT count(*) FROM t", 10),
        ("SELECT count(v) FROM t", 10),
        ("SELECT count(*) FROM t WHERE v >= 90", 10),
        ("SELECT count(*) FROM t WHERE v IS NOT NULL", 10),
        ("SELECT count(*) FROM t WHERE v IS NULL", 0),
        ("SELECT CAST(min(v) AS BIGINT) FROM t", 90),
        ("SELECT min(id) FROM t", 90),
    ] {
        assert_eq!(session.number(sql).await, expected, "{sql}");
    }
}

/// Several row groups, read in parts by several partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_file_leave_out_their_own_rows() {
    const ROWS: i64 = 600_000;
    let fixture = Fixture::new(narrow()).await;
    for first in (0..ROWS).step_by(50_000) {
        fixture.write(narrow_rows(first, 50_000, 0, |id| Some((id % 1_000) as f64))).await;
    }
    let before = fixture.build().await;
    assert!(before.files().len() == 1 && ROWS > tidewater_storage::limits::ROW_GROUP_ROWS as i64);
    let condition = "v < 100 OR id BETWEEN 520000 AND 530000 OR id >= 599000";
    let n = delete(&fixture, condition).await;
    let after = fixture.table.snapshot();
    let statements = [
        "SELECT count(*), sum(id), min(id), max(id) FROM {t}",
        "SELECT v, count(*), sum(id) FROM {t} WHERE v < 500 GROUP BY v",
        "SELECT id FROM {t} WHERE id BETWEEN 519990 AND 530010",
        "SELECT id FROM {t} ORDER BY id DESC LIMIT 20",
    ];
    check(&before, &after, condition, &statements).await;
    assert_eq!(after.n_rows() as i64, ROWS - n as i64);
    // Of what is left, a second time.
    let second = "id % 2 = 0";
    let m = delete(&fixture, second).await;
    check(&after, &fixture.table.snapshot(), second, &statements).await;
    assert_eq!(fixture.table.snapshot().n_rows() as i64, ROWS - n as i64 - m as i64);
}

/// Their selections, of all files at once, would not fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_scattered_deletes_are_read_in_little_memory() {
    const ROWS: i64 = 500_000;
    const MEMORY_BYTES: usize = 24 << 20;
    let fixture = Fixture::new(narrow()).await;
    for hour in 0..4 {
        for first in (0..ROWS).step_by(50_000) {
            fixture.write(narrow_rows(hour * ROWS + first, 50_000, hour, |id| Some((id % 7) as f64))).await;
        }
        fixture.build().await;
    }
    let before = fixture.table.snapshot();
    assert!(before.files().iter().all(|file| file.file.rows == ROWS as u64));
    let odd: RoaringBitmap = (0..ROWS as u32).filter(|row| !row.is_multiple_of(2)).collect();
    let found = (0..before.files().len()).map(|file| (file, odd.clone())).collect();
    assert_eq!(fixture.table.delete(&before, found).await.expect("deleted").0, 1_000_000);
    for target_partitions in [1, 3] {
        let session = Session::within(target_partitions, MEMORY_BYTES);
        session.show("after", &fixture.table.snapshot(), false);
        session.show_addresses("before", &before);
        session.run("CREATE VIEW left_over AS SELECT id, ts, v FROM before WHERE \"(row)\" % 2 = 0").await;
        for sql in [
            "SELECT count(*), sum(id), sum(v), min(ts), max(ts) FROM {t} WHERE v >= 0",
            "SELECT v, count(*), sum(id) FROM {t} WHERE id % 3 = 1 GROUP BY v",
            "SELECT id FROM {t} ORDER BY ts DESC, id LIMIT 7",
            "SELECT id FROM {t} WHERE id BETWEEN 999990 AND 1000010",
        ] {
            session.same(sql, "after", "left_over").await;
        }
    }
}
