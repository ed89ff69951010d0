//! Publishes: one commit whose outcome is settled by what stands at its version.

use std::sync::Arc;

use super::spread;
use crate::engine::tests::support::{Fixture, batch, delete_keys, keys_of, request, until};
use crate::env::FailAction;
use crate::table::Table;

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

async fn write(table: &Table, keys: &[i64]) {
    table.write(request(batch(keys))).await.expect("stored");
}

/// Versions of the Delta log on disk.
fn n_versions(table: &Table) -> usize {
    let folder = table.shared.gate.folder.join(table.shared.folders.published().to_string()).join("_delta_log");
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    files
        .filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|end| end == "json")))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_rows_are_the_rows_that_were_written() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    write(&fixture.table("t"), &all(1000)).await;
    let sealed = fixture.table("t").seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.through.0, sealed.rows, sealed.files), (Some(0), 1, 1000, 1));
    assert!(sealed.location.starts_with("file:///"), "{}", sealed.location);
    assert_eq!(spread(&fixture.table("t")), (0, 0, 1000));
    assert_eq!(keys_of(&fixture.table("t")), all(1000));
    fixture.restart().await;
    assert_eq!(spread(&fixture.table("t")), (0, 0, 1000));
    assert_eq!(keys_of(&fixture.table("t")), all(1000));
    assert_eq!(fixture.table("t").write(request(batch(&all(1001)))).await.expect("stored").accepted, 1);
    let sealed = fixture.table("t").seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(1), 1001));
    let again = fixture.table("t").seal().await.expect("nothing to do");
    assert_eq!(again, sealed);
    assert_eq!(n_versions(&fixture.table("t")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_is_not_published() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let sealed = table.seal().await.expect("nothing to do");
    assert_eq!((sealed.delta_version, sealed.rows), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_sent_is_found_after_the_process_ended() {
    // Before the intent is on record, the range is published anew; from then on the recorded bytes decide.
    for point in [
        "publish.file_brought",
        "publish.files_brought",
        "publish.before_send",
        "publish.after_send",
        "publish.settled",
    ] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let table = fixture.table("t");
        write(&table, &all(100)).await;
        let fail = Arc::clone(&fixture.engine().env().fail);
        fail.arm(point, FailAction::Error(1));
        let sealing = tokio::spawn(async move { table.seal().await });
        // From then on it is stopped, or has failed, or sends the commit again.
        until(|| fail.visits(point) > 0).await;
        sealing.abort();
        drop(sealing.await);
        fixture.restart().await;
        write(&fixture.table("t"), &[100]).await;
        let sealed = fixture.table("t").seal().await.expect("sealed");
        assert_eq!(sealed.rows, 101, "{point}");
        assert_eq!(keys_of(&fixture.table("t")), all(101), "{point}");
        // Nothing was sent before the commit was on record: both ranges go with one.
        let expected = if point.starts_with("publish.file") { 1 } else { 2 };
        assert_eq!(n_versions(&fixture.table("t")), expected, "{point}: each range is committed once");
        fixture.restart().await;
        assert_eq!(spread(&fixture.table("t")), (0, 0, 101), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_commit_that_touches_nothing_of_ours_is_passed() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(10)).await;
    table.seal().await.expect("sealed");
    let log = table.shared.gate.folder.join(table.shared.folders.published().to_string()).join("_delta_log");
    let foreign = r#"{"commitInfo":{"timestamp":1,"operation":"OPTIMIZE"}}"#;
    std::fs::write(log.join("00000000000000000001.json"), foreign).expect("written");
    write(&table, &[10]).await;
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(2), 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_where_the_last_commit_is_not() {
    let mut fixture = Fixture::open();
    write(&fixture.create("t").await, &all(10)).await;
    fixture.table("t").seal().await.expect("sealed");
    write(&fixture.table("t"), &[10]).await;
    // As when its file system is not mounted.
    let folder = fixture.path().join(fixture.table("t").shared.folders.published().to_string());
    let aside = fixture.path().join("aside");
    std::fs::rename(&folder, &aside).expect("moved");
    for _ in 0..2 {
        let error = fixture.table("t").seal().await.expect_err("refused");
        assert_eq!(error.code(), crate::error::Code::StoreUnavailable, "{error}");
        assert!(!folder.exists(), "nothing is brought there");
        assert_eq!(spread(&fixture.table("t")), (0, 1, 10));
        fixture.restart().await;
    }
    std::fs::rename(&aside, &folder).expect("moved");
    let sealed = fixture.table("t").seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(1), 11));
    assert_eq!(n_versions(&fixture.table("t")), 2);
    assert_eq!(keys_of(&fixture.table("t")), all(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_that_commits_as_this_one_stops_the_table_and_takes_none_of_its_rows() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(10)).await;
    table.seal().await.expect("sealed");
    let log = table.shared.gate.folder.join(table.shared.folders.published().to_string()).join("_delta_log");
    let id = format!("tidewater/{}/0/{}", table.def().id, table.shared.log_id.0);
    let foreign = format!(r#"{{"txn":{{"appId":"{id}","version":99}}}}"#);
    std::fs::write(log.join("00000000000000000001.json"), foreign).expect("written");
    write(&table, &[10]).await;
    let error = table.seal().await.expect_err("refused");
    assert_eq!(error.code(), crate::error::Code::DeltaConflict, "{error}");
    // It could never be sealed.
    let error = table.write(request(batch(&[11]))).await.expect_err("refused");
    assert_eq!(error.code(), crate::error::Code::DeltaConflict, "{error}");
    assert_eq!(keys_of(&table), all(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_deleted_before_they_are_published_are_published_as_deleted() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &all(100)).await;
    assert_eq!(delete_keys(&table, &[3, 4, 200]).await.expect("deleted"), 2);
    assert_eq!(table.seal().await.expect("sealed").rows, 98);
    assert_eq!(delete_keys(&table, &[5, 4]).await.expect("deleted"), 1);
    assert_eq!(table.seal().await.expect("sealed").rows, 97);
    assert_eq!(delete_keys(&table, &all(100)).await.expect("deleted"), 97);
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.rows, sealed.files), (0, 0), "a file without rows is removed");
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), Vec::<i64>::new());
    let again = fixture.table("t").write(request(batch(&all(101)))).await.expect("stored");
    assert_eq!(again.accepted, 1, "keys of deleted rows stay remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_waits_for_its_store_stays_among_the_jobs_and_says_why() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &[0]).await;
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("publish.before_send", FailAction::Error(1));
    // The next attempt.
    fail.arm("publish.after_send", FailAction::Hold(1));
    let sealing = tokio::spawn({
        let table = table.clone();
        async move { table.seal().await }
    });
    until(|| fail.visits("publish.after_send") == 1).await;
    // More than the jobs that are remembered.
    for key in 1..=25 {
        write(&table, &[key]).await;
        table.build().await.expect("built");
    }
    let publish = || table.jobs().into_iter().find(|job| job.kind == "publish").expect("it is there");
    let waits = publish();
    assert_eq!(waits.state, "running");
    assert!(waits.error.as_ref().is_some_and(|error| error.contains("publish.before_send")), "{waits:?}");
    let n_ended = table.jobs().iter().filter(|job| job.ended_us.is_some()).count();
    assert_eq!(n_ended, 20, "those that ended are forgotten, the oldest first");
    fail.release("publish.after_send");
    sealing.await.expect("no panic").expect("sealed");
    let done = publish();
    assert_eq!((done.state, done.error), ("done", None));
    assert_eq!(done.id, waits.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_worker_ends_with_it() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let id = table.shared.jobs.lock().add("run", "tail_rows");
    fixture.engine().env().fail.arm("table.before_publish/rows", FailAction::Error(1));
    table.write(request(batch(&[1]))).await.expect_err("the worker fails");
    let has_ended = || table.jobs().iter().any(|job| job.id == id && job.state == "failed" && job.error.is_some());
    until(has_ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_and_builds_go_on_while_a_commit_is_held() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(10)).await;
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("publish.after_send", FailAction::Hold(1));
    let sealing = tokio::spawn({
        let table = table.clone();
        async move { table.seal().await }
    });
    until(|| fail.visits("publish.after_send") == 1).await;
    write(&table, &(10..20).collect::<Vec<_>>()).await;
    table.build().await.expect("built");
    write(&table, &(20..30).collect::<Vec<_>>()).await;
    assert_eq!(spread(&table), (10, 20, 0));
    assert_eq!(keys_of(&table), all(30));
    fail.release("publish.after_send");
    sealing.await.expect("no panic").expect("sealed");
    assert_eq!(keys_of(&table), all(30));
    assert_eq!(table.seal().await.expect("sealed").rows, 30);
}
