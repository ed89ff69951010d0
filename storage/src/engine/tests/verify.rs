//! Does a check of a table keep nothing that others need, and say what it could not look at?

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::support::{Fixture, batch, path_of, request, until};
use crate::memory::Share;
use crate::publishing::Check;
use crate::table::Table;

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

async fn write(table: &Table, keys: std::ops::Range<i64>) {
    table.write(request(batch(&keys.collect::<Vec<_>>()))).await.expect("stored");
}

/// Opens a pipe as soon as somebody reads from it.
async fn opened_for(reader: &Path) -> File {
    loop {
        if let Ok(pipe) = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(reader) {
            return pipe;
        }
        tokio::task::yield_now().await;
    }
}

fn all_passed(checks: &[Check]) -> bool {
    checks.len() == 6 && checks.iter().all(|check| check.is_ok == Some(true))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_built_while_files_are_read_are_kept_by_nobody() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, 0..100).await;
    table.seal().await.expect("sealed");
    write(&table, 100..200).await;
    // Whoever reads the file waits until somebody writes into it.
    let path = path_of(&table, &table.snapshot().files()[0]);
    let (whole, beside) = (std::fs::read(&path).expect("readable"), path.with_extension("whole"));
    std::fs::rename(&path, &beside).expect("renamed");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("made");
    let verifying = tokio::spawn({
        let table = table.clone();
        async move { table.verify().await }
    });
    let mut pipe = tokio::time::timeout(LIMIT, opened_for(&path)).await.expect("it reads the file");
    table.build().await.expect("built");
    let memory = Arc::clone(fixture.engine().memory());
    let gone = until(|| memory.used(Share::Realtime) + memory.used(Share::Queries) == 0);
    tokio::time::timeout(LIMIT, gone).await.expect("nobody has them any more");
    // From here on the file is what it was.
    std::fs::rename(&beside, &path).expect("renamed");
    pipe.write_all(&whole).expect("written");
    drop(pipe);
    let checks = verifying.await.expect("no panic").expect("told");
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
    // Whoever reads the first file waits until somebody writes into it.
    let path = path_of(&table, &files[0]);
    let (whole, beside) = (std::fs::read(&path).expect("readable"), path.with_extension("whole"));
    std::fs::rename(&path, &beside).expect("renamed");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("made");
    let verifying = tokio::spawn({
        let table = table.clone();
        async move { table.verify().await }
    });
    let mut pipe = tokio::time::timeout(LIMIT, opened_for(&path)).await.expect("it reads the file");
    // As if its file system were not mounted any more.
    let folder = fixture.path().join(table.shared.folders.published().to_string());
    std::fs::rename(&folder, folder.with_extension("elsewhere")).expect("renamed");
    pipe.write_all(&whole).expect("written");
    drop(pipe);
    let checks = verifying.await.expect("no panic").expect("told");
    let [first, ..] = checks.as_slice() else { panic!("{checks:?}") };
    assert_eq!((first.name, first.is_ok), ("files", None), "{first:?}");
    let second: &str = files[1].place.path.as_ref();
    for part in ["1 files of", "2 more could not be tested", second, "mounted"] {
        assert!(first.detail.contains(part), "{part}: {first:?}");
    }
    assert!(!first.detail.contains(&files[2].file.name), "the first one is named: {first:?}");
    assert_eq!(table.stats().damaged_files, 0);
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
    let found: Vec<_> = checks.iter().map(|check| (check.name, check.is_ok)).collect();
    let expected = [
        ("files", None),
        ("halves", Some(true)),
        ("rows", Some(true)),
        ("delta_log", None),
        ("sidecars", None),
        ("keys", None),
    ];
    assert_eq!(found, expected, "{checks:?}");
    let is_said = |check: &Check| check.detail.contains("in time") && check.detail.contains("statement_timeout");
    assert!(checks.iter().filter(|check| check.is_ok.is_none()).all(is_said), "{checks:?}");
    assert!(checks[0].detail.contains("1 more were not looked at"), "{}", checks[0].detail);
    assert!(!sidecar.exists(), "nothing is written again when the time is up");
    let checks = table.verify().await.expect("told");
    assert!(all_passed(&checks) && sidecar.exists(), "{checks:?}");
}
