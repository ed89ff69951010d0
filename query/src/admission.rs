//! May this query run now? Slots for running queries, a bounded queue in front of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidewater_storage::{Code, Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{METADATA_SLOTS, QUEUE_RETRY_AFTER};

/// What a query waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Reads tables.
    Tables,
    /// Reads system tables only: has slots of its own, so that a full server can be looked at.
    Metadata,
}

pub(crate) struct Admission {
    tables: Arc<Semaphore>,
    metadata: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_running: usize,
    max_waiting: usize,
    max_wait: Duration,
}

/// A place to run; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// One more waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(max_running: usize, max_waiting: usize, max_wait: Duration) -> Self {
        Self {
            tables: Arc::new(Semaphore::new(max_running.max(1))),
            metadata: Arc::new(Semaphore::new(METADATA_SLOTS)),
            waiting: AtomicUsize::new(0),
            max_running: max_running.max(1),
            max_waiting,
            max_wait,
        }
    }

    /// Waits for a slot in order of arrival. `QUERY_QUEUE_FULL` when too many wait, or after `max_wait`.
    pub(crate) async fn admit(&self, class: Class) -> Result<Slot> {
        let slots = match class {
            Class::Tables => &self.tables,
            Class::Metadata => &self.metadata,
        };
        if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
            return Ok(Slot { _permit: permit });
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(self.full(format!("{} queries run and {} wait", self.max_running, self.max_waiting)));
        }
        let waiting = Waiting(&self.waiting);
        let acquired = tokio::time::timeout(self.max_wait, Arc::clone(slots).acquire_owned()).await;
        drop(waiting);
        match acquired {
            Ok(Ok(permit)) => Ok(Slot { _permit: permit }),
            Ok(Err(_)) => Err(Error::new(Code::ShuttingDown, "the server is stopping")),
            Err(_) => Err(self.full(format!("no query ended within {} s", self.max_wait.as_secs()))),
        }
    }

    fn full(&self, what: String) -> Error {
        Error::new(Code::QueryQueueFull, what)
            .hint("try again later, or run fewer queries at once")
            .retry_after(QUEUE_RETRY_AFTER)
    }

    /// No query is admitted any more.
    pub(crate) fn close(&self) {
        self.tables.close();
        self.metadata.close();
    }
}
