//! What of the outside world do we touch? Clock, randomness, durable files, fail points and the end of the process, all handed in.

mod background;
mod clock;
mod durable_store;
mod fail;
mod folder;
mod rng;

use std::sync::Arc;

#[cfg(test)]
pub(crate) use background::wait_for_soon;
pub(crate) use background::{in_background, soon};
pub use clock::{Clock, ManualClock, Moment, SystemClock};
pub use durable_store::DurableLocalStore;
pub use fail::{FailAction, FailPoints};
pub(crate) use folder::make_folder;
pub use rng::{Rng, SystemRng};

/// What storage needs of the world. Tests hand in their own.
#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub fail: Arc<FailPoints>,
    /// Called when a log write or sync failed: memory may be ahead of the disk, so the process must end. The
    /// default prints the reason and exits with status 74.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

/// The exit status after a failed log write or sync (`EX_IOERR` of sysexits.h).
pub const EXIT_LOG: i32 = 74;

impl Env {
    /// The real world.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SystemRng),
            fail: Arc::new(FailPoints::default()),
            fatal: Arc::new(|reason| {
                tracing::error!(
                    reason,
                    "the log cannot be written: ending the process so that nothing is acknowledged and lost"
                );
                std::process::exit(EXIT_LOG);
            }),
        }
    }
}
