//! Are the tables of one reader of one moment, however fast they are written?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::{Fixture, batch, request};

/// Ends the reader, also when the writer fails.
struct EndsReader(Arc<AtomicBool>);

impl Drop for EndsReader {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn names(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ("public".to_owned(), (*name).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_was_acknowledged_first_is_never_missing() {
    let fixture = Fixture::open();
    for name in ["a", "b", "c"] {
        fixture.create(name).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let (engine, ends_reader) = (Arc::clone(fixture.engine()), EndsReader(Arc::clone(&done)));
    let reader = tokio::task::spawn_blocking(move || {
        let mut n_readings = 0_u64;
        while !done.load(Ordering::Acquire) {
            // The order of the names must not matter.
            for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]] {
                let read = engine.snapshots(&names(&order));
                let rows = |name: &str| {
                    let at = order.iter().position(|known| *known == name).expect("one of them");
                    read[at].as_ref().expect("the table is there").n_rows()
                };
                assert!(rows("a") >= rows("b") && rows("b") >= rows("c"), "{} {} {}", rows("a"), rows("b"), rows("c"));
                n_readings += 1;
            }
        }
        n_readings
    });
    for key in 0..200 {
        for name in ["a", "b", "c"] {
            fixture.table(name).write(request(batch(&[key]))).await.expect("stored");
        }
    }
    drop(ends_reader);
    assert!(reader.await.expect("no state that never was") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_nothing_have_no_snapshot() {
    let fixture = Fixture::open();
    fixture.create("a").await;
    fixture.table("a").write(request(batch(&[1, 2]))).await.expect("stored");
    let read = fixture.engine().snapshots(&names(&["nosuch", "a"]));
    let rows: Vec<_> = read.iter().map(|snapshot| snapshot.as_ref().map(crate::table::TableSnapshot::n_rows)).collect();
    assert_eq!(rows, [None, Some(2)]);
    assert!(fixture.engine().snapshots(&[]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_old_snapshots_keep_is_told() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    table.write(request(batch(&[1, 2]))).await.expect("stored");
    let fresh = table.snapshot();
    assert_eq!(table.pinned_bytes(), 0, "the table needs the same rows");
    table.build().await.expect("built");
    let of_rows: u64 = fresh.parts().iter().map(|part| part.bytes).sum();
    assert_eq!((table.pinned_bytes(), fresh.pinned_bytes()), (of_rows, of_rows));
    let built = table.snapshot();
    assert_eq!(built.pinned_bytes(), 0);
    table.seal().await.expect("sealed");
    let of_file = built.files()[0].file.bytes;
    assert_eq!((table.pinned_bytes(), built.pinned_bytes()), (of_rows + of_file, of_file));
    drop(fresh);
    assert_eq!(table.pinned_bytes(), of_file);
    drop(built);
    assert_eq!(table.pinned_bytes(), 0);
}
