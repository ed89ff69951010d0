//! Is a sidecar that is written again told to readers, whatever becomes of who asked for it?

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::Code;
use crate::publishing::sidecars::put_again;
use crate::sealed::faulty::{Fault, FaultyStore, Hold, Op};
use crate::table::Quarantine;

const FILE: &str = "a.parquet";

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_noted_when_who_asked_has_gone_or_the_reply_is_lost() {
    let (faulty, known) = (FaultyStore::new(Arc::new(InMemory::new())), Arc::new(Quarantine::default()));
    let path = Path::from("t/_filters/a.filters");
    let put = || {
        let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
        let (path, known) = (path.clone(), Arc::clone(&known));
        tokio::spawn(async move { put_again(store, &path, b"filters".to_vec().into(), known, FILE.to_owned()).await })
    };
    let hold = Hold::new();
    faulty.script(Op::Put, "", Fault::Hold(Arc::clone(&hold)));
    let asked = put();
    hold.reached().await;
    asked.abort();
    assert!(asked.await.expect_err("aborted").is_cancelled());
    assert_eq!(known.n_restored(FILE), 0, "nothing is there yet");
    hold.release();
    loop {
        // Asked first: who writes it notes it before letting go.
        let is_written = Arc::strong_count(&known) > 1;
        if known.n_restored(FILE) == 1 {
            break;
        }
        assert!(is_written, "nobody writes it any more");
        tokio::task::yield_now().await;
    }
    assert_eq!(faulty.head(&path).await.expect("it is there").size, 7);

    faulty.script(Op::Put, "", Fault::After);
    assert_eq!(put().await.expect("no panic").expect_err("nobody knows").code(), Code::StoreUnavailable);
    assert_eq!(known.n_restored(FILE), 2);
    put().await.expect("no panic").expect("written");
    assert_eq!(known.n_restored(FILE), 3);
}
