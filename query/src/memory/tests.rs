//! Are quotas held, given back, and counted in the ledger?

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use tidewater_storage::memory::{MemoryLedger, Share};

use super::QueryMemory;

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
