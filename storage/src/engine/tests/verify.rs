//! Does a check of a table keep nothing that others need, and say what it could not look at?

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::support::{Fixture, batch, opened_for, path_of, replace_by_pipe, request, until};
use crate::error::Error;
use crate::memory::Share;
use crate::publishing::{Check, check_log};
use crate::table::Table;

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

async fn write(table: &Table, keys: std::ops::Range<i64>) {
    table.write(request(batch(&keys.collect::<Vec<_>>()))).await.expect("stored");
}

fn all_passed(checks: &[Check]) -> bool {
    checks.len() == 6 && checks.iter().all(|check| check.is_ok == Some(true))
}

fn outcomes(checks: &[Check]) -> Vec<(&'static str, Option<bool>)> {
    checks.iter().map(|check| (check.name, check.is_ok)).collect()
}

/// A verify that reads a file and does not get to its end.
struct HeldUp {
    path: PathBuf,
    /// Where the file is meanwhile, and what is in it.
    beside: PathBuf,
    whole: Vec<u8>,
    pipe: File,
    verifying: JoinHandle<Result<Vec<Check>, Error>>,
}

/// In the place of the file there is a pipe.
async fn verify_held_up(table: &Table, path: PathBuf) -> HeldUp {
    let whole = std::fs::read(&path).expect("readable");
    let beside = replace_by_pipe(&path);
    let verifying = tokio::spawn({
        let table = table.clone();
        async move { table.verify().await }
    });
    let pipe = tokio::time::timeout(LIMIT, opened_for(&path)).await.expect("it reads the file");
    HeldUp { path, beside, whole, pipe, verifying }
}

impl HeldUp {
    /// The reader gets what is in the file.
    async fn go_on(mut self) -> Vec<Check> {
        self.pipe.write_all(&self.whole).expect("written");
        drop(self.pipe);
        self.verifying.await.expect("no panic").expect("told")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_built_while_files_are_read_are_kept_by_nobody() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    write(&table, 100..200).await;
    let held = verify_held_up(&table, path_of(&table, &table.snapshot().files()[0])).await;
    table.build().await.expect("built");
    let memory = Arc::clone(fixture.engine().memory());
    let gone = until(|| memory.used(Share::Realtime) + memory.used(Share::Queries) == 0);
    tokio::time::timeout(LIMIT, gone).await.expect("nobody has them any more");
    // From here on the file is what it was.
    std::fs::rename(&held.beside, &held.path).expect("renamed");
    let checks = held.go_on().await;
    assert!(all_passed(&checks), "{checks:?}");
    let keys = checks.iter().find(|check| check.name == "keys").expect("the check is made");
    assert_eq!(keys.detail, "the keys of 200 rows are all different");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_store_goes_away_meanwhile_are_neither_whole_nor_damaged() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200, 200..300] {
        write(&table, range).await;
        table.seal().await.expect("sealed");
    }
    let files = table.snapshot().files().to_vec();
    let held = verify_held_up(&table, path_of(&table, &files[0])).await;
    // As if its file system were not mounted any more.
    let folder = fixture.path().join(table.shared.folders.published().to_string());
    std::fs::rename(&folder, folder.with_extension("elsewhere")).expect("renamed");
    let checks = held.go_on().await;
    let expected = [
        ("files", None),
        ("halves", Some(true)),
        ("rows", Some(true)),
        ("delta_log", Some(true)),
        ("sidecars", None),
        ("keys", None),
    ];
    assert_eq!(outcomes(&checks), expected, "{checks:?}");
    assert!(checks[4].detail.contains("3 more could not be tested"), "{:?}", checks[4]);
    let first = &checks[0];
    let second: &str = files[1].place.path.as_ref();
    for part in ["1 files of", "2 more could not be tested", second, "mounted"] {
        assert!(first.detail.contains(part), "{part}: {first:?}");
    }
    assert!(!first.detail.contains(&files[2].file.name), "the first one is named: {first:?}");
    assert_eq!(table.stats().damaged_files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_not_wrong_while_its_store_is_away() {
    let (elsewhere, _clock, store) = Fixture::open_elsewhere(1_000_000_000);
    for (fixture, is_local) in [(Fixture::open(), true), (elsewhere, false)] {
        let table = fixture.create("t").await;
        write(&table, 0..100).await;
        table.seal().await.expect("sealed");
        let snapshot = table.snapshot();
        let figures = *table.shared.sealing.lock();
        let folder = fixture.path().join(table.shared.folders.published().to_string());
        let set_away = |is_away: bool| match (is_local, is_away) {
            (true, true) => std::fs::rename(&folder, folder.with_extension("elsewhere")).expect("renamed"),
            (true, false) => std::fs::rename(folder.with_extension("elsewhere"), &folder).expect("renamed"),
            (false, is_away) => store.set_away(is_away),
        };
        for (is_away, is_ok) in [(true, None), (false, Some(true))] {
            set_away(is_away);
            let check = check_log(&table.shared, &snapshot, figures).await;
            assert_eq!((check.name, check.is_ok), ("delta_log", is_ok), "is_local: {is_local}, {check:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_its_disk_does_not_give_is_wrong_if_the_disk_is_there() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for range in [0..100, 100..200] {
        write(&table, range).await;
        table.seal().await.expect("sealed");
    }
    let folder = fixture.path().join(table.shared.folders.published().to_string());
    let commit = folder.join("_delta_log/00000000000000000000.json");
    std::fs::rename(&commit, commit.with_extension("aside")).expect("renamed");
    // Reads of it fail as those of a disk that does not give what it has.
    std::os::unix::fs::symlink("/proc/self/mem", &commit).expect("linked");
    let checks = table.verify().await.expect("told");
    let log = checks.iter().find(|check| check.name == "delta_log").expect("the check is made");
    assert_eq!(log.is_ok, Some(false), "{log:?}");
    std::fs::rename(commit.with_extension("aside"), &commit).expect("renamed");
    assert!(all_passed(&table.verify().await.expect("told")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_now_is_not_damaged() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    let path = path_of(&table, &table.snapshot().files()[0]);
    let beside = path.with_extension("whole");
    std::fs::rename(&path, &beside).expect("renamed");
    std::fs::create_dir(&path).expect("a folder in its place");
    let checks = table.verify().await.expect("told");
    assert_eq!((checks[0].name, checks[0].is_ok), ("files", None), "{:?}", checks[0]);
    assert!(checks[0].detail.contains("1 more could not be tested"), "{:?}", checks[0]);
    std::fs::remove_dir(&path).expect("removed");
    std::fs::rename(&beside, &path).expect("renamed");
    assert!(all_passed(&table.verify().await.expect("told")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_looked_at_in_time_is_said_and_all_else_is_told() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    write(&table, 100..110).await;
    let file = table.snapshot().files()[0].clone();
    let sidecar = table.shared.gate.folder.join(file.sidecar().expect("a sidecar").1.to_string());
    std::fs::remove_file(&sidecar).expect("removed");
    let checks = table.verify_within(Duration::ZERO).await.expect("told");
    let expected = [
        ("files", None),
        ("halves", Some(true)),
        ("rows", Some(true)),
        ("delta_log", None),
        ("sidecars", None),
        ("keys", None),
    ];
    assert_eq!(outcomes(&checks), expected, "{checks:?}");
    let is_said = |check: &Check| check.detail.contains("in time") && check.detail.contains("statement_timeout");
    assert!(checks.iter().filter(|check| check.is_ok.is_none()).all(is_said), "{checks:?}");
    assert!(checks[0].detail.contains("1 more were not looked at"), "{}", checks[0].detail);
    assert!(!sidecar.exists(), "nothing is written again when the time is up");
    let checks = table.verify().await.expect("told");
    assert!(all_passed(&checks) && sidecar.exists(), "{checks:?}");
}
