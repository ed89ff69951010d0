//! Does an upload end when the server stops, and leave nothing behind?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Code;
use crate::publishing::bring::{unless_stopped, upload};
use crate::sealed::faulty::{Fault, FaultyStore, Hold, Op};

/// Three parts.
const BYTES: usize = 20 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_stopped_ends_within_a_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    let rows: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
    std::fs::write(&path, &rows).expect("written");
    let of_file = (BYTES as u64, xxh3_64(&rows));
    let faulty = FaultyStore::new(Arc::new(InMemory::new()));
    let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let to = Path::from("t/a.parquet");
    let stop = Arc::new(AtomicBool::new(false));
    let hold = Hold::new();
    faulty.script(Op::Upload, "", Fault::Hold(Arc::clone(&hold)));
    let uploading = tokio::spawn({
        let (store, path, to, stop) = (Arc::clone(&store), path.clone(), to.clone(), Arc::clone(&stop));
        async move { upload(&store, path, &to, of_file, &stop).await }
    });
    hold.reached().await;
    stop.store(true, Ordering::Relaxed);
    hold.release();
    let stopped = uploading.await.expect("no panic").expect_err("the server stops");
    assert_eq!(stopped.code(), Code::ShuttingDown);
    assert_eq!(faulty.calls(Op::Complete), 0);
    store.head(&to).await.expect_err("there is no object");
    // The next start sends it again.
    upload(&store, path.clone(), &to, of_file, &AtomicBool::new(false)).await.expect("sent");
    assert_eq!(store.head(&to).await.expect("it is there").size, BYTES as u64);
    assert_eq!(faulty.calls(Op::Complete), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_store_that_does_not_answer_while_the_server_stops() {
    let stop = Arc::new(AtomicBool::new(false));
    let waiting = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move { unless_stopped(&stop, std::future::pending::<()>()).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    stop.store(true, Ordering::Relaxed);
    assert_eq!(waiting.await.expect("no panic").expect_err("it stops").code(), Code::ShuttingDown);
    assert_eq!(unless_stopped(&AtomicBool::new(false), async { 7 }).await.expect("it is done"), 7);
}
