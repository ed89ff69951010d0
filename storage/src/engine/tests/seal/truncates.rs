//! TRUNCATE against builds, publishes and their crashes: what is gone stays gone, what came after stays.

use std::sync::Arc;

use super::spread;
use crate::engine::tests::support::{Fixture, batch, delete_keys, keys_of, request, until};
use crate::env::FailAction;
use crate::table::Table;

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

async fn write(table: &Table, keys: &[i64]) -> u64 {
    table.write(request(batch(keys))).await.expect("stored").accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_wherever_it_was_and_keys_are_free_again() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &all(10)).await;
    table.seal().await.expect("sealed");
    write(&table, &(10..20).collect::<Vec<_>>()).await;
    delete_keys(&table, &[12]).await.expect("deleted");
    write(&table, &(20..30).collect::<Vec<_>>()).await;
    assert_eq!(spread(&table), (10, 9, 10));
    assert_eq!(table.truncate().await.expect("truncated").0, 29);
    assert_eq!(spread(&table), (0, 0, 0));
    assert_eq!(write(&table, &all(15)).await, 15);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(15));
    let sealed = fixture.table("t").seal().await.expect("sealed");
    assert_eq!((sealed.rows, sealed.files), (15, 1));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(15));
    assert_eq!(spread(&fixture.table("t")), (0, 0, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_is_published_as_empty() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    write(&fixture.table("t"), &all(10)).await;
    fixture.table("t").seal().await.expect("sealed");
    fixture.table("t").truncate().await.expect("truncated");
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), Vec::<i64>::new());
    let sealed = fixture.table("t").seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows, sealed.files), (Some(1), 0, 0));
    fixture.restart().await;
    assert_eq!(fixture.table("t").seal().await.expect("nothing to do").delta_version, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_began_before_brings_nothing_back() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &all(10)).await;
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("build.files_synced", FailAction::Hold(1));
    let building = tokio::spawn({
        let table = table.clone();
        async move { table.build().await }
    });
    until(|| fail.visits("build.files_synced") == 1).await;
    table.truncate().await.expect("truncated");
    assert_eq!(write(&table, &[3, 100]).await, 2);
    fail.release("build.files_synced");
    building.await.expect("no panic").expect("overtaken");
    assert_eq!(keys_of(&table), [3, 100]);
    assert_eq!(spread(&table), (2, 0, 0));
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [3, 100]);
    assert_eq!(write(&fixture.table("t"), &[3, 4]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_sent_before_brings_nothing_back() {
    for restarts in [false, true] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let table = fixture.table("t");
        write(&table, &all(10)).await;
        let fail = Arc::clone(&fixture.engine().env().fail);
        fail.arm("publish.after_send", FailAction::Hold(1));
        let sealing = tokio::spawn({
            let table = table.clone();
            async move { table.seal().await }
        });
        until(|| fail.visits("publish.after_send") == 1).await;
        table.truncate().await.expect("truncated");
        assert_eq!(write(&table, &[3]).await, 1);
        if restarts {
            // The commit is in the log of the Delta table, and nobody noted it.
            table.close("the process ends");
        }
        fail.release("publish.after_send");
        let outcome = sealing.await.expect("no panic");
        assert_eq!(outcome.is_ok(), !restarts);
        drop(table);
        if restarts {
            fixture.restart().await;
        }
        assert_eq!(keys_of(&fixture.table("t")), [3]);
        let sealed = fixture.table("t").seal().await.expect("sealed");
        assert_eq!(sealed.rows, 1);
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), [3]);
        assert_eq!(spread(&fixture.table("t")), (0, 0, 1));
    }
}
