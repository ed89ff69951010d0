//! Do plans read as few files and rows as they can? Metadata answers, pruned files, filters in the reader, partitions.

use super::support::{Fixture, Session, narrow, narrow_rows};

/// Four files of an hour each, 5,000 rows in each.
async fn four_hours() -> (Fixture, tidewater_storage::TableSnapshot) {
    let fixture = Fixture::new(narrow()).await;
    for hour in 0..4 {
        fixture.write(narrow_rows(hour * 5_000, 5_000, hour, |id| Some(id as f64))).await;
        fixture.build().await;
    }
    let snapshot = fixture.table.snapshot();
    assert_eq!(snapshot.files().len(), 4);
    (fixture, snapshot)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_and_bounds_come_from_metadata_of_both_halves() {
    let (fixture, _) = four_hours().await;
    // Fewer rows have no bounds yet in memory.
    fixture.write(narrow_rows(20_000, 10_000, 4, |_| None)).await;
    let session = Session::new(2);
    let counters = session.show("t", &fixture.table.snapshot(), false);
    for sql in ["SELECT count(*) FROM t", "SELECT min(id), max(id), min(ts), max(ts), count(*), count(v) FROM t"] {
        let plan = session.explain(sql).await;
        assert!(!plan.contains("DataSourceExec"), "{sql}\n{plan}");
    }
    assert_eq!(session.number("SELECT count(*) FROM t").await, 30_000);
    assert_eq!(session.number("SELECT max(id) FROM t").await, 29_999);
    assert_eq!(session.number("SELECT count(v) FROM t").await, 20_000);
    assert_eq!((counters.files_read(), counters.rows_read_sealed(), counters.rows_read_realtime()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_ruled_out_before_they_are_opened() {
    let (_fixture, snapshot) = four_hours().await;
    for (filter, n_read, n_rows) in [
        ("ts >= TIMESTAMP '1970-01-01 03:00:00'", 1, 5_000),
        ("ts < TIMESTAMP '1970-01-01 02:00:00' AND id <> 7", 2, 9_999),
        ("id = 12000", 1, 1),
        ("id < 0", 0, 0),
        ("v IS NULL", 0, 0),
        ("id BETWEEN 4990 AND 5009", 2, 20),
    ] {
        let session = Session::new(1);
        let counters = session.show("t", &snapshot, false);
        let sql =
            format!("SELECT count(v) FROM (SELECT v, ts FROM t WHERE {filter}) WHERE length(CAST(ts AS VARCHAR)) > 0");
        assert_eq!(session.number(&sql).await, n_rows, "{filter}");
        assert_eq!((counters.files_read(), counters.files_pruned()), (n_read, 4 - n_read), "{filter}");
        assert!(counters.rows_read_sealed() >= n_rows as u64, "{filter}: {}", counters.rows_read_sealed());
        assert!(counters.rows_read_sealed() <= n_read * 5_000, "{filter}: {}", counters.rows_read_sealed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_filters_move_into_the_reader_and_others_stay_above_it() {
    let (fixture, _) = four_hours().await;
    // Fewer rows have no bounds yet in memory.
    fixture.write(narrow_rows(20_000, 10_000, 4, |_| None)).await;
    let session = Session::new(1);
    session.show("t", &fixture.table.snapshot(), false);
    let plan = session.explain("SELECT id FROM t WHERE id > 7000 AND v < 1e9").await;
    assert!(!plan.contains("FilterExec"), "{plan}");
    assert!(plan.contains("realtime,") && plan.contains("files=3/4"), "{plan}");
    // Both halves take what cannot fail; a function is asked above the files, and in the scan of fresh rows.
    let plan = session.explain("SELECT id FROM t WHERE id > 7000 AND abs(v) < 1e9").await;
    assert_eq!(plan.matches("FilterExec").count(), 1, "{plan}");
    assert_eq!(session.number("SELECT count(*) FROM t WHERE id > 7000 AND abs(v) < 1e9").await, 12_999);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_rows_are_found_in_the_newest_file() {
    let (_fixture, snapshot) = four_hours().await;
    let session = Session::new(1);
    let counters = session.show("t", &snapshot, false);
    let text = session.text("SELECT id FROM t ORDER BY ts DESC LIMIT 3").await;
    for id in 19_997..20_000 {
        assert!(text.contains(&id.to_string()), "{text}");
    }
    assert!(counters.files_read() < 4, "{}", counters.files_read());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nan_is_larger_than_any_number_in_files_too() {
    let fixture = Fixture::new(narrow()).await;
    let value = |id: i64| (id % 10 != 3).then_some(if id % 1_000 == 7 { f64::NAN } else { id as f64 / 7.0 });
    fixture.write(narrow_rows(0, 5_000, 0, value)).await;
    let fresh = fixture.table.snapshot();
    let session = Session::new(2);
    session.show("fresh", &fresh, false);
    session.show("built", &fixture.build().await, false);
    for sql in [
        "SELECT id FROM {t} WHERE v > 1e9",
        "SELECT id FROM {t} WHERE v >= CAST('NaN' AS DOUBLE)",
        "SELECT id FROM {t} WHERE v = CAST('NaN' AS DOUBLE)",
        "SELECT id FROM {t} WHERE NOT (v <= 1e9)",
        "SELECT max(v), min(v), count(v) FROM {t}",
        "SELECT id, v FROM {t} ORDER BY v DESC NULLS LAST, id LIMIT 9",
        "SELECT id FROM {t} WHERE v < 100 LIMIT 100000",
    ] {
        session.same(sql, "built", "fresh").await;
    }
    assert_eq!(session.number("SELECT count(*) FROM built WHERE v > 1e9").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_neither_short_nor_long() {
    let (_fixture, snapshot) = four_hours().await;
    for target_partitions in [1, 3] {
        let session = Session::new(target_partitions);
        session.show("t", &snapshot, false);
        for n in [0, 1, 1_023, 4_999, 5_001, 20_000, 30_000] {
            for offset in [0, 3] {
                let sql = format!("SELECT count(*) FROM (SELECT v FROM t LIMIT {n} OFFSET {offset})");
                assert_eq!(session.number(&sql).await, n.min(20_000 - offset), "{sql}");
                let sql = format!("SELECT count(*) FROM (SELECT v FROM t WHERE id >= 15000 LIMIT {n} OFFSET {offset})");
                assert_eq!(session.number(&sql).await, n.min(5_000 - offset), "{sql}");
            }
        }
        let sql = "SELECT count(*) FROM (SELECT v FROM t LIMIT 500) WHERE v >= 0 OR v IS NULL";
        assert_eq!(session.number(sql).await, 500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_scans_are_divided_and_small_ones_are_not() {
    let (_fixture, snapshot) = four_hours().await;
    let session = Session::new(3);
    session.show("t", &snapshot, false);
    let plan = session.explain("SELECT v, count(*) FROM t GROUP BY v").await;
    assert!(plan.contains("partitions=3"), "{plan}");
    let plan = session.explain("SELECT v, count(*) FROM t WHERE id < 100 GROUP BY v").await;
    assert!(plan.contains("partitions=1"), "{plan}");
    assert_eq!(session.number("SELECT count(*) FROM (SELECT v, count(*) FROM t GROUP BY v)").await, 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_fails_only_those_that_need_it() {
    let (fixture, snapshot) = four_hours().await;
    let broken = &snapshot.files()[0];
    let path = fixture.folder.path().join("data").join(broken.place.path.to_string());
    let length = std::fs::metadata(&path).expect("it is there").len();
    std::fs::write(&path, vec![0; length as usize]).expect("overwritten");
    let session = Session::new(1);
    session.show("t", &snapshot, false);
    let error = session.0.sql("SELECT sum(v) FROM t").await.expect("planned").collect().await.expect_err("damaged");
    let error = crate::error::from_datafusion(error);
    assert_eq!(error.code(), tidewater_storage::Code::FileDamaged, "{error}");
    assert!(error.message().contains(&broken.file.name), "{error}");
    let hour = broken.file.hour.expect("a file of one hour");
    let sql = format!("SELECT count(v) FROM t WHERE NOT (id >= {} AND id < {})", hour * 5_000, (hour + 1) * 5_000);
    // The filter says so by id, which the bounds of the other files answer.
    let by_time = format!(
        "SELECT count(v) FROM t WHERE ts < TIMESTAMP '1970-01-01 0{hour}:00:00' OR ts >= TIMESTAMP '1970-01-01 0{}:00:00'",
        hour + 1
    );
    for sql in [sql, by_time] {
        assert_eq!(session.number(&sql).await, 15_000, "{sql}");
    }
    std::fs::remove_file(&path).expect("removed");
    let error = session.0.sql("SELECT sum(id) FROM t").await.expect("planned").collect().await.expect_err("missing");
    assert_eq!(crate::error::from_datafusion(error).code(), tidewater_storage::Code::FileDamaged);
}
