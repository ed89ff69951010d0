//! When is the space of deleted entries given back? Beside the worker, by one job at a time. That it is owed stands in the log until it
//! is done, so that the next start goes on with it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::ids::{CommitSeq, SHARD_ZERO, TableId, array};
use crate::log::{Family, Store, log_range, meta_key, state_key, state_prefix};
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::worker::group::Publish;
use crate::table::worker::task::{Prepared, Worker};

/// What is owed: the space of entries that TRUNCATE deleted, each known by its sequence.
#[derive(Default)]
pub(crate) struct Reclaim {
    /// The last one decided: the record that space is owed is on its way to the log.
    decided: CommitSeq,
    /// The last one written: its space can be given back.
    written: CommitSeq,
    /// The last one whose space is given back.
    done: CommitSeq,
    job: Option<Job>,
    /// There was too little space to begin with: tells when others gave some back. Never beside a job.
    skipped: Option<watch::Receiver<()>>,
}

/// Why the worker looks at what is owed.
pub(crate) enum Reclaimed {
    /// Its job ended.
    Ended(Result<()>),
    /// Others gave space back, which its own job lacked.
    ByOthers,
}

struct Job {
    id: u64,
    covers: CommitSeq,
    task: JoinHandle<Result<()>>,
}

impl Reclaim {
    /// What an earlier worker left behind. A record that cannot be read is taken for one: doing it once more does no harm.
    pub(crate) fn owed_at(store: &Store, table: TableId, last_seq: CommitSeq) -> Self {
        match store.get(Family::Meta, &meta_key::of_table(meta_key::RECLAIM, table)) {
            Ok(None) => Self::default(),
            _ => {
                let base = store.get(Family::State, &state_prefix(state_key::BASE, table, SHARD_ZERO)).ok().flatten();
                let base = base.map_or(last_seq, |bytes| CommitSeq(u64::from_be_bytes(array(&bytes))));
                Self { decided: base, written: base, ..Self::default() }
            }
        }
    }

    pub(crate) fn decide(&mut self, seq: CommitSeq) {
        if commit::owes_space(seq) {
            self.decided = seq;
        }
    }

    pub(crate) fn note_written(&mut self, seq: CommitSeq) {
        if commit::owes_space(seq) {
            self.written = seq;
        }
    }

    /// A job runs, which holds the folder.
    pub(crate) fn is_running(&self) -> bool {
        self.job.is_some()
    }

    /// How the job that runs ends, or that one that was skipped may begin; never, if there is neither.
    pub(crate) async fn outcome(&mut self) -> Reclaimed {
        if let Some(job) = &mut self.job {
            let failed = |e| Err(Error::internal(format!("space could not be given back: {e}")));
            return Reclaimed::Ended((&mut job.task).await.unwrap_or_else(failed));
        }
        if let Some(skipped) = &mut self.skipped
            && skipped.changed().await.is_ok()
        {
            return Reclaimed::ByOthers;
        }
        std::future::pending().await
    }
}

impl Worker {
    /// Starts a job if space is owed and none runs. What is written out first needs space itself: without it, it is tried again when
    /// others gave some back, and every hour.
    pub(crate) fn start_reclaim(&mut self) {
        if self.reclaim.is_running() || self.reclaim.done == self.reclaim.written {
            return;
        }
        let shared = &self.shared;
        // Before the space is looked up: what is given back from here on is not missed.
        let given_back = shared.gate.given_back.subscribe();
        if let Err(full) = shared.gate.check_space(Write::Freeing) {
            tracing::warn!(table_id = %shared.def.id, table = %shared.def.name, reason = %full, "the space of deleted entries is given back later");
            self.reclaim.skipped = Some(given_back);
            return;
        }
        self.reclaim.skipped = None;
        let covers = self.reclaim.written;
        // Up to the log's base: what stands behind it is alive, and would be rewritten for nothing.
        let (from, to) = log_range(self.state.def.id, SHARD_ZERO, CommitSeq(0), covers);
        let store = Arc::clone(&shared.store);
        let id = {
            let mut jobs = shared.jobs.lock();
            let id = jobs.add("reclaim", "truncate");
            jobs.begin(id, shared.env.clock.now_us());
            id
        };
        let task = tokio::task::spawn_blocking(move || store.reclaim(Family::Log, &from, &to));
        self.reclaim.job = Some(Job { id, covers, task });
    }

    /// There is something to do for what is owed.
    pub(crate) async fn on_reclaimed(&mut self, what: Reclaimed) -> Result<()> {
        match what {
            Reclaimed::Ended(outcome) => self.end_reclaim(outcome).await,
            Reclaimed::ByOthers => {
                self.start_reclaim();
                Ok(())
            }
        }
    }

    /// The job ended. That space is owed is forgotten only if no later TRUNCATE said so again: its record is the same one.
    async fn end_reclaim(&mut self, outcome: Result<()>) -> Result<()> {
        let Some(Job { id, covers, .. }) = self.reclaim.job.take() else { return Ok(()) };
        let now_us = self.shared.env.clock.now_us();
        self.shared.jobs.lock().end(id, now_us, outcome.as_ref().err().map(ToString::to_string));
        if outcome.is_err() {
            // It stays owed, and housekeeping tries again.
            return Ok(());
        }
        self.shared.gate.given_back.send_replace(());
        self.reclaim.done = covers;
        if self.reclaim.done != self.reclaim.decided {
            self.start_reclaim();
            return Ok(());
        }
        self.submit(Prepared {
            seq: self.state.last_seq,
            commit: Some(commit::reclaimed(self.state.def.id)),
            publish: Publish::Nothing,
            stamp_us: self.state.last_stamp_us,
            answers: Vec::new(),
        })
        .await
    }
}
