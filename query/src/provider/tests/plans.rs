//! Do plans read as little as they can? Metadata answers, pruned zones, binary search, dynamic filters, partitions.

use super::support::{Fixture, fixture};

/// The rows that a statement read from the parts.
async fn rows_read(fixture: &Fixture, sql: &str) -> u64 {
    let before = fixture.counters.rows_read_realtime();
    fixture.run(sql).await;
    fixture.counters.rows_read_realtime() - before
}

#[tokio::test]
async fn counts_and_bounds_come_from_metadata() {
    let fixture = fixture(1, 2, false);
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT count(1), count(loc) FROM t",
        "SELECT min(id), max(id) FROM t",
        "SELECT min(ts), max(ts), max(day), min(ok), count(*) FROM t",
    ] {
        let plan = fixture.explain(sql).await;
        assert!(!plan.contains("DataSourceExec"), "{sql}\n{plan}");
        assert_eq!(rows_read(&fixture, sql).await, 0, "{sql}");
    }
    // Bounds of text may be cut, and floats may hide a NaN: these are read.
    for sql in ["SELECT max(name) FROM t", "SELECT max(v) FROM t"] {
        // All but those that a dynamic filter of MAX rules out while it runs.
        assert!(rows_read(&fixture, sql).await > fixture.n_rows as u64 / 2, "{sql}");
    }
}

#[tokio::test]
async fn filters_move_into_the_scan_and_prune() {
    let fixture = fixture(1, 1, false);
    let plan = fixture.explain("SELECT id FROM t WHERE loc = 7 AND length(name) > 3").await;
    assert!(!plan.contains("FilterExec"), "{plan}");
    assert!(plan.contains("predicate=loc"), "{plan}");
    let all = fixture.n_rows as u64;
    // Runs are sorted by (loc, ts): binary search leaves the rows of one place, zones leave the tail.
    let tail = 9_000 + 700 + 40 + 1 + 25;
    let of_loc = rows_read(&fixture, "SELECT id FROM t WHERE loc = 7").await;
    assert!(of_loc < tail + all / 40, "{of_loc} of {all}");
    let of_range = rows_read(&fixture, "SELECT id FROM t WHERE loc = 7 AND ts < TIMESTAMP '1970-01-01 01:00:00'").await;
    assert!(of_range < of_loc / 3, "{of_range} of {of_loc}");
    assert_eq!(rows_read(&fixture, "SELECT id FROM t WHERE loc > 1000").await, 0);
    assert_eq!(rows_read(&fixture, "SELECT id FROM t WHERE id < 0").await, 0);
}

#[tokio::test]
async fn a_top_k_reads_newest_zones_first_and_stops() {
    let fixture = fixture(1, 1, false);
    let all = fixture.n_rows as u64;
    let newest = rows_read(&fixture, "SELECT id, name FROM t ORDER BY id DESC LIMIT 5").await;
    assert!(newest < all / 3, "{newest} of {all}");
    let text = fixture.lines("EXPLAIN ANALYZE SELECT id FROM t ORDER BY id DESC LIMIT 5").await.join("\n");
    assert!(text.contains("zones_total=") && text.contains("zones_pruned="), "{text}");
}

#[tokio::test]
async fn a_join_prunes_its_probe_side() {
    let fixture = fixture(1, 1, false);
    let all = fixture.n_rows as u64;
    let sql = "SELECT t.id FROM (VALUES (5), (9)) AS few(k) JOIN t ON t.id = few.k";
    assert_eq!(fixture.lines(sql).await.len(), 2);
    let read = rows_read(&fixture, sql).await;
    assert!(read < all, "{read} of {all}");
}

#[tokio::test]
async fn large_scans_are_divided_and_small_ones_are_not() {
    let fixture = fixture(1, 3, false);
    let plan = fixture.explain("SELECT loc, count(*) FROM t GROUP BY loc").await;
    assert!(plan.contains("partitions=3"), "{plan}");
    let plan = fixture.explain("SELECT loc, count(*) FROM t WHERE loc = 7 AND id < 100 GROUP BY loc").await;
    assert!(plan.contains("partitions=1"), "{plan}");
}

#[tokio::test]
async fn hooks_for_changes_refuse() {
    let fixture = fixture(1, 1, false);
    for sql in ["DELETE FROM t WHERE false", "UPDATE t SET loc = 1 WHERE id = 1", "INSERT INTO t SELECT * FROM m"] {
        let result = match fixture.context.sql(sql).await {
            Ok(frame) => frame.collect().await.map(|_| ()),
            Err(error) => Err(error),
        };
        let error = result.expect_err(sql).to_string();
        assert!(error.contains("cannot run as part of a query plan"), "{sql}: {error}");
    }
}
