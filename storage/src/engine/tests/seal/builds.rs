//! Builds: the same rows before and after, at any moment, over any end of the process.

use std::time::Duration;

use super::spread;
use crate::engine::tests::support::{Fixture, batch, delete_keys, keys_of, producer, request, until};
use crate::env::{FailAction, wait_for_soon};
use crate::ids::{ProducerId, SHARD_ZERO};
use crate::log::{Family, log_prefix};
use crate::memory::Share;
use crate::table::Table;

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

async fn write(table: &Table, keys: &[i64]) -> u64 {
    table.write(request(batch(keys))).await.expect("stored").accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn built_rows_are_the_rows_that_were_written() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    write(&fixture.table("t"), &all(1000)).await;
    let through = fixture.table("t").build().await.expect("built");
    assert_eq!(through.0, 1);
    assert_eq!(spread(&fixture.table("t")), (0, 1000, 0));
    assert_eq!(keys_of(&fixture.table("t")), all(1000));
    fixture.restart().await;
    assert_eq!(spread(&fixture.table("t")), (0, 1000, 0));
    assert_eq!(keys_of(&fixture.table("t")), all(1000));
    assert_eq!(write(&fixture.table("t"), &all(1001)).await, 1, "keys of built rows are known after a restart");
    assert_eq!(fixture.table("t").snapshot().upper().0, 2, "sequences go on behind the built ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_nothing_open_has_nothing_to_build() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").build().await.expect("nothing to do");
    write(&fixture.table("t"), &[1]).await;
    fixture.table("t").build().await.expect("built");
    fixture.table("t").build().await.expect("nothing to do");
    assert_eq!(fixture.table("t").snapshot().files().len(), 1);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1]);
}

/// What a start has to read.
fn n_entries(table: &Table) -> usize {
    let log = log_prefix(table.def().id, SHARD_ZERO);
    table.shared.store.scan(Family::Log, &log).expect("readable").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_which_no_row_was_accepted_do_not_stay_in_the_log() {
    let (mut fixture, clock) = Fixture::open_at(1_700_000_000_000_000);
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &all(10)).await;
    table.build().await.expect("built");
    assert_eq!(n_entries(&table), 0);
    assert_eq!(delete_keys(&table, &[3]).await.expect("deleted"), 1);
    assert_eq!(write(&table, &all(10)).await, 0, "duplicates");
    table.init_producer(ProducerId::new("p").expect("a valid id"), false, "me").await.expect("begun");
    assert_eq!((n_entries(&table), table.stats().realtime_rows), (3, 0));
    // As long as rows would stay.
    clock.advance(Duration::from_micros(table.def().options.seal.after_us.unsigned_abs()));
    fixture.engine().seal_due();
    until(|| n_entries(&table) == 0).await;
    drop(table);
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(keys_of(&table), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(write(&table, &all(10)).await, 0);
    let known = table.producer(&ProducerId::new("p").expect("a valid id")).await.expect("asked");
    assert_eq!(known.map(|producer| producer.epoch), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_readers_keep_of_the_memory_for_rows_begins_a_build() {
    // As much for keys as there may be, so that few rows are many.
    let fixture = Fixture::open_with(|options| {
        options.memory_limit = 512 << 20;
        options.key_memory = Some(u64::MAX);
    });
    let table = fixture.create("t").await;
    let memory = std::sync::Arc::clone(fixture.engine().memory());
    let share = memory.share(Share::Realtime);
    let mut n_rows = 0;
    while table.stats().realtime_bytes < share / 6 {
        assert_eq!(write(&table, &(n_rows..n_rows + 5_000).collect::<Vec<_>>()).await, 5_000);
        n_rows += 5_000;
    }
    assert!(memory.used(Share::Realtime) < share / 2, "rows alone are no reason");
    let kept = memory.charge(Share::Queries, memory.share(Share::Queries) + share / 2);
    fixture.engine().seal_due();
    let built = until(|| table.stats().built_rows == n_rows as u64);
    tokio::time::timeout(Duration::from_secs(30), built).await.expect("it gives memory back");
    let job = table.jobs().into_iter().find(|job| job.kind == "build").expect("a build");
    assert_eq!(job.cause, "memory_pressure");
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_while_a_build_runs_stay_fresh() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &all(100)).await;
    let fail = std::sync::Arc::clone(&fixture.engine().env().fail);
    fail.arm("build.names_recorded", FailAction::Hold(1));
    let building = tokio::spawn({
        let table = table.clone();
        async move { table.build().await }
    });
    until(|| fail.visits("build.names_recorded") == 1).await;
    assert_eq!(write(&table, &(50..200).collect::<Vec<_>>()).await, 100, "keys of the closed prefix are known");
    assert_eq!(keys_of(&table), all(200));
    fail.release("build.names_recorded");
    building.await.expect("no panic").expect("built");
    assert_eq!(spread(&table), (100, 100, 0));
    assert_eq!(keys_of(&table), all(200));
    drop(table);
    fixture.restart().await;
    assert_eq!(spread(&fixture.table("t")), (100, 100, 0));
    assert_eq!(keys_of(&fixture.table("t")), all(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_loses_nothing_and_is_made_up_for() {
    for point in ["build.names_recorded", "build.file_written", "build.layer_written", "build.files_synced"] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let table = fixture.table("t");
        write(&table, &all(100)).await;
        fixture.engine().env().fail.arm(point, FailAction::Error(1));
        table.build().await.expect_err("the point fails");
        assert_eq!(spread(&table), (100, 0, 0), "{point}");
        write(&table, &(100..150).collect::<Vec<_>>()).await;
        table.build().await.expect("built");
        assert_eq!(spread(&table), (0, 150, 0), "{point}");
        drop(table);
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), all(150), "{point}");
        assert_eq!(write(&fixture.table("t"), &all(151)).await, 1, "{point}");
        fixture.engine().clean_files().await;
        wait_for_soon();
        let n_files = std::fs::read_dir(fixture.table("t").shared.folders.built()).expect("there").count();
        // One of rows and its sidecar, one of keys, for each closing.
        assert!(n_files <= 6, "{point}: {n_files} files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_build_that_did_not_end_is_deleted_by_its_recorded_name() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    write(&fixture.table("t"), &all(10)).await;
    fixture.engine().env().fail.arm("build.names_recorded", FailAction::Error(1));
    fixture.table("t").build().await.expect_err("the point fails");
    let names = crate::table::recorded_names(&fixture.table("t").shared.store, fixture.table("t").def().id);
    let name = names.expect("readable").into_keys().next().expect("a name");
    let path = fixture.table("t").shared.folders.built_path(&name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(&path, b"part of a file").expect("written");
    fixture.restart().await;
    fixture.engine().clean_files().await;
    assert!(!path.exists());
    let names = crate::table::recorded_names(&fixture.table("t").shared.store, fixture.table("t").def().id);
    assert_eq!(names.expect("readable").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_go_on_where_they_were_after_a_build() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(producer("p", 1, batch(&[1]))).await.expect("stored");
    fixture.table("t").build().await.expect("built");
    fixture.restart().await;
    assert!(fixture.table("t").write(producer("p", 1, batch(&[1]))).await.expect("answered").repeated);
    assert_eq!(fixture.table("t").write(producer("p", 2, batch(&[2]))).await.expect("stored").accepted, 1);
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_the_version_that_it_began_with() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(100)).await;
    let before = table.snapshot();
    table.build().await.expect("built");
    let built = table.snapshot();
    table.seal().await.expect("sealed");
    assert_eq!((before.n_rows(), before.files().len()), (100, 0));
    assert_eq!(before.parts().iter().map(|part| part.n_rows()).sum::<usize>(), 100);
    let path = fixture.path().join(built.files()[0].place.path.to_string());
    assert!(path.exists(), "a file stays as long as a reader may open it");
    drop(built);
    wait_for_soon();
    assert!(!path.exists(), "and goes with the last of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_file_that_is_missing_or_cut_is_refused_by_name() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    write(&fixture.table("t"), &all(100)).await;
    fixture.table("t").build().await.expect("built");
    let name = fixture.table("t").snapshot().files()[0].file.name.clone();
    let path = fixture.table("t").shared.folders.built_path(&name);
    fixture.close().await;
    let whole = std::fs::read(&path).expect("there");
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
    let error = fixture.reopen().expect_err("refused");
    assert!(error.message().contains(&name), "{error}");
    std::fs::remove_file(&path).expect("removed");
    let error = fixture.reopen().expect_err("refused");
    assert!(error.message().contains(&name), "{error}");
    std::fs::write(&path, &whole).expect("written");
    fixture.reopen().expect("as it was");
    assert_eq!(keys_of(&fixture.table("t")), all(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_is_about_to_bring_into_the_table_is_not_cleaned() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let shared = &table.shared;
    let name = "a.run".to_owned();
    let path = shared.folders.built_path(&name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(&path, b"keys").expect("written");
    let names = crate::table::names(table.def().id, std::slice::from_ref(&name));
    shared.log.commit(names).await.expect("on record");
    // A key job or a stream holds its file until the commit that takes it is written.
    let place = shared.built_place(&name);
    fixture.engine().clean_files().await;
    assert!(path.exists());
    shared.log.commit(crate::table::cleaned(table.def().id, std::slice::from_ref(&name))).await.expect("taken");
    drop(place);
    fixture.engine().clean_files().await;
    assert!(path.exists(), "its name is on record no more: it is the table's");
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_go_on_while_a_commit_of_the_delta_table_waits() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(10)).await;
    // As long as the store is away, whoever publishes has this.
    let publishing = table.shared.publishing.lock().await;
    fixture.engine().clean_files().await;
    table.build().await.expect("built");
    assert_eq!(spread(&table), (0, 10, 0));
    drop(publishing);
}
