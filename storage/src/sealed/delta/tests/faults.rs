//! Is a store that fails told from a log that is damaged, and an unknown outcome from a known one?

use std::sync::Arc;

use object_store::ObjectStore;
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::super::{Change, Expected, Put};
use super::{added, change, commit, create, delta_in, events, file, memory};
use crate::error::Code;
use crate::sealed::faulty::{Fault, FaultyStore, Op};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_no_damage() {
    let faulty = FaultyStore::new(memory());
    let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let (delta, def) = (delta_in(&store), events());
    let a = file("a.parquet", 1);
    commit(&delta, 0, &create(&def)).await;
    commit(&delta, 1, &Change { adds: vec![added(&a)], txn: Some(("app", 10)), ..change(&def, "WRITE") }).await;
    let expected = Expected { n_files: 1, txn: ("app".into(), 10) };
    let rows = RoaringBitmap::from_iter([3u32]);

    faulty.set_away(true);
    let bytes = create(&def).to_bytes().expect("a commit");
    let away = [
        delta.put(2, bytes).await.map(|_| ()),
        delta.read(1).await.map(|_| ()),
        delta.load().await.map(|_| ()),
        delta.load_at(0).await.map(|_| ()),
        delta.checkpoint(1, &expected).await,
        delta.clean_log(0, 1, i64::MAX).await.map(|_| ()),
        delta.write_deletion_vector(Uuid::from_u128(1), &rows).await.map(|_| ()),
    ];
    for (i, outcome) in away.into_iter().enumerate() {
        assert_eq!(outcome.expect_err("it is away").code(), Code::StoreUnavailable, "call {i}");
    }

    faulty.set_away(false);
    delta.checkpoint(1, &expected).await.expect("it is back");
    assert_eq!(delta.read(2).await.expect("read"), None);
    faulty.script(Op::Get, ".checkpoint.parquet", Fault::Before);
    assert_eq!(delta.load().await.expect_err("no checkpoint").code(), Code::StoreUnavailable);
    assert_eq!(delta.load().await.expect("it is back").files.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_is_lost_is_found_at_its_version() {
    let faulty = FaultyStore::new(memory());
    let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let delta = delta_in(&store);
    let bytes = create(&events()).to_bytes().expect("a commit");
    faulty.script(Op::Put, "00000000000000000000.json", Fault::After);
    assert_eq!(delta.put(0, bytes.clone()).await.expect_err("unknown").code(), Code::StoreUnavailable);
    assert_eq!(delta.put(0, bytes).await.expect("put"), Put::Exists);
    let winner = delta.read(0).await.expect("read").expect("it arrived");
    assert_eq!(winner.commit_id, Some(Uuid::from_u128(7).to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_vector_whose_reply_is_lost_is_written_again() {
    let faulty = FaultyStore::new(memory());
    let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let delta = delta_in(&store);
    let rows = RoaringBitmap::from_iter([3u32]);
    faulty.script(Op::Put, "deletion_vector_", Fault::After);
    delta.write_deletion_vector(Uuid::from_u128(1), &rows).await.expect_err("unknown");
    assert_eq!(delta.write_deletion_vector(Uuid::from_u128(1), &rows).await.expect("the same").cardinality, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_up_that_fails_goes_on_where_it_was() {
    let faulty = FaultyStore::new(memory());
    let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let (delta, def) = (delta_in(&store), events());
    commit(&delta, 0, &create(&def)).await;
    for version in 1..=3 {
        commit(&delta, version, &Change { txn: Some(("app", version)), ..change(&def, "WRITE") }).await;
    }
    delta.checkpoint(3, &Expected { n_files: 0, txn: ("app".into(), 3) }).await.expect("a checkpoint");
    faulty.script(Op::Delete, "00000000000000000001.json", Fault::Before);
    delta.clean_log(0, 3, i64::MAX).await.expect_err("a delete fails");
    assert_eq!(delta.read(0).await.expect("read"), None);
    assert!(delta.read(1).await.expect("read").is_some());
    assert_eq!(delta.load().await.expect("load").version, 3);
    assert_eq!(delta.clean_log(0, 3, i64::MAX).await.expect("clean"), 3);
    assert_eq!(delta.load().await.expect("load").txns, [("app".to_owned(), 3)]);
}
