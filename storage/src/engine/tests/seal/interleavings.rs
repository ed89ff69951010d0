//! Which orders of events would lose, double, hide or bring back a row, and which test shows that each is harmless?
//!
//! The items are those of the project's storage rules, the letters their interleavings. Files stand beside this one unless a path is given;
//! what only an end of the process shows is struck from outside as well: `server/tests/crash/{changes,seals}`.
//!
//! | item | what must not happen | shown by |
//! |---|---|---|
//! | 1a a new data folder over an old table's store | rows are born behind the table's `txn` | here: `a_new_data_folder_…` |
//! | 1b an older log beside a newer table | it commits over what it forgot | here: `a_folder_that_was_put_back_…`, `a_table_whose_store_tells_later_…`; `publishes` |
//! | 1b the same | it deletes what it takes for nothing's | here: `a_folder_that_was_put_back_deletes_nothing_…` |
//! | 1b a commit while the table is asked for lost ones | it is taken for one | here: `a_commit_that_is_made_while_…` |
//! | 1a, 1b a table that goes on elsewhere, or without what is lost | keys are forgotten, two logs commit | here: `whoever_accepts_the_loss_…`; `engine/tests/attach` |
//! | 1b a request again whose rows are lost | it is answered as accepted | here: `a_request_whose_rows_are_lost_…` |
//! | 1b rows for a table that goes on elsewhere | they are acknowledged, and in no table that people read | `engine/tests/attach` |
//! | 1c rows that were never synced are sealed | their numbers are given again | here: `a_log_is_synced_before_…` |
//! | 1d, 7e DROP and CREATE of one name, a commit on its way | the two meet | here: `a_commit_of_a_dropped_table_is_its_own`; `alters` |
//! | 2a an attempt arrives after a restart | its rows are there twice | here: `a_commit_that_comes_late_…`; `publishes` |
//! | 2b an attempt arrives after its rows went | it names files that are gone | here: `files_of_a_commit_that_may_arrive_…` |
//! | 3a, 3d DELETE over both halves; the store away | half of it, or none of it | `deletes`, `model`, `server/tests/crash/changes` |
//! | 3b DELETE while its rows are built | they come back | here: `rows_deleted_while_they_are_built_…`, `a_delete_that_a_build_…` |
//! | 3c DELETE, TRUNCATE and compaction | they come back | tests of compaction |
//! | 4 a stream larger than an entry | it is there in part, or its keys before it | `staged` |
//! | 5a keys of built rows after a crash | they are forgotten | `builds`, `model`, `server/tests/crash/seals` |
//! | 5b a key layer ahead of its range | a row that was never stored is a duplicate | here: `a_key_layer_has_…` |
//! | 5c, 5d another permutation or class | an answer changes | `dedup/tests` |
//! | 6 an answer before what it rests on | it is given and lost | `engine/tests/{queue,sync}` |
//! | 7a a build or commit of before a TRUNCATE | the rows return | `truncates` |
//! | 7a a commit that is planned and not sent before a TRUNCATE | readers of the Delta table see rows that are gone | here: `a_commit_that_is_planned_…` |
//! | 7b, 7c TRUNCATE with the store away, or half of it | rows or keys of before | `truncates` |
//! | 7d layers of before a TRUNCATE | its keys are remembered | here: `keys_of_before_a_truncate_…` |
//! | 7f a batch again after a TRUNCATE or build | it is stored twice | `engine/tests`, `builds` |
//! | 8 a name before its bytes | a version that nobody can read | `env/durable_store/tests` |
//! | 8 a version that is empty, or no commit | the seal goes on as if it were one | here: `an_empty_…`, `a_file_that_is_no_commit_…` |
//! | 9 RocksDB's options, a full disk | entries go | `engine/tests/{damage,space}`, `log/tests` |
//! | 10 clocks | one of them forgets | `engine/tests/forget` |
//! | 11 other writers | files of ours are not what we think | here: `another_writer_…`; `sealed/delta/tests/readers` |
//! | 12 the store away for long | memory, restart and disk grow | here: `ranges_that_wait_…`, `rows_are_refused_…`; `publishes` |
//! | 12 the store back after long | one commit has everything | here: `each_commit_is_a_prefix_…` |
//! | 13 a worker that fails after it decided | memory is gone on with | here: `a_worker_that_fails_…`; `engine/tests` |
//! | 13 a build that began under another worker | it is taken for one of this worker's | here: `a_build_that_another_worker_…` |
//! | 13 a worker that fails while the commit of a build waits for the log | its files are cleaned, and the commit names them | here: `files_of_a_build_whose_commit_…` |
//! | 13 the same of a stream | the same | here: `files_of_a_stream_whose_commit_…` |
//! | 13 the same of a merge | the Delta table has files that are not there | `engine/tests/upkeep/meanwhile`: `files_of_a_merge_whose_commit_…` |
//! | 14 log and tables put back from two moments | rows are in neither, their numbers are given again, and all goes on | here: `a_copy_is_whole_…` |
//! | 15a, 15b ALTER while a commit is on its way | files before their schema | here: `schema_and_files_…`; `alters` |
//! | 15c ALTER while rows are built | files with columns that they do not have | here: `rows_that_are_being_built_…` |
//! | 16a two processes that commit as one shard | both go on, or one takes away what the other has | here: `of_two_that_commit_as_one_…`; `publishes` |
//!
//! Not possible yet: the order within a backup of 14, because a copy is made by hand of a folder that nobody has open; 16b to 16e, and 2 and 3
//! between two committers, because a table has one shard, which one process has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::DataType;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::spread;
use super::staged::staged;
use crate::catalog::{ColumnDef, TableChange};
use crate::engine::EngineOptions;
use crate::engine::tests::support::{Fixture, batch, definition, delete_keys, keys_of, places_of, request, until};
use crate::env::{FailAction, FailPoints};
use crate::error::{Code, Result};
use crate::ids::{CommitSeq, ProducerId, SHARD_ZERO};
use crate::limits::MAX_PUBLISHED_FILES;
use crate::log::{Family, Op, log_key, state_key, state_prefix};
use crate::publishing::check_log_end;
use crate::sealed::{DeltaTable, faulty};
use crate::table::{IdempotencyKey, LayerFile, RowsRequest, Sealed, Table};

fn range(from: i64, to: i64) -> Vec<i64> {
    (from..to).collect()
}

fn without(keys: Vec<i64>, gone: &[i64]) -> Vec<i64> {
    keys.into_iter().filter(|key| !gone.contains(key)).collect()
}

async fn write(table: &Table, keys: &[i64]) -> u64 {
    table.write(request(batch(keys))).await.expect("stored").accepted
}

fn fail_points(fixture: &Fixture) -> Arc<FailPoints> {
    Arc::clone(&fixture.engine().env().fail)
}

/// Begins something, and returns when it is held at a point.
async fn held<T: Send + 'static>(
    fail: &FailPoints,
    point: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    fail.arm(point, FailAction::Hold(1));
    let work = tokio::spawn(work);
    until(|| fail.visits(point) == 1).await;
    work
}

/// A seal that is held at a point.
async fn held_seal(fixture: &Fixture, table: &Table, point: &'static str) -> JoinHandle<Result<Sealed>> {
    let table = table.clone();
    held(&fail_points(fixture), point, async move { table.seal().await }).await
}

/// A build that is held at a point.
async fn held_build(fixture: &Fixture, table: &Table, point: &'static str) -> JoinHandle<Result<CommitSeq>> {
    let table = table.clone();
    held(&fail_points(fixture), point, async move { table.build().await }).await
}

/// The Delta folder, where it is under the data folder.
fn delta_folder(table: &Table) -> PathBuf {
    table.shared.gate.folder.join(table.shared.folders.published().to_string())
}

fn commit_path(table: &Table, version: usize) -> PathBuf {
    delta_folder(table).join("_delta_log").join(format!("{version:020}.json"))
}

/// The actions of each version.
fn commits(table: &Table) -> Vec<Vec<Value>> {
    let texts = (0..).map_while(|version| std::fs::read_to_string(commit_path(table, version)).ok());
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("an action");
    texts.map(|text| text.lines().map(parse).collect()).collect()
}

fn count(actions: &[Value], name: &str) -> usize {
    actions.iter().filter(|action| action.get(name).is_some()).count()
}

fn added(name: &str) -> TableChange {
    let column =
        ColumnDef { name: name.to_owned(), data_type: DataType::Utf8, nullable: true, comment: None, max_chars: None };
    TableChange::AddColumn(column)
}

/// A commit whose answer nobody heard, taken out of the log again: it is still on its way.
struct OnItsWay {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl OnItsWay {
    /// Writes `keys` and seals them; the process ends when their commit was sent, and another one begins.
    async fn of(fixture: &mut Fixture, keys: &[i64]) -> Self {
        let table = fixture.table("t");
        write(&table, keys).await;
        let sealing = held_seal(fixture, &table, "publish.after_send").await;
        let path = commit_path(&table, 0);
        let bytes = std::fs::read(&path).expect("sent");
        std::fs::remove_file(&path).expect("taken out");
        table.close("the process ends");
        fail_points(fixture).release("publish.after_send");
        sealing.await.expect("no panic").expect_err("nobody notes what became of it");
        drop(table);
        fixture.restart().await;
        Self { path, bytes }
    }

    fn arrives(&self) {
        std::fs::write(&self.path, &self.bytes).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_data_folder_over_the_same_store_meets_no_table_of_another() {
    let tables = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", tables.path().display());
    let over_it = |url: String| move |options: &mut EngineOptions| options.tables.url = Some(url.clone());
    let mut first = Fixture::open_with(over_it(url.clone()));
    let second = Fixture::open_with(over_it(url));
    let mut locations = Vec::new();
    for (fixture, keys) in [(&first, range(0, 10)), (&second, range(5, 8))] {
        let table = fixture.create("t").await;
        assert_eq!(write(&table, &keys).await, keys.len() as u64, "keys of another table are nothing to this one");
        let sealed = table.seal().await.expect("sealed");
        assert_eq!((sealed.delta_version, sealed.rows), (Some(0), keys.len() as u64));
        locations.push(sealed.location);
    }
    assert_ne!(locations[0], locations[1]);
    first.restart().await;
    assert_eq!(write(&first.table("t"), &[3, 20]).await, 1);
    assert_eq!(first.table("t").seal().await.expect("sealed").rows, 11);
    assert_eq!(spread(&second.table("t")), (0, 0, 3));
}

/// All of a folder but the Delta tables, which are elsewhere in earnest.
fn copy(from: &Path, to: &Path) {
    crate::env::wait_for_soon();
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("known").is_dir() {
            true if entry.file_name() == "tables" => {}
            true => copy(&from, &to),
            false => {
                std::fs::copy(&from, &to).expect("copied");
            }
        }
    }
}

fn remove(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        match entry.file_type().expect("known").is_dir() {
            true if entry.file_name() == "tables" => {}
            true => std::fs::remove_dir_all(entry.path()).expect("removed"),
            false => std::fs::remove_file(entry.path()).expect("removed"),
        }
    }
}

/// A folder whose table `t` has ten sealed rows, put back from a copy that was made before ten more were sealed; not open. It opens in spite
/// of that while `accepts` is set. And the commits of the Delta table.
async fn put_back(accepts: &Arc<AtomicBool>) -> (Fixture, Vec<Vec<Value>>) {
    let handle = Arc::clone(accepts);
    let mut fixture = Fixture::open_with(move |options| options.accept_data_loss = handle.load(Ordering::Relaxed));
    fixture.create("t").await;
    write(&fixture.table("t"), &range(0, 10)).await;
    fixture.table("t").seal().await.expect("sealed");
    fixture.close().await;
    let older = tempfile::tempdir().expect("a folder");
    copy(fixture.path(), older.path());
    fixture.reopen().expect("opens");
    write(&fixture.table("t"), &range(10, 20)).await;
    fixture.table("t").seal().await.expect("sealed");
    let before = commits(&fixture.table("t"));
    fixture.close().await;
    remove(fixture.path());
    copy(older.path(), fixture.path());
    (fixture, before)
}

async fn assert_sound(table: &Table) {
    let checks = table.verify().await.expect("verified");
    let wrong: Vec<_> = checks.into_iter().filter(|check| check.is_ok == Some(false)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_put_back_is_refused_at_the_start() {
    let accepts = Arc::new(AtomicBool::new(false));
    let (mut fixture, before) = put_back(&accepts).await;
    for _ in 0..2 {
        let error = fixture.reopen().expect_err("refused");
        assert_eq!(error.code(), Code::LogBehind, "{error}");
        assert!(error.to_string().contains("--accept-data-loss"), "{error}");
    }
    // Nothing was changed by that.
    accepts.store(true, Ordering::Relaxed);
    fixture.reopen().expect("opens");
    assert_eq!(keys_of(&fixture.table("t")), range(0, 10));
    assert_eq!(commits(&fixture.table("t")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_put_back_is_told_by_a_checkpoint_when_the_commit_is_gone() {
    let accepts = Arc::new(AtomicBool::new(true));
    let (mut fixture, _) = put_back(&accepts).await;
    fixture.reopen().expect("opens");
    let log = delta_folder(&fixture.table("t")).join("_delta_log");
    fixture.close().await;
    std::fs::remove_file(log.join(format!("{:020}.json", 1))).expect("removed");
    accepts.store(false, Ordering::Relaxed);
    // Of a version that the log knows.
    std::fs::write(log.join("_last_checkpoint"), br#"{"version":0,"size":3}"#).expect("written");
    fixture.restart().await;
    fixture.close().await;
    std::fs::write(log.join("_last_checkpoint"), br#"{"version":1,"size":3}"#).expect("written");
    assert_eq!(fixture.reopen().expect_err("refused").code(), Code::LogBehind);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_store_tells_later_that_the_folder_was_put_back_is_closed() {
    // As if the store were elsewhere: it is not asked before the table is open.
    let accepts = Arc::new(AtomicBool::new(true));
    for asks in [true, false] {
        let (mut fixture, before) = put_back(&accepts).await;
        fixture.reopen().expect("opens");
        let table = fixture.table("t");
        // The number of this entry is that of one which is sealed already.
        assert_eq!(write(&table, &[50]).await, 1);
        if asks {
            assert!(fixture.engine().check_logs_now().await);
        } else {
            // Whoever commits asks first.
            assert_eq!(table.seal().await.expect_err("refused").code(), Code::LogBehind);
        }
        let error = table.write(request(batch(&[51]))).await.expect_err("refused");
        assert_eq!(error.code(), Code::LogBehind, "{error}");
        assert_eq!(table.seal().await.expect_err("refused").code(), Code::LogBehind);
        assert!(table.stats().health_reason.is_some_and(|reason| reason.contains("older copy")));
        assert_eq!(commits(&table), before);
        let mut expected = range(0, 10);
        expected.push(50);
        assert_eq!(keys_of(&table), expected, "queries go on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_made_while_the_table_is_asked_is_not_taken_for_a_lost_one() {
    // As if the store were elsewhere: it is not asked before the table is open.
    let mut fixture = Fixture::open_with(|options| options.accept_data_loss = true);
    fixture.create("t").await;
    write(&fixture.table("t"), &range(0, 10)).await;
    fixture.table("t").seal().await.expect("sealed");
    fixture.restart().await;
    let table = fixture.table("t");
    let folders = &table.shared.folders;
    let store = faulty::FaultyStore::new(Arc::clone(&folders.tables().store));
    let hold = faulty::Hold::new();
    store.script(faulty::Op::Get, &format!("{:020}.json", 1), faulty::Fault::Hold(Arc::clone(&hold)));
    let delta = DeltaTable::new(Arc::new(store), folders.published(), &folders.location()).expect("a table");
    let asking = tokio::spawn({
        let table = table.clone();
        async move { check_log_end(&table.shared, &delta).await }
    });
    hold.reached().await;
    // Whoever publishes is answered before.
    write(&table, &[10]).await;
    assert_eq!(table.seal().await.expect("sealed").rows, 11);
    hold.release();
    asking.await.expect("no panic").expect("nothing is lost");
    assert_eq!(write(&table, &[11]).await, 1, "the table is open");
    assert_eq!(table.seal().await.expect("sealed").rows, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_accepts_the_loss_goes_on_with_what_the_delta_table_has() {
    let accepts = Arc::new(AtomicBool::new(true));
    let (mut fixture, before) = put_back(&accepts).await;
    fixture.reopen().expect("opens");
    write(&fixture.table("t"), &[50]).await;
    fixture.table("t").build().await.expect("built");
    write(&fixture.table("t"), &[51]).await;
    let (log_id, whole) = (fixture.table("t").shared.log_id, fixture.create("whole").await);
    write(&whole, &[1]).await;
    whole.seal().await.expect("sealed");
    let lines = fixture.engine().accept_losses().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("public.t") && lines[0].contains("20 rows"), "{lines:?}");
    assert_eq!(fixture.engine().accept_losses().await, Vec::<String>::new(), "nothing to do");
    assert_eq!(whole.shared.log_id, log_id);
    drop(whole);
    let table = fixture.table("t");
    assert_ne!(table.shared.log_id, log_id);
    assert_eq!(keys_of(&table), range(0, 20));
    assert_eq!(commits(&table).len(), before.len() + 1);
    assert_eq!(write(&table, &range(0, 21)).await, 1);
    assert_eq!(table.seal().await.expect("sealed").rows, 21);
    assert_sound(&table).await;
    fixture.engine().clean_files().await;
    let built = std::fs::read_dir(table.shared.folders.built()).expect("a folder");
    let built: Vec<String> =
        built.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    assert!(built.iter().all(|name| !name.ends_with(".parquet")), "files of the old log are gone: {built:?}");
    drop(table);
    accepts.store(false, Ordering::Relaxed);
    for _ in 0..2 {
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), range(0, 21));
        assert_eq!(write(&fixture.table("t"), &range(0, 21)).await, 0);
        assert_eq!(keys_of(&fixture.table("whole")), [1]);
    }
    assert_sound(&fixture.table("t")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_rows_are_lost_is_not_answered_as_accepted() {
    let accepts = Arc::new(AtomicBool::new(true));
    let (mut fixture, _) = put_back(&accepts).await;
    fixture.reopen().expect("opens");
    let keyed = |name: &str, keys: &[i64]| RowsRequest {
        idempotency_key: Some(IdempotencyKey(name.to_owned())),
        ..request(batch(keys))
    };
    // In the log alone, which is behind.
    let stored = fixture.table("t").write(keyed("lost", &[50])).await.expect("stored");
    assert_eq!((stored.accepted, stored.repeated), (1, false));
    assert_eq!(fixture.engine().accept_losses().await.len(), 1);
    let lost = IdempotencyKey("lost".to_owned());
    for _ in 0..2 {
        let known = fixture.table("t").accepted_under("me", &lost).await.expect("asked");
        assert_eq!(known, None, "also after a start");
        fixture.restart().await;
        assert_eq!(fixture.engine().accept_losses().await, Vec::<String>::new());
    }
    let stored = fixture.table("t").write(keyed("lost", &[50])).await.expect("stored");
    assert_eq!((stored.accepted, stored.repeated), (1, false));
    let known = fixture.table("t").write(keyed("another", &[5])).await.expect("stored");
    assert_eq!((known.accepted, known.duplicates), (0, 1), "rows that are there are duplicates by their key");
    fixture.restart().await;
    let again = fixture.table("t").write(keyed("lost", &[50])).await.expect("answered");
    assert_eq!((again.accepted, again.repeated), (1, true), "it is known from here on");
    let mut expected = range(0, 20);
    expected.push(50);
    assert_eq!(keys_of(&fixture.table("t")), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_put_back_deletes_nothing_that_was_committed_since() {
    let accepts = Arc::new(AtomicBool::new(true));
    let (mut fixture, before) = put_back(&accepts).await;
    fixture.reopen().expect("opens");
    let table = fixture.table("t");
    let since = before[1].iter().find_map(|action| action["add"]["path"].as_str()).expect("a file").to_owned();
    let path = delta_folder(&table).join(&since);
    // As if the copy were of the moment before the commit of this file: a disk was copied while the server ran.
    let names = crate::table::names_anywhere(table.def().id, std::slice::from_ref(&since));
    fixture.engine().log.commit(names).await.expect("recorded");
    fixture.engine().clean_files().await;
    assert!(path.exists(), "nobody knows yet whose it is");
    drop(table);
    assert_eq!(fixture.engine().accept_losses().await.len(), 1);
    // Its log is asked by that.
    fixture.table("t").seal().await.expect("nothing to do");
    fixture.engine().clean_files().await;
    assert!(path.exists(), "it is the table's");
    assert_eq!(keys_of(&fixture.table("t")), range(0, 20));
    assert_sound(&fixture.table("t")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_is_accepted_half_way_is_accepted_again() {
    for point in ["attach.file", "attach.keys_written", "attach.before_take_over", "attach.taken_over"] {
        let accepts = Arc::new(AtomicBool::new(true));
        let (mut fixture, _) = put_back(&accepts).await;
        fixture.reopen().expect("opens");
        fail_points(&fixture).arm(point, FailAction::Error(1));
        let lines = fixture.engine().accept_losses().await;
        assert!(lines.len() == 1 && lines[0].contains("could not be begun anew"), "{point}: {lines:?}");
        let error = fixture.table("t").write(request(batch(&[50]))).await.expect_err("refused");
        assert_eq!(error.code(), Code::LogBehind, "{point}: the others are open, this one is not");
        fixture.close().await;
        accepts.store(false, Ordering::Relaxed);
        assert_eq!(fixture.reopen().expect_err("refused").code(), Code::LogBehind, "{point}");
        accepts.store(true, Ordering::Relaxed);
        fixture.reopen().expect("opens");
        assert_eq!(fixture.engine().accept_losses().await.len(), 1, "{point}");
        assert_eq!(write(&fixture.table("t"), &range(0, 21)).await, 1, "{point}");
        assert_eq!(fixture.table("t").seal().await.expect("sealed").rows, 21, "{point}");
        assert_sound(&fixture.table("t")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_synced_before_files_rest_on_it() {
    let fixture = Fixture::open();
    let mut new = definition("t");
    new.options.push(("durability".to_owned(), "os".to_owned()));
    let (table, _) = fixture.engine().create_table(new).await.expect("created");
    write(&table, &range(0, 10)).await;
    let store = &fixture.engine().parts.store;
    assert!(!store.is_acknowledged(), "these rows may be gone after a power cut");
    let building = held_build(&fixture, &table, "build.names_recorded").await;
    assert!(store.is_acknowledged(), "and may not any more when the first byte of their file is written");
    fail_points(&fixture).release("build.names_recorded");
    building.await.expect("no panic").expect("built");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_a_dropped_table_is_its_own() {
    let fixture = Fixture::open();
    let first = fixture.create("t").await;
    write(&first, &range(0, 10)).await;
    let sealing = held_seal(&fixture, &first, "publish.before_send").await;
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    let second = fixture.create("t").await;
    assert_eq!(write(&second, &[3]).await, 1);
    fail_points(&fixture).release("publish.before_send");
    sealing.await.expect("no panic").expect_err("the table is gone");
    assert_eq!(second.seal().await.expect("sealed").rows, 1);
    assert_eq!(keys_of(&second), [3]);
    assert_ne!(first.location(), second.location());
    drop(first);

    let away = TableChange::Rename { name: "u".to_owned() };
    fixture.engine().alter_table("public", "t", away).await.expect("renamed");
    let first = fixture.engine().undrop_table("public", "t").await.expect("back");
    let sealed = first.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(0), 10), "what was sent is found, and not sent again");
    assert_eq!(keys_of(&first), range(0, 10));
    assert_eq!((commits(&first).len(), commits(&second).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_late_brings_its_rows_once() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let late = OnItsWay::of(&mut fixture, &range(0, 10)).await;
    // A longer range than the one that is on its way.
    write(&fixture.table("t"), &range(10, 20)).await;
    fixture.table("t").build().await.expect("built");
    late.arrives();
    let sealed = fixture.table("t").seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(1), 20));
    let adds: Vec<usize> = commits(&fixture.table("t")).iter().map(|actions| count(actions, "add")).collect();
    assert_eq!(adds, [1, 1], "the commit that was sent has the first range, the next one only the second");
    fixture.restart().await;
    assert_eq!(spread(&fixture.table("t")), (0, 0, 20));
    assert_eq!(keys_of(&fixture.table("t")), range(0, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_commit_that_may_arrive_stay_until_it_is_settled() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let late = OnItsWay::of(&mut fixture, &range(0, 10)).await;
    let table = fixture.table("t");
    let file = delta_folder(&table).join(&table.snapshot().files()[0].file.name);
    table.truncate().await.expect("truncated");
    assert_eq!(write(&table, &[3]).await, 1);
    fixture.engine().clean_files().await;
    assert!(file.exists(), "a commit that may still arrive names it");
    late.arrives();
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(1), 1));
    fixture.engine().clean_files().await;
    assert!(file.exists(), "readers of version 0 need it");
    let counts = |actions: &Vec<Value>| (count(actions, "add"), count(actions, "remove"));
    let counts: Vec<(usize, usize)> = commits(&table).iter().map(counts).collect();
    assert_eq!(counts, [(1, 0), (1, 1)]);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_deleted_while_they_are_built_stay_deleted() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &range(0, 10)).await;
    let building = held_build(&fixture, &table, "build.files_synced").await;
    let deleting = tokio::spawn({
        let table = table.clone();
        async move { delete_keys(&table, &[4, 10]).await }
    });
    // It waits for that build, and makes one of its own: what comes until then is there when it looks.
    write(&table, &range(10, 12)).await;
    fail_points(&fixture).release("build.files_synced");
    building.await.expect("no panic").expect("built");
    assert_eq!(deleting.await.expect("no panic").expect("deleted"), 2);
    let expected = without(range(0, 12), &[4, 10]);
    assert_eq!(keys_of(&table), expected);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), expected);
    assert_eq!(fixture.table("t").seal().await.expect("sealed").rows, expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_a_build_records_before_its_entry_is_built_holds() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &range(0, 10)).await;
    assert_eq!(delete_keys(&table, &[1]).await.expect("deleted"), 1);
    write(&table, &range(10, 20)).await;
    let building = held_build(&fixture, &table, "build.files_synced").await;
    // This entry is behind the prefix that is being built, and names the same file as one of its entries.
    let snapshot = table.snapshot();
    let rows = places_of(&table, &snapshot, &[2]);
    assert_eq!(table.delete(&snapshot, rows).await.expect("deleted").0, 1);
    drop(snapshot);
    fail_points(&fixture).release("build.files_synced");
    building.await.expect("no panic").expect("built");
    let expected = without(range(0, 20), &[1, 2]);
    drop(table);
    for restarts in [false, true, true] {
        if restarts {
            fixture.restart().await;
        }
        assert_eq!(keys_of(&fixture.table("t")), expected);
        assert_eq!(fixture.table("t").stats().deleted_rows, 2);
    }
    assert_eq!(fixture.table("t").seal().await.expect("sealed").rows, 18);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_layer_has_the_keys_of_its_range_and_no_more() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &range(0, 100)).await;
    let building = held_build(&fixture, &table, "build.names_recorded").await;
    assert_eq!(write(&table, &range(50, 150)).await, 50);
    fail_points(&fixture).release("build.names_recorded");
    building.await.expect("no panic").expect("built");
    let (id, store) = (table.def().id, &table.shared.store);
    let layers = store.scan(Family::State, &state_prefix(state_key::LAYER, id, SHARD_ZERO)).expect("readable");
    let layers: Vec<(u64, u64, u64)> = layers
        .map(|record| LayerFile::from_disk(&record.expect("readable").1).expect("whole"))
        .map(|layer| (layer.from, layer.through, layer.keys))
        .collect();
    assert_eq!(layers, [(1, 1, 100)]);
    // A power cut takes the second entry, and with it these rows: their keys must not have stayed anywhere.
    store.write(&[Op::Delete(Family::Log, log_key(id, SHARD_ZERO, CommitSeq(2)))], true).expect("written");
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), range(0, 100));
    assert_eq!(write(&fixture.table("t"), &range(50, 150)).await, 50);
    assert_eq!(keys_of(&fixture.table("t")), range(0, 150));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_before_a_truncate_are_forgotten_after_a_restart() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    write(&fixture.table("t"), &range(0, 10)).await;
    fixture.table("t").seal().await.expect("sealed");
    write(&fixture.table("t"), &range(10, 20)).await;
    fixture.table("t").build().await.expect("built");
    fixture.table("t").truncate().await.expect("truncated");
    fixture.restart().await;
    fixture.engine().clean_files().await;
    let left = std::fs::read_dir(fixture.table("t").shared.folders.built()).expect("a folder").count();
    assert_eq!(left, 0, "files of layers and rows that nobody knows any more");
    assert_eq!(write(&fixture.table("t"), &range(0, 20)).await, 20);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), range(0, 20));
    assert_eq!(write(&fixture.table("t"), &range(0, 20)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_an_empty_version() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    std::fs::write(commit_path(&table, 1), b"").expect("written");
    write(&table, &[10]).await;
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(2), 11));
    assert_eq!(std::fs::read(commit_path(&table, 1)).expect("there"), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_commit_stops_the_seal_and_is_named() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    let torn = commit_path(&table, 1);
    std::fs::write(&torn, br#"{"add":{"path":"#).expect("written");
    write(&table, &[10]).await;
    let error = table.seal().await.expect_err("refused");
    assert_eq!(error.code(), Code::DeltaDamaged);
    assert!(error.message().contains("00000000000000000001.json"), "{error}");
    write(&table, &[11]).await;
    assert_eq!(keys_of(&table), range(0, 12));
    // No reader can have used it: whoever takes it away mends the table.
    std::fs::remove_file(&torn).expect("removed");
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(2), 12), "what was on record first, then the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_that_touches_what_is_ours_stops_the_seal() {
    for action in [
        r#"{"remove":{"path":"NAME","dataChange":true}}"#,
        r#"{"metaData":{"id":"x","schemaString":"{}"}}"#,
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
    ] {
        let fixture = Fixture::open();
        let table = fixture.create("t").await;
        write(&table, &range(0, 10)).await;
        table.seal().await.expect("sealed");
        let name = table.snapshot().files()[0].file.name.clone();
        std::fs::write(commit_path(&table, 1), action.replace("NAME", &name)).expect("written");
        write(&table, &[10]).await;
        assert_eq!(table.seal().await.expect_err("refused").code(), Code::DeltaConflict, "{action}");
        assert_eq!(write(&table, &[10, 11]).await, 1, "{action}");
        assert_eq!(keys_of(&table), range(0, 12), "{action}");
        assert_eq!(commits(&table).len(), 2, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_wait_are_outside_the_delta_folder_and_published_together() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    for from in [0, 10, 20] {
        write(&fixture.table("t"), &range(from, from + 10)).await;
        fixture.table("t").build().await.expect("built");
    }
    fixture.restart().await;
    let table = fixture.table("t");
    assert!(!delta_folder(&table).exists(), "another engine's clean-up cannot see them");
    assert_eq!(spread(&table), (0, 30, 0));
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows, sealed.files), (Some(0), 30, 3));
    assert_eq!(keys_of(&table), range(0, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_commit_is_a_prefix_of_bounded_size() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let n_ranges = MAX_PUBLISHED_FILES as i64 + 2;
    for key in 0..n_ranges {
        write(&table, &[key]).await;
        table.build().await.expect("built");
    }
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (Some(1), n_ranges as u64));
    let through = |actions: &Vec<Value>| {
        let txns = actions.iter().filter_map(|action| action.get("txn")?.get("version")?.as_u64());
        (count(actions, "add"), txns.collect::<Vec<u64>>())
    };
    let found: Vec<_> = commits(&table).iter().map(through).collect();
    let full = MAX_PUBLISHED_FILES as u64;
    assert_eq!(found, [(MAX_PUBLISHED_FILES, vec![full]), (2, vec![full + 2])]);
    assert_eq!(keys_of(&table), range(0, n_ranges));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_are_refused_while_too_much_waits_and_no_longer() {
    let fixture = Fixture::open_with(|options| {
        options.max_unpublished_bytes = 1;
        options.seals_by_itself = true;
    });
    let table = fixture.create("t").await;
    let fail = fail_points(&fixture);
    fail.arm("publish.before_send", FailAction::Hold(1));
    write(&table, &range(0, 10)).await;
    table.build().await.expect("built");
    let engine = fixture.engine();
    until(|| engine.ingest_blocked().is_some()).await;
    let refused = table.write(request(batch(&[10]))).await.expect_err("refused");
    assert_eq!(refused.code(), Code::UnpublishedLimit);
    assert_eq!(keys_of(&table), range(0, 10), "queries go on");
    until(|| fail.visits("publish.before_send") == 1).await;
    fail.release("publish.before_send");
    until(|| engine.ingest_blocked().is_none()).await;
    assert_eq!(write(&table, &[10]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_planned_and_not_sent_brings_nothing_that_a_truncate_takes() {
    // With so many of its two files in the Delta folder.
    for (point, n_brought) in [("publish.file_brought", 1), ("publish.files_brought", 2)] {
        for was_sealed in [false, true] {
            let what = format!("{point}, sealed before: {was_sealed}");
            let mut fixture = Fixture::open();
            fixture.create("t").await;
            let table = fixture.table("t");
            if was_sealed {
                write(&table, &range(100, 110)).await;
                table.seal().await.expect("sealed");
            }
            for keys in [range(0, 5), range(5, 10)] {
                write(&table, &keys).await;
                table.build().await.expect("built");
            }
            let snapshot = table.snapshot();
            let built = snapshot.files().iter().filter(|file| !file.place.is_published);
            let paths: Vec<PathBuf> = built.map(|file| delta_folder(&table).join(&file.file.name)).collect();
            drop(snapshot);
            let in_store = || paths.iter().filter(|path| path.exists()).count();
            let sealing = held_seal(&fixture, &table, point).await;
            table.truncate().await.expect("truncated");
            assert_eq!(write(&table, &[3]).await, 1, "{what}");
            fail_points(&fixture).release(point);
            sealing.await.expect("no panic").expect("there is nothing to publish any more");
            assert_eq!(in_store(), n_brought, "{what}: the others are not brought");
            assert_eq!(table.seal().await.expect("sealed").rows, 1, "{what}");
            let counts = |actions: &Vec<Value>| (count(actions, "add"), count(actions, "remove"));
            let counts: Vec<(usize, usize)> = commits(&table).iter().map(counts).collect();
            let expected = if was_sealed { vec![(1, 0), (1, 1)] } else { vec![(1, 0)] };
            assert_eq!(counts, expected, "{what}: no version has the rows that went");
            fixture.engine().clean_files().await;
            assert_eq!(in_store(), 0, "{what}: what was brought for nothing is deleted");
            drop(table);
            fixture.restart().await;
            assert_eq!(keys_of(&fixture.table("t")), [3], "{what}");
            assert_eq!(spread(&fixture.table("t")), (0, 0, 1), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_whole_if_log_and_tables_are_of_one_moment_and_goes_on_only_then() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let copies: Vec<_> = (0..2).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let mut n_rows = 0;
    for folder in &copies {
        // Sealed ones, and some that are in the log alone.
        for seals in [true, false] {
            write(&fixture.table("t"), &range(n_rows, n_rows + 10)).await;
            n_rows += 10;
            if seals {
                fixture.table("t").seal().await.expect("sealed");
            }
        }
        fixture.close().await;
        copy(fixture.path(), folder.path());
        copy(&fixture.path().join("tables"), &folder.path().join("tables"));
        fixture.reopen().expect("opens");
    }
    for (log, tables) in [(0, 0), (1, 1), (0, 1), (1, 0)] {
        let what = format!("the log of copy {log}, the tables of copy {tables}");
        fixture.close().await;
        remove(fixture.path());
        std::fs::remove_dir_all(fixture.path().join("tables")).expect("removed");
        copy(copies[log].path(), fixture.path());
        copy(&copies[tables].path().join("tables"), &fixture.path().join("tables"));
        if log < tables {
            // The numbers of entries that it gave would be given again.
            assert_eq!(fixture.reopen().expect_err("refused").code(), Code::LogBehind, "{what}");
            continue;
        }
        fixture.reopen().expect("opens");
        let table = fixture.table("t");
        let n_known = 20 * (log as i64 + 1);
        assert_eq!(write(&table, &range(0, n_known + 1)).await, 1, "{what}: what it acknowledged is a duplicate");
        if log == tables {
            assert_eq!(keys_of(&table), range(0, n_known + 1), "{what}");
            assert_eq!(table.seal().await.expect("sealed").rows, n_known as u64 + 1, "{what}");
            assert_sound(&table).await;
        } else {
            // Rows that were sealed between the two are nowhere: no commit is put where theirs was.
            let before = commits(&table);
            assert_eq!(table.seal().await.expect_err("refused").code(), Code::StoreUnavailable, "{what}");
            assert_eq!(table.verify().await.expect_err("refused").code(), Code::StoreUnavailable, "{what}");
            assert_eq!(commits(&table), before, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_commit_as_one_the_first_goes_on_and_the_other_takes_nothing_away() {
    let tables = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", tables.path().display());
    let over_it = |url: String| move |options: &mut EngineOptions| options.tables.url = Some(url.clone());
    let mut first = Fixture::open_with(over_it(url.clone()));
    let mut second = Fixture::open_with(over_it(url));
    first.create("t").await;
    // So many small files are merged.
    for key in 0..6 {
        write(&first.table("t"), &[key]).await;
        first.table("t").seal().await.expect("sealed");
    }
    first.close().await;
    second.close().await;
    remove(second.path());
    copy(first.path(), second.path());
    first.reopen().expect("opens");
    second.reopen().expect("opens");
    let (winner, loser) = (first.table("t"), second.table("t"));
    assert_eq!((write(&winner, &[10]).await, write(&loser, &[20]).await), (1, 1));
    let losing = held_seal(&second, &loser, "publish.before_send").await;
    assert_eq!(winner.seal().await.expect("sealed").rows, 7);
    fail_points(&second).release("publish.before_send");
    assert_eq!(losing.await.expect("no panic").expect_err("refused").code(), Code::DeltaConflict);
    assert_eq!(loser.write(request(batch(&[21]))).await.expect_err("refused").code(), Code::DeltaConflict);
    assert_eq!(loser.compact().await.map_or(0, |done| done.merged_files), 0);
    second.engine().clean_files().await;
    assert_eq!(keys_of(&loser), [0, 1, 2, 3, 4, 5, 20], "queries go on with what it acknowledged");
    assert_sound(&winner).await;
    assert!(winner.compact().await.expect("merged").merged_files > 4);
    assert_eq!(write(&winner, &[11]).await, 1);
    assert_eq!(winner.seal().await.expect("sealed").rows, 8);
    assert_eq!(keys_of(&winner), [0, 1, 2, 3, 4, 5, 10, 11]);
    assert_sound(&winner).await;
}

/// Returns when the table has a worker that takes requests.
async fn until_open(table: &Table) {
    let id = ProducerId::new("nobody").expect("a valid id");
    while table.producer(&id).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_in_any_change_loses_and_doubles_nothing() {
    for kind in ["build", "intent", "published", "delete", "truncate", "alter"] {
        for point in ["table.before_submit", "table.before_publish", "table.after_publish"] {
            let what = format!("{point}/{kind}");
            let mut fixture = Fixture::open();
            fixture.create("t").await;
            let table = fixture.table("t");
            write(&table, &range(0, 10)).await;
            table.seal().await.expect("sealed");
            write(&table, &range(10, 20)).await;
            fixture.engine().env().fail.arm(what.as_str(), FailAction::Error(1));
            let answered = match kind {
                "build" => table.build().await.is_ok(),
                "intent" | "published" => table.seal().await.is_ok(),
                "delete" => delete_keys(&table, &[4, 14]).await.is_ok(),
                "truncate" => table.truncate().await.is_ok(),
                _ => fixture.engine().alter_table("public", "t", added("note")).await.is_ok(),
            };
            assert!(!answered, "{what}: nobody knows what came of it");
            until_open(&table).await;
            let happened = point != "table.before_submit";
            let mut expected = match kind {
                "delete" if happened => without(range(0, 20), &[4, 14]),
                "truncate" if happened => Vec::new(),
                _ => range(0, 20),
            };
            assert_eq!(keys_of(&table), expected, "{what}");
            assert_eq!(write(&table, &[100]).await, 1, "{what}");
            expected.push(100);
            assert_eq!(table.seal().await.expect("sealed").rows, expected.len() as u64, "{what}");
            drop(table);
            fixture.restart().await;
            assert_eq!(spread(&fixture.table("t")), (0, 0, expected.len() as u64), "{what}");
            let n_columns = if kind == "alter" && happened { 4 } else { 3 };
            assert_eq!(fixture.table("t").def().columns.len(), n_columns, "{what}");
            assert_eq!(keys_of(&fixture.table("t")), expected, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_another_worker_overtakes_says_nothing_that_is_not_true() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &range(0, 10)).await;
    let building = held_build(&fixture, &table, "build.files_synced").await;
    // The worker that closed the prefix is gone; the next one has all of it in memory.
    let fail = fail_points(&fixture);
    fail.arm("table.before_publish/rows", FailAction::Error(1));
    table.write(request(batch(&[10]))).await.expect_err("the worker fails");
    until_open(&table).await;
    fail.release("build.files_synced");
    let built = building.await.expect("no panic");
    // DELETE looks into files alone, and relies on this answer.
    assert!(built.is_err() || spread(&table) == (0, 11, 0), "{built:?}, and rows are at {:?}", spread(&table));
    assert_eq!(delete_keys(&table, &range(0, 11)).await.expect("deleted"), 11);
    assert_eq!(keys_of(&table), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_build_whose_commit_waits_while_its_worker_fails_are_not_cleaned() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &range(0, 10)).await;
    let mut building = held_build(&fixture, &table, "build.files_synced").await;
    // The worker hears of these rows when they are written, and fails then; the commit of the build is behind them in the log's queue.
    let fail = fail_points(&fixture);
    fail.arm("log.before_write/build", FailAction::Hold(1));
    fail.arm("table.before_publish/rows", FailAction::Error(1));
    let writer = table.clone();
    let write_one = async move { writer.write(request(batch(&[10]))).await };
    let writing = held(&fail, "log.before_write/rows", write_one).await;
    // Only to be counted.
    fail.arm("table.before_submit/build", FailAction::Error(2));
    fail.release("build.files_synced");
    until(|| fail.visits("table.before_submit/build") == 1).await;
    fail.release("log.before_write/rows");
    until(|| fail.visits("log.before_write/build") == 1).await;
    writing.await.expect("no panic").expect_err("the worker fails");
    let early = tokio::time::timeout(Duration::from_millis(200), &mut building).await;
    assert!(early.is_err(), "whoever builds lets nobody clean before the log has told what came of it: {early:?}");
    let cleaning = tokio::spawn({
        let engine = Arc::clone(fixture.engine());
        async move { engine.clean_files().await }
    });
    fail.release("log.before_write/build");
    building.await.expect("no panic").expect_err("its worker failed");
    cleaning.await.expect("no panic");
    until_open(&table).await;
    assert_eq!(keys_of(&table), range(0, 11));
    assert_eq!(spread(&table), (1, 10, 0), "the build was written");
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), range(0, 11));
    assert_eq!(write(&fixture.table("t"), &range(0, 12)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_stream_whose_commit_waits_while_its_worker_fails_are_not_cleaned() {
    /// Far more than it takes.
    const LIMIT: Duration = Duration::from_secs(30);
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    let fail = fail_points(&fixture);
    let stream = staged(&table, &range(0, 10)).await;
    let committing = held(&fail, "stage.before_commit", stream.commit()).await;
    // As above: the commit of the stream is behind these rows in the log's queue.
    fail.arm("log.before_write/segment", FailAction::Hold(1));
    fail.arm("table.before_publish/rows", FailAction::Error(1));
    let writer = table.clone();
    let write_one = async move { writer.write(request(batch(&[10]))).await };
    let writing = held(&fail, "log.before_write/rows", write_one).await;
    // Only to be counted.
    fail.arm("table.before_submit/segment", FailAction::Error(2));
    fail.release("stage.before_commit");
    until(|| fail.visits("table.before_submit/segment") == 1).await;
    fail.release("log.before_write/rows");
    until(|| fail.visits("log.before_write/segment") == 1).await;
    writing.await.expect("no panic").expect_err("the worker fails");
    let cleaned = tokio::time::timeout(LIMIT, fixture.engine().clean_files()).await;
    cleaned.expect("it finds nothing to put on record");
    fail.release("log.before_write/segment");
    committing.await.expect("no panic").expect_err("its worker failed");
    until_open(&table).await;
    fixture.engine().clean_files().await;
    assert_eq!(keys_of(&table), range(0, 11));
    assert_eq!(spread(&table), (1, 10, 0), "the stream was written");
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), range(0, 11));
    assert_eq!(write(&fixture.table("t"), &range(0, 12)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_being_built_keep_the_shape_that_they_came_with() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &range(0, 2)).await;
    let building = held_build(&fixture, &table, "build.names_recorded").await;
    fixture.engine().alter_table("public", "t", added("note")).await.expect("altered");
    write(&table, &range(2, 5)).await;
    fail_points(&fixture).release("build.names_recorded");
    building.await.expect("no panic").expect("built");
    assert_eq!(spread(&table), (3, 2, 0));
    table.build().await.expect("built");
    drop(table);
    for restarts in [false, true] {
        if restarts {
            fixture.restart().await;
        }
        let snapshot = fixture.table("t").snapshot();
        let shapes = snapshot.files().iter().map(|file| (file.file.rows, file.file.columns.len()));
        let mut shapes: Vec<(u64, usize)> = shapes.collect();
        shapes.sort_unstable();
        assert_eq!(shapes, [(2, 3), (3, 4)], "rows, and columns of their file");
    }
    assert_eq!(fixture.table("t").seal().await.expect("sealed").rows, 5);
    assert_eq!(keys_of(&fixture.table("t")), range(0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_and_files_change_in_one_version() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &[1]).await;
    let sealing = held_seal(&fixture, &table, "publish.after_send").await;
    fixture.engine().alter_table("public", "t", added("note")).await.expect("altered");
    write(&table, &[2]).await;
    fail_points(&fixture).release("publish.after_send");
    sealing.await.expect("no panic").expect("sealed");
    table.seal().await.expect("sealed");
    fixture.engine().alter_table("public", "t", added("more")).await.expect("altered");
    table.seal().await.expect("sealed");
    let columns = |actions: &Vec<Value>| {
        let schema = actions.iter().find_map(|action| action.get("metaData")?.get("schemaString")?.as_str());
        let schema = schema.unwrap_or_default();
        (schema.contains("\"note\""), schema.contains("\"more\""), count(actions, "add"))
    };
    let found: Vec<_> = commits(&table).iter().map(columns).collect();
    assert_eq!(found[0], (false, false, 1), "what was sent is not made anew");
    let declares = found.iter().position(|(note, _, _)| *note).expect("the column is declared");
    let adds = found.iter().rposition(|(_, _, n_files)| *n_files > 0).expect("files");
    assert!((1..=adds).contains(&declares), "no file has a column before the schema has it: {found:?}");
    assert_eq!(found.last(), Some(&(true, true, 0)), "a schema needs no files");
    assert_eq!(keys_of(&table), [1, 2]);
}
