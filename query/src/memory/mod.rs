//! How much memory may a query have? A pool per query, with a quota, under one pool for all of them.

mod spill;
#[cfg(test)]
mod tests;
mod watchdog;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use tidewater_storage::memory::{Charge, MemoryLedger, Share};

pub(crate) use spill::SpillFiles;
pub(crate) use watchdog::{resident_bytes, watch};

/// What all queries hold together, with the rows that they keep and that their tables have let go. First come, first served: a query that
/// finds it full spills, or fails.
#[derive(Debug)]
pub(crate) struct QueryMemory {
    limit: usize,
    used: AtomicUsize,
    ledger: Arc<MemoryLedger>,
}

impl QueryMemory {
    /// As large as the ledger's share of queries.
    pub(crate) fn new(ledger: Arc<MemoryLedger>) -> Arc<Self> {
        let limit = usize::try_from(ledger.share(Share::Queries)).unwrap_or(usize::MAX);
        Arc::new(Self { limit, used: AtomicUsize::new(0), ledger })
    }

    /// A pool for one query: at most half of the share, so that one query never starves all others.
    pub(crate) fn query_pool(self: &Arc<Self>) -> Arc<QueryPool> {
        let quota = self.limit / 2;
        Arc::new(QueryPool {
            fair: FairSpillPool::new(quota),
            all: Arc::clone(self),
            quota,
            peak: AtomicU64::new(0),
            charge: Mutex::new(self.ledger.charge(Share::Queries, 0)),
            stopped: AtomicBool::new(false),
        })
    }

    /// Rows that nobody but readers has. A little less while queries change what they hold, and not more: the ledger hears of it before what
    /// they give back is given, and after what they take is taken.
    fn kept(&self) -> usize {
        let before = self.used.load(Ordering::Relaxed);
        let all = usize::try_from(self.ledger.used(Share::Queries)).unwrap_or(usize::MAX);
        all.saturating_sub(self.used.load(Ordering::Relaxed).max(before))
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn try_take(&self, bytes: usize) -> Result<()> {
        let kept = self.kept();
        let took = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let used = used.checked_add(bytes)?;
            (used.saturating_add(kept) <= self.limit).then_some(used)
        });
        match took {
            Ok(_) => Ok(()),
            Err(used) => Err(DataFusionError::ResourcesExhausted(format!(
                "{bytes} more bytes were asked for while all queries hold {} of {}",
                used.saturating_add(kept),
                self.limit
            ))),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The memory of one query. Operators that can spill share its quota evenly; what they hold counts for all queries, too.
pub(crate) struct QueryPool {
    fair: FairSpillPool,
    all: Arc<QueryMemory>,
    quota: usize,
    peak: AtomicU64,
    charge: Mutex<Charge>,
    /// Nothing more is to be computed for the query.
    stopped: AtomicBool,
}

impl QueryPool {
    /// What is asked for from now on is refused.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The most that was held at once, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub(crate) fn held(&self) -> u64 {
        self.fair.reserved() as u64
    }

    fn changed(&self) {
        let mut charge = self.charge.lock();
        let held = self.held();
        charge.resize(held);
        self.peak.fetch_max(held, Ordering::Relaxed);
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.all.take(additional);
        self.fair.grow(reservation, additional);
        self.changed();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
        self.changed();
        self.all.give_back(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if self.is_stopped() {
            return Err(DataFusionError::ResourcesExhausted("the query was stopped".to_owned()));
        }
        self.all.try_take(additional)?;
        if let Err(error) = self.fair.try_grow(reservation, additional) {
            self.all.give_back(additional);
            return Err(error);
        }
        self.changed();
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.quota)
    }
}

impl fmt::Debug for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryPool").field("held", &self.held()).field("quota", &self.quota).finish_non_exhaustive()
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query(held: {}, quota: {})", self.held(), self.quota)
    }
}
