//! How much may wait in front of the workers? So many bytes a table, and so many for all tables together.

use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use crate::limits::{ALL_QUEUES_DIVISOR, SORTING_DIVISOR, TABLE_QUEUE_BYTES};
pub(crate) use crate::memory::Places;
use crate::memory::{Charge, MemoryLedger, Share};

/// What a batch holds from when it is submitted until it is answered, whether or not its caller still waits.
pub(crate) struct Held {
    _table: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
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

/// What may be sorted at once, of all tables together.
pub(crate) fn sorting_bytes(memory: &MemoryLedger) -> u64 {
    memory.share(Share::Unassigned) / SORTING_DIVISOR
}

impl Held {
    /// `Err` with the memory when there is no place at once.
    pub(crate) fn try_take(table: &Places, all: &Places, memory: Charge) -> Result<Self, Charge> {
        let bytes = memory.bytes();
        match table.try_take(bytes).map(|held| (held, all.try_take(bytes))) {
            Some((held_table, Some(held_all))) => Ok(Self { _table: held_table, all: held_all, _memory: memory }),
            _ => Err(memory),
        }
    }

    /// Waits for a place, first in the table's queue: a table that is full never holds places of the others.
    pub(crate) async fn take(table: &Places, all: &Places, memory: Charge) -> Result<Self, AcquireError> {
        let bytes = memory.bytes();
        Ok(Self { _table: table.take(bytes).await?, all: all.take(bytes).await?, _memory: memory })
    }

    /// What the others hold in front of all workers: it passed the gate, and is not written yet. One that is larger than all places holds
    /// all of them, so it is never among the others.
    pub(crate) fn others(&self, all: &Places) -> u64 {
        all.taken_beside(&self.all)
    }
}
