//! Does the store for tests fail as its script says, and only then?

use std::sync::Arc;

use futures::{FutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};

use crate::sealed::faulty::{Fault, FaultyStore, Hold, Op};

fn faulty() -> (FaultyStore, Arc<dyn ObjectStore>) {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (FaultyStore::new(Arc::clone(&inner)), inner)
}

async fn text(store: &dyn ObjectStore, path: &str) -> Option<String> {
    match store.get(&Path::from(path)).await {
        Ok(found) => Some(String::from_utf8_lossy(&found.bytes().await.expect("readable")).into_owned()),
        Err(Error::NotFound { .. }) => None,
        Err(e) => panic!("{e}"),
    }
}

#[tokio::test]
async fn a_put_fails_before_or_after() {
    let (store, inner) = faulty();
    let path = Path::from("t/_delta_log/1.json");
    store.script(Op::Put, "_delta_log", Fault::Before);
    store.script(Op::Put, "_delta_log", Fault::After);
    store.put(&Path::from("t/a.parquet"), "a".into()).await.expect("another path");
    assert!(store.put(&path, "1".into()).await.is_err());
    assert_eq!(text(&inner, path.as_ref()).await, None);
    assert!(store.put(&path, "1".into()).await.is_err());
    assert_eq!(text(&inner, path.as_ref()).await.as_deref(), Some("1"));
    let again = store.put_opts(&path, "2".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    assert_eq!((store.calls(Op::Put), store.n_scripted()), (4, 0));
}

#[tokio::test]
async fn a_late_put_arrives_when_it_is_told_to() {
    let (store, inner) = faulty();
    store.script(Op::Put, "", Fault::Late);
    assert!(store.put_opts(&Path::from("x"), "1".into(), PutMode::Create.into()).await.is_err());
    assert_eq!(text(&inner, "x").await, None);
    store.arrive().await;
    assert_eq!(text(&inner, "x").await.as_deref(), Some("1"));
    store.arrive().await;
}

#[tokio::test]
async fn a_held_operation_waits() {
    let (store, inner) = faulty();
    let hold = Hold::new();
    store.script(Op::Put, "x", Fault::Hold(Arc::clone(&hold)));
    let put = {
        let store = store.clone();
        tokio::spawn(async move { store.put(&Path::from("x"), "1".into()).await.map(|_| ()) })
    };
    hold.reached().await;
    assert_eq!(text(&inner, "x").await, None);
    hold.release();
    put.await.expect("no panic").expect("done");
    assert_eq!(text(&inner, "x").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn nothing_passes_while_it_is_away() {
    let (store, inner) = faulty();
    let (a, b) = (Path::from("a"), Path::from("b"));
    let mut upload = store.put_multipart(&b).await.expect("begun");
    store.put(&a, "1".into()).await.expect("new");
    store.script(Op::Get, "", Fault::Before);
    store.set_away(true);
    assert!(store.put(&b, "1".into()).await.is_err());
    assert!(store.get(&a).await.is_err());
    assert!(store.get_ranges(&a, &[0..1, 0..1]).await.is_err());
    assert!(store.head(&a).await.is_err());
    assert!(store.delete(&a).await.is_err());
    assert!(store.copy(&a, &b).await.is_err());
    assert!(store.rename(&a, &b).await.is_err());
    assert!(store.list(None).try_collect::<Vec<ObjectMeta>>().await.is_err());
    assert!(store.list_with_offset(None, &a).try_collect::<Vec<ObjectMeta>>().await.is_err());
    assert!(store.list_with_delimiter(None).await.is_err());
    assert!(store.put_multipart(&b).await.is_err());
    assert!(upload.put_part("1".into()).await.is_err());
    assert_eq!((text(&inner, "a").await.as_deref(), text(&inner, "b").await), (Some("1"), None));

    store.set_away(false);
    assert_eq!(store.n_scripted(), 1);
    assert!(store.get(&a).await.is_err());
    assert_eq!(text(&store, "a").await.as_deref(), Some("1"));
    let found: Vec<ObjectMeta> = store.list(None).try_collect().await.expect("lists");
    assert_eq!(found.len(), 1);
    store.rename(&a, &b).await.expect("renamed");
    store.delete(&b).await.expect("deleted");
    assert_eq!(store.calls(Op::Delete), 2);
}

#[tokio::test]
async fn an_upload_fails_at_its_end() {
    let (store, inner) = faulty();
    for (fault, expected) in [(Fault::Before, None), (Fault::After, Some("12"))] {
        store.script(Op::Complete, "x", fault);
        let mut upload = store.put_multipart(&Path::from("x")).await.expect("begun");
        upload.put_part("1".into()).await.expect("written");
        upload.put_part("2".into()).await.expect("written");
        assert!(upload.complete().await.is_err());
        assert!(upload.complete().now_or_never().expect("at once").is_err());
        assert!(upload.abort().now_or_never().expect("at once").is_err());
        assert_eq!(text(&inner, "x").await.as_deref(), expected);
    }
    let mut upload = store.put_multipart(&Path::from("y")).await.expect("begun");
    upload.put_part("1".into()).await.expect("written");
    upload.abort().await.expect("aborted");
    assert_eq!(text(&inner, "y").await, None);
}
