//! How much may wait in front of the workers? So many bytes a table, and so many for all tables together.

use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use crate::limits::{ALL_QUEUES_DIVISOR, TABLE_QUEUE_BYTES};
pub(crate) use crate::memory::Places;
use crate::memory::{Charge, MemoryLedger, Share};

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
