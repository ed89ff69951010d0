//! Does an upload end when the server stops, and leave nothing behind? Are few of them in memory at once?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Code, Result};
use crate::memory::{MIN_LIMIT_BYTES, MemoryLedger, Share};
use crate::publishing::bring::{ABORT_WAIT, PART_BYTES, unless_stopped, upload};
use crate::sealed::faulty::{Fault, FaultyStore, Hold, Op};
use crate::table::BringPlaces;

/// Three parts.
const BYTES: usize = 20 << 20;

/// A file to be sent, and where it goes.
struct Sent {
    folder: tempfile::TempDir,
    of_file: (u64, u64),
    faulty: FaultyStore,
    memory: Arc<MemoryLedger>,
    places: Arc<BringPlaces>,
}

impl Sent {
    /// The least memory: one such file goes at a time.
    fn new() -> Self {
        Self::with(MIN_LIMIT_BYTES)
    }

    fn with(memory_limit: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let rows: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
        std::fs::write(folder.path().join("a.parquet"), &rows).expect("written");
        let memory = MemoryLedger::new(memory_limit);
        let places = Arc::new(BringPlaces::new(&memory));
        let faulty = FaultyStore::new(Arc::new(InMemory::new()));
        Self { folder, of_file: (BYTES as u64, xxh3_64(&rows)), faulty, memory, places }
    }

    fn begin(&self, to: &str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Result<()>> {
        let store: Arc<dyn ObjectStore> = Arc::new(self.faulty.clone());
        let (path, to, of_file) = (self.folder.path().join("a.parquet"), Path::from(to), self.of_file);
        let (places, stop) = (Arc::clone(&self.places), Arc::clone(stop));
        tokio::spawn(async move { upload(&store, path, &to, of_file, &places, &stop).await })
    }

    async fn size(&self, of: &str) -> Option<u64> {
        self.faulty.head(&Path::from(of)).await.ok().map(|found| found.size)
    }
}

fn goes_on() -> Arc<AtomicBool> {
    Arc::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_stopped_ends_within_a_part() {
    let sent = Sent::new();
    let faulty = &sent.faulty;
    let stop = goes_on();
    let hold = Hold::new();
    faulty.script(Op::Upload, "", Fault::Hold(Arc::clone(&hold)));
    let uploading = sent.begin("t/a.parquet", &stop);
    hold.reached().await;
    stop.store(true, Ordering::Relaxed);
    hold.release();
    let stopped = uploading.await.expect("no panic").expect_err("the server stops");
    assert_eq!(stopped.code(), Code::ShuttingDown);
    assert_eq!(faulty.calls(Op::Complete), 0);
    assert_eq!(sent.size("t/a.parquet").await, None);
    // The next start sends it again.
    sent.begin("t/a.parquet", &goes_on()).await.expect("no panic").expect("sent");
    assert_eq!(sent.size("t/a.parquet").await, Some(BYTES as u64));
    assert_eq!(faulty.calls(Op::Complete), 1);
    assert_eq!(sent.memory.used(Share::Unassigned), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_a_part_fails_leaves_none() {
    let sent = Sent::new();
    for n_before in 0..3 {
        for _ in 0..n_before {
            let passes = Hold::new();
            passes.release();
            sent.faulty.script(Op::Part, "", Fault::Hold(passes));
        }
        sent.faulty.script(Op::Part, "", Fault::Before);
        let failed = sent.begin("t/a.parquet", &goes_on()).await.expect("no panic").expect_err("a part failed");
        assert!(failed.to_string().contains("an upload failed"), "{failed}");
        assert_eq!((sent.faulty.n_scripted(), sent.faulty.calls(Op::Abort)), (0, n_before + 1));
    }
    // Nor one whose parts are not those of the file.
    let changed = Sent { of_file: (BYTES as u64, 7), ..Sent::new() };
    let damaged = changed.begin("t/a.parquet", &goes_on()).await.expect("no panic").expect_err("another checksum");
    assert_eq!((damaged.code(), changed.faulty.calls(Op::Abort)), (Code::FileDamaged, 1));
    for sent in [sent, changed] {
        assert_eq!((sent.faulty.calls(Op::Complete), sent.size("t/a.parquet").await), (0, None));
        assert_eq!(sent.memory.used(Share::Unassigned), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_an_upload_that_failed_go_however_long_it_takes_but_a_server_that_stops_does_not_wait() {
    let (sent, stop) = (Sent::new(), goes_on());
    let holds = ["slow", "stopped"].map(|name| {
        let hold = Hold::new();
        sent.faulty.script(Op::Part, name, Fault::Before);
        sent.faulty.script(Op::Abort, name, Fault::Hold(Arc::clone(&hold)));
        hold
    });
    let mut slow = sent.begin("t/slow.parquet", &goes_on());
    let stopped = sent.begin("t/stopped.parquet", &stop);
    for hold in &holds {
        hold.reached().await;
    }
    assert_eq!(sent.memory.used(Share::Unassigned), 0, "neither keeps a place");
    assert!(tokio::time::timeout(3 * ABORT_WAIT, &mut slow).await.is_err(), "it waits");
    assert!(!stopped.is_finished(), "as long as nothing stops");
    stop.store(true, Ordering::Relaxed);
    holds[0].release();
    for upload in [slow, stopped] {
        let failed = upload.await.expect("no panic").expect_err("a part failed");
        assert!(failed.to_string().contains("an upload failed"), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_leaves_half_of_the_memory_for_uploads_to_others() {
    /// Far more than it takes.
    const LIMIT: Duration = Duration::from_secs(30);
    // So much for all uploads that it is not enough for two whole files.
    let sent = Sent::with(2 << 30);
    let slow = Hold::new();
    sent.faulty.script(Op::Part, "slow", Fault::Hold(Arc::clone(&slow)));
    let hanging = sent.begin("t/slow.parquet", &goes_on());
    slow.reached().await;
    assert_eq!(sent.memory.used(Share::Unassigned), PART_BYTES as u64);
    let other = tokio::time::timeout(LIMIT, sent.begin("t/other.parquet", &goes_on())).await;
    other.expect("it has a place").expect("no panic").expect("sent");
    slow.release();
    hanging.await.expect("no panic").expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_files_are_in_memory_at_once_and_a_store_that_hangs_keeps_no_place() {
    const BRIEFLY: Duration = Duration::from_millis(50);
    let sent = Sent::new();
    let (hangs, ends) = (Hold::new(), Hold::new());
    // One store does not answer at all: nothing is read for it yet.
    sent.faulty.script(Op::Upload, "away", Fault::Hold(Arc::clone(&hangs)));
    let away = sent.begin("t/away.parquet", &goes_on());
    hangs.reached().await;
    sent.faulty.script(Op::Complete, "first", Fault::Hold(Arc::clone(&ends)));
    let mut first = sent.begin("t/first.parquet", &goes_on());
    ends.reached().await;
    // A part at a time: there is no memory for two.
    let charged = PART_BYTES as u64;
    assert_eq!(sent.memory.used(Share::Unassigned), charged);
    // The others wait until the first has ended, and one of them for no longer than its table is open.
    let (mut second, stop) = (sent.begin("t/second.parquet", &goes_on()), goes_on());
    let third = sent.begin("t/third.parquet", &stop);
    while sent.faulty.calls(Op::Upload) < 4 {
        tokio::task::yield_now().await;
    }
    assert!(tokio::time::timeout(BRIEFLY, &mut second).await.is_err());
    assert_eq!(sent.memory.used(Share::Unassigned), charged);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(third.await.expect("no panic").expect_err("it stops").code(), Code::ShuttingDown);
    assert!(tokio::time::timeout(BRIEFLY, &mut first).await.is_err());
    ends.release();
    for upload in [first, second] {
        upload.await.expect("no panic").expect("sent");
    }
    hangs.release();
    away.await.expect("no panic").expect("sent");
    for name in ["first", "second", "away"] {
        assert_eq!(sent.size(&format!("t/{name}.parquet")).await, Some(BYTES as u64), "{name}");
    }
    assert_eq!(sent.size("t/third.parquet").await, None);
    assert_eq!(sent.memory.used(Share::Unassigned), 0);
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
