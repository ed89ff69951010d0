//! How much may wait in front of the workers? So many bytes a table, and so many for all tables together.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::limits::{ALL_QUEUES_DIVISOR, TABLE_QUEUE_BYTES};
use crate::memory::{Charge, MemoryLedger, Share};

/// Permits are counted in this many bytes: a semaphore holds no more than 2^29 or so.
const PERMIT_BYTES: u64 = 1024;

/// Places for a number of bytes.
pub(crate) struct Places {
    permits: Arc<Semaphore>,
    total: u64,
}

/// What a batch holds from when it is submitted until it is answered, whether or not its caller still waits.
pub(crate) struct Held {
    _table: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _memory: Charge,
}

impl Places {
    /// Of one table.
    pub(crate) fn of_table() -> Self {
        Self::new(TABLE_QUEUE_BYTES as u64)
    }

    /// Of all tables together.
    pub(crate) fn of_all(memory: &MemoryLedger) -> Self {
        Self::new(memory.share(Share::Realtime) / ALL_QUEUES_DIVISOR)
    }

    fn new(bytes: u64) -> Self {
        let total = (bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u64);
        Self { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// More than there is takes all there is.
    fn permits_for(&self, bytes: u64) -> u32 {
        bytes.div_ceil(PERMIT_BYTES).clamp(1, self.total) as u32
    }

    async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.permits).acquire_many_owned(self.permits_for(bytes)).await
    }

    fn try_take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.permits_for(bytes)).ok()
    }
}

impl Held {
    /// `Err` with the memory when there is no place at once.
    pub(crate) fn try_take(table: &Places, all: &Places, memory: Charge) -> Result<Self, Charge> {
        let bytes = memory.bytes();
        match table.try_take(bytes).map(|held| (held, all.try_take(bytes))) {
            Some((held_table, Some(held_all))) => Ok(Self { _table: held_table, _all: held_all, _memory: memory }),
            _ => Err(memory),
        }
    }

    /// Waits for a place, first in the table's queue: a table that is full never holds places of the others.
    pub(crate) async fn take(table: &Places, all: &Places, memory: Charge) -> Result<Self, AcquireError> {
        let bytes = memory.bytes();
        Ok(Self { _table: table.take(bytes).await?, _all: all.take(bytes).await?, _memory: memory })
    }
}
