//! For how long does a planned query wait to be started? A minute, unless it is asked to wait on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Something that happens later, if this is still there then.
pub(super) struct Expiry {
    at: Arc<Mutex<Instant>>,
    _task: AbortOnDropHandle<()>,
}

impl Expiry {
    pub(super) fn start(on: &Handle, patience: Duration, expire: impl FnOnce() + Send + 'static) -> Self {
        let at = Arc::new(Mutex::new(Instant::now() + patience));
        let watched = Arc::clone(&at);
        let task = on.spawn(async move {
            loop {
                let until = *watched.lock();
                tokio::time::sleep_until(until).await;
                // It may have been put off meanwhile.
                let is_due = *watched.lock() <= until;
                if is_due {
                    break;
                }
            }
            expire();
        });
        Self { at, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn put_off(&self, until: Instant) {
        *self.at.lock() = until;
    }
}
