//! Files of a keyed table have sidecars: from the build on, with their own keys, and no longer than they are there themselves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use bytes::Bytes;

use super::*;
use crate::engine::tests::support::{Fixture, delete_keys, keys_of};
use crate::env::FailAction;
use crate::limits::REMOVED_FILE_TTL_S;
use crate::publishing::Check;
use crate::sealed::sidecar::{Directory, Filter, key_hashes};

/// Where a file of the table is, by its path in the store.
fn on_disk(table: &Table, path: &object_store::path::Path) -> PathBuf {
    table.shared.gate.folder.join(path.to_string())
}

/// Checks that each visible file has a sidecar that admits all of its keys and few others. Returns how many files there are.
fn check_all(table: &Table) -> usize {
    let snapshot = table.snapshot();
    let def = snapshot.def();
    for file in snapshot.files() {
        let (sidecar, path) = file.sidecar().expect("a sidecar");
        let bytes = Bytes::from(std::fs::read(on_disk(table, &path)).expect("it is there"));
        let directory = Directory::parse(&bytes, sidecar.bytes).expect("whole");
        let [block] = directory.blocks.as_slice() else { panic!("{} blocks", directory.blocks.len()) };
        assert_eq!(block.rows, file.file.rows);
        let own = bytes.slice(block.range.start as usize..block.range.end as usize);
        let filter = Filter::parse(block, own).expect("whole");
        let rows = crate::sealed::read_columns(&on_disk(table, &file.place.path), &def.arrow_schema, &def.key);
        for rows in rows.expect("the file opens") {
            let rows = rows.expect("readable");
            let hashes = key_hashes(&[Arc::clone(rows.column(0))]).expect("keys");
            assert!(hashes.iter().all(|hash| filter.contains(*hash)), "{}", file.file.name);
        }
        let others: ArrayRef = Arc::new(Int64Array::from_iter_values(1_000_000..1_010_000));
        let n_wrong = key_hashes(&[others]).expect("keys").iter().filter(|hash| filter.contains(**hash)).count();
        assert!(n_wrong < 100, "{n_wrong} of 10,000 others");
    }
    snapshot.files().len()
}

/// Names of the sidecars of these files.
fn sidecars_of(files: &[String]) -> Vec<String> {
    files.iter().map(|name| name.replace(".parquet", ".filters")).collect()
}

fn built_sidecars(table: &Table) -> Vec<String> {
    files_in(&table.shared.folders.built(), ".filters")
}

fn published_sidecars(table: &Table) -> Vec<String> {
    files_in(&path_of(table, "_filters"), ".filters")
}

async fn verified(table: &Table, name: &str) -> Check {
    let mut checks = table.verify().await.expect("looked at").into_iter();
    checks.find(|check| check.name == name).expect("the check is made")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_has_one_wherever_it_is() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    write(&table, &all(100)).await;
    table.build().await.expect("built");
    assert_eq!((check_all(&table), built_sidecars(&table)), (1, sidecars_of(&names(&table))));
    assert!(published_sidecars(&table).is_empty());
    table.seal().await.expect("sealed");
    assert_eq!((check_all(&table), published_sidecars(&table)), (1, sidecars_of(&names(&table))));
    assert!(built_sidecars(&table).is_empty());
    for piece in 1..5 {
        write(&table, &(piece * 100..(piece + 1) * 100).collect::<Vec<_>>()).await;
        table.seal().await.expect("sealed");
    }
    delete_keys(&table, &[7, 250]).await.expect("deleted");
    table.seal().await.expect("sealed");
    assert_eq!(check_all(&table), 5);
    drop(table);
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(check_all(&table), 5);
    assert_eq!(table.compact().await.expect("compacted").merged_files, 5);
    assert_eq!(check_all(&table), 1);
    assert!(built_sidecars(&table).is_empty());
    let check = verified(&table, "sidecars").await;
    assert_eq!(check.is_ok, Some(true), "{}", check.detail);
    assert_eq!(verified(&table, "delta_log").await.is_ok, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_key_has_none() {
    let fixture = Fixture::open();
    let new = NewTable { key: Vec::new(), ..definition("t") };
    let table = fixture.engine().create_table(new).await.expect("created").0;
    write(&table, &all(10)).await;
    table.seal().await.expect("sealed");
    assert!(table.snapshot().files().iter().all(|file| file.sidecar().is_none()));
    assert!(!path_of(&table, "_filters").exists());
    assert_eq!(verified(&table, "sidecars").await.is_ok, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_did_not_end_leaves_none() {
    for point in ["build.names_recorded", "build.file_written", "build.files_synced"] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        write(&fixture.table("t"), &all(100)).await;
        fixture.engine().env().fail.arm(point, FailAction::Error(1));
        fixture.table("t").build().await.expect_err("the point fails");
        fixture.restart().await;
        let table = fixture.table("t");
        table.build().await.expect("built");
        fixture.engine().clean_files().await;
        assert_eq!((check_all(&table), built_sidecars(&table)), (1, sidecars_of(&names(&table))), "{point}");
        table.truncate().await.expect("truncated");
        drop(table);
        fixture.engine().clean_files().await;
        assert!(built_sidecars(&fixture.table("t")).is_empty(), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_sidecar_that_a_process_left_is_deleted_by_the_name_of_its_file() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    write(&fixture.table("t"), &all(10)).await;
    fixture.engine().env().fail.arm("build.names_recorded", FailAction::Error(1));
    fixture.table("t").build().await.expect_err("the point fails");
    let table = fixture.table("t");
    let recorded = crate::table::recorded_names(&table.shared.store, table.def().id).expect("readable");
    let file = recorded.into_keys().find(|name| name.ends_with(".parquet")).expect("a name");
    let sidecar = crate::sealed::local_sidecar_of(&table.shared.folders.built_path(&file));
    std::fs::create_dir_all(table.shared.folders.built()).expect("made");
    std::fs::write(&sidecar, b"part of a sidecar").expect("written");
    drop(table);
    fixture.restart().await;
    fixture.engine().clean_files().await;
    crate::env::wait_for_soon();
    assert!(!sidecar.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn they_leave_with_their_files() {
    let (fixture, clock) = Fixture::open_at(1_700_000_000_000_000);
    fixture.create("t").await;
    let table = fixture.table("t");
    seal_pieces(&table, 5, 10).await;
    assert_eq!(published_sidecars(&table), sidecars_of(&names(&table)));
    table.compact().await.expect("compacted");
    fixture.engine().clean_files().await;
    assert_eq!(published_sidecars(&table).len(), 6, "readers of older versions need them");
    clock.advance(Duration::from_secs(REMOVED_FILE_TTL_S));
    fixture.engine().clean_files().await;
    assert_eq!(published_sidecars(&table), sidecars_of(&names(&table)));
    assert_eq!((check_all(&table), keys_of(&table)), (1, all(50)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_damaged_is_found_and_written_again() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(100)).await;
    table.seal().await.expect("sealed");
    let file = table.snapshot().files()[0].clone();
    let path = on_disk(&table, &file.sidecar().expect("a sidecar").1);
    let whole = std::fs::read(&path).expect("readable");
    for (n, how) in (1..).zip(["missing", "flipped", "cut off"]) {
        let mut bytes = whole.clone();
        bytes[30] ^= 4;
        match how {
            "missing" => std::fs::remove_file(&path).expect("removed"),
            "flipped" => std::fs::write(&path, &bytes).expect("damage"),
            _ => std::fs::write(&path, &bytes[..9]).expect("damage"),
        }
        let check = verified(&table, "sidecars").await;
        assert_eq!(check.is_ok, Some(true), "{how}: {}", check.detail);
        assert!(check.detail.contains("1 of these filters were damaged or missing"), "{how}: {}", check.detail);
        assert_eq!(std::fs::read(&path).expect("it is there"), whole, "{how}");
        assert_eq!(table.snapshot().quarantine().n_restored(&file.file.name), n, "{how}");
        let check = verified(&table, "sidecars").await;
        assert!(check.is_ok == Some(true) && !check.detail.contains("again"), "{how}: {}", check.detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_beside_a_damaged_file_is_found_and_left() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(100)).await;
    table.seal().await.expect("sealed");
    let file = table.snapshot().files()[0].clone();
    let beside = file.sidecar().expect("a sidecar").1;
    for path in [&file.place.path, &beside] {
        let mut bytes = std::fs::read(on_disk(&table, path)).expect("readable");
        bytes[30] ^= 4;
        std::fs::write(on_disk(&table, path), &bytes).expect("damage");
    }
    let check = verified(&table, "sidecars").await;
    assert_eq!(check.is_ok, Some(false));
    assert!(check.detail.contains(&beside.to_string()) && check.detail.contains("a merge"), "{}", check.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_published_without_one_that_is_damaged() {
    for how in ["missing", "flipped", "cut off"] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let table = fixture.table("t");
        write(&table, &all(100)).await;
        table.build().await.expect("built");
        let path = on_disk(&table, &table.snapshot().files()[0].sidecar().expect("a sidecar").1);
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes[20] ^= 1;
        match how {
            "missing" => std::fs::remove_file(&path).expect("removed"),
            "flipped" => std::fs::write(&path, &bytes).expect("damage"),
            _ => std::fs::write(&path, &bytes[..9]).expect("damage"),
        }
        assert_eq!(table.seal().await.expect("sealed").rows, 100, "{how}");
        assert!(table.snapshot().files()[0].sidecar().is_none(), "{how}");
        assert!(built_sidecars(&table).is_empty() && published_sidecars(&table).is_empty(), "{how}");
        let check = verified(&table, "sidecars").await;
        assert_eq!(check.is_ok, Some(true), "{how}: {}", check.detail);
        drop(table);
        fixture.restart().await;
        assert!(fixture.table("t").snapshot().files()[0].sidecar().is_none(), "{how}");
        assert_eq!(keys_of(&fixture.table("t")), all(100), "{how}");
    }
}
