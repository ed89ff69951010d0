//! What happens to files while they are merged: nothing is undone, and nothing waits for long.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::tests::support::{Fixture, delete_keys, keys_of, places_of, until};
use crate::env::FailAction;
use crate::error::Code;

/// Begins to compact; returns when it is held at `point`.
async fn held(
    fixture: &Fixture,
    table: &Table,
    point: &'static str,
) -> tokio::task::JoinHandle<crate::Result<crate::Compacted>> {
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm(point, FailAction::Hold(1));
    let compacting = tokio::spawn({
        let table = table.clone();
        async move { table.compact().await }
    });
    until(|| fail.visits(point) == 1).await;
    compacting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_before_the_commit_drops_the_work() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    seal_pieces(&table, 4, 10).await;
    let before = names(&table);
    let compacting = held(&fixture, &table, "compact.files_synced").await;
    assert_eq!(delete_keys(&table, &[3]).await.expect("deleted"), 1);
    fixture.engine().env().fail.release("compact.files_synced");
    let compacted = compacting.await.expect("no panic").expect("dropped, not failed");
    assert_eq!((compacted.merged_files, compacted.delta_version), (0, Some(3)));
    assert_eq!(names(&table), before);
    let left: Vec<i64> = all(40).into_iter().filter(|key| *key != 3).collect();
    assert_eq!(keys_of(&table), left);
    table.seal().await.expect("sealed");
    assert_eq!(table.compact().await.expect("compacted").merged_files, 4);
    assert_eq!(keys_of(&table), left);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), left);
    fixture.engine().clean_files().await;
    // The work that was dropped left nothing behind.
    let there = files_in(&delta_folder(&fixture.table("t")), ".parquet");
    assert_eq!(there.len(), 1 + before.len(), "{there:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_waits_while_the_commit_is_on_its_way() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    seal_pieces(&table, 4, 10).await;
    let snapshot = table.snapshot();
    let rows = places_of(&table, &snapshot, &[3]);
    let compacting = held(&fixture, &table, "publish.after_send").await;
    let mut deleting = tokio::spawn({
        let table = table.clone();
        async move { table.delete(&snapshot, rows).await }
    });
    let waits = tokio::time::timeout(Duration::from_millis(50), &mut deleting).await;
    assert!(waits.is_err(), "it is not answered before anybody knows");
    assert_eq!(write(&table, &[40]).await, 1, "rows are acknowledged meanwhile");
    fixture.engine().env().fail.release("publish.after_send");
    compacting.await.expect("no panic").expect("compacted");
    let error = deleting.await.expect("no panic").expect_err("its rows are elsewhere");
    assert_eq!(error.code(), Code::DeleteConflict);
    assert_eq!(delete_keys(&table, &[3]).await.expect("deleted"), 1);
    let left: Vec<i64> = all(41).into_iter().filter(|key| *key != 3).collect();
    assert_eq!(keys_of(&table), left);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), left);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_meanwhile_brings_nothing_back() {
    for point in
        ["compact.files_synced", "compact.decided", "publish.before_send", "publish.after_send", "publish.settled"]
    {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let table = fixture.table("t");
        seal_pieces(&table, 4, 10).await;
        let compacting = held(&fixture, &table, point).await;
        assert_eq!(table.truncate().await.expect("truncated").0, 40, "{point}");
        assert_eq!(write(&table, &[3]).await, 1, "{point}: keys are free again");
        fixture.engine().env().fail.release(point);
        compacting.await.expect("no panic").expect("settled or dropped");
        assert_eq!(keys_of(&table), [3], "{point}");
        let sealed = table.seal().await.expect("sealed");
        assert_eq!((sealed.rows, sealed.files), (1, 1), "{point}");
        assert_eq!(delta_names(&table).await, names(&table), "{point}");
        assert_eq!(table.truncate().await.expect("truncated").0, 1, "{point}");
        drop(table);
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), Vec::<i64>::new(), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_go_on_beside_a_merge() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    seal_pieces(&table, 4, 10).await;
    let compacting = held(&fixture, &table, "compact.files_synced").await;
    write(&table, &(40..50).collect::<Vec<_>>()).await;
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(4), 50));
    fixture.engine().clean_files().await;
    fixture.engine().env().fail.release("compact.files_synced");
    let compacted = compacting.await.expect("no panic").expect("compacted");
    assert_eq!((compacted.merged_files, compacted.delta_version), (4, Some(5)));
    assert_eq!(keys_of(&table), all(50));
    assert_eq!(delta_names(&table).await, names(&table));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_between_forgets_no_delete() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    seal_pieces(&table, 4, 10).await;
    let compacting = held(&fixture, &table, "compact.decided").await;
    // The worker fails and is opened from the log: the commit is on record there, and the files still leave.
    fixture.engine().env().fail.arm("table.before_submit/rows", FailAction::Error(1));
    assert!(table.write(request(batch(&[40]))).await.is_err());
    while table.write(request(batch(&[0]))).await.is_err() {
        tokio::task::yield_now().await;
    }
    let snapshot = table.snapshot();
    let rows = places_of(&table, &snapshot, &[3]);
    let mut deleting = tokio::spawn({
        let table = table.clone();
        async move { table.delete(&snapshot, rows).await }
    });
    let waits = tokio::time::timeout(Duration::from_millis(50), &mut deleting).await;
    assert!(waits.is_err(), "the files are still on their way out");
    fixture.engine().env().fail.release("compact.decided");
    compacting.await.expect("no panic").expect("compacted");
    assert_eq!(deleting.await.expect("no panic").expect_err("again").code(), Code::DeleteConflict);
    assert_eq!(keys_of(&table), all(40));
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(40));
}
