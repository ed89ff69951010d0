//! Is a checkpoint read back before it counts, and does only go what nobody needs?

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::super::{Add, Change, DeltaTable, Expected, Features};
use super::{FOLDER, added, change, commit, create, delta_in, events, file, memory};
use crate::error::Code;
use crate::sealed::SegmentFile;

fn log_path(name: &str) -> Path {
    Path::from(format!("{FOLDER}/_delta_log/{name}"))
}

async fn is_there(store: &Arc<dyn ObjectStore>, name: &str) -> bool {
    store.head(&log_path(name)).await.is_ok()
}

fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

fn checkpoint_name(version: u64) -> String {
    format!("{version:020}.checkpoint.parquet")
}

async fn assert_missing(delta: &DeltaTable, version: u64, expected: &[String]) {
    let expected: Vec<String> = expected.iter().map(|name| format!("_delta_log/{name}")).collect();
    assert_eq!(delta.missing(version).await.expect("listed"), expected, "version {version}");
}

/// Version 0 and six versions with a file each, the first with a deletion vector.
async fn six_files(delta: &DeltaTable) {
    let def = events();
    let files: Vec<SegmentFile> = (1..=6).map(|i| file(&format!("f{i}.parquet"), i * 10)).collect();
    commit(delta, 0, &create(&def)).await;
    let rows = RoaringBitmap::from_iter(0u32..7);
    let vector = delta.write_deletion_vector(Uuid::from_u128(3), &rows).await.expect("a vector");
    for (version, file) in (1..).zip(&files) {
        let vector = (version == 1).then_some(&vector);
        let protocol = vector.map(|_| Features::of(&def).with_deletion_vectors(true));
        let adds = vec![Add { vector, ..added(file) }];
        let txn = Some(("app", version * 10));
        commit(delta, version, &Change { adds, txn, protocol, ..change(&def, "WRITE") }).await;
    }
}

fn expected(n_files: u64, txn: u64) -> Expected {
    Expected { n_files, txn: ("app".into(), txn) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_loaded_from_its_checkpoint() {
    let store = memory();
    let delta = delta_in(&store);
    six_files(&delta).await;
    delta.checkpoint(4, &expected(4, 40)).await.expect("a checkpoint");
    // A second time it is only read back.
    delta.checkpoint(4, &expected(4, 40)).await.expect("the same");
    assert!(is_there(&store, "_last_checkpoint").await);
    assert_eq!(delta.checkpoint_txns(4).await.expect("read"), [("app".to_owned(), 40)]);
    assert!(delta.checkpoint_txns(3).await.expect("asked").is_empty(), "there is none");
    for version in 0..4 {
        store.delete(&log_path(&commit_name(version))).await.expect("delete");
    }
    assert!(!delta.has_commit(3).await.expect("asked") && delta.has_commit(4).await.expect("asked"));
    let loaded = delta.load().await.expect("from the checkpoint");
    assert_eq!((loaded.version, loaded.files.len()), (6, 6));
    assert_eq!(loaded.txns, [("app".to_owned(), 60)]);
    let def = events();
    let mut segments = loaded.segments(&def).expect("ours");
    segments.sort_by(|a, b| a.name.cmp(&b.name));
    let files: Vec<SegmentFile> = (1..=6).map(|i| file(&format!("f{i}.parquet"), i * 10)).collect();
    assert_eq!(format!("{segments:?}"), format!("{files:?}"));
    let deleted: Vec<u64> = loaded.files.iter().filter_map(|file| Some(file.deleted.as_ref()?.len())).collect();
    assert_eq!(deleted, [7]);
    let of_checkpoint = delta.load_at(4).await.expect("the checkpoint's version");
    assert_eq!((of_checkpoint.files.len(), of_checkpoint.txns[0].1), (4, 40));
}

/// The log of a month has hundreds.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_checkpoint_that_is_read_has_to_be_whole() {
    let store = memory();
    let delta = delta_in(&store);
    six_files(&delta).await;
    for version in [2, 4] {
        delta.checkpoint(version, &expected(version, version * 10)).await.expect("a checkpoint");
    }
    store.put(&log_path(&checkpoint_name(2)), "damaged".into()).await.expect("put");
    assert_eq!(delta.load().await.expect("from the newer one").files.len(), 6);
    assert_eq!(delta.load_at(5).await.expect("from the newer one").files.len(), 5);
    let error = delta.load_at(3).await.expect_err("from the older one");
    assert_eq!(error.code(), Code::DeltaDamaged, "{error}");
    // A part of one of several files, which may be read with any.
    store.put(&log_path("_sidecars/00000000000000000001.parquet"), "damaged".into()).await.expect("put");
    assert_eq!(delta.load().await.expect_err("it may be read").code(), Code::DeltaDamaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_not_as_expected_is_not_kept() {
    let store = memory();
    let delta = delta_in(&store);
    six_files(&delta).await;
    for wrong in [expected(3, 40), expected(4, 41), Expected { n_files: 4, txn: ("other".into(), 40) }] {
        let e = delta.checkpoint(4, &wrong).await.expect_err("not as expected");
        assert_eq!(e.code(), Code::DeltaDamaged, "{e}");
        assert!(!is_there(&store, &checkpoint_name(4)).await);
        assert!(!is_there(&store, "_last_checkpoint").await);
    }
    delta.checkpoint(4, &expected(4, 40)).await.expect("as expected");
    // One that was there before stays: it may be all that is left.
    delta.checkpoint(4, &expected(5, 40)).await.expect_err("not as expected");
    assert!(is_there(&store, &checkpoint_name(4)).await);
    assert!(delta.checkpoint(9, &expected(0, 0)).await.is_err(), "there is no version 9");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_kept_from_a_checkpoint_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).expect("a store"));
    let delta = delta_in(&store);
    six_files(&delta).await;
    delta.checkpoint(2, &expected(2, 20)).await.expect("a checkpoint");
    delta.checkpoint(5, &expected(5, 50)).await.expect("a checkpoint");
    // Versions 0 to 3 are of second 1,000, the others of second 2,000.
    for version in 0..=6 {
        let path = dir.path().join(FOLDER).join("_delta_log").join(commit_name(version));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(if version < 4 { 1000 } else { 2000 });
        std::fs::File::options().write(true).open(path).expect("a commit").set_modified(at).expect("its time");
    }
    let cut_us = 1_500_000_000;
    assert_eq!(delta.clean_log(0, 5, 900_000_000).await.expect("nothing is old"), 0);
    assert_eq!(delta.clean_log(0, 5, cut_us).await.expect("clean"), 2);
    for version in 0..=6 {
        assert_eq!(is_there(&store, &commit_name(version)).await, version >= 2, "version {version}");
        if version >= 2 {
            let n_files = usize::try_from(version).expect("small");
            assert_eq!(delta.load_at(version).await.expect("it is kept").files.len(), n_files);
        }
    }
    // Version 3 is old, but without it and a checkpoint of its own nobody could read version 4.
    assert_eq!(delta.clean_log(2, 5, cut_us).await.expect("nothing more"), 2);
    assert_eq!(delta.clean_log(2, 5, i64::MAX).await.expect("clean"), 5);
    assert!(!is_there(&store, &checkpoint_name(2)).await && is_there(&store, &checkpoint_name(5)).await);
    assert_eq!(delta.load().await.expect("it is kept").files.len(), 6);
    // An earlier attempt was cut off: what is gone already is not missed.
    assert_eq!(delta.clean_log(0, 5, i64::MAX).await.expect("clean"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_readers_need_of_the_log_and_do_not_find_is_named() {
    let store = memory();
    let delta = delta_in(&store);
    six_files(&delta).await;
    assert_missing(&delta, 6, &[]).await;
    for version in [2, 4] {
        delta.checkpoint(version, &expected(version, version * 10)).await.expect("a checkpoint");
    }
    // The checkpoint stands for these.
    for version in [0, 3] {
        store.delete(&log_path(&commit_name(version))).await.expect("delete");
    }
    assert_missing(&delta, 6, &[]).await;
    store.delete(&log_path(&commit_name(5))).await.expect("delete");
    assert_missing(&delta, 6, &[commit_name(5)]).await;
    assert_missing(&delta, 4, &[]).await;
    let announced = store.get(&log_path("_last_checkpoint")).await.expect("there").bytes().await.expect("read");
    store.delete(&log_path("_last_checkpoint")).await.expect("delete");
    // It is found by its name as well.
    assert_missing(&delta, 6, &[commit_name(5)]).await;
    store.delete(&log_path(&checkpoint_name(4))).await.expect("delete");
    assert_missing(&delta, 6, &[commit_name(3), commit_name(5)]).await;
    store.put(&log_path("_last_checkpoint"), announced.into()).await.expect("put");
    assert_missing(&delta, 6, &[checkpoint_name(4), commit_name(5)]).await;
    assert_missing(&delta, 3, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_old_checkpoint_nothing_goes() {
    let store = memory();
    let delta = delta_in(&store);
    six_files(&delta).await;
    delta.checkpoint(5, &expected(5, 50)).await.expect("a checkpoint");
    assert_eq!(delta.clean_log(0, 5, i64::MIN).await.expect("all are young"), 0);
    for version in 0..=6 {
        assert!(is_there(&store, &commit_name(version)).await);
    }
}
