//! Does a Delta table of another data folder become the same table here, with its keys, and does nobody else commit to it then?

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::{Fixture, batch, definition, delete_keys, keys_of, request, until};
use crate::catalog::TableChange;
use crate::engine::View;
use crate::env::FailAction;
use crate::error::Code;
use crate::ids::ProducerId;
use crate::limits::DROPPED_TABLE_TTL_S;
use crate::log::{Family, state_key, table_of};
use crate::memory::Share;
use crate::publishing::delta_table;
use crate::sealed::{Expected, checksum_of};
use crate::table::Table;

fn range(from: i64, to: i64) -> Vec<i64> {
    (from..to).collect()
}

async fn write(table: &Table, keys: &[i64]) -> u64 {
    table.write(request(batch(keys))).await.expect("stored").accepted
}

fn folder_of(table: &Table) -> PathBuf {
    table.shared.gate.folder.join(table.shared.folders.published().to_string())
}

fn commit_path(folder: &Path, version: u64) -> PathBuf {
    folder.join("_delta_log").join(format!("{version:020}.json"))
}

/// A folder with the table `t`: 100 sealed rows of which three are deleted, and ten that are not sealed. And its Delta folder.
async fn old_folder() -> (Fixture, PathBuf) {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &range(0, 60)).await;
    table.seal().await.expect("sealed");
    write(&table, &range(60, 100)).await;
    assert_eq!(delete_keys(&table, &[3, 4, 70]).await.expect("deleted"), 3);
    table.seal().await.expect("sealed");
    write(&table, &range(100, 110)).await;
    let folder = folder_of(&table);
    (fixture, folder)
}

/// What its readers see.
fn sealed_keys() -> Vec<i64> {
    range(0, 100).into_iter().filter(|key| ![3, 4, 70].contains(key)).collect()
}

async fn attach(fixture: &Fixture, folder: &Path) -> crate::Result<Table> {
    fixture.engine().attach_table(&folder.display().to_string(), None).await
}

async fn refused(fixture: &Fixture, folder: &Path) -> Code {
    attach(fixture, folder).await.expect_err("refused").code()
}

async fn assert_sound(table: &Table) {
    let wrong: Vec<_> =
        table.verify().await.expect("verified").into_iter().filter(|check| check.is_ok == Some(false)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Another folder has the table: nothing changes here any more, and everybody is told why.
async fn assert_stopped(table: &Table) {
    let id = ProducerId::new("p").expect("a valid id");
    let refusals = [
        table.write(request(batch(&[9_000]))).await.err(),
        table.truncate().await.err(),
        table.seal().await.err(),
        table.init_producer(id, false, "me").await.err(),
    ];
    for error in refusals {
        let error = error.expect("refused");
        assert_eq!(error.code(), Code::DeltaConflict, "{error}");
        assert!(error.message().contains("another data folder"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("DROP")), "{error}");
    }
    let stats = table.stats();
    assert!(!stats.healthy);
    assert!(stats.health_reason.is_some_and(|reason| reason.contains("another data folder")));
}

/// Leaves of the log what the server of `table` leaves after a month: a checkpoint of the version that it has settled, and what follows.
async fn leave_a_checkpoint(table: &Table, folder: &Path) {
    let shared = &table.shared;
    let (settled, n_files) = {
        let figures = shared.sealing.lock();
        (figures.settled.expect("a version"), figures.n_published)
    };
    let txn = (format!("tidewater/{}/0/{}", shared.def.id, shared.log_id.0), settled.through);
    let delta = delta_table(shared).expect("a table");
    delta.checkpoint(settled.version, &Expected { n_files, txn }).await.expect("made");
    for version in 0..settled.version {
        std::fs::remove_file(commit_path(folder, version)).expect("removed");
    }
}

/// Files under `built/`.
fn built_files(fixture: &Fixture) -> Vec<String> {
    let mut names = Vec::new();
    for table in std::fs::read_dir(fixture.path().join("built")).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(table.path()).into_iter().flatten().flatten() {
            names.push(file.file_name().to_string_lossy().into_owned());
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_table_has_its_sealed_rows_and_all_their_keys() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let mut fixture = Fixture::open();
    let table = attach(&fixture, &folder).await.expect("attached");
    assert_eq!(keys_of(&table), sealed_keys());
    assert_eq!(write(&table, &range(0, 100)).await, 0, "keys of deleted rows, too, stay remembered");
    assert_eq!(write(&table, &range(95, 105)).await, 5, "rows that were never sealed are not there");
    let mut expected = sealed_keys();
    expected.extend(range(100, 105));
    let before = table.stats().delta_version;
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.delta_version, sealed.rows), (before.map(|version| version + 1), 102));
    assert_eq!(delete_keys(&table, &[0, 99, 104]).await.expect("deleted"), 3);
    expected.retain(|key| ![0, 99, 104].contains(key));
    table.seal().await.expect("sealed");
    assert_sound(&table).await;
    assert!(table.location().ends_with(&folder.file_name().expect("a name").to_string_lossy().into_owned()));
    drop(table);
    for _ in 0..2 {
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), expected);
        assert_eq!(write(&fixture.table("t"), &range(0, 105)).await, 0);
    }
    assert_eq!(refused(&fixture, &folder).await, Code::TableExists, "it is here");
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    assert_eq!(refused(&fixture, &folder).await, Code::TableExists, "it was dropped here");
    let table = fixture.engine().undrop_table("public", "t").await.expect("back");
    assert_eq!(keys_of(&table), expected);
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_put_among_the_tables_of_another_is_one_of_them() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let mut fixture = Fixture::open();
    let own = fixture.path().join("tables");
    std::fs::create_dir_all(&own).expect("a folder");
    let moved = own.join(folder.file_name().expect("a name"));
    std::fs::rename(&folder, &moved).expect("moved");
    let url = format!("file://{}/", moved.display());
    let name = Some(("s".to_owned(), "another".to_owned()));
    let table = fixture.engine().attach_table(&url, name).await.expect("attached");
    assert_eq!((table.def().schema_name.as_str(), table.def().name.as_str()), ("s", "another"));
    assert_eq!(keys_of(&table), sealed_keys());
    assert_sound(&table).await;
    drop(table);
    fixture.restart().await;
    let table = fixture.engine().table("s", "another").expect("there");
    assert_eq!(write(&table, &[1, 3, 500]).await, 1);
    assert_eq!(table.seal().await.expect("sealed").rows, 98);
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_that_had_it_commits_nothing_any_more() {
    let (mut old, folder) = old_folder().await;
    let fixture = Fixture::open();
    let table = attach(&fixture, &folder).await.expect("attached");
    for _ in 0..2 {
        let error = old.table("t").seal().await.expect_err("refused");
        assert_eq!(error.code(), Code::DeltaConflict);
        assert!(error.message().contains("another data folder"), "{error}");
        assert_stopped(&old.table("t")).await;
        // What it has is safe there, also after a start.
        assert_eq!(keys_of(&old.table("t")).len(), 107);
        old.restart().await;
    }
    assert_eq!(write(&table, &[200]).await, 1);
    assert_eq!(table.seal().await.expect("sealed").rows, 98);
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_could_never_be_sealed_are_not_acknowledged() {
    let (mut old, folder) = old_folder().await;
    old.create("other").await;
    let fixture = Fixture::open();
    let table = attach(&fixture, &folder).await.expect("attached");
    // Nobody has told it yet.
    assert_eq!(write(&old.table("t"), &[110]).await, 1);
    assert_eq!(old.table("t").seal().await.expect_err("refused").code(), Code::DeltaConflict);
    let mut expected = sealed_keys();
    expected.extend(range(100, 111));
    for n in 0..2 {
        assert_stopped(&old.table("t")).await;
        assert_eq!(keys_of(&old.table("t")), expected, "what was acknowledged is there");
        let other = old.table("other");
        assert_eq!(write(&other, &[n]).await, 1);
        assert_eq!(other.seal().await.expect("sealed").rows, n as u64 + 1);
        old.engine().seal_due();
        let waits = old.engine().parts.gate.unpublished_bytes.load(Ordering::Relaxed);
        assert_eq!(waits, 0, "files that are never published stop no other table");
        drop(other);
        old.restart().await;
    }
    old.engine().drop_table("public", "t").await.expect("dropped");
    let back = old.engine().undrop_table("public", "t").await.expect("back");
    assert_stopped(&back).await;
    assert_eq!(keys_of(&back), expected);
    drop(back);
    old.engine().drop_table("public", "t").await.expect("dropped");
    assert_eq!(write(&table, &range(100, 111)).await, 11, "they are stored where people read");
    assert_eq!(table.seal().await.expect("sealed").rows, expected.len() as u64);
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_store_answers_late_learns_of_it_then_and_nothing_is_begun_anew() {
    let accepts = Arc::new(AtomicBool::new(false));
    let handle = Arc::clone(&accepts);
    let mut old = Fixture::open_with(move |options| options.accept_data_loss = handle.load(Ordering::Relaxed));
    let table = old.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    let folder = folder_of(&table);
    drop(table);
    let fixture = Fixture::open();
    let attached = attach(&fixture, &folder).await.expect("attached");
    // As if the store were elsewhere: it is not asked before the table is open.
    accepts.store(true, Ordering::Relaxed);
    for (key, asks) in [(10, true), (11, false)] {
        old.restart().await;
        let table = old.table("t");
        assert_eq!(write(&table, &[key]).await, 1);
        if asks {
            assert!(old.engine().check_logs_now().await);
        } else {
            let lines = old.engine().accept_losses().await;
            assert!(lines.len() == 1 && lines[0].contains("not begun anew"), "{lines:?}");
        }
        assert_stopped(&table).await;
        assert_eq!(keys_of(&table), range(0, key + 1));
    }
    assert_eq!(write(&attached, &[10]).await, 1);
    assert_eq!(attached.seal().await.expect("sealed").rows, 11);
    assert_sound(&attached).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_the_other_folder_at_the_last_moment_is_seen() {
    let (old, folder) = old_folder().await;
    let fixture = Fixture::open();
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("attach.before_take_over", FailAction::Hold(1));
    let (engine, url) = (Arc::clone(fixture.engine()), folder.display().to_string());
    let attaching = tokio::spawn(async move { engine.attach_table(&url, None).await });
    until(|| fail.visits("attach.before_take_over") == 1).await;
    old.table("t").seal().await.expect("it is still its own");
    fail.release("attach.before_take_over");
    let table = attaching.await.expect("no panic").expect("attached");
    let mut expected = sealed_keys();
    expected.extend(range(100, 110));
    assert_eq!(keys_of(&table), expected);
    assert_eq!(write(&table, &range(0, 111)).await, 1);
    assert_sound(&table).await;
}

/// Begins to attach; returns when it is held where a store that is slow would hold it.
async fn held(fixture: &Fixture, folder: &Path) -> tokio::task::JoinHandle<crate::Result<Table>> {
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("attach.before_take_over", FailAction::Hold(1));
    let (engine, url) = (Arc::clone(fixture.engine()), folder.display().to_string());
    let attaching = tokio::spawn(async move { engine.attach_table(&url, None).await });
    until(|| fail.visits("attach.before_take_over") == 1).await;
    attaching
}

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_goes_on_while_a_store_is_slow_and_the_name_is_taken() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let mut fixture = Fixture::open();
    let attaching = held(&fixture, &folder).await;
    let changes = async {
        let engine = fixture.engine();
        fixture.create("u").await;
        engine.drop_table("public", "u").await.expect("dropped");
        engine.undrop_table("public", "u").await.expect("back");
        let rename = TableChange::Rename { name: "t".to_owned() };
        let view = View { schema_name: "public".to_owned(), name: "t".to_owned(), sql: "SELECT 1".to_owned() };
        [
            engine.create_table(definition("t")).await.err(),
            engine.replace_table(definition("t"), None).await.err(),
            engine.alter_table("public", "u", rename).await.err(),
            engine.create_view(view, true).await.err(),
        ]
    };
    let refusals = tokio::time::timeout(LIMIT, changes).await.expect("nobody waits for the store");
    for refused in refusals {
        let refused = refused.expect("the name is taken");
        assert_eq!(refused.code(), Code::TableExists, "{refused}");
    }
    fixture.engine().env().fail.release("attach.before_take_over");
    let table = attaching.await.expect("no panic").expect("attached");
    assert_eq!(keys_of(&table), sealed_keys());
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), sealed_keys());
    assert_eq!(fixture.engine().tables().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_taken_for_an_attach_that_failed_is_free_again() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let fixture = Fixture::open();
    fixture.engine().env().fail.arm("attach.before_take_over", FailAction::Error(1));
    attach(&fixture, &folder).await.expect_err("it fails");
    fixture.create("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_the_server_does_not_wait_for_an_attach() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let fixture = Fixture::open();
    let attaching = held(&fixture, &folder).await;
    let ended = tokio::time::timeout(LIMIT, fixture.engine().shutdown()).await;
    ended.expect("nobody waits for the store").expect("a clean end");
    fixture.engine().env().fail.release("attach.before_take_over");
    let error = attaching.await.expect("no panic").expect_err("the server has ended");
    assert_eq!(error.code(), Code::ShuttingDown, "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("attach")), "{error}");
    assert!(fixture.engine().tables().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_or_not_free_is_refused() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let fixture = Fixture::open();
    assert_eq!(refused(&fixture, Path::new("/no/such/folder")).await, Code::TableNotFound);
    assert_eq!(refused(&fixture, folder.parent().expect("a parent")).await, Code::TableNotFound);
    for url in ["t", "file:t", "http://x/t", "file:///t?x=1", "s3://bucket/a b"] {
        let error = fixture.engine().attach_table(url, None).await.expect_err("refused");
        assert_eq!(error.code(), Code::InvalidStatement, "{url}: {error}");
    }
    // The one that declares deletion vectors says all of it again.
    let declares = commit_path(&folder, 1);
    let text = std::fs::read_to_string(&declares).expect("text");
    for (what, with, code) in [
        (r#","tidewater.exclusiveWriter""#, "", Code::UnsupportedRequest),
        ("tidewater.definition", "another.definition", Code::UnsupportedRequest),
        (r#"\"kind\":\"table\",\"version\":"#, r#"\"kind\":\"table\",\"version\":9"#, Code::LogUnknownVersion),
        (r#"\"kind\":\"table\""#, r#"\"kind\":\"nothing\""#, Code::DeltaDamaged),
        ("tidewater.table", "another.table", Code::DeltaDamaged),
        (r#""tidewater.checksum""#, r#""another.checksum""#, Code::DeltaDamaged),
    ] {
        let changed = text.replace(what, with);
        assert_ne!(changed, text, "{what}");
        std::fs::write(&declares, changed).expect("written");
        assert_eq!(refused(&fixture, &folder).await, code, "{what}");
    }
    std::fs::write(&declares, text.replace(r#","tidewater.exclusiveWriter""#, "")).expect("written");
    let error = fixture.engine().attach_table(&folder.display().to_string(), None).await.expect_err("refused");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("a program that reads Delta")), "{error}");
    std::fs::write(&declares, text).expect("written");
    fixture.create("t").await;
    assert_eq!(refused(&fixture, &folder).await, Code::TableExists, "the name is taken");
    let name = Some(("public".to_owned(), "t".to_owned()));
    let error = fixture.engine().attach_table(&folder.display().to_string(), name).await.expect_err("refused");
    assert_eq!(error.code(), Code::TableExists);
    assert_eq!(fixture.engine().tables().len(), 1);
    let name = Some(("public".to_owned(), "u".to_owned()));
    let table = fixture.engine().attach_table(&folder.display().to_string(), name).await.expect("attached");
    assert_eq!(keys_of(&table), sealed_keys());
}

/// Puts other bytes in the place of a file, with their length and checksum in the log: as whoever may write to the folder can.
fn forge(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    let (n_bytes, checksum) = checksum_of(&path).expect("read");
    std::fs::write(&path, bytes).expect("written");
    let forged = checksum_of(&path).expect("read");
    let commits = std::fs::read_dir(folder.join("_delta_log")).expect("a log").flatten().map(|entry| entry.path());
    for commit in commits.filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let text = std::fs::read_to_string(&commit).expect("text");
        let lines = text.lines().map(|line| match line.contains(name) {
            true => line
                .replace(&format!("\"size\":{n_bytes}"), &format!("\"size\":{}", forged.0))
                .replace(&format!("{checksum:016x}"), &format!("{:016x}", forged.1)),
            false => line.to_owned(),
        });
        let lines: Vec<String> = lines.collect();
        std::fs::write(&commit, lines.join("\n") + "\n").expect("written");
    }
}

/// The same file with a footer that claims two thousand million row groups: read as it says, it ends the process.
fn with_hostile_footer(whole: &[u8]) -> Vec<u8> {
    const FOOTER: &[u8] = &[
        0x15, 0x02, 0x19, 0x1c, 0x48, 1, b'm', 0x15, 0x00, 0x00, 0x16, 0x00, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07,
    ];
    let length = (FOOTER.len() as u32).to_le_bytes();
    [&whole[..whole.len() - FOOTER.len() - 8], FOOTER, &length, b"PAR1"].concat()
}

fn published_name(table: &Table) -> String {
    let snapshot = table.snapshot();
    let file = snapshot.files().iter().find(|file| file.place.is_published).expect("a file");
    file.file.name.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_made_to_harm_is_refused() {
    let (mut old, folder) = old_folder().await;
    let name = published_name(&old.table("t"));
    old.close().await;
    let path = folder.join(&name);
    let whole = std::fs::read(&path).expect("bytes");
    forge(&folder, &name, &with_hostile_footer(&whole));
    let fixture = Fixture::open();
    let error = attach(&fixture, &folder).await.expect_err("refused");
    assert_eq!(error.code(), Code::FileDamaged, "{error}");
    assert!(error.to_string().contains(&name), "{error}");
    assert_eq!(built_files(&fixture), Vec::<String>::new());
    forge(&folder, &name, &whole);
    let table = attach(&fixture, &folder).await.expect("attached");
    assert_eq!(keys_of(&table), sealed_keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_made_to_harm_is_refused() {
    let (mut old, folder) = old_folder().await;
    leave_a_checkpoint(&old.table("t"), &folder).await;
    old.close().await;
    let mut log = std::fs::read_dir(folder.join("_delta_log")).expect("a log").flatten().map(|entry| entry.path());
    let path = log.find(|path| path.extension().is_some_and(|end| end == "parquet")).expect("a checkpoint");
    let whole = std::fs::read(&path).expect("bytes");
    std::fs::write(&path, with_hostile_footer(&whole)).expect("written");
    let fixture = Fixture::open();
    let error = attach(&fixture, &folder).await.expect_err("refused");
    assert_eq!(error.code(), Code::DeltaDamaged, "{error}");
    assert!(error.message().contains("checkpoint"), "{error}");
    std::fs::write(&path, whole).expect("written");
    assert_eq!(keys_of(&attach(&fixture, &folder).await.expect("attached")), sealed_keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_and_nothing_stays() {
    let (mut old, folder) = old_folder().await;
    let name =
        old.table("t").snapshot().files().iter().find(|file| file.place.is_published).map(|f| f.file.name.clone());
    old.close().await;
    let path = folder.join(name.expect("a file"));
    let whole = std::fs::read(&path).expect("bytes");
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let fixture = Fixture::open();
    assert_eq!(refused(&fixture, &folder).await, Code::FileDamaged);
    assert_eq!(built_files(&fixture), Vec::<String>::new());
    std::fs::write(&path, whole).expect("written");
    assert_eq!(keys_of(&attach(&fixture, &folder).await.expect("attached")), sealed_keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_that_fails_on_the_way_leaves_nothing_and_can_be_repeated() {
    for point in ["attach.file", "attach.keys_written", "attach.before_take_over", "attach.taken_over"] {
        let (mut old, folder) = old_folder().await;
        old.close().await;
        let mut fixture = Fixture::open();
        fixture.engine().env().fail.arm(point, FailAction::Error(1));
        attach(&fixture, &folder).await.expect_err("it fails");
        assert!(fixture.engine().tables().is_empty(), "{point}");
        assert_eq!(built_files(&fixture), Vec::<String>::new(), "{point}");
        let n_names = fixture.engine().parts.store.scan(Family::State, &[state_key::NAME]).expect("records").count();
        assert_eq!(n_names, 0, "{point}");
        fixture.restart().await;
        let table = attach(&fixture, &folder).await.expect("attached");
        assert_eq!(keys_of(&table), sealed_keys(), "{point}");
        assert_eq!(write(&table, &range(0, 101)).await, 1, "{point}");
        assert_eq!(table.seal().await.expect("sealed").rows, 98, "{point}");
        assert_sound(&table).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_on_record_before_anything_of_a_table_is_there() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let fixture = Fixture::open();
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("attach.keys_written", FailAction::Hold(1));
    let (engine, url) = (Arc::clone(fixture.engine()), folder.display().to_string());
    let attaching = tokio::spawn(async move { engine.attach_table(&url, None).await });
    until(|| fail.visits("attach.keys_written") == 1).await;
    let store = Arc::clone(&fixture.engine().parts.store);
    let recorded = || {
        let names = store.scan(Family::State, &[state_key::NAME]).expect("records");
        let names = names.map(|record| {
            let (key, _) = record.expect("a record");
            (table_of(&key), String::from_utf8_lossy(crate::log::suffix_of(&key)).into_owned())
        });
        names.collect::<Vec<_>>()
    };
    let files = built_files(&fixture);
    assert!(!files.is_empty());
    let names: Vec<String> = recorded().into_iter().map(|(_, name)| name).collect();
    assert!(files.iter().all(|file| names.contains(file)), "{files:?} {names:?}");
    assert!(fixture.engine().tables().is_empty());
    fail.release("attach.keys_written");
    let table = attaching.await.expect("no panic").expect("attached");
    assert_eq!(recorded(), Vec::new(), "they are the table's");
    assert_eq!(built_files(&fixture).len(), files.len());
    drop(table);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_fit_into_memory_go_to_disk_as_they_are_read() {
    const KEYS: Share = Share::Keys;
    const BUDGET: u64 = 2 << 20;
    // Nothing lies together: eight bytes a key.
    let key = |n: i64| n.wrapping_mul(0x5851_F42D_4C95_7F2D);
    let all: Vec<i64> = (0..400_000).map(key).collect();
    let mut old = Fixture::open();
    old.create("t").await;
    for (at, rows) in all.chunks(50_000).enumerate() {
        write(&old.table("t"), rows).await;
        if at % 2 == 1 {
            old.table("t").seal().await.expect("sealed");
        }
    }
    let folder = folder_of(&old.table("t"));
    old.close().await;
    let mut fixture = Fixture::open_with(|options| options.key_memory = Some(BUDGET));
    let table = attach(&fixture, &folder).await.expect("attached");
    assert!(built_files(&fixture).iter().any(|name| name.ends_with(".run")));
    drop(table);
    for _ in 0..2 {
        let memory = fixture.engine().memory();
        assert!(memory.used(KEYS) <= memory.share(KEYS), "{} bytes", memory.used(KEYS));
        assert_eq!(memory.share(KEYS), BUDGET);
        let table = fixture.table("t");
        for rows in all.chunks(1_000).step_by(20) {
            assert_eq!(write(&table, rows).await, 0);
        }
        drop(table);
        fixture.restart().await;
    }
    assert_eq!(write(&fixture.table("t"), &(400_000..400_500).map(key).collect::<Vec<_>>()).await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_keys_are_not_remembered_and_an_empty_table_is_one() {
    let mut old = Fixture::open();
    let table = old.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    table.truncate().await.expect("truncated");
    table.seal().await.expect("sealed");
    let folder = folder_of(&table);
    drop(table);
    old.close().await;
    let mut fixture = Fixture::open();
    let table = attach(&fixture, &folder).await.expect("attached");
    assert_eq!(keys_of(&table), Vec::<i64>::new());
    assert_eq!(write(&table, &range(5, 15)).await, 10);
    assert_eq!(table.seal().await.expect("sealed").rows, 10);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), range(5, 15));
    assert_sound(&fixture.table("t")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_in_the_folder_that_had_it_takes_nothing_away() {
    let (old, clock) = Fixture::open_at(1_800_000_000_000_000);
    let table = old.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    let folder = folder_of(&table);
    drop(table);
    let handle = Arc::clone(&clock);
    let fixture = Fixture::open_with(move |options| options.env.clock = Arc::<crate::env::ManualClock>::clone(&handle));
    let table = attach(&fixture, &folder).await.expect("attached");
    old.engine().drop_table("public", "t").await.expect("dropped");
    clock.advance(Duration::from_secs(DROPPED_TABLE_TTL_S));
    old.engine().purge_dropped().await.expect("done");
    assert_eq!(keys_of(&table), range(0, 10));
    assert_sound(&table).await;
    // Its own DROP does.
    drop(table);
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    clock.advance(Duration::from_secs(DROPPED_TABLE_TTL_S));
    fixture.engine().purge_dropped().await.expect("done");
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_takes_nothing_away_when_the_first_commits_of_the_other_folder_are_gone() {
    let (old, clock) = Fixture::open_at(1_800_000_000_000_000);
    let table = old.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    let folder = folder_of(&table);
    drop(table);
    old.engine().drop_table("public", "t").await.expect("dropped");
    let handle = Arc::clone(&clock);
    let fixture = Fixture::open_with(move |options| options.env.clock = Arc::<crate::env::ManualClock>::clone(&handle));
    let table = attach(&fixture, &folder).await.expect("attached");
    write(&table, &range(10, 20)).await;
    table.seal().await.expect("sealed");
    leave_a_checkpoint(&table, &folder).await;
    clock.advance(Duration::from_secs(DROPPED_TABLE_TTL_S));
    old.engine().purge_dropped().await.expect("done");
    assert_eq!(keys_of(&table), range(0, 20));
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_that_had_it_opens_and_commits_nothing_when_the_first_commits_of_the_other_are_gone() {
    let (mut old, folder) = old_folder().await;
    let fixture = Fixture::open();
    let table = attach(&fixture, &folder).await.expect("attached");
    write(&table, &[200]).await;
    table.seal().await.expect("sealed");
    leave_a_checkpoint(&table, &folder).await;
    // Nothing stands where its next commit would: that of the other folder was removed.
    for _ in 0..2 {
        let error = old.table("t").seal().await.expect_err("refused");
        assert_eq!(error.code(), Code::DeltaConflict, "{error}");
        assert!(error.message().contains("another data folder"), "{error}");
        assert_stopped(&old.table("t")).await;
        assert_eq!(keys_of(&old.table("t")).len(), 107);
        assert!(!commit_path(&folder, 2).exists());
        // It is no older copy: what it acknowledged is all there.
        old.restart().await;
    }
    assert_eq!(write(&table, &[201]).await, 1);
    assert_eq!(table.seal().await.expect("sealed").rows, 99);
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_comes_back_to_the_folder_that_dropped_it_long_ago() {
    let (old, clock) = Fixture::open_at(1_800_000_000_000_000);
    let table = old.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    let folder = folder_of(&table);
    drop(table);
    let handle = Arc::clone(&clock);
    let fixture = Fixture::open_with(move |options| options.env.clock = Arc::<crate::env::ManualClock>::clone(&handle));
    let meanwhile = attach(&fixture, &folder).await.expect("attached");
    old.engine().drop_table("public", "t").await.expect("dropped");
    clock.advance(Duration::from_secs(DROPPED_TABLE_TTL_S));
    old.engine().purge_dropped().await.expect("done");
    write(&meanwhile, &[10]).await;
    meanwhile.seal().await.expect("sealed");
    let table = attach(&old, &folder).await.expect("attached");
    assert_eq!(keys_of(&table), range(0, 11));
    assert_eq!(write(&table, &range(0, 12)).await, 1);
    assert_eq!(table.seal().await.expect("sealed").rows, 12);
    assert_sound(&table).await;
    write(&meanwhile, &[20]).await;
    assert_eq!(meanwhile.seal().await.expect_err("refused").code(), Code::DeltaConflict);
    assert_stopped(&meanwhile).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_clock_that_is_ahead_does_not_stop_the_others() {
    let (mut old, _) = Fixture::open_at(1_800_086_400_000_000);
    let table = old.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    let folder = folder_of(&table);
    drop(table);
    old.close().await;
    let (fixture, clock) = Fixture::open_at(1_800_000_000_000_000);
    assert_eq!(refused(&fixture, &folder).await, Code::ClockBehind);
    let other = fixture.create("other").await;
    assert_eq!(write(&other, &[1]).await, 1);
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(keys_of(&attach(&fixture, &folder).await.expect("attached")), range(0, 10));
    assert_eq!(write(&other, &[2]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_mounted_is_no_reason_not_to_start() {
    let (mut old, folder) = old_folder().await;
    old.close().await;
    let mut fixture = Fixture::open();
    drop(attach(&fixture, &folder).await.expect("attached"));
    fixture.create("other").await;
    fixture.close().await;
    let (root, aside) = (old.path().join("tables"), old.path().join("aside"));
    std::fs::rename(&root, &aside).expect("moved");
    fixture.reopen().expect("it opens");
    let table = fixture.table("t");
    assert_eq!(write(&table, &range(90, 105)).await, 5, "its keys are here");
    assert_eq!(table.seal().await.expect_err("refused").code(), Code::StoreUnavailable);
    drop(table);
    assert_eq!(write(&fixture.table("other"), &[1]).await, 1);
    fixture.table("other").seal().await.expect("sealed");
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    let table = fixture.engine().undrop_table("public", "t").await.expect("back");
    assert_eq!(table.seal().await.expect_err("refused").code(), Code::StoreUnavailable);
    assert!(!root.exists(), "nothing is made in its place");
    drop(table);
    std::fs::rename(&aside, &root).expect("moved");
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(table.seal().await.expect("sealed").rows, 102);
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_deletes_no_folder_that_has_a_name_of_its_own() {
    let (mut old, clock) = Fixture::open_at(1_800_000_000_000_000);
    let table = old.create("t").await;
    write(&table, &range(0, 10)).await;
    table.seal().await.expect("sealed");
    let folder = folder_of(&table);
    drop(table);
    old.close().await;
    let named = old.path().join("mine");
    std::fs::rename(&folder, &named).expect("moved");
    std::fs::write(named.join("notes.txt"), b"of somebody else").expect("written");
    let handle = Arc::clone(&clock);
    let fixture = Fixture::open_with(move |options| options.env.clock = Arc::<crate::env::ManualClock>::clone(&handle));
    drop(attach(&fixture, &named).await.expect("attached"));
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    clock.advance(Duration::from_secs(DROPPED_TABLE_TTL_S));
    fixture.engine().purge_dropped().await.expect("done");
    assert!(fixture.engine().undrop_table("public", "t").await.is_err(), "it is gone for good");
    assert!(named.join("notes.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_that_had_it_does_not_fill_that_of_the_other_with_merged_files() {
    let old = Fixture::open();
    let table = old.create("t").await;
    for piece in 0..6 {
        write(&table, &range(10 * piece, 10 * (piece + 1))).await;
        table.seal().await.expect("sealed");
    }
    let folder = folder_of(&table);
    let fixture = Fixture::open();
    let attached = attach(&fixture, &folder).await.expect("attached");
    let files = || {
        let names = std::fs::read_dir(&folder).expect("a folder").flatten().map(|file| file.file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".parquet")).count()
    };
    assert_eq!(files(), 6);
    for _ in 0..3 {
        assert_eq!(table.compact().await.expect_err("refused").code(), Code::DeltaConflict);
        assert!(files() <= 7, "one merge finds it out");
        assert_stopped(&table).await;
    }
    assert_eq!(attached.compact().await.expect("compacted").merged_files, 6);
    assert_eq!(keys_of(&attached), range(0, 60));
    assert_sound(&attached).await;
}
