//! What becomes of the files of a dropped table, and of a table that is brought back while it is being cleared away?

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::housekeep::PURGED;
use crate::engine::tests::support::{Fixture, batch, definition, keys_of, request, until};
use crate::env::{FailAction, ManualClock};
use crate::error::Code;
use crate::limits::{DROPPED_TABLE_TTL_S, MAX_TABLES};
use crate::table::Table;

const NOW_US: i64 = 1_800_000_000_000_000;

/// A table with a published, a built and a fresh row.
async fn mixed(fixture: &Fixture, name: &str) -> Table {
    let table = fixture.create(name).await;
    table.write(request(batch(&[1]))).await.expect("stored");
    table.seal().await.expect("sealed");
    table.write(request(batch(&[2]))).await.expect("stored");
    table.build().await.expect("built");
    table.write(request(batch(&[3]))).await.expect("stored");
    table
}

/// How many files are under this folder whose path names the table.
fn n_files_of(folder: &Path, id: &str) -> usize {
    let mut n = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            n += n_files_of(&path, id);
        } else if path.to_string_lossy().contains(id) {
            n += 1;
        }
    }
    n
}

fn pass(clock: &ManualClock) {
    clock.advance(Duration::from_secs(DROPPED_TABLE_TTL_S));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_dropped_table_go_when_it_cannot_come_back_and_those_of_others_stay() {
    let (mut fixture, clock) = Fixture::open_at(NOW_US);
    let gone = mixed(&fixture, "t").await.def().id.to_string();
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    // Another of the same name, and one of another.
    let same = mixed(&fixture, "t").await.def().id.to_string();
    let other = mixed(&fixture, "u").await.def().id.to_string();
    let n_files = |id: &str| n_files_of(fixture.path(), id);
    let (n_same, n_other) = (n_files(&same), n_files(&other));
    fixture.engine().purge_dropped().await.expect("done");
    assert!(n_files(&gone) > 0, "it may still come back");
    pass(&clock);
    fixture.engine().purge_dropped().await.expect("done");
    assert_eq!((n_files(&gone), n_files(&same), n_files(&other)), (0, n_same, n_other));
    fixture.restart().await;
    for name in ["t", "u"] {
        assert_eq!(keys_of(&fixture.table(name)), [1, 2, 3], "{name}");
    }
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    fixture.engine().undrop_table("public", "t").await.expect("the younger one comes back");
    assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_brought_back_while_it_is_cleared_away_is_whole_or_gone() {
    for undrop_is_first in [true, false] {
        let (mut fixture, clock) = Fixture::open_at(NOW_US);
        let fail = Arc::clone(&fixture.engine().env().fail);
        drop(mixed(&fixture, "t").await);
        fixture.engine().drop_table("public", "t").await.expect("dropped");
        pass(&clock);
        // Whichever is first is held while it writes, so that the other comes in between.
        let point = if undrop_is_first { "log.before_write/undrop_table" } else { "log.before_write/purge_table" };
        fail.arm(point, FailAction::Hold(1));
        let spawn = |undrops: bool| {
            let engine = Arc::clone(fixture.engine());
            tokio::spawn(async move {
                if undrops {
                    engine.undrop_table("public", "t").await.map(|_| ())
                } else {
                    engine.purge_dropped().await
                }
            })
        };
        let first = spawn(undrop_is_first);
        until(|| fail.visits(point) > 0 || first.is_finished()).await;
        let second = spawn(!undrop_is_first);
        fail.release(point);
        let first = first.await.expect("no panic");
        let second = second.await.expect("no panic");
        first.expect("nothing was in its way");
        if undrop_is_first {
            second.expect("there is nothing to clear away");
            assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3]);
            fixture.restart().await;
            assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3]);
            fixture.table("t").seal().await.expect("sealed");
        } else {
            assert_eq!(second.expect_err("it is gone").code(), Code::TableNotFound);
            fixture.restart().await;
            assert!(fixture.engine().table("public", "t").is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_goes_on_while_a_table_is_brought_back() {
    /// Far more than it takes.
    const LIMIT: Duration = Duration::from_secs(30);
    let (fixture, clock) = Fixture::open_at(NOW_US);
    let engine = Arc::clone(fixture.engine());
    let before = mixed(&fixture, "t").await;
    // What the table still does is waited for; a replay takes its time as well.
    let working = before.shared.building.lock().await;
    engine.drop_table("public", "t").await.expect("dropped");
    let undropping = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.undrop_table("public", "t").await }
    });
    until(|| !engine.coming.lock().is_empty()).await;
    let others = async {
        fixture.create("u").await;
        let created = engine.create_table(definition("t")).await.err().map(|e| e.code());
        let undropped = engine.undrop_table("public", "t").await.err().map(|e| e.code());
        let purged = engine.purge_table("public", "t").await.err().map(|e| e.code());
        // What was dropped long ago is cleared away, but not this.
        pass(&clock);
        engine.purge_dropped().await.expect("done");
        [created, undropped, purged]
    };
    let refusals = tokio::time::timeout(LIMIT, others).await.expect("nobody waits for it");
    assert_eq!(refusals, [Some(Code::TableExists), Some(Code::TableExists), Some(Code::TableNotFound)]);
    assert!(!undropping.is_finished());
    drop(working);
    let table = undropping.await.expect("no panic").expect("back");
    assert_eq!(keys_of(&table), [1, 2, 3]);
    assert!(engine.coming.lock().is_empty());
    assert_eq!(table.write(request(batch(&[3, 4]))).await.expect("stored").accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_to_come_count_as_tables() {
    let fixture = Fixture::open();
    let (engine, kept) = (fixture.engine(), fixture.create("kept").await.def());
    fixture.create("t").await;
    engine.drop_table("public", "t").await.expect("dropped");
    // As if so many were being brought back; one of them has just come.
    let coming = |n: usize| (("coming".to_owned(), n.to_string()), kept.id);
    engine.coming.lock().extend((1..MAX_TABLES).map(coming));
    engine.coming.lock().insert(("public".to_owned(), "kept".to_owned()), kept.id);
    let refused = engine.create_table(definition("u")).await.expect_err("there are as many as there may be");
    assert_eq!(refused.code(), Code::TooManyTables);
    let refused = engine.undrop_table("public", "t").await.expect_err("nor does another come back");
    assert_eq!(refused.code(), Code::TooManyTables);
    engine.coming.lock().remove(&coming(1).0);
    engine.undrop_table("public", "t").await.expect("there is a place");
}

/// What was dropped long ago is cleared away: as soon as one of its files is gone it must not come back, also if the process ends there.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_files_are_gone_does_not_come_back() {
    let (fixture, clock) = Fixture::open_at(NOW_US);
    let fail = Arc::clone(&fixture.engine().env().fail);
    let id = mixed(&fixture, "t").await.def().id.to_string();
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    pass(&clock);
    let point = "log.before_write/purge_table";
    fail.arm(point, FailAction::Hold(1));
    let engine = Arc::clone(fixture.engine());
    let purge = tokio::spawn(async move { engine.purge_dropped().await });
    until(|| fail.visits(point) > 0 || purge.is_finished()).await;
    let on_disk = fixture.engine().dropped_as("public", "t").expect("readable");
    let moments: Vec<_> = on_disk.into_iter().map(|(at, _)| at).collect();
    let n_files = n_files_of(fixture.path(), &id);
    fail.release(point);
    purge.await.expect("no panic").expect("done");
    assert_eq!((moments, n_files), (vec![PURGED], 0));
}

/// The drop says that the table is not to come back.
fn is_doomed(fixture: &Fixture) -> bool {
    let dropped = fixture.engine().dropped_as("public", "t").expect("readable");
    dropped.iter().all(|(at, _)| *at == PURGED)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_goes_with_its_last_reader_and_does_not_come_back() {
    let (fixture, _clock) = Fixture::open_at(NOW_US);
    let table = mixed(&fixture, "t").await;
    let (id, snapshot) = (table.def().id, table.snapshot());
    let n_files = || n_files_of(fixture.path(), &id.to_string());
    let n_before = n_files();
    let engine = Arc::clone(fixture.engine());
    let missing = engine.purge_table("public", "t").await.expect_err("it is there");
    assert_eq!(missing.code(), Code::TableNotFound);
    engine.drop_table("public", "t").await.expect("dropped");
    let purge = tokio::spawn(async move { engine.purge_table("public", "t").await });
    until(|| is_doomed(&fixture)).await;
    let gone = fixture.engine().undrop_table("public", "t").await.expect_err("it goes");
    assert_eq!(gone.code(), Code::TableNotFound);
    fixture.engine().purge_dropped().await.expect("done");
    assert_eq!(n_files(), n_before, "somebody reads it");
    drop(snapshot);
    assert_eq!(purge.await.expect("no panic").expect("purged"), [id]);
    // Whoever only holds the table, such as a stream that is open, reads nothing.
    assert_eq!((n_files(), table.def().id), (0, id));
    let again = fixture.engine().purge_table("public", "t").await.expect_err("it is gone");
    assert_eq!(again.code(), Code::TableNotFound);
}

/// Files in a store elsewhere go slowly, or not as long as it is away.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_and_dropped_while_files_of_a_dropped_one_are_removed() {
    const LONG: Duration = Duration::from_secs(60);
    let (fixture, _clock) = Fixture::open_at(NOW_US);
    let id = mixed(&fixture, "t").await.def().id;
    let engine = Arc::clone(fixture.engine());
    engine.drop_table("public", "t").await.expect("dropped");
    let removing = engine.removing.lock().await;
    let other = Arc::clone(&engine);
    let purge = tokio::spawn(async move { other.purge_table("public", "t").await });
    until(|| is_doomed(&fixture)).await;
    tokio::time::timeout(LONG, fixture.create("u")).await.expect("it does not wait");
    tokio::time::timeout(LONG, engine.drop_table("public", "u")).await.expect("it does not wait").expect("dropped");
    assert!(n_files_of(fixture.path(), &id.to_string()) > 0, "nothing is removed yet");
    drop(removing);
    // Whichever of the two is first.
    engine.purge_dropped().await.expect("done");
    assert_eq!(purge.await.expect("no panic").expect("purged"), [id]);
    assert_eq!(n_files_of(fixture.path(), &id.to_string()), 0);
    assert!(engine.dropped_as("public", "t").expect("readable").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tables_whose_place_was_taken_go_and_the_one_that_is_there_stays() {
    let (mut fixture, _clock) = Fixture::open_at(NOW_US);
    let mut replaced = vec![mixed(&fixture, "t").await.def().id];
    let (second, ..) = fixture.engine().replace_table(definition("t"), None).await.expect("replaced");
    replaced.push(second.def().id);
    drop(second);
    fixture.engine().replace_table(definition("t"), Some(request(batch(&[7])))).await.expect("replaced");
    let mut purged = fixture.engine().purge_table("public", "t").await.expect("purged");
    purged.sort();
    replaced.sort();
    assert_eq!(purged, replaced);
    assert_eq!(n_files_of(fixture.path(), &purged[0].to_string()), 0);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [7]);
}

/// Its caller went away while somebody read, and the process ended before anything was removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_was_cut_short_is_brought_to_its_end_by_the_next_process() {
    let (mut fixture, _clock) = Fixture::open_at(NOW_US);
    let table = mixed(&fixture, "t").await;
    let (id, snapshot) = (table.def().id.to_string(), table.snapshot());
    drop(table);
    let engine = Arc::clone(fixture.engine());
    engine.drop_table("public", "t").await.expect("dropped");
    let purge = tokio::spawn(async move { engine.purge_table("public", "t").await });
    until(|| is_doomed(&fixture)).await;
    purge.abort();
    assert!(purge.await.expect_err("it was aborted").is_cancelled());
    drop(snapshot);
    assert!(n_files_of(fixture.path(), &id) > 0);
    fixture.restart().await;
    let gone = fixture.engine().undrop_table("public", "t").await.expect_err("it goes");
    assert_eq!(gone.code(), Code::TableNotFound);
    fixture.engine().purge_dropped().await.expect("done");
    assert_eq!(n_files_of(fixture.path(), &id), 0);
}
