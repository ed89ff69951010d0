//! What does a table tell about itself? Rows of the system tables that only storage knows.

use std::collections::VecDeque;

use crate::admission::RejectCode;
use crate::admission::rejected::RejectedRecord as StoredRejection;
use crate::error::Result;
use crate::ids::SHARD_ZERO;
use crate::log::{Family, state_key, state_prefix, suffix_of};
use crate::producers::ProducerState;
use crate::table::handle::Table;

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

/// Background work of a table that runs, waits or ended lately: a row of `system.jobs`.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Unique in the process.
    pub id: u64,
    /// `run` builds a sorted run from the tail, `reclaim` gives the space of deleted entries back.
    pub kind: &'static str,
    /// `pending`, `running`, `done` or `failed`.
    pub state: &'static str,
    /// Why it was started, such as `tail_rows`.
    pub cause: &'static str,
    /// 0.0 to 1.0; `None` when it cannot say.
    pub progress: Option<f64>,
    /// Microseconds since 1970; `None` while it is pending.
    pub started_us: Option<i64>,
    pub ended_us: Option<i64>,
    pub error: Option<String>,
}

/// Jobs that ended are remembered up to this many.
const ENDED_JOBS: usize = 20;

/// Background work of one table, newest last.
#[derive(Default)]
pub(crate) struct Jobs {
    next_id: u64,
    rows: VecDeque<JobRow>,
}

impl Jobs {
    pub(crate) fn start(&mut self, kind: &'static str, cause: &'static str, now_us: i64) -> u64 {
        self.next_id += 1;
        if self.rows.len() > ENDED_JOBS {
            self.rows.pop_front();
        }
        self.rows.push_back(JobRow {
            id: self.next_id,
            kind,
            state: "running",
            cause,
            progress: None,
            started_us: Some(now_us),
            ended_us: None,
            error: None,
        });
        self.next_id
    }

    pub(crate) fn end(&mut self, id: u64, now_us: i64, error: Option<String>) {
        if let Some(job) = self.rows.iter_mut().find(|job| job.id == id) {
            job.state = if error.is_some() { "failed" } else { "done" };
            job.ended_us = Some(now_us);
            job.error = error;
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

    /// The ledger's rows, oldest first.
    pub fn ledger(&self) -> Result<Vec<LedgerRow>> {
        let ledger = self.shared.ledger.lock();
        let mut rows: Vec<_> = ledger
            .rows()
            .map(|row| LedgerRow {
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
            })
            .collect();
        rows.sort_by_key(|row| row.minute_us);
        Ok(rows)
    }

    /// The rejected rows that are kept, oldest first. They go when they are old by both clocks, so some time after they expire.
    pub fn rejected(&self) -> Result<Vec<RejectedRecord>> {
        let mut rows = Vec::new();
        let prefix = state_prefix(state_key::REJECTED, self.shared.def.id, SHARD_ZERO);
        for record in self.shared.store.scan(Family::State, &prefix)? {
            let stored = StoredRejection::decode(&record?.1)?;
            let named = !stored.producer.is_empty();
            rows.push(RejectedRecord {
                producer: named.then_some(stored.producer),
                sequence: named.then_some(stored.sequence),
                row: stored.row,
                column: stored.column,
                code: stored.code,
                message: stored.message,
                payload: stored.payload,
                received_us: stored.received_at_us,
                expires_us: stored.expires_at_us,
            });
        }
        Ok(rows)
    }

    /// Background work on this table, newest first.
    pub fn jobs(&self) -> Vec<JobRow> {
        self.shared.jobs.lock().rows.iter().rev().cloned().collect()
    }
}
