//! Are there threads enough, and never too many? And is one free for those who must not wait?

use std::sync::mpsc::sync_channel;

use super::*;

#[test]
fn threads_are_bounded() {
    assert_eq!(n_threads(2, 4, MAX_TABLE_THREADS), 8);
    assert_eq!(n_threads(64, 128, MAX_TABLE_THREADS), MAX_TABLE_THREADS);
    assert_eq!(n_threads(usize::MAX, usize::MAX, MAX_TABLE_THREADS), MAX_TABLE_THREADS);
    assert_eq!(n_threads(0, 0, MAX_TABLE_THREADS), 1);
    // A query that is large by itself keeps a thread for each of its partitions on usual machines.
    assert_eq!(n_threads(16, METADATA_SLOTS, MAX_METADATA_THREADS), 64);
}

#[test]
fn queries_that_hold_all_their_threads_hold_no_others() {
    let runtime = QueryRuntime::new(1, 1).unwrap();
    let (begin, begun) = sync_channel(1);
    let (release, released) = sync_channel::<()>(1);
    // As a join does that finds nothing for long.
    let held = runtime.handle().spawn(async move {
        begin.send(()).unwrap();
        released.recv().unwrap();
    });
    begun.recv().unwrap();
    for other in [runtime.of(Class::Metadata), runtime.upkeep()] {
        assert_eq!(other.block_on(other.spawn(async { 7 })).unwrap(), 7);
    }
    assert!(!held.is_finished());
    release.send(()).unwrap();
    runtime.upkeep().block_on(held).unwrap();
}
