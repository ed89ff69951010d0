//! How much may be on its way at once? In front of the workers so many bytes a table, and so many for all tables together; behind them so
//! much memory for what is sorted, merged and sent away.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};
use crate::limits::{
    ALL_QUEUES_DIVISOR, MAX_BRINGS, MERGING_DIVISOR, SORTING_DIVISOR, TABLE_QUEUE_BYTES, UPLOADS_DIVISOR,
};
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

/// What the one merge of files may take that runs.
pub(crate) fn merging_bytes(memory: &MemoryLedger) -> u64 {
    memory.share(Share::Unassigned) / MERGING_DIVISOR
}

/// What files on their way into stores elsewhere may take.
fn uploads_bytes(memory: &MemoryLedger) -> u64 {
    memory.share(Share::Unassigned) / UPLOADS_DIVISOR
}

/// For files that are brought into Delta tables, of all tables together: so many at once, and so much memory.
#[derive(Debug)]
pub(crate) struct BringPlaces {
    files: Arc<Semaphore>,
    bytes: Places,
    memory: Arc<MemoryLedger>,
}

/// One file is brought. Whoever has it waits for nothing but the disk, or a store that has answered.
#[derive(Debug)]
pub(crate) struct BringPlace {
    _bytes: Option<OwnedSemaphorePermit>,
    _file: OwnedSemaphorePermit,
    _memory: Charge,
}

impl BringPlaces {
    pub(crate) fn new(memory: &Arc<MemoryLedger>) -> Self {
        Self {
            files: Arc::new(Semaphore::new(MAX_BRINGS)),
            bytes: Places::new(uploads_bytes(memory)),
            memory: Arc::clone(memory),
        }
    }

    /// What one file should have in memory at once, at most: a store that is slow with it leaves the other half to files of others.
    pub(crate) fn bytes_of_one(&self) -> u64 {
        uploads_bytes(&self.memory) / 2
    }

    /// Waits for a place for a file of which so many bytes are in memory at once; 0 of one that is linked. Memory comes first: who waits for
    /// it keeps none of the places from files that need none.
    pub(crate) async fn take(&self, bytes: u64) -> Result<BringPlace> {
        let closed = |_| Error::internal("there are no places for files on their way any more");
        let held = match bytes {
            0 => None,
            bytes => Some(self.bytes.take(bytes).await.map_err(closed)?),
        };
        let file = Arc::clone(&self.files).acquire_owned().await.map_err(closed)?;
        Ok(BringPlace { _bytes: held, _file: file, _memory: self.memory.charge(Share::Unassigned, bytes) })
    }
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
