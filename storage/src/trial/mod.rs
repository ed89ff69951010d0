//! Would these rows come in, as the table is now? Rows that are only tried, and rows that were rejected once and are tried again.
//!
//! ```text
//! dry_run   rows of a client: cast, checked, compared with the table's keys; nothing is stored
//! replay    rows of system.rejected: those that fit now are stored, in one commit with the end of their records
//! ```

mod dry_run;
mod page;
mod replay;

pub use dry_run::{DryRun, DryRunOutcome};
pub use replay::{ReplayOptions, ReplayOutcome};

use crate::error::{Error, Result};

/// Runs `work` on a thread that may be busy.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal(format!("rows could not be tried: {error}"))))
}
