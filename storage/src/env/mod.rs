//! What of the outside world do we touch? Clock, randomness, durable files, fail points and the end of the process, all handed in.

mod background;
mod clock;
mod durable_store;
mod fail;
mod folder;
mod priority;
mod rng;

use std::io::Write;
use std::sync::Arc;

#[cfg(test)]
pub(crate) use background::wait_for_soon;
pub(crate) use background::{in_background, soon};
pub use clock::{Clock, ManualClock, Moment, SystemClock};
pub use durable_store::DurableLocalStore;
pub use fail::{FailAction, FailPoints};
pub(crate) use folder::make_folder;
pub use priority::prefer_latency;
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

/// Ends the process at once with this status; what was printed is written out. `exit` takes down what RocksDB's threads and ours still use,
/// and whichever meets that aborts the process, so that its status is lost.
pub fn end_process(status: i32) -> ! {
    // Nobody is left to hear that nobody reads any more.
    let _ = std::io::stdout().flush();
    // SAFETY: it takes a number, touches no memory of the process, and does not come back.
    unsafe { libc::_exit(status) }
}

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
                end_process(EXIT_LOG);
            }),
        }
    }
}
