//! DELETE: one entry, one moment; nothing that runs meanwhile undoes it.

use std::sync::Arc;

use crate::engine::tests::support::{Fixture, batch, delete_keys, keys_of, places_of, request, until};
use crate::env::FailAction;
use crate::error::Code;

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_stay_deleted_over_builds_publishes_and_restarts() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(request(batch(&all(100)))).await.expect("stored");
    assert_eq!(delete_keys(&fixture.table("t"), &[1, 2]).await.expect("deleted"), 2);
    assert_eq!(delete_keys(&fixture.table("t"), &[2, 3]).await.expect("deleted"), 1, "only rows that were there count");
    let expected: Vec<i64> = all(100).into_iter().filter(|key| !(1..4).contains(key)).collect();
    for step in 0..6 {
        match step {
            // The entry is in the log.
            0 | 2 | 4 => fixture.restart().await,
            // It is in a record.
            1 => drop(fixture.table("t").build().await.expect("built")),
            // It is in the Delta log.
            _ => drop(fixture.table("t").seal().await.expect("sealed")),
        }
        assert_eq!(keys_of(&fixture.table("t")), expected, "step {step}");
        assert_eq!(fixture.table("t").stats().deleted_rows, 3, "step {step}");
    }
    let late = fixture.table("t").write(request(batch(&[1, 2, 3]))).await.expect("stored");
    assert_eq!((late.accepted, late.duplicates), (0, 3), "a late duplicate does not bring a deleted row back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_between_a_publish_and_its_outcome_holds() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    table.write(request(batch(&all(10)))).await.expect("stored");
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("publish.after_send", FailAction::Hold(1));
    let sealing = tokio::spawn({
        let table = table.clone();
        async move { table.seal().await }
    });
    until(|| fail.visits("publish.after_send") == 1).await;
    assert_eq!(delete_keys(&table, &[4]).await.expect("deleted"), 1);
    fail.release("publish.after_send");
    sealing.await.expect("no panic").expect("sealed");
    let expected: Vec<i64> = all(10).into_iter().filter(|key| *key != 4).collect();
    assert_eq!(keys_of(&table), expected);
    assert_eq!(table.seal().await.expect("sealed").rows, 9);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_file_that_went_meanwhile_are_found_again() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    table.write(request(batch(&all(10)))).await.expect("stored");
    table.build().await.expect("built");
    let snapshot = table.snapshot();
    let rows = places_of(&table, &snapshot, &[1]);
    table.truncate().await.expect("truncated");
    let error = table.delete(&snapshot, rows).await.expect_err("refused");
    assert_eq!(error.code(), Code::DeleteConflict);
    assert_eq!(keys_of(&table), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_file_may_be_named_by_a_snapshot_of_before() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    table.write(request(batch(&all(10)))).await.expect("stored");
    table.build().await.expect("built");
    let snapshot = table.snapshot();
    let rows = places_of(&table, &snapshot, &[1]);
    table.seal().await.expect("sealed");
    assert_eq!(table.delete(&snapshot, rows).await.expect("deleted").0, 1);
    assert_eq!(table.snapshot().n_rows(), 9);
}
