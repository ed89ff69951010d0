//! May rows come in at all? Free space, memory and the clock, asked before a batch is taken.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::env::Env;
use crate::error::{Code, Error, Result};
use crate::limits::MAX_CLOCK_STEP_BACK_US;
use crate::memory::{MemoryLedger, Share};
use crate::table::places::Places;

/// What stands before all tables of an engine.
pub(crate) struct Gate {
    pub(crate) folder: PathBuf,
    /// Ingest stops below this many free bytes, so that RocksDB never meets a full disk.
    pub(crate) min_free_bytes: u64,
    pub(crate) memory: Arc<MemoryLedger>,
    pub(crate) env: Env,
    pub(crate) closing: AtomicBool,
    /// What waits in front of all workers.
    pub(crate) places: Places,
}

/// How long a refused producer should wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Gate {
    /// `last_stamp_us` is the newest stamp of the table that rows are for.
    pub(crate) fn check(&self, last_stamp_us: i64) -> Result<()> {
        self.check_memory()?;
        self.check_again()?;
        let behind_us = last_stamp_us.saturating_sub(self.env.clock.now_us());
        if behind_us > MAX_CLOCK_STEP_BACK_US {
            return Err(Error::new(
                Code::ClockBehind,
                format!("the server's clock is {} s behind the last entry of the log", behind_us / 1_000_000),
            )
            .hint("set the clock; rows would be refused as from the future")
            .retry_after(RETRY_AFTER));
        }
        Ok(())
    }

    /// What may have changed while a batch that passed [`Self::check`] waited for a place.
    pub(crate) fn check_again(&self) -> Result<()> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::new(Code::ShuttingDown, "the server is shutting down")
                .hint("send the batch again when it is back; the same producer and sequence make that safe")
                .retry_after(RETRY_AFTER));
        }
        self.check_disk()
    }

    fn check_memory(&self) -> Result<()> {
        let (used, share) = (self.memory.used(Share::Realtime), self.memory.share(Share::Realtime));
        if used < share {
            return Ok(());
        }
        Err(Error::new(Code::MemoryPressure, format!("realtime rows hold {used} of {share} bytes"))
            .hint("send slower, raise memory.limit, or TRUNCATE or DROP what is not needed")
            .with("used_bytes", used)
            .with("limit_bytes", share)
            .retry_after(RETRY_AFTER))
    }

    fn check_disk(&self) -> Result<()> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(|e| {
            Error::new(Code::DiskFull, format!("the free space of {} cannot be read: {e}", self.folder.display()))
                .retry_after(RETRY_AFTER)
        })?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= self.min_free_bytes {
            return Ok(());
        }
        Err(Error::new(
            Code::DiskFull,
            format!("{} has {free} bytes free, ingest stops below {}", self.folder.display(), self.min_free_bytes),
        )
        .hint("free some space; queries go on, and ingest by itself once there is space")
        .with("free_bytes", free)
        .retry_after(RETRY_AFTER))
    }
}
