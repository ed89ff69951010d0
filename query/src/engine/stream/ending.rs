//! Who says that a query has ended? Who knows it first, its keeper or its reader, and before anybody hears of it: then its id is free.

use std::sync::Arc;

use parking_lot::Mutex;
use tidewater_storage::{Error, Result};

use crate::registry::Running;

/// The end of a query, which is said once.
#[derive(Clone)]
pub(super) struct Ending(Arc<Mutex<Option<Running>>>);

impl Ending {
    pub(super) fn of(running: Running) -> Self {
        Self(Arc::new(Mutex::new(Some(running))))
    }

    /// The query has ended when this returns, with this outcome unless another was told before.
    pub(super) fn end(&self, outcome: Result<(), &Error>) {
        // Locked until it is done: the other side may answer as soon as it finds nothing to end.
        if let Some(running) = self.0.lock().take() {
            running.end(outcome);
        }
    }
}
