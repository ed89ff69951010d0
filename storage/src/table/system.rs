//! What does a table tell about itself? Rows of the system tables that only storage knows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::admission::RejectCode;
use crate::admission::ledger::{Counts, LedgerRow as StoredLedgerRow, Reading};
use crate::admission::rejected::RejectedRecord as StoredRejection;
use crate::error::Result;
use crate::ids::SHARD_ZERO;
use crate::log::{Family, state_key, state_prefix, suffix_of};
use crate::producers::ProducerState;
use crate::sealed::FileRef;
use crate::table::handle::{Shared, Table};
use crate::table::request::TableStats;
use crate::table::seal::Damage;

/// Where one producer stands: a row of `system.producers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRow {
    pub producer: String,
    pub epoch: u64,
    pub last_sequence: u64,
    /// The entry of its last accepted batch; 0 if it has only connected.
    pub last_commit_seq: u64,
    /// Microseconds since 1970.
    pub last_seen_us: i64,
    /// Rows, over all its batches: accepted, dropped as duplicates, in repeated batches, rejected.
    pub rows: u64,
    pub duplicates: u64,
    pub repeated: u64,
    pub rejected: u64,
    /// Who wrote last under this name.
    pub principal: String,
}

/// What was answered in one minute to one producer: a row of `system.ledger`.
/// `received = accepted + duplicate + repeated + rejected`, in rows of answered batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Empty for batches without a producer.
    pub producer: String,
    /// Start of the minute, microseconds since 1970.
    pub minute_us: i64,
    pub received: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub repeated: u64,
    pub rejected: u64,
    /// Of the rejected ones, those behind `max_lateness` and those ahead of `max_future`.
    pub late: u64,
    pub future: u64,
    /// Decoded bytes of the received rows.
    pub bytes: u64,
}

/// A row that was refused and kept: a row of `system.rejected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// `None` for batches without a producer.
    pub producer: Option<String>,
    pub sequence: Option<u64>,
    /// Its place in the batch as the client sent it, from 0.
    pub row: u64,
    pub column: Option<String>,
    pub code: RejectCode,
    pub message: String,
    /// The row as JSON, cut at 64 KiB.
    pub payload: String,
    /// Microseconds since 1970.
    pub received_us: i64,
    pub expires_us: i64,
}

impl From<StoredLedgerRow> for LedgerRow {
    fn from(row: StoredLedgerRow) -> Self {
        Self {
            producer: row.producer.to_string(),
            minute_us: row.start_us,
            received: row.counts.received,
            accepted: row.counts.accepted,
            duplicate: row.counts.duplicate,
            repeated: row.counts.repeated,
            rejected: row.counts.rejected,
            late: row.counts.late,
            future: row.counts.future,
            bytes: row.counts.bytes,
        }
    }
}

impl From<StoredRejection> for RejectedRecord {
    fn from(stored: StoredRejection) -> Self {
        let named = !stored.producer.is_empty();
        Self {
            producer: named.then_some(stored.producer),
            sequence: named.then_some(stored.sequence),
            row: stored.row,
            column: stored.column,
            code: stored.code,
            message: stored.message,
            payload: stored.payload,
            received_us: stored.received_at_us,
            expires_us: stored.expires_at_us,
        }
    }
}

/// Ledger rows that are read at once: the worker takes the same lock for each group, before it acknowledges it.
const LEDGER_PAGE_ROWS: usize = 1024;

/// The ledger of a table, page by page: minutes, then hours, then days, each by time and producer. Roll-ups wait while it is there.
pub struct LedgerPages {
    shared: Arc<Shared>,
    reading: Option<Reading>,
}

impl Iterator for LedgerPages {
    type Item = Result<Vec<LedgerRow>>;

    fn next(&mut self) -> Option<Self::Item> {
        let reading = self.reading.as_mut()?;
        let page = self.shared.ledger.lock().page(reading, LEDGER_PAGE_ROWS);
        match page {
            Ok(rows) if !rows.is_empty() => Some(Ok(rows.into_iter().map(LedgerRow::from).collect())),
            ended => {
                self.reading = None;
                ended.err().map(Err)
            }
        }
    }
}

/// Rejected rows that are read at once, about: with the record that passes one of these.
const REJECTED_PAGE_BYTES: usize = 1 << 20;
const REJECTED_PAGE_ROWS: usize = 8192;

/// The rejected rows of a table, oldest first, page by page. What is forgotten meanwhile is left out.
pub struct RejectedPages {
    shared: Arc<Shared>,
    prefix: Vec<u8>,
    /// The key of the last record that was read; none at the end.
    after: Option<Vec<u8>>,
}

impl RejectedPages {
    fn page(&mut self, after: &[u8]) -> Result<Vec<RejectedRecord>> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        for record in self.shared.store.scan_after(Family::State, &self.prefix, after)? {
            let (key, value) = record?;
            // One record holds many rows of one batch.
            for stored in StoredRejection::decode(&value)? {
                bytes += stored.message.len() + stored.payload.len();
                rows.push(stored.into());
            }
            self.after = Some(key.into_vec());
            if bytes >= REJECTED_PAGE_BYTES || rows.len() >= REJECTED_PAGE_ROWS {
                break;
            }
        }
        Ok(rows)
    }
}

impl Iterator for RejectedPages {
    type Item = Result<Vec<RejectedRecord>>;

    fn next(&mut self) -> Option<Self::Item> {
        let after = self.after.take()?;
        match self.page(&after) {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => Some(Ok(rows)),
            Err(error) => {
                self.after = None;
                Some(Err(error))
            }
        }
    }
}

/// Background work of a table that runs, waits or ended lately: a row of `system.jobs`.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Unique in the process.
    pub id: u64,
    /// `run` builds a sorted run from the tail, `reclaim` gives the space of deleted entries back.
    pub kind: &'static str,
    /// `pending`, `running`, `done`, `failed`, or `cancelled`: nobody needs its outcome any more.
    pub state: &'static str,
    /// Why it was started, such as `tail_rows`.
    pub cause: &'static str,
    /// 0.0 to 1.0; `None` when it cannot say.
    pub progress: Option<f64>,
    /// Microseconds since 1970; `None` while it is pending.
    pub started_us: Option<i64>,
    pub ended_us: Option<i64>,
    /// Why it failed; of one that has not ended, what it last heard from the store that it waits for.
    pub error: Option<String>,
}

/// Jobs that ended are remembered up to this many.
const ENDED_JOBS: usize = 20;

/// Jobs that a table's worker begins and waits for.
const OF_WORKER: [&str; 3] = ["run", "keys", "reclaim"];

/// Jobs that wait as long as it takes until a commit of the Delta table is settled.
const OF_STORE: [&str; 3] = ["publish", "compact", "retention"];

/// Background work of one table, newest last.
#[derive(Default)]
pub(crate) struct Jobs {
    rows: VecDeque<JobRow>,
}

/// The last id that a job of any table was given.
static LAST_JOB_ID: AtomicU64 = AtomicU64::new(0);

impl Jobs {
    /// A job that waits for its turn.
    pub(crate) fn add(&mut self, kind: &'static str, cause: &'static str) -> u64 {
        let id = LAST_JOB_ID.fetch_add(1, Ordering::Relaxed) + 1;
        self.rows.push_back(JobRow {
            id,
            kind,
            state: "pending",
            cause,
            progress: None,
            started_us: None,
            ended_us: None,
            error: None,
        });
        id
    }

    /// Its turn has come. One that was cancelled a moment ago may go on a little before it ends, and is cancelled all the same.
    pub(crate) fn begin(&mut self, id: u64, now_us: i64) {
        if let Some(job) = self.rows.iter_mut().find(|job| job.id == id && job.ended_us.is_none()) {
            job.state = "running";
            job.started_us = Some(now_us);
        }
    }

    pub(crate) fn end(&mut self, id: u64, now_us: i64, error: Option<String>) {
        let state = if error.is_some() { "failed" } else { "done" };
        self.end_as(state, id, now_us, error);
    }

    /// Nobody needs its outcome any more, which is no error.
    pub(crate) fn cancel(&mut self, id: u64, now_us: i64) {
        self.end_as("cancelled", id, now_us, None);
    }

    fn end_as(&mut self, state: &'static str, id: u64, now_us: i64, error: Option<String>) {
        if let Some(job) = self.rows.iter_mut().find(|job| job.id == id) {
            job.state = state;
            job.ended_us = Some(now_us);
            job.error = error;
        }
        // Never one that runs: it may have waited for days, and is what somebody looks for.
        let others = self.rows.iter().enumerate().filter(|(_, job)| job.ended_us.is_some() && job.id != id);
        if others.clone().count() >= ENDED_JOBS
            && let Some((first, _)) = others.min_by_key(|(_, job)| job.ended_us)
        {
            self.rows.remove(first);
        }
    }

    /// What the store of the Delta table answers to who waits for it; `None`: it has done what was asked.
    pub(crate) fn note_store(&mut self, error: Option<&str>) {
        for job in self.rows.iter_mut().filter(|job| job.ended_us.is_none() && OF_STORE.contains(&job.kind)) {
            job.error = error.map(str::to_owned);
        }
    }

    /// The worker has ended: nobody waits for its jobs any more.
    pub(crate) fn end_of_worker(&mut self, now_us: i64) {
        let is_left = |job: &&JobRow| job.ended_us.is_none() && OF_WORKER.contains(&job.kind);
        let left: Vec<u64> = self.rows.iter().filter(is_left).map(|job| job.id).collect();
        for id in left {
            self.end(id, now_us, Some("the worker of the table has ended".to_owned()));
        }
    }
}

impl Table {
    /// All producers that the table remembers, by name. Durable state: what is in flight is not in it.
    pub fn producers(&self) -> Result<Vec<ProducerRow>> {
        let mut rows = Vec::new();
        let prefix = state_prefix(state_key::PRODUCER, self.shared.def.id, SHARD_ZERO);
        for record in self.shared.store.scan(Family::State, &prefix)? {
            let (key, value) = record?;
            let state = ProducerState::from_disk(&value)?;
            rows.push(ProducerRow {
                producer: String::from_utf8_lossy(suffix_of(&key)).into_owned(),
                epoch: state.epoch,
                last_sequence: state.last_sequence,
                last_commit_seq: state.last_commit_seq().0,
                last_seen_us: state.last_seen_us,
                rows: state.totals.accepted,
                duplicates: state.totals.duplicates,
                repeated: state.repeated,
                rejected: state.totals.rejected,
                principal: state.principal,
            });
        }
        Ok(rows)
    }

    /// The ledger's rows, a few at a time.
    pub fn ledger_pages(&self) -> LedgerPages {
        let reading = self.shared.ledger.lock().read();
        LedgerPages { shared: Arc::clone(&self.shared), reading: Some(reading) }
    }

    /// The ledger's rows, oldest first, all of them: many, where there are many producers.
    pub fn ledger(&self) -> Result<Vec<LedgerRow>> {
        let pages = self.ledger_pages().collect::<Result<Vec<_>>>()?;
        let mut rows: Vec<LedgerRow> = pages.into_iter().flatten().collect();
        rows.sort_by_key(|row| row.minute_us);
        Ok(rows)
    }

    /// The rejected rows that are kept, about 1 MiB at a time, oldest first. They go when they are old by both clocks, so some time after
    /// they expire.
    pub fn rejected_pages(&self) -> RejectedPages {
        let prefix = state_prefix(state_key::REJECTED, self.shared.def.id, SHARD_ZERO);
        RejectedPages { shared: Arc::clone(&self.shared), after: Some(prefix.clone()), prefix }
    }

    /// The same, all of them: up to 1 GiB.
    pub fn rejected(&self) -> Result<Vec<RejectedRecord>> {
        let pages = self.rejected_pages().collect::<Result<Vec<_>>>()?;
        Ok(pages.into_iter().flatten().collect())
    }

    /// Background work on this table, newest first.
    pub fn jobs(&self) -> Vec<JobRow> {
        self.shared.jobs.lock().rows.iter().rev().cloned().collect()
    }

    /// What became of all rows that ever came.
    pub fn counts(&self) -> Counts {
        self.shared.ledger.lock().totals()
    }

    /// Event time through which all producers have come that were active in the last minute; microseconds since 1970. Snapshots that are
    /// taken from now on have all rows that it stands on. `None`: no producer was, or the table has no time column.
    pub fn watermark_us(&self) -> Option<i64> {
        // Before all producers are looked through.
        self.def().options.time_column?;
        let visible = *self.shared.visible.borrow();
        self.shared.activity.watermark(self.shared.env.clock.now_us(), visible)
    }

    /// What the table has, and how it is.
    pub fn stats(&self) -> TableStats {
        let version = self.shared.version.load();
        let figures = self.shared.figures.lock();
        let health_reason = self.shared.closed_reason.lock().clone();
        let sealing = *self.shared.sealing.lock();
        let files = version.files.refs();
        let published = || files.iter().filter(|file| file.place.is_published);
        let built = files.iter().filter(|file| !file.place.is_published);
        let built_at = |file: &FileRef| file.file.entry.map_or(file.file.created_at_us, |(_, stamp_us)| stamp_us);
        let mut damaged = self.damaged_files(files);
        damaged.extend(self.shared.quarantine.missing_log());
        TableStats {
            realtime_rows: version.realtime.n_rows(),
            realtime_bytes: version.realtime.bytes(),
            unsealed_since_us: built.clone().map(built_at).chain(version.realtime.oldest_stamp_us()).min(),
            unpublished_bytes: sealing.unpublished_bytes,
            built_rows: built.map(FileRef::live_rows).sum(),
            sealed_rows: published().map(FileRef::live_rows).sum(),
            deleted_rows: files.iter().map(FileRef::n_deleted).sum(),
            sealed_files: published().count() as u64,
            sealed_bytes: published().map(|file| file.file.bytes).sum(),
            sealed_through: sealing.settled.map_or(0, |settled| settled.through),
            delta_version: sealing.settled.map(|settled| settled.version),
            last_seal_us: sealing.settled.map(|settled| settled.timestamp_ms * 1000),
            commit_seq: version.upper.0,
            watermark_us: self.shared.activity.watermark(self.shared.env.clock.now_us(), version.upper),
            last_write_us: figures.last_write_us,
            dedup_class: figures.dedup_class,
            dedup_keys: figures.dedup_keys,
            dedup_bytes: figures.dedup_bytes,
            healthy: health_reason.is_none(),
            damaged_files: damaged.len() as u64,
            health_reason: health_reason.or_else(|| damage_reason(&damaged)),
        }
    }

    /// Those of `files` that are damaged, by name. One whose rows are all deleted is needed by nobody, and leaves with the next publish.
    fn damaged_files(&self, files: &[FileRef]) -> Vec<(String, Damage)> {
        let mut damaged = self.shared.quarantine.all();
        if damaged.is_empty() {
            return Vec::new();
        }
        let needed = files.iter().filter(|file| file.live_rows() > 0);
        needed.filter_map(|file| damaged.remove_entry(file.file.name.as_str())).collect()
    }
}

/// Of so many damaged files the reason is told; all are in `system.segments`.
const MAX_REASONS: usize = 3;

fn damage_reason(damaged: &[(String, Damage)]) -> Option<String> {
    let named = |(file, damage): &(String, Damage)| format!("{file} ({})", damage.reason);
    let named: Vec<String> = damaged.iter().take(MAX_REASONS).map(named).collect();
    let more = match damaged.len().saturating_sub(MAX_REASONS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!damaged.is_empty()).then(|| format!("damaged files: {}{more}", named.join(", ")))
}
