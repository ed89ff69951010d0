//! May a change come in at all? Free space, memory and the clock, asked before anything is taken.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::dedup::DiskBudget;
use crate::env::Env;
use crate::error::{Code, Error, Result};
use crate::limits::{
    COPIES_MIN_FREE_BYTES, CORES_A_RUN_JOB, FREEING_MIN_FREE_BYTES, LEAST_MIN_FREE_BYTES, MAX_CLOCK_STEP_BACK_US,
    MAX_SNAPSHOT_S, SMALL_MIN_FREE_BYTES,
};
use crate::memory::{MemoryLedger, Share};
use crate::table::places::{BringPlaces, Places, merging_bytes, sorting_bytes};

/// What is written, by how much free space it must leave. RocksDB never meets a full disk: what is worth more goes on for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// Rows, down to the configured floor.
    Rows,
    /// Definitions, views, producers, counts.
    Small,
    /// What leads to more space: TRUNCATE at once, DROP a week later.
    Freeing,
    /// Rows that are there, once more in better files: it can wait, and stops first.
    Copies,
}

/// What stands before all tables of an engine.
///
/// Who waits for a place holds only what stands before it in one of these lines, so nobody waits for each other:
///
/// | who | what it takes, in this order |
/// |---|---|
/// | a build | the table's `building`, `builds`, `sorting` |
/// | a stream's file | `builds`, `sorting` |
/// | a sort of fresh rows | `run_jobs`, `sorting` |
/// | a merge of files | the table's `merging`, `merges`, the table's `compacting`; then its turn at `builds`, no place there; `brings` |
/// | its commit, when `merges` was given back, and files past the retention | the table's `compacting`, `publishing` |
/// | a publish | the table's `publishing`, `brings` |
///
/// A merge has nothing that a build waits for, and while it waits for its turn, files of the table leave that are past the retention. A
/// store that is away is waited for with the table's own locks alone: who has a place of all tables gives up with its requests, within
/// seconds, and a merge that finds `compacting` taken gives its place back. What a table waits for ends when it is closed.
pub(crate) struct Gate {
    pub(crate) folder: PathBuf,
    /// Rows stop below this many free bytes.
    pub(crate) min_free_bytes: u64,
    /// Rows stop when built files that wait to be published take so many bytes.
    pub(crate) max_unpublished_bytes: u64,
    /// What they take, as last looked up.
    pub(crate) unpublished_bytes: AtomicU64,
    pub(crate) memory: Arc<MemoryLedger>,
    pub(crate) env: Env,
    pub(crate) closing: AtomicBool,
    /// What waits in front of all workers.
    pub(crate) places: Places,
    /// Places of jobs that sort runs, of all tables.
    pub(crate) run_jobs: Arc<Semaphore>,
    /// Places of builds, of all tables.
    pub(crate) builds: Arc<Semaphore>,
    /// The memory of these jobs.
    pub(crate) sorting: Places,
    /// The place of the one merge of files, of all tables. It has memory of its own.
    pub(crate) merges: Arc<Semaphore>,
    /// Places of files that are brought into their Delta tables.
    pub(crate) brings: BringPlaces,
    /// What the key runs of all tables may take on disk.
    pub(crate) key_disk: Arc<DiskBudget>,
    /// Places of jobs that take keys to disk, of all tables, and of those that merge runs: these take longer, and nothing waits for them.
    pub(crate) key_spills: Arc<Semaphore>,
    pub(crate) key_merges: Arc<Semaphore>,
    /// The place of the one check of keys, of all tables. Who has it waits for nothing but its own requests.
    pub(crate) key_checks: Arc<Semaphore>,
    /// What the keys of statements take that are not committed.
    pub(crate) stream_key_bytes: AtomicU64,
    /// Space was given back: who had too little to do so looks again.
    pub(crate) given_back: watch::Sender<()>,
    /// The newest stamp of the folder, microseconds: the clock of all tables is measured by it.
    newest_stamp_us: AtomicI64,
    /// What a test says is free.
    #[cfg(test)]
    pub(crate) pretended_free_bytes: parking_lot::Mutex<Option<u64>>,
}

/// What an engine may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateLimits {
    pub(crate) min_free_bytes: u64,
    pub(crate) max_unpublished_bytes: u64,
    pub(crate) max_key_disk_bytes: u64,
}

/// Each takes some megabytes that nobody holds by name.
const MAX_KEY_SPILLS: usize = 4;

/// How long a refused producer should wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What waits in the queues takes so many times its bytes: in the log and, from memory, in a table file.
const WRITTEN_TIMES: u64 = 2;

impl Gate {
    /// `min_free_bytes` is raised to the least that leaves something to small writes.
    pub(crate) fn new(folder: PathBuf, limits: GateLimits, memory: &Arc<MemoryLedger>, env: &Env) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            folder,
            min_free_bytes: limits.min_free_bytes.max(LEAST_MIN_FREE_BYTES),
            max_unpublished_bytes: limits.max_unpublished_bytes,
            unpublished_bytes: AtomicU64::new(0),
            memory: Arc::clone(memory),
            env: env.clone(),
            closing: AtomicBool::new(false),
            places: Places::of_all(memory),
            run_jobs: Arc::new(Semaphore::new((cores / CORES_A_RUN_JOB).max(1))),
            builds: Arc::new(Semaphore::new((cores / CORES_A_RUN_JOB).max(1))),
            sorting: Places::new(sorting_bytes(memory)),
            merges: Arc::new(Semaphore::new(1)),
            brings: BringPlaces::new(memory),
            key_disk: DiskBudget::new(limits.max_key_disk_bytes),
            key_spills: Arc::new(Semaphore::new((cores / CORES_A_RUN_JOB).clamp(1, MAX_KEY_SPILLS))),
            key_merges: Arc::new(Semaphore::new(1)),
            key_checks: Arc::new(Semaphore::new(1)),
            stream_key_bytes: AtomicU64::new(0),
            given_back: watch::Sender::new(()),
            newest_stamp_us: AtomicI64::new(i64::MIN),
            #[cfg(test)]
            pretended_free_bytes: parking_lot::Mutex::new(None),
        })
    }

    /// May rows be prepared? `has_space`: there was memory for them when their caller asked, or they wait for it piece by piece.
    pub(crate) fn check(&self, has_space: bool) -> Result<()> {
        if !has_space {
            self.check_memory()?;
        }
        self.check_unpublished()?;
        self.check_again(0)?;
        self.check_clock()
    }

    /// What may have changed while a batch that passed [`Self::check`] waited for a place. `others` are the bytes that passed as well and
    /// are not written yet: each was measured by the same free space.
    pub(crate) fn check_again(&self, others: u64) -> Result<()> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::new(Code::ShuttingDown, "the server is shutting down")
                .hint("send the batch again when it is back; the same producer and sequence make that safe")
                .retry_after(RETRY_AFTER));
        }
        self.check_space_beside(Write::Rows, others.saturating_mul(WRITTEN_TIMES))
    }

    /// What may be sorted at once.
    pub(crate) fn sorting_bytes(&self) -> u64 {
        sorting_bytes(&self.memory)
    }

    /// What a merge may take.
    pub(crate) fn merging_bytes(&self) -> u64 {
        merging_bytes(&self.memory)
    }

    /// Something that is durable in the folder has this stamp.
    pub(crate) fn note_stamp(&self, stamp_us: i64) {
        self.newest_stamp_us.fetch_max(stamp_us, Ordering::Relaxed);
    }

    /// The newest stamp of the folder, microseconds; `i64::MIN` in a new one.
    pub(crate) fn newest_stamp_us(&self) -> i64 {
        self.newest_stamp_us.load(Ordering::Relaxed)
    }

    /// Also for a table that is new or empty: a clock that is wrong for one table is wrong for all, and rows of the present would be
    /// rejected as from the future.
    fn check_clock(&self) -> Result<()> {
        let behind_us = self.newest_stamp_us().saturating_sub(self.env.clock.now_us());
        if behind_us <= MAX_CLOCK_STEP_BACK_US {
            return Ok(());
        }
        Err(Error::new(
            Code::ClockBehind,
            format!("the server's clock is {} s behind the newest entry of the folder", behind_us / 1_000_000),
        )
        .hint(
            "set the clock: rows would be refused as from the future; if it is right, a table was made or written while it was ahead \
             (last_write_at in system.tables): keep its rows elsewhere, DROP it and start the server again",
        )
        .retry_after(RETRY_AFTER))
    }

    fn check_memory(&self) -> Result<()> {
        let (rows, share) = (self.memory.used(Share::Realtime), self.memory.share(Share::Realtime));
        let kept = self.memory.excess(Share::Queries);
        let used = rows + kept;
        if used < share {
            return Ok(());
        }
        let beside = if kept > 0 { format!(", and queries {kept} more than their share") } else { String::new() };
        Err(Error::new(Code::MemoryPressure, format!("realtime rows hold {rows} of {share} bytes{beside}"))
            .hint("send slower, raise memory.limit, or TRUNCATE or DROP what is not needed")
            .with("used_bytes", used)
            .with("limit_bytes", share)
            .retry_after(RETRY_AFTER))
    }

    fn check_unpublished(&self) -> Result<()> {
        let (waits, limit) = (self.unpublished_bytes.load(Ordering::Relaxed), self.max_unpublished_bytes);
        if waits <= limit {
            return Ok(());
        }
        Err(Error::new(
            Code::UnpublishedLimit,
            format!("built files of {waits} bytes wait to get into their Delta tables, more than {limit}"),
        )
        .hint("see system.jobs for why they cannot be published (the store may be away), or raise storage.max_unpublished")
        .with("unpublished_bytes", waits)
        .with("limit_bytes", limit)
        .retry_after(RETRY_AFTER))
    }

    /// `DISK_FULL` if there is less free space than such a write must leave.
    pub(crate) fn check_space(&self, write: Write) -> Result<()> {
        self.check_space_beside(write, 0)
    }

    /// The same when `promised` bytes of what is free are for others.
    pub(crate) fn check_space_beside(&self, write: Write, promised: u64) -> Result<()> {
        let free = self.free_bytes()?;
        let (floor, what, hint) = match write {
            Write::Rows => (
                self.min_free_bytes,
                "ingest stops",
                "free some space, or TRUNCATE what is not needed (before DROP, which alone keeps the rows for a week); queries go on, \
                 and ingest by itself once there is space",
            ),
            Write::Small => (
                SMALL_MIN_FREE_BYTES,
                "definitions and producers stop",
                "free some space, or TRUNCATE what is not needed (before DROP, which alone keeps the rows for a week); queries go on",
            ),
            Write::Freeing => (
                FREEING_MIN_FREE_BYTES,
                "every change stops",
                "free some space outside of the data folder; queries go on",
            ),
            Write::Copies => (
                self.min_free_bytes.saturating_add(COPIES_MIN_FREE_BYTES),
                "compaction stops",
                "free some space; ingest and queries go on",
            ),
        };
        if free.saturating_sub(promised) >= floor {
            return Ok(());
        }
        let folder = self.folder.display();
        let taken = if promised > 0 { format!(" ({promised} of them for rows that wait)") } else { String::new() };
        Err(Error::new(Code::DiskFull, format!("{folder} has {free} bytes free{taken}, {what} below {floor}"))
            .hint(hint)
            .with("free_bytes", free)
            .retry_after(RETRY_AFTER))
    }

    /// May a file that is being written grow by about so many bytes? What was free when it began may be gone. `SHUTTING_DOWN` once `stop`
    /// is set, `DISK_FULL`.
    pub(crate) fn may_grow(&self, stop: &AtomicBool, write: Write, coming: u64) -> Result<()> {
        if stop.load(Ordering::Relaxed) {
            let message = "the server is shutting down, or nobody needs the file any more";
            return Err(Error::new(Code::ShuttingDown, message));
        }
        self.check_space_beside(write, coming)
    }

    /// May a version of a table still be read that somebody took at the uptime `since`? `SNAPSHOT_EXPIRED`.
    pub(crate) fn check_age(&self, since: Duration) -> Result<()> {
        if self.env.clock.uptime().saturating_sub(since) < Duration::from_secs(MAX_SNAPSHOT_S) {
            return Ok(());
        }
        Err(Error::new(
            Code::SnapshotExpired,
            format!("a version of the table was read for {MAX_SNAPSHOT_S} s, and none is kept for longer"),
        )
        .hint("find out what is slow: the disk, or the store of the tables"))
    }

    /// For what can be left out, or done later.
    pub(crate) fn has_space(&self, write: Write) -> bool {
        self.check_space(write).is_ok()
    }

    pub(crate) fn free_bytes(&self) -> Result<u64> {
        #[cfg(test)]
        if let Some(free) = *self.pretended_free_bytes.lock() {
            return Ok(free);
        }
        let stat = rustix::fs::statvfs(&self.folder).map_err(|e| {
            Error::new(Code::DiskFull, format!("the free space of {} cannot be read: {e}", self.folder.display()))
                .retry_after(RETRY_AFTER)
        })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
