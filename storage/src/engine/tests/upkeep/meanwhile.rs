//! What happens to files while they are merged: nothing is undone, and nothing waits for long.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::StringArray;
use parquet::file::metadata::ParquetMetaDataReader;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;
use crate::compaction::compact;
use crate::engine::tests::support::{Fixture, delete_keys, keys_of, places_of, until};
use crate::env::FailAction;
use crate::error::Code;
use crate::limits::COPIES_MIN_FREE_BYTES;
use crate::memory::Share;
use crate::publishing::download;
use crate::retention::expire;

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

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Begins to compact a table whose turn does not come; returns when it waits.
async fn waiting(table: &Table) -> tokio::task::JoinHandle<crate::Result<crate::Compacted>> {
    let compacting = tokio::spawn({
        let table = table.clone();
        async move { table.compact().await }
    });
    until(|| compact_job(table).is_some()).await;
    assert_eq!(compact_job(table), Some("pending"));
    compacting
}

/// How the last one is.
fn compact_job(table: &Table) -> Option<&'static str> {
    table.jobs().into_iter().find(|job| job.kind == "compact").map(|job| job.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_waits_for_no_merge() {
    let fixture = Fixture::open();
    let (merged, built) = (fixture.create("a").await, fixture.create("b").await);
    seal_pieces(&merged, 4, 10).await;
    write(&built, &all(10)).await;
    let gate = Arc::clone(&built.shared.gate);
    // As on a small machine: one build at a time.
    let n_others = gate.builds.available_permits() as u32 - 1;
    let others = Arc::clone(&gate.builds).acquire_many_owned(n_others).await.expect("open");
    let compacting = held(&fixture, &merged, "compact.file_written").await;
    let build = tokio::time::timeout(LIMIT, built.build()).await;
    build.expect("it waits for no merge").expect("built");
    assert_eq!(spread(&built), (0, 10, 0));
    let sorting = gate.sorting.try_take(u64::MAX);
    assert!(sorting.is_some(), "all memory of builds and sorts is free: a merge has its own");
    fixture.engine().env().fail.release("compact.file_written");
    // Nor does a merge wait for that memory.
    let compacted = tokio::time::timeout(LIMIT, compacting).await.expect("it ends").expect("no panic");
    assert_eq!(compacted.expect("compacted").merged_files, 4);
    drop((others, sorting));
    assert_eq!(fixture.engine().memory().used(Share::Unassigned), 0);
}

/// Rows with these keys and a KiB each that hardly gets smaller.
fn wide(keys: std::ops::Range<i64>) -> RecordBatch {
    let word = |key: i64, at: u64| format!("{:016x}", xxh3_64_with_seed(&key.to_le_bytes(), at));
    let text = |key: i64| (0..64).map(|at| word(key, at)).collect::<String>();
    let usual = batch(&keys.clone().collect::<Vec<_>>());
    let texts = StringArray::from_iter_values(keys.map(text));
    let columns = vec![usual.column(0).clone(), Arc::new(texts) as _, usual.column(2).clone()];
    RecordBatch::try_new(usual.schema(), columns).expect("of one length")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_charged_what_it_takes_and_writes_row_groups_that_have_a_place() {
    const ROWS: i64 = 4_000;
    // The smallest limit: not even two files fit into what is for merges.
    let fixture = Fixture::open_with(|options| options.memory_limit = 512 << 20);
    let table = fixture.create("t").await;
    for file in 0..4 {
        table.write(request(wide(file * ROWS..(file + 1) * ROWS))).await.expect("stored");
        table.seal().await.expect("sealed");
    }
    let (memory, budget) = (Arc::clone(fixture.engine().memory()), table.shared.gate.merging_bytes());
    let compacting = held(&fixture, &table, "compact.file_written").await;
    let charged = memory.used(Share::Unassigned);
    assert!(charged > budget, "{charged} of {budget}");
    fixture.engine().env().fail.release("compact.file_written");
    let compacted = compacting.await.expect("no panic").expect("compacted");
    assert_eq!((compacted.merged_files, compacted.rows), (2, 2 * ROWS as u64));
    assert_eq!(memory.used(Share::Unassigned), 0);
    let snapshot = table.snapshot();
    let merged = snapshot.files().iter().find(|file| file.file.rows == 2 * ROWS as u64).expect("it is there");
    let path = path_of(&table, &merged.file.name);
    let footer = ParquetMetaDataReader::new().parse_and_finish(&std::fs::File::open(path).expect("readable"));
    let sizes: Vec<i64> = footer.expect("a footer").row_groups().iter().map(|group| group.compressed_size()).collect();
    assert!(sizes.len() > 1 && sizes.iter().all(|bytes| *bytes < budget as i64 / 2), "{sizes:?} of {budget}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_lets_builds_begin_that_came_before_it() {
    let fixture = Fixture::open();
    let (merged, built) = (fixture.create("a").await, fixture.create("b").await);
    seal_pieces(&merged, 4, 10).await;
    write(&built, &all(10)).await;
    let fail = Arc::clone(&fixture.engine().env().fail);
    let gate = Arc::clone(&built.shared.gate);
    let n_places = gate.builds.available_permits() as u32;
    let running = Arc::clone(&gate.builds).acquire_many_owned(n_places).await.expect("open");
    // Armed to be counted.
    fail.arm("compact.file_written", FailAction::Error(u32::MAX));
    let mut compacting = held(&fixture, &merged, "compact.names_recorded").await;
    fail.release("compact.names_recorded");
    let waits = tokio::time::timeout(Duration::from_millis(50), &mut compacting).await;
    assert!(waits.is_err(), "all places of builds are taken");
    assert_eq!(fail.visits("compact.file_written"), 0);
    drop(running);
    let build = tokio::time::timeout(LIMIT, built.build()).await;
    build.expect("it waits for no merge").expect("built");
    assert_eq!(compacting.await.expect("no panic").expect("compacted").merged_files, 4);
    assert_eq!(fail.visits("compact.file_written"), 1);
    assert_eq!(gate.builds.available_permits() as u32, n_places, "it keeps no place");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_merged_one_after_the_other() {
    let fixture = Fixture::open();
    let (first, second, third) = (fixture.create("a").await, fixture.create("b").await, fixture.create("c").await);
    for table in [&first, &second, &third] {
        seal_pieces(table, 4, 10).await;
    }
    let fail = Arc::clone(&fixture.engine().env().fail);
    let compacting = held(&fixture, &first, "compact.names_recorded").await;
    let (mut waits, gone) = (waiting(&second).await, waiting(&third).await);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waits).await.is_err());
    assert_eq!(fail.visits("compact.names_recorded"), 1, "nothing is made, nor read, for who waits");
    // Everything else goes on, and what a table waits for ends with it.
    write(&second, &(40..50).collect::<Vec<_>>()).await;
    second.seal().await.expect("sealed");
    fixture.engine().drop_table("public", "c").await.expect("dropped");
    let gone = tokio::time::timeout(LIMIT, gone).await.expect("it ends").expect("no panic");
    assert_eq!(gone.expect_err("it was dropped").code(), Code::TableClosed);
    fail.release("compact.names_recorded");
    assert_eq!(compacting.await.expect("no panic").expect("compacted").merged_files, 4);
    // As its files are when its turn comes.
    assert_eq!(waits.await.expect("no panic").expect("compacted").merged_files, 5);
    assert_eq!(keys_of(&second), all(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_has_nothing_to_merge_when_its_turn_comes_gives_it_on() {
    let fixture = Fixture::open();
    let (first, second) = (fixture.create("a").await, fixture.create("b").await);
    for table in [&first, &second] {
        seal_pieces(table, 4, 10).await;
    }
    let compacting = held(&fixture, &first, "compact.names_recorded").await;
    let waits = waiting(&second).await;
    second.truncate().await.expect("truncated");
    fixture.engine().env().fail.release("compact.names_recorded");
    assert_eq!(compacting.await.expect("no panic").expect("compacted").merged_files, 4);
    assert_eq!(waits.await.expect("no panic").expect("nothing to do").merged_files, 0);
    assert_eq!(compact_job(&second), Some("done"));
    assert_eq!(fixture.engine().parts.gate.merges.available_permits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_file_stops_when_others_have_taken_the_space() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    seal_pieces(&table, 1, 10).await;
    let file = table.snapshot().files()[0].clone();
    let (shared, to) = (&table.shared, fixture.path().join("a.copy"));
    let needed = shared.gate.min_free_bytes + COPIES_MIN_FREE_BYTES + file.file.bytes;
    *shared.gate.pretended_free_bytes.lock() = Some(needed - 1);
    let full = download(shared, &file.place.path, file.file.bytes, &to).await.expect_err("refused");
    assert_eq!(full.code(), Code::DiskFull, "{full}");
    *shared.gate.pretended_free_bytes.lock() = Some(needed);
    download(shared, &file.place.path, file.file.bytes, &to).await.expect("copied");
    assert_eq!(std::fs::metadata(&to).expect("there").len(), file.file.bytes);
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

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_merge_whose_commit_waits_while_its_worker_fails_are_not_cleaned() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    seal_pieces(&table, 4, 10).await;
    let mut compacting = held(&fixture, &table, "compact.file_brought").await;
    // The worker hears of this row when it is written, and fails then; the record of the commit is behind it in the log's queue.
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("log.before_write/rows", FailAction::Hold(1));
    fail.arm("log.before_write/intent", FailAction::Hold(1));
    fail.arm("table.before_publish/rows", FailAction::Error(1));
    let writing = tokio::spawn({
        let table = table.clone();
        async move { table.write(request(batch(&[40]))).await }
    });
    until(|| fail.visits("log.before_write/rows") == 1).await;
    // Only to be counted.
    fail.arm("table.before_submit/intent", FailAction::Error(u32::MAX));
    fail.release("compact.file_brought");
    until(|| fail.visits("table.before_submit/intent") == 1).await;
    fail.release("log.before_write/rows");
    until(|| fail.visits("log.before_write/intent") == 1).await;
    writing.await.expect("no panic").expect_err("the worker fails");
    let early = tokio::time::timeout(Duration::from_millis(200), &mut compacting).await;
    assert!(early.is_err(), "nobody may clean before the log has told what came of the commit: {early:?}");
    let cleaning = tokio::spawn({
        let engine = Arc::clone(fixture.engine());
        async move { engine.clean_files().await }
    });
    fail.release("log.before_write/intent");
    compacting.await.expect("no panic").expect_err("its worker failed");
    cleaning.await.expect("no panic");
    while table.seal().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(keys_of(&table), all(41));
    assert_eq!(names(&table).len(), 2, "the merge was settled, and the row sealed");
    assert_eq!(delta_names(&table).await, names(&table));
    fixture.engine().clean_files().await;
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(41));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_keeps_no_fresh_rows() {
    for point in ["compact.names_recorded", "compact.files_synced", "publish.before_send"] {
        let fixture = Fixture::open();
        let table = fixture.create("t").await;
        seal_pieces(&table, 4, 10).await;
        write(&table, &(40..50).collect::<Vec<_>>()).await;
        let compacting = held(&fixture, &table, point).await;
        table.build().await.expect("built");
        let memory = Arc::clone(fixture.engine().memory());
        let gone = until(|| memory.used(Share::Realtime) + memory.used(Share::Queries) == 0);
        tokio::time::timeout(LIMIT, gone).await.unwrap_or_else(|_| panic!("{point}: somebody has them"));
        fixture.engine().env().fail.release(point);
        assert_eq!(compacting.await.expect("no panic").expect("compacted").merged_files, 4, "{point}");
        assert_eq!(keys_of(&table), all(50), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_past_the_retention_leave_while_a_merge_waits_for_its_turn() {
    const SECOND_US: i64 = 1_000_000;
    let (fixture, clock) = Fixture::open_at(20 * SECOND_US);
    let first = fixture.create("a").await;
    seal_pieces(&first, 4, 10).await;
    fixture.engine().create_table(with_options(&[("retention", "1 minute")])).await.expect("created");
    let second = fixture.table("t");
    for (piece, seconds) in [(0, 1), (1, 19), (2, 19), (3, 19), (4, 19)] {
        let rows: Vec<(i64, i64)> = (piece * 10..piece * 10 + 10).map(|key| (key, seconds * SECOND_US)).collect();
        second.write(request(at(&rows))).await.expect("stored");
        second.seal().await.expect("sealed");
    }
    let compacting = held(&fixture, &first, "compact.names_recorded").await;
    let waits = waiting(&second).await;
    // The first file is past it by both clocks.
    clock.advance(Duration::from_secs(60));
    clock.set_wall(75 * SECOND_US);
    let gone = tokio::time::timeout(LIMIT, expire(&second)).await.expect("it waits for no merge");
    assert_eq!((gone.expect("done"), names(&second).len()), (1, 4));
    // Who looks after all tables from time to time adds nothing to the line.
    let again = tokio::time::timeout(LIMIT, compact(&second, "interval", 1)).await.expect("it does not wait");
    assert_eq!(again.expect("nothing to do").merged_files, 0);
    fixture.engine().env().fail.release("compact.names_recorded");
    assert_eq!(compacting.await.expect("no panic").expect("compacted").merged_files, 4);
    // As its files are when its turn comes.
    assert_eq!(waits.await.expect("no panic").expect("compacted").merged_files, 4);
    assert_eq!((names(&second).len(), second.snapshot().n_rows()), (1, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_files_are_about_to_leave_keeps_no_other_from_its_turn() {
    let fixture = Fixture::open();
    let (first, second) = (fixture.create("a").await, fixture.create("b").await);
    for table in [&first, &second] {
        seal_pieces(table, 4, 10).await;
    }
    // As retention has it, perhaps for as long as the store is away.
    let leaving = first.shared.compacting.lock().await;
    let waits = waiting(&first).await;
    let compacted = tokio::time::timeout(LIMIT, second.compact()).await.expect("the place is free");
    assert_eq!(compacted.expect("compacted").merged_files, 4);
    drop(leaving);
    assert_eq!(waits.await.expect("no panic").expect("compacted").merged_files, 4);
    assert_eq!(fixture.engine().parts.gate.merges.available_permits(), 1);
}
