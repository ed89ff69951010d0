//! Are quotas held, given back, and counted in the ledger? Do spill files keep to their cap, and away from the floor?

use std::io::Write;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::execution::TempFileFactory;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use tidewater_storage::memory::{MemoryLedger, Share};
use tidewater_storage::{Code, Error};

use super::watchdog::are_to_blame;
use super::{QueryMemory, SpillFiles};
use crate::error::from_datafusion;

const GIB: u64 = 1 << 30;

#[test]
fn one_query_has_half_of_the_share_and_all_together_the_whole() {
    let ledger = MemoryLedger::new(8 * GIB);
    let share = ledger.share(Share::Queries) as usize;
    let all = QueryMemory::new(Arc::clone(&ledger));
    let pools: Vec<_> = (0..3).map(|_| all.query_pool()).collect();
    let reserve = |i: usize| {
        let pool = Arc::clone(&pools[i]) as Arc<dyn MemoryPool>;
        MemoryConsumer::new(format!("q{i}")).register(&pool)
    };
    let (first, second, third) = (reserve(0), reserve(1), reserve(2));
    assert!(first.try_grow(share / 2 + 1).is_err(), "more than its quota");
    first.try_grow(share / 2).expect("its quota");
    second.try_grow(share / 2 - 100).expect("the rest");
    assert!(third.try_grow(1000).is_err(), "all queries together hold the share");
    assert_eq!(ledger.used(Share::Queries), (share / 2 + share / 2 - 100) as u64);
    first.shrink(2000);
    third.try_grow(1000).expect("given back");
    assert_eq!(pools[0].held(), (share / 2 - 2000) as u64);
    assert_eq!(pools[0].peak(), (share / 2) as u64);
    drop((first, second, third));
    assert_eq!(ledger.used(Share::Queries), 0);
}

#[test]
fn what_readers_keep_is_of_the_same_share() {
    let ledger = MemoryLedger::new(8 * GIB);
    let share = ledger.share(Share::Queries) as usize;
    let all = QueryMemory::new(Arc::clone(&ledger));
    let pool = all.query_pool() as Arc<dyn MemoryPool>;
    let held = MemoryConsumer::new("q").register(&pool);
    held.try_grow(share / 4).expect("within its quota");
    assert_eq!(all.kept(), 0);
    let kept = ledger.charge(Share::Queries, (share - share / 4) as u64);
    assert_eq!(all.kept(), share - share / 4);
    let refused = held.try_grow(1).expect_err("the share is used up");
    assert!(refused.to_string().contains(&format!("hold {share} of {share}")), "{refused}");
    held.shrink(1000);
    held.try_grow(1000).expect("given back");
    drop(kept);
    assert_eq!(all.kept(), 0);
    held.try_grow(share / 4).expect("given back");
}

#[test]
fn queries_that_keep_little_are_not_to_blame() {
    let all = GIB;
    assert!(are_to_blame(all, all), "nobody else keeps any");
    assert!(are_to_blame(all / 3, all), "others keep more, and they give back a lot");
    assert!(!are_to_blame(all / 5, all), "a build keeps the rest");
}

#[test]
fn a_refused_growth_leaves_nothing_behind() {
    let ledger = MemoryLedger::new(8 * GIB);
    let all = QueryMemory::new(Arc::clone(&ledger));
    let pool = all.query_pool() as Arc<dyn MemoryPool>;
    let held = MemoryConsumer::new("q").register(&pool);
    for _ in 0..10 {
        assert!(held.try_grow(usize::MAX / 4).is_err());
    }
    assert_eq!(all.used.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(ledger.used(Share::Queries), 0);
}

#[test]
fn this_process_holds_some_memory() {
    assert!(super::resident_bytes() > 1 << 20);
}

/// Writes a spill file as operators do; an error as the caller of the query sees it.
fn spill(max_bytes: u64, min_free_bytes: u64) -> Result<u64, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SpillFiles::new(folder.path(), max_bytes, min_free_bytes).expect("made");
    let file = files.create_temp_file("a test").expect("made");
    let mut writer = file.open_writer().expect("opened");
    for _ in 0..10 {
        let written = writer.write_all(&[7; 1000]);
        written.map_err(|e| from_datafusion(DataFusionError::ArrowError(Box::new(ArrowError::from(e)), None)))?;
    }
    writer.finish().expect("finished");
    let path = file.path().expect("a file of the disk");
    assert_eq!(std::fs::metadata(path).expect("there").len(), 10_000);
    Ok(file.size().expect("a size"))
}

#[test]
fn spill_files_keep_to_their_cap_and_leave_the_floor_free() {
    assert_eq!(spill(1 << 20, 0).expect("there is space"), 10_000);
    for (max_bytes, min_free_bytes) in [(5_000, 0), (1 << 20, u64::MAX)] {
        let refused = spill(max_bytes, min_free_bytes).expect_err("refused");
        assert_eq!(refused.code(), Code::QuerySpill, "{refused}");
    }
}
