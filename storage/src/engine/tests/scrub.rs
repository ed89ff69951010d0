//! Is a file that the disk changed found by every way, told, kept from readers, and given back when it is restored?

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::support::{Fixture, batch, delete_keys, keys_of, opened_for, replace_by_pipe, request, until};
use crate::catalog::TableChange;
use crate::env::{Clock, FailAction, ManualClock};
use crate::error::Code;
use crate::limits::FREEING_MIN_FREE_BYTES;
use crate::publishing::{Check, test_suspects};
use crate::scrub::{ScrubOptions, Scrubber, Subject};
use crate::sealed::FileRef;
use crate::sealed::faulty::{Fault, Op};
use crate::table::Table;

const HOUR: Duration = Duration::from_secs(3600);

async fn write(table: &Table, keys: std::ops::Range<i64>) {
    table.write(request(batch(&keys.collect::<Vec<_>>()))).await.expect("stored");
}

fn file(table: &Table, at: usize) -> FileRef {
    table.snapshot().files()[at].clone()
}

fn path_of(table: &Table, file: &FileRef) -> PathBuf {
    table.shared.gate.folder.join(file.place.path.to_string())
}

/// Changes one bit; the file keeps its length. Returns what was there.
fn flip(path: &std::path::Path) -> Vec<u8> {
    let whole = std::fs::read(path).expect("readable");
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    replace(path, &bytes);
    whole
}

/// Under another inode: the published file may be a link to the built one.
fn replace(path: &std::path::Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).expect("written");
    std::fs::rename(beside, path).expect("renamed");
}

fn scrubber(fixture: &Fixture, options: ScrubOptions) -> Scrubber {
    Scrubber::new(options, fixture.engine().env())
}

/// Tests all that is due. Returns the names of files.
async fn pass(fixture: &Fixture, scrubber: &mut Scrubber) -> Vec<String> {
    let mut tested = Vec::new();
    while let Some((table, subject)) = scrubber.next(&fixture.engine().tables()) {
        assert!(scrubber.test(&table, &subject).await, "it could be tested");
        if let Subject::File(file) = subject {
            tested.push(file.file.name.clone());
        }
    }
    tested
}

fn health(table: &Table) -> (bool, u64, Option<String>) {
    let stats = table.stats();
    (stats.healthy, stats.damaged_files, stats.health_reason)
}

fn damage(table: &Table, file: &FileRef) -> Option<String> {
    table.snapshot().quarantine().damage(&file.file.name).map(|damage| damage.reason)
}

async fn check(table: &Table, name: &str) -> Check {
    let checks = table.verify().await.expect("asked");
    checks.into_iter().find(|check| check.name == name).expect("such a check")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_pass_after_a_start_finds_damage_in_built_and_published_files() {
    for is_published in [false, true] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        write(&fixture.table("t"), 0..100).await;
        fixture.table("t").build().await.expect("built");
        write(&fixture.table("t"), 100..200).await;
        fixture.table("t").build().await.expect("built");
        if is_published {
            fixture.table("t").seal().await.expect("sealed");
        }
        fixture.restart().await;
        let table = fixture.table("t");
        let broken = file(&table, 0);
        assert_eq!(broken.place.is_published, is_published);
        let path = path_of(&table, &broken);
        let whole = flip(&path);
        let mut scrubber = scrubber(&fixture, ScrubOptions::default());
        assert_eq!(pass(&fixture, &mut scrubber).await.len(), 2, "both are tested once");
        assert_eq!(damage(&table, &broken).as_deref(), Some("its bytes do not match its checksum"));
        assert_eq!(damage(&table, &file(&table, 1)), None);
        let (is_healthy, n_damaged, reason) = health(&table);
        assert_eq!((is_healthy, n_damaged), (true, 1));
        assert!(reason.expect("a reason").contains(&broken.file.name));
        assert_eq!(table.snapshot().n_rows(), 200, "its rows count");
        write(&table, 200..210).await;

        drop((table, broken));
        fixture.restart().await;
        let table = fixture.table("t");
        let broken = file(&table, 0);
        assert!(damage(&table, &broken).is_some(), "it is on record");
        assert_eq!(check(&table, "files").await.is_ok, Some(false));
        replace(&path, &whole);
        let files = check(&table, "files").await;
        assert_eq!(files.is_ok, Some(true), "{}", files.detail);
        assert!(files.detail.contains("1 of them were damaged before"), "{}", files.detail);
        assert_eq!(health(&table), (true, 0, None));
        drop((table, broken));
        fixture.restart().await;
        let table = fixture.table("t");
        assert_eq!(health(&table), (true, 0, None), "it is off the record");
        assert_eq!(keys_of(&table), (0..210).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrubber_comes_back_after_its_interval() {
    let (fixture, clock) = Fixture::open_at(1_000_000_000);
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    let mut scrubber = scrubber(&fixture, ScrubOptions { interval: Some(HOUR), ..ScrubOptions::default() });
    assert_eq!(pass(&fixture, &mut scrubber).await.len(), 1);
    clock.advance(HOUR / 2);
    assert_eq!(pass(&fixture, &mut scrubber).await.len(), 0);
    let published = file(&table, 0);
    let whole = flip(&path_of(&table, &published));
    clock.advance(HOUR / 2);
    assert_eq!(pass(&fixture, &mut scrubber).await.len(), 1);
    assert!(damage(&table, &published).is_some());
    let mut off = Scrubber::new(ScrubOptions { rate: None, ..ScrubOptions::default() }, fixture.engine().env());
    assert_eq!(pass(&fixture, &mut off).await.len(), 0);
    // The scrubber lifts it as well.
    replace(&path_of(&table, &published), &whole);
    clock.advance(2 * HOUR);
    assert_eq!(pass(&fixture, &mut scrubber).await.len(), 1);
    assert_eq!(damage(&table, &published), None);
    assert_eq!(table.snapshot().quarantine().n_restored(&published.file.name), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_missing_or_cut_is_damaged_and_a_server_starts_with_it() {
    for is_cut in [false, true] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        write(&fixture.table("t"), 0..100).await;
        fixture.table("t").build().await.expect("built");
        let table = fixture.table("t");
        let built = file(&table, 0);
        let path = path_of(&table, &built);
        let whole = std::fs::read(&path).expect("readable");
        match is_cut {
            true => replace(&path, &whole[..whole.len() - 1]),
            false => std::fs::remove_file(&path).expect("removed"),
        }
        table.snapshot().quarantine().suspect(&built.file.name);
        test_suspects(&table, false).await.expect("tested");
        let expected = if is_cut { "bytes instead of" } else { "it is missing" };
        assert!(damage(&table, &built).is_some_and(|reason| reason.contains(expected)));
        drop((table, built));
        fixture.restart().await;
        let table = fixture.table("t");
        assert_eq!(health(&table).1, 1);
        write(&table, 100..110).await;
        replace(&path, &whole);
        assert_eq!(check(&table, "files").await.is_ok, Some(true));
        assert_eq!(keys_of(&table), (0..110).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_cannot_be_tested_keeps_no_other_from_it() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200] {
        write(&table, range).await;
        table.build().await.expect("built");
    }
    let (unreadable, broken) = (file(&table, 0), file(&table, 1));
    let path = path_of(&table, &unreadable);
    let whole = std::fs::read(&path).expect("readable");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a folder in its place");
    flip(&path_of(&table, &broken));
    for suspect in [&unreadable, &broken] {
        table.snapshot().quarantine().suspect(&suspect.file.name);
    }
    let untested = test_suspects(&table, false).await.expect("the other is on record");
    let [(named, error)] = untested.as_slice() else { panic!("{untested:?}") };
    assert_eq!((named, error.code()), (&unreadable.place.path.to_string(), Code::FolderUnusable), "{error}");
    assert_eq!((damage(&table, &unreadable), damage(&table, &broken).is_some()), (None, true));
    let again = test_suspects(&table, false).await.expect("asked");
    assert!(again.is_empty(), "it is not tested again by itself: {again:?}");
    assert_eq!(test_suspects(&table, true).await.expect("asked").len(), 1, "it stays a suspect");
    std::fs::remove_dir(&path).expect("removed");
    replace(&path, &whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_nobody_waits_for_holds_no_table_and_ends() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.build().await.expect("built");
    let built = file(&table, 0);
    let path = path_of(&table, &built);
    let beside = replace_by_pipe(&path);
    // A byte at a time.
    let mut scrubber = scrubber(&fixture, ScrubOptions { rate: Some(1), ..ScrubOptions::default() });
    let n_tables = Arc::strong_count(&table.shared);
    let testing = tokio::spawn({
        let (table, built) = (table.clone(), built.clone());
        async move { scrubber.test(&table, &Subject::File(built)).await }
    });
    let pipe = tokio::time::timeout(Duration::from_secs(60), opened_for(&path)).await.expect("it reads the file");
    testing.abort();
    assert!(testing.await.expect_err("aborted").is_cancelled());
    let let_go = until(|| Arc::strong_count(&table.shared) <= n_tables);
    tokio::time::timeout(Duration::from_secs(60), let_go).await.expect("the thread does not hold it");
    // The next byte that it gets is its last: nobody reads the pipe then. A pipe that is full is still read.
    let is_closed = || rustix::io::write(&pipe, b"?") == Err(rustix::io::Errno::PIPE);
    tokio::time::timeout(Duration::from_secs(60), until(is_closed)).await.expect("it ends");
    std::fs::rename(&beside, &path).expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_built_file_is_never_published_and_what_came_before_it_is() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200, 200..300] {
        write(&table, range).await;
        table.build().await.expect("built");
    }
    // Nobody has found it yet: the publish does.
    let second = table.snapshot().files().iter().find(|file| file.file.min_seq.0 == 2).expect("a file").clone();
    let whole = flip(&path_of(&table, &second));
    let refused = table.seal().await.expect_err("it cannot be published");
    assert_eq!(refused.code(), Code::FileDamaged, "{refused}");
    assert!(refused.to_string().contains(&second.file.name), "{refused}");
    let stats = table.stats();
    assert_eq!((stats.built_rows, stats.sealed_rows, stats.damaged_files), (200, 100, 1));
    let again = table.seal().await.expect_err("still");
    assert!(again.to_string().contains(&second.file.name), "{again}");
    // Others are published, and deletes of what is published already.
    let other = fixture.create("u").await;
    write(&other, 0..10).await;
    assert_eq!(other.seal().await.expect("sealed").rows, 10);
    replace(&path_of(&table, &second), &whole);
    assert_eq!(check(&table, "files").await.is_ok, Some(true));
    assert_eq!(table.seal().await.expect("sealed").rows, 300);
    assert_eq!(keys_of(&table), (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_gets_rid_of_a_damaged_file_and_of_its_record() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    write(&table, 100..200).await;
    table.build().await.expect("built");
    let built = table.snapshot().files().iter().find(|file| !file.place.is_published).expect("a file").clone();
    flip(&path_of(&table, &built));
    assert_eq!(table.seal().await.expect_err("damaged").code(), Code::FileDamaged);
    table.truncate().await.expect("truncated");
    write(&table, 200..210).await;
    assert_eq!(table.seal().await.expect("sealed").rows, 10);
    test_suspects(&table, false).await.expect("nothing is left to test");
    assert_eq!(health(&table), (true, 0, None));
    drop((table, built));
    fixture.restart().await;
    assert!(fixture.table("t").shared.quarantine.is_empty());
}

fn health_is_ok(table: &Table) -> bool {
    health(table) == (true, 0, None)
}

async fn assert_sound(table: &Table) {
    let checks = table.verify().await.expect("asked");
    let wrong: Vec<_> = checks.iter().filter(|check| check.is_ok == Some(false)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_built_file_without_a_copy_is_given_up_and_the_table_goes_on() {
    for is_missing in [false, true] {
        let mut fixture = Fixture::open();
        let table = fixture.create("t").await;
        for range in [0..100, 100..200, 200..300] {
            write(&table, range).await;
            table.build().await.expect("built");
        }
        assert_eq!(table.give_up().await.expect("nothing to do"), Vec::new());
        let second = table.snapshot().files().iter().find(|file| file.file.min_seq.0 == 2).expect("a file").clone();
        let path = path_of(&table, &second);
        let (name, place) = (second.file.name.clone(), second.place.path.to_string());
        drop(second);
        match is_missing {
            false => drop(flip(&path)),
            true => std::fs::remove_file(&path).expect("removed"),
        }
        let refused = table.seal().await.expect_err("it is in the way");
        assert_eq!(refused.code(), Code::FileDamaged);
        assert!(refused.to_string().contains("CALL give_up"), "{refused}");

        let given_up = table.give_up().await.expect("given up");
        let [file] = given_up.as_slice() else { panic!("{given_up:?}") };
        assert_eq!((&file.file, file.rows), (&place, 100));
        let expected = if is_missing { "missing" } else { "checksum" };
        assert!(file.reason.contains(expected), "{}", file.reason);
        assert_eq!(table.give_up().await.expect("nothing is left"), Vec::new());
        // Nobody needs the file, and nobody finds it again.
        assert_eq!(table.snapshot().n_rows(), 200);
        assert!(health_is_ok(&table));
        pass(&fixture, &mut scrubber(&fixture, ScrubOptions::default())).await;
        test_suspects(&table, false).await.expect("tested");
        assert!(health_is_ok(&table));
        assert_sound(&table).await;
        let keys = batch(&(100..200).collect::<Vec<_>>());
        assert_eq!(table.write(request(keys)).await.expect("answered").accepted, 0, "its keys are remembered");
        equation(
            &fixture,
            "300 accepted = 0 realtime + 100 built + 100 sealed + 100 deleted + 0 truncated + 0 expired",
        )
        .await;

        drop(table);
        fixture.restart().await;
        let table = fixture.table("t");
        assert!(health_is_ok(&table));
        let sealed = table.seal().await.expect("sealed");
        assert_eq!((sealed.rows, sealed.files), (200, 2));
        assert!(table.snapshot().files().iter().all(|file| file.file.name != name));
        let brought = fixture.path().join(table.shared.folders.published_path(&name).to_string());
        assert!(!brought.exists(), "it never came into the Delta table");
        test_suspects(&table, false).await.expect("nothing to test");
        assert!(table.shared.quarantine.is_empty(), "its record went with it");
        fixture.engine().clean_files().await;
        crate::env::wait_for_soon();
        assert!(!path.exists());
        assert_sound(&table).await;
        equation(&fixture, "300 accepted = 0 realtime + 0 built + 200 sealed + 100 deleted + 0 truncated + 0 expired")
            .await;
        drop(table);
        fixture.restart().await;
        let table = fixture.table("t");
        assert_eq!(keys_of(&table), (0..100).chain(200..300).collect::<Vec<_>>());
        assert!(table.shared.quarantine.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_published_file_that_is_given_up_is_removed_from_the_delta_table() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200] {
        write(&table, range).await;
        table.seal().await.expect("sealed");
    }
    assert_eq!(delete_keys(&table, &[1, 2]).await.expect("deleted"), 2);
    let first = table.snapshot().files().iter().find(|file| file.file.min_seq.0 == 1).expect("a file").clone();
    flip(&path_of(&table, &first));
    assert_eq!(check(&table, "files").await.is_ok, Some(false));
    assert!(!health_is_ok(&table));

    let given_up = table.give_up().await.expect("given up");
    assert_eq!(given_up.iter().map(|file| file.rows).collect::<Vec<_>>(), [98], "those that were there");
    assert!(health_is_ok(&table));
    assert_sound(&table).await;
    equation(&fixture, "200 accepted = 0 realtime + 0 built + 100 sealed + 100 deleted + 0 truncated + 0 expired")
        .await;
    let sealed = table.seal().await.expect("sealed");
    assert_eq!((sealed.rows, sealed.files), (100, 1));
    let log = fixture.path().join(table.shared.folders.published().to_string()).join("_delta_log");
    let commit = log.join(format!("{:020}.json", sealed.delta_version.expect("a version")));
    let text = std::fs::read_to_string(commit).expect("a commit");
    let named: Vec<&str> = text.lines().filter(|line| line.contains(&first.file.name)).collect();
    assert!(matches!(named.as_slice(), [line] if line.starts_with(r#"{"remove""#)), "{text}");
    assert_eq!(keys_of(&table), (100..200).collect::<Vec<_>>());
    assert_sound(&table).await;
    drop((table, first));
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(keys_of(&table), (100..200).collect::<Vec<_>>());
    let keys = batch(&(0..100).collect::<Vec<_>>());
    assert_eq!(table.write(request(keys)).await.expect("answered").accepted, 0, "its keys are remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_stumbled_over_a_moment_ago_is_given_up() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200] {
        write(&table, range).await;
        table.build().await.expect("built");
    }
    let broken = file(&table, 0);
    flip(&path_of(&table, &broken));
    table.snapshot().quarantine().suspect(&broken.file.name);
    // As while another task tests it.
    let testing = table.shared.quarantine.testing.lock().await;
    let giving_up = tokio::spawn({
        let table = table.clone();
        async move { table.give_up().await }
    });
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!giving_up.is_finished(), "it waits for the test");
    drop(testing);
    let given_up = giving_up.await.expect("no panic").expect("given up");
    assert_eq!(given_up.iter().map(|file| file.rows).collect::<Vec<_>>(), [100]);
    assert_eq!(table.snapshot().n_rows(), 100);
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_cannot_be_tested_is_told_and_not_given_up() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.build().await.expect("built");
    let unreadable = file(&table, 0);
    let path = path_of(&table, &unreadable);
    let whole = std::fs::read(&path).expect("readable");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a folder in its place");
    table.snapshot().quarantine().suspect(&unreadable.file.name);
    // As the task does that looks for suspects: it may come first.
    assert_eq!(test_suspects(&table, false).await.expect("asked").len(), 1);
    for _ in 0..2 {
        let told = table.give_up().await.expect("told");
        let [file] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((&file.file, file.rows), (&unreadable.place.path.to_string(), 0));
        assert!(file.reason.contains("could not be tested"), "{}", file.reason);
    }
    std::fs::remove_dir(&path).expect("removed");
    replace(&path, &whole);
    assert_eq!(table.give_up().await.expect("nothing is damaged"), Vec::new());
    assert_eq!(keys_of(&table), (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_restored_is_not_given_up() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200] {
        write(&table, range).await;
        table.build().await.expect("built");
    }
    let (restored, lost) = (file(&table, 0), file(&table, 1));
    let whole = flip(&path_of(&table, &restored));
    flip(&path_of(&table, &lost));
    assert_eq!(check(&table, "files").await.is_ok, Some(false));
    assert_eq!(health(&table).1, 2);
    replace(&path_of(&table, &restored), &whole);
    let given_up = table.give_up().await.expect("given up");
    assert_eq!(given_up.iter().map(|file| file.file.as_str()).collect::<Vec<_>>(), [lost.place.path.to_string()]);
    assert_eq!((damage(&table, &restored), table.snapshot().n_rows()), (None, 100));
    assert_eq!(table.seal().await.expect("sealed").rows, 100);
    assert!(health_is_ok(&table));
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_commit_on_its_way_has_brought_whole_is_not_given_up() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.build().await.expect("built");
    let built = file(&table, 0);
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("publish.files_brought", FailAction::Hold(1));
    let sealing = tokio::spawn({
        let table = table.clone();
        async move { table.seal().await }
    });
    until(|| fail.visits("publish.files_brought") == 1).await;
    // The published file is a link to what was there.
    flip(&path_of(&table, &built));
    pass(&fixture, &mut scrubber(&fixture, ScrubOptions::default())).await;
    assert!(damage(&table, &built).is_some());
    let giving_up = tokio::spawn({
        let table = table.clone();
        async move { table.give_up().await }
    });
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!giving_up.is_finished(), "it waits for the commit");
    fail.release("publish.files_brought");
    assert_eq!(sealing.await.expect("no panic").expect("sealed").rows, 100);
    assert_eq!(giving_up.await.expect("no panic").expect("nothing to do"), Vec::new());
    assert!(health_is_ok(&table));
    assert_eq!(keys_of(&table), (0..100).collect::<Vec<_>>());
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_while_the_delta_table_is_not_there() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    let path = path_of(&table, &file(&table, 0));
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).expect("renamed");
    pass(&fixture, &mut scrubber(&fixture, ScrubOptions::default())).await;
    assert_eq!(health(&table).1, 1, "it is missing");
    // As if its file system were not mounted.
    let folder = fixture.path().join(table.shared.folders.published().to_string());
    let elsewhere = folder.with_extension("elsewhere");
    std::fs::rename(&folder, &elsewhere).expect("renamed");
    let error = table.give_up().await.expect_err("refused");
    assert_eq!(error.code(), Code::StoreUnavailable, "{error}");
    std::fs::rename(&elsewhere, &folder).expect("renamed");
    std::fs::rename(&aside, &path).expect("renamed");
    assert_eq!(table.give_up().await.expect("nothing is damaged"), Vec::new());
    assert!(health_is_ok(&table));
    assert_sound(&table).await;
    assert_eq!(keys_of(&table), (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_delta_table_that_is_not_there_are_not_damaged() {
    // Its log tells that it is not there, or one of its files does.
    for asks_log in [true, false] {
        let (fixture, clock) = Fixture::open_at(1_000_000_000);
        let table = fixture.create("t").await;
        for range in [0..100, 100..200] {
            write(&table, range).await;
            table.seal().await.expect("sealed");
        }
        let mut scrubber = scrubber(&fixture, ScrubOptions { interval: None, ..ScrubOptions::default() });
        if !asks_log {
            let (of, log) = scrubber.next(&fixture.engine().tables()).expect("it is due");
            assert!(matches!(log, Subject::Log) && scrubber.test(&of, &log).await, "it is whole");
        }
        let broken = file(&table, 0);
        let path = path_of(&table, &broken);
        let whole = flip(&path);
        // As if its file system were not mounted.
        let folder = fixture.path().join(table.shared.folders.published().to_string());
        let elsewhere = folder.with_extension("elsewhere");
        std::fs::rename(&folder, &elsewhere).expect("renamed");
        for _ in 0..3 {
            let mut n_asked = 0;
            while let Some((table, subject)) = scrubber.next(&fixture.engine().tables()) {
                assert!(!scrubber.test(&table, &subject).await, "nobody can tell");
                n_asked += 1;
            }
            assert_eq!(n_asked, 1, "the others wait for the log, asks_log: {asks_log}");
            clock.advance(HOUR);
        }
        // Nor when a reader stumbled over it, whoever tests it first.
        table.snapshot().quarantine().suspect(&broken.file.name);
        let untested = test_suspects(&table, true).await.expect("asked");
        assert_eq!(untested.iter().map(|(_, e)| e.code()).collect::<Vec<_>>(), [Code::StoreUnavailable]);
        assert!(health_is_ok(&table));
        std::fs::rename(&elsewhere, &folder).expect("renamed");
        assert_eq!(pass(&fixture, &mut scrubber).await.len(), 2, "they are tested when it is back");
        assert!(damage(&table, &broken).is_some());
        replace(&path, &whole);
        assert_sound(&table).await;
        assert_eq!(keys_of(&table), (0..200).collect::<Vec<_>>());
    }
}

/// An hour passes in which the moment of no file elsewhere comes.
fn later(clock: &ManualClock) {
    let wall_us = clock.now_us();
    clock.advance(HOUR);
    clock.set_wall(wall_us);
}

/// What is given to be tested until nothing is due: the names of files, `None` for the log, and whether it could be.
async fn all_due(fixture: &Fixture, scrubber: &mut Scrubber) -> Vec<(Option<String>, bool)> {
    let mut tested = Vec::new();
    while let Some((table, subject)) = scrubber.next(&fixture.engine().tables()) {
        let could_be = scrubber.test(&table, &subject).await;
        tested.push(match subject {
            Subject::Log => (None, could_be),
            Subject::File(file) => (Some(file.file.name.clone()), could_be),
        });
    }
    tested
}

/// A table of so many files, and a scrubber that tests each once a day.
async fn sealed_elsewhere(fixture: &Fixture, n_files: i64) -> (Table, Scrubber) {
    let table = fixture.create("t").await;
    for i in 0..n_files {
        write(&table, i * 100..(i + 1) * 100).await;
        table.seal().await.expect("sealed");
    }
    (table, scrubber(fixture, ScrubOptions { remote_interval: Some(24 * HOUR), ..ScrubOptions::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_moment_came_while_their_store_was_away_are_tested_when_it_is_back() {
    let (fixture, clock, store) = Fixture::open_elsewhere(1_000_000_000);
    let (_table, mut scrubber) = sealed_elsewhere(&fixture, 3).await;
    assert_eq!(all_due(&fixture, &mut scrubber).await, [(None::<String>, true)], "no moment has come");
    clock.advance(24 * HOUR);
    store.set_away(true);
    let found = all_due(&fixture, &mut scrubber).await;
    let [(Some(first), false)] = found.as_slice() else { panic!("{found:?}") };
    later(&clock);
    assert_eq!(all_due(&fixture, &mut scrubber).await, [(None::<String>, false)], "they wait for the log");
    store.set_away(false);
    later(&clock);
    let found = all_due(&fixture, &mut scrubber).await;
    let [(None, true), (Some(second), true), (Some(third), true), (Some(last), true)] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((last, second == third), (first, false), "{found:?}");
    assert!(![second, third].contains(&first), "each of them once: {found:?}");
    later(&clock);
    let found = all_due(&fixture, &mut scrubber).await;
    assert!(found.is_empty(), "their moment comes again in a day: {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_alone_cannot_be_reached_keeps_no_other_from_its_test() {
    let (fixture, clock, store) = Fixture::open_elsewhere(1_000_000_000);
    let (table, mut scrubber) = sealed_elsewhere(&fixture, 3).await;
    assert_eq!(all_due(&fixture, &mut scrubber).await, [(None::<String>, true)]);
    for _ in 0..2 {
        clock.advance(24 * HOUR);
        // Whichever comes first.
        store.script(Op::Get, ".parquet", Fault::Before);
        let found = all_due(&fixture, &mut scrubber).await;
        let [(Some(first), false)] = found.as_slice() else { panic!("{found:?}") };
        store.script(Op::Get, first, Fault::Before);
        later(&clock);
        let found = all_due(&fixture, &mut scrubber).await;
        let [(None, true), (Some(_), true), (Some(_), true), (Some(last), false)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((last, store.n_scripted()), (first, 0));
        later(&clock);
        let found = all_due(&fixture, &mut scrubber).await;
        assert!(found.is_empty(), "it is left for its next turn: {found:?}");
    }
    clock.advance(24 * HOUR);
    let found = all_due(&fixture, &mut scrubber).await;
    assert!(found.len() == 3 && found.iter().all(|(name, could_be)| name.is_some() && *could_be), "{found:?}");
    assert!(health_is_ok(&table));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_closed_table_do_not_wait_for_its_log() {
    let (fixture, clock, store) = Fixture::open_elsewhere(1_000_000_000);
    let (table, mut scrubber) = sealed_elsewhere(&fixture, 2).await;
    assert_eq!(all_due(&fixture, &mut scrubber).await, [(None::<String>, true)]);
    clock.advance(24 * HOUR);
    store.set_away(true);
    assert_eq!(all_due(&fixture, &mut scrubber).await.len(), 1, "the other waits");
    table.shared.stop(&crate::error::Error::new(Code::DeltaConflict, "another folder has it"));
    let found = all_due(&fixture, &mut scrubber).await;
    assert_eq!(found.iter().filter(|(name, _)| name.is_some()).count(), 2, "{found:?}");
    let found = all_due(&fixture, &mut scrubber).await;
    assert!(found.is_empty(), "they are not given again and again: {found:?}");
}

/// Reads of it fail as those of a disk that does not give what it has.
const UNREADABLE: &str = "/proc/self/mem";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_disk_does_not_give_is_damaged_if_the_disk_is_there() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    let published = file(&table, 0);
    let (path, commit) = (path_of(&table, &published), commit_path(&fixture, &table, 0));
    for replaced in [&path, &commit] {
        std::fs::rename(replaced, replaced.with_extension("aside")).expect("renamed");
        std::os::unix::fs::symlink(UNREADABLE, replaced).expect("linked");
    }
    table.snapshot().quarantine().suspect(&published.file.name);
    // The disk gives nothing else either.
    let untested = test_suspects(&table, false).await.expect("asked");
    let [(_, error)] = untested.as_slice() else { panic!("{untested:?}") };
    assert_eq!(error.code(), Code::StoreUnavailable, "{error}");
    assert!(health_is_ok(&table));
    std::fs::rename(commit.with_extension("aside"), &commit).expect("renamed");
    assert!(test_suspects(&table, true).await.expect("asked").is_empty());
    assert!(damage(&table, &published).is_some_and(|reason| reason.contains("it cannot be read")));
    std::fs::rename(path.with_extension("aside"), &path).expect("renamed");
    assert_sound(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_knows_names_and_gives_no_bytes_is_away() {
    let (fixture, clock) = Fixture::open_at(1_000_000_000);
    let table = fixture.create("t").await;
    for range in [0..100, 100..200] {
        write(&table, range).await;
        table.seal().await.expect("sealed");
    }
    let published = [file(&table, 0), file(&table, 1)];
    let mut replaced: Vec<_> = published.iter().map(|file| path_of(&table, file)).collect();
    replaced.push(commit_path(&fixture, &table, 1));
    for path in &replaced {
        std::fs::rename(path, path.with_extension("aside")).expect("renamed");
        std::os::unix::fs::symlink(UNREADABLE, path).expect("linked");
    }
    let mut scrubber = scrubber(&fixture, ScrubOptions::default());
    for _ in 0..3 {
        assert_eq!(all_due(&fixture, &mut scrubber).await, [(None::<String>, false)]);
        clock.advance(HOUR);
    }
    assert!(health_is_ok(&table));
    for path in &replaced {
        std::fs::rename(path.with_extension("aside"), path).expect("renamed");
    }
    let found = all_due(&fixture, &mut scrubber).await;
    assert!(found.len() == 3 && found.iter().all(|(_, could_be)| *could_be), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_there_was_no_space_for_is_put_on_record_when_it_is_found_again() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.build().await.expect("built");
    let built = file(&table, 0);
    flip(&path_of(&table, &built));
    let pretend = |fixture: &Fixture, free_bytes| {
        *fixture.engine().parts.gate.pretended_free_bytes.lock() = free_bytes;
    };
    pretend(&fixture, Some(FREEING_MIN_FREE_BYTES - 1));
    table.snapshot().quarantine().suspect(&built.file.name);
    test_suspects(&table, false).await.expect("tested");
    assert!(damage(&table, &built).is_some() && table.shared.quarantine.unrecorded(&built.file.name).is_some());
    pretend(&fixture, None);
    pass(&fixture, &mut scrubber(&fixture, ScrubOptions::default())).await;
    assert!(table.shared.quarantine.unrecorded(&built.file.name).is_none());
    drop((table, built));
    fixture.restart().await;
    let table = fixture.table("t");
    assert!(damage(&table, &file(&table, 0)).is_some(), "it is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_else_cleaned_away_is_damaged() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200] {
        write(&table, range).await;
        table.seal().await.expect("sealed");
    }
    let (gone, left) = (file(&table, 0), file(&table, 1));
    // Another engine merged files, made a checkpoint, and removed what was old.
    let commits = [0, 1].map(|version| commit_path(&fixture, &table, version));
    std::fs::write(commits[0].with_file_name("_last_checkpoint"), br#"{"version":9,"size":3}"#).expect("written");
    for path in commits.iter().chain([&path_of(&table, &gone)]) {
        std::fs::remove_file(path).expect("removed");
    }
    assert_eq!(pass(&fixture, &mut scrubber(&fixture, ScrubOptions::default())).await.len(), 2);
    assert_eq!((damage(&table, &gone).as_deref(), damage(&table, &left)), (Some("it is missing"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_put_on_record_is_not_told_as_untested() {
    for kind in ["damaged", "not_damaged"] {
        // The process would end.
        let fixture = Fixture::open_with(|options| options.env.fatal = Arc::new(|_: &str| {}));
        let table = fixture.create("t").await;
        write(&table, 0..100).await;
        table.build().await.expect("built");
        let built = file(&table, 0);
        let whole = flip(&path_of(&table, &built));
        table.snapshot().quarantine().suspect(&built.file.name);
        let fail = Arc::clone(&fixture.engine().env().fail);
        fail.arm(format!("log.before_write/{kind}"), FailAction::Error(1));
        let tested = test_suspects(&table, true).await;
        let failed = match kind {
            "damaged" => tested.map(drop),
            _ => {
                assert!(tested.expect("it is on record").is_empty());
                replace(&path_of(&table, &built), &whole);
                table.verify().await.map(drop)
            }
        };
        assert_eq!(failed.expect_err("it is not on record").code(), Code::LogUnavailable, "{kind}");
        assert!(damage(&table, &built).is_some(), "{kind}: nobody reads what may be on record as damaged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrubber_writes_a_damaged_sidecar_again() {
    let (fixture, clock) = Fixture::open_at(1_000_000_000);
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    let published = file(&table, 0);
    let beside = |file: &FileRef| table.shared.gate.folder.join(file.sidecar().expect("a sidecar").1.to_string());
    let path = beside(&published);
    let mut scrubber = scrubber(&fixture, ScrubOptions { interval: Some(HOUR), ..ScrubOptions::default() });
    for (n, how) in (0..).zip(["whole", "flipped", "missing", "cut off"]) {
        let whole = std::fs::read(&path).expect("readable");
        match how {
            "flipped" => drop(flip(&path)),
            "missing" => std::fs::remove_file(&path).expect("removed"),
            "cut off" => replace(&path, &whole[..9]),
            _ => {}
        }
        assert_eq!(pass(&fixture, &mut scrubber).await.len(), 1, "{how}");
        assert_eq!(std::fs::read(&path).expect("it is there"), whole, "{how}");
        assert_eq!(table.snapshot().quarantine().n_restored(&published.file.name), n, "{how}");
        assert!(health_is_ok(&table), "{how}");
        clock.advance(HOUR);
    }
    // That of a built file is left behind when the file is published.
    write(&table, 100..200).await;
    table.build().await.expect("built");
    let built = table.snapshot().files().iter().find(|file| !file.place.is_published).expect("a file").clone();
    flip(&beside(&built));
    let damaged = std::fs::read(beside(&built)).expect("readable");
    assert_eq!(pass(&fixture, &mut scrubber).await.len(), 2);
    assert_eq!(std::fs::read(beside(&built)).expect("it is there"), damaged);
    assert!(health_is_ok(&table));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_of_a_file_that_has_left_the_table_is_not_written_again() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    let gone = file(&table, 0);
    let path = table.shared.gate.folder.join(gone.sidecar().expect("a sidecar").1.to_string());
    table.truncate().await.expect("truncated");
    table.seal().await.expect("sealed");
    std::fs::remove_file(&path).expect("removed");
    let mut scrubber = scrubber(&fixture, ScrubOptions::default());
    assert!(scrubber.test(&table, &Subject::File(gone)).await, "it could be tested");
    assert!(!path.exists());
}

fn commit_path(fixture: &Fixture, table: &Table, version: u64) -> PathBuf {
    let log = fixture.path().join(table.shared.folders.published().to_string()).join("_delta_log");
    log.join(format!("{version:020}.json"))
}

/// The table takes requests, and other engines cannot read it without these versions.
fn assert_gap(table: &Table, versions: &[u64]) {
    let (is_healthy, n_damaged, reason) = health(table);
    assert_eq!((is_healthy, n_damaged), (true, versions.len() as u64), "{reason:?}");
    for version in versions {
        let name = format!("_delta_log/{version:020}.json (it is missing: other engines");
        assert!(reason.as_ref().is_some_and(|reason| reason.contains(&name)), "{version}: {reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_somebody_deleted_is_told_until_it_is_there_again() {
    let (mut fixture, clock) = Fixture::open_at(1_000_000_000);
    let table = fixture.create("t").await;
    let mut logs = scrubber(&fixture, ScrubOptions::default());
    pass(&fixture, &mut logs).await;
    for n in 0..4 {
        write(&table, n * 10..(n + 1) * 10).await;
        table.seal().await.expect("sealed");
    }
    let [first, third] = [0, 2].map(|version| commit_path(&fixture, &table, version));
    let [first_bytes, third_bytes] = [&first, &third].map(|path| std::fs::read(path).expect("readable"));
    std::fs::remove_file(&third).expect("removed");
    pass(&fixture, &mut logs).await;
    assert!(health_is_ok(&table), "it is looked at once in an interval");
    clock.advance(7 * 24 * HOUR);
    pass(&fixture, &mut logs).await;
    assert_gap(&table, &[2]);
    // Everything goes on here.
    write(&table, 40..50).await;
    table.seal().await.expect("sealed");
    assert_eq!(keys_of(&table), (0..50).collect::<Vec<_>>());
    assert_eq!(check(&table, "delta_log").await.is_ok, Some(false));
    assert_eq!(table.give_up().await.expect("no rows are damaged"), Vec::new());
    assert_gap(&table, &[2]);
    // What lacks something is looked at again soon.
    std::fs::remove_file(&first).expect("removed");
    clock.advance(HOUR);
    pass(&fixture, &mut logs).await;
    assert_gap(&table, &[0, 2]);
    std::fs::write(&third, &third_bytes).expect("put back");
    clock.advance(HOUR);
    pass(&fixture, &mut logs).await;
    assert_gap(&table, &[0]);
    drop(table);

    fixture.restart().await;
    let table = fixture.table("t");
    assert!(health_is_ok(&table), "it is not on record");
    pass(&fixture, &mut scrubber(&fixture, ScrubOptions::default())).await;
    assert_gap(&table, &[0]);
    std::fs::write(&first, &first_bytes).expect("put back");
    assert_sound(&table).await;
    assert!(health_is_ok(&table), "verify looks, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_log_that_is_written_to_is_looked_at_later() {
    let (fixture, clock) = Fixture::open_at(1_000_000_000);
    let table = fixture.create("t").await;
    for range in [0..10, 10..20] {
        write(&table, range).await;
        table.seal().await.expect("sealed");
    }
    std::fs::remove_file(commit_path(&fixture, &table, 0)).expect("removed");
    let mut scrubber = scrubber(&fixture, ScrubOptions::default());
    let publishing = table.shared.publishing.lock().await;
    pass(&fixture, &mut scrubber).await;
    assert!(health_is_ok(&table));
    drop(publishing);
    clock.advance(HOUR);
    pass(&fixture, &mut scrubber).await;
    assert_gap(&table, &[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_tested_while_a_delta_log_cannot_be_asked_and_is_due_all_the_time() {
    let (fixture, clock) = Fixture::open_at(1_000_000_000);
    let away = fixture.create("away").await;
    write(&away, 0..10).await;
    away.seal().await.expect("sealed");
    let folder = fixture.path().join(away.shared.folders.published().to_string());
    std::fs::rename(&folder, folder.with_extension("elsewhere")).expect("renamed");
    let built = fixture.create("built").await;
    for range in [0..10, 10..20] {
        write(&built, range).await;
        built.build().await.expect("built");
    }
    let tables = fixture.engine().tables();
    let mut scrubber = scrubber(&fixture, ScrubOptions::default());
    let (mut tested, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let (table, subject) = scrubber.next(&tables).expect("a log is due");
        let could_be = scrubber.test(&table, &subject).await;
        match subject {
            Subject::File(file) => tested.push(file.file.name.clone()),
            Subject::Log => {
                asked.push((table.def().name.clone(), could_be));
                clock.advance(HOUR);
            }
        }
    }
    for file in built.snapshot().files() {
        assert!(tested.contains(&file.file.name), "{tested:?}");
    }
    assert_eq!((tested.len(), asked.len()), (2, 10), "files of a table that is away wait");
    let n_away = asked.iter().filter(|asked| **asked == ("away".to_owned(), false)).count();
    assert_eq!((n_away, asked.contains(&("built".to_owned(), true))), (9, true), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_leaves_a_damaged_file_alone_and_merges_the_others() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for n in 0..8 {
        write(&table, n * 10..(n + 1) * 10).await;
        table.seal().await.expect("sealed");
    }
    let broken = file(&table, 3);
    let whole = flip(&path_of(&table, &broken));
    table.compact().await.expect("the others are merged");
    assert!(damage(&table, &broken).is_some());
    let files = table.snapshot().files().len();
    assert!(files < 8, "{files} files");
    assert!(table.snapshot().files().iter().any(|file| file.file.name == broken.file.name), "it stays");
    replace(&path_of(&table, &broken), &whole);
    assert_eq!(check(&table, "files").await.is_ok, Some(true));
    assert_eq!(keys_of(&table), (0..80).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_engine_finds_damage_by_itself() {
    let mut fixture = Fixture::open_with(|options| options.seals_by_itself = true);
    fixture.create("t").await;
    write(&fixture.table("t"), 0..100).await;
    fixture.table("t").seal().await.expect("sealed");
    let table = fixture.table("t");
    flip(&path_of(&table, &file(&table, 0)));
    drop(table);
    fixture.restart().await;
    let table = fixture.table("t");
    let found = until(|| table.stats().damaged_files == 1);
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("it is found");
}

/// The accounts are even, and say this.
async fn equation(fixture: &Fixture, expected: &str) {
    let found = check(&fixture.table("t"), "rows").await;
    assert_eq!((found.is_ok, found.detail.as_str()), (Some(true), expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_that_was_ever_accepted_is_accounted_for() {
    let (mut fixture, clock) = Fixture::open_at(1_000_000_000);
    fixture.create("t").await;
    write(&fixture.table("t"), 0..100).await;
    // Repeated keys are accepted nowhere.
    write(&fixture.table("t"), 50..100).await;
    equation(&fixture, "100 accepted = 100 realtime + 0 built + 0 sealed + 0 deleted + 0 truncated + 0 expired").await;
    fixture.table("t").seal().await.expect("sealed");
    write(&fixture.table("t"), 100..150).await;
    assert_eq!(delete_keys(&fixture.table("t"), &[1, 2, 120]).await.expect("deleted"), 3);
    write(&fixture.table("t"), 150..160).await;
    equation(&fixture, "160 accepted = 10 realtime + 49 built + 98 sealed + 3 deleted + 0 truncated + 0 expired").await;
    fixture.table("t").seal().await.expect("sealed");
    fixture.table("t").compact().await.expect("merged");
    fixture.restart().await;
    equation(&fixture, "160 accepted = 0 realtime + 0 built + 157 sealed + 3 deleted + 0 truncated + 0 expired").await;
    assert_eq!(fixture.table("t").truncate().await.expect("truncated").0, 157);
    write(&fixture.table("t"), 200..300).await;
    fixture.table("t").seal().await.expect("sealed");
    equation(&fixture, "260 accepted = 0 realtime + 0 built + 100 sealed + 3 deleted + 157 truncated + 0 expired")
        .await;
    fixture.restart().await;
    equation(&fixture, "260 accepted = 0 realtime + 0 built + 100 sealed + 3 deleted + 157 truncated + 0 expired")
        .await;

    // All of these rows are of the first minute of 1970.
    let change = TableChange::SetOptions(vec![("retention".to_owned(), "1 hour".to_owned())]);
    fixture.engine().alter_table("public", "t", change).await.expect("altered");
    clock.advance(30 * HOUR);
    assert_eq!(crate::retention::expire(&fixture.table("t")).await.expect("expired"), 1);
    equation(&fixture, "260 accepted = 0 realtime + 0 built + 0 sealed + 3 deleted + 157 truncated + 100 expired")
        .await;
    fixture.restart().await;
    equation(&fixture, "260 accepted = 0 realtime + 0 built + 0 sealed + 3 deleted + 157 truncated + 100 expired")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_are_of_one_moment_while_rows_come() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let writer = tokio::spawn({
        let table = table.clone();
        async move {
            for n in 0..200 {
                write(&table, n * 50..(n + 1) * 50).await;
            }
        }
    });
    while !writer.is_finished() {
        let found = check(&table, "rows").await;
        assert_eq!(found.is_ok, Some(true), "{}", found.detail);
    }
    writer.await.expect("no panic");
}
