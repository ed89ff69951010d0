//! What may the state records forget? The ledger's old minutes become hours; rejected rows and idle producers keep to their limits.

use tokio::sync::oneshot;

use crate::admission::ledger::LedgerOp;
use crate::error::Result;
use crate::ids::{CommitSeq, ProducerId, SHARD_ZERO};
use crate::limits::PRODUCER_TTL_S;
use crate::log::{Commit, Family, Op, after_prefix, log_prefix, state_key};
use crate::table::commit;
use crate::table::worker::group::Publish;
use crate::table::worker::task::{Prepared, Worker};

/// Producers that one entry forgets; the rest waits for the next time.
const MAX_FORGOTTEN: usize = 10_000;

impl Worker {
    /// An entry only if producers are forgotten: nothing else that a query sees of the table changes.
    pub(crate) fn on_housekeep(&mut self) -> Result<Prepared> {
        self.start_reclaim();
        let now = self.now();
        // The counts in memory are ahead of the records by these.
        let mut ops = self.state.take_unwritten();
        {
            let mut ledger = self.shared.ledger.lock();
            let changes = ledger.compact(now.wall_us);
            ledger.apply(&changes)?;
            ops.extend(changes.into_iter().map(|change| match change {
                LedgerOp::Put { key, value } => {
                    Op::Put(Family::State, self.state.state_key(state_key::LEDGER, &key), value)
                }
                LedgerOp::Delete { key } => Op::Delete(Family::State, self.state.state_key(state_key::LEDGER, &key)),
            }));
        }
        ops.extend(self.state.forget_rejected(now));
        let idle: Vec<ProducerId> = self
            .state
            .producers
            .iter()
            .filter(|(_, state)| state.seen().is_older_than(PRODUCER_TTL_S, now))
            .map(|(id, _)| id.clone())
            .take(MAX_FORGOTTEN)
            .collect();
        if idle.is_empty() {
            return Ok(Prepared {
                seq: self.state.last_seq,
                commit: (!ops.is_empty()).then_some(Commit { ops, sync: false }),
                publish: Publish::Nothing,
                stamp_us: self.state.last_stamp_us,
                answers: Vec::new(),
            });
        }
        for id in &idle {
            self.state.producers.remove(id);
            let key = self.state.state_key(state_key::PRODUCER, id.as_str().as_bytes());
            ops.push(Op::Delete(Family::State, key));
        }
        ops.push(Op::Put(Family::State, self.state.state_key(state_key::FORGOT, &[]), vec![1]));
        self.state.has_forgotten = true;
        let place = self.next_place();
        self.state.unsynced = false;
        Ok(Prepared {
            seq: place.seq,
            commit: Some(commit::forget_producers(place, idle.iter().map(ToString::to_string).collect(), ops)),
            publish: Publish::Nothing,
            stamp_us: place.at.wall_us,
            answers: Vec::new(),
        })
    }

    /// Ends the table unless it ever had an entry. Whoever is in the queue behind finds it closed: nothing of theirs was stored.
    pub(crate) fn on_close_if_empty(&mut self, answer: oneshot::Sender<bool>) {
        let is_empty = self.state.last_seq == CommitSeq::default();
        if is_empty {
            self.ended = true;
            self.shared.close("it was made for rows that could not be stored");
        }
        let _ = answer.send(is_empty);
    }

    /// Entries were deleted: gives their space back, beside the worker, one job at a time. What is deleted while one runs is given back by
    /// the next one, at the latest an hour later.
    pub(crate) fn start_reclaim(&mut self) {
        if !self.reclaims || self.reclaim_job.as_ref().is_some_and(|job| !job.is_finished()) {
            return;
        }
        self.reclaims = false;
        let (shared, table) = (self.shared.clone(), self.state.def.id);
        let id = shared.jobs.lock().start("reclaim", "truncate", shared.env.clock.now_us());
        self.reclaim_job = Some(tokio::task::spawn_blocking(move || {
            let prefix = log_prefix(table, SHARD_ZERO);
            let outcome = shared.store.reclaim(Family::Log, &prefix, &after_prefix(&prefix));
            shared.jobs.lock().end(id, shared.env.clock.now_us(), outcome.err().map(|e| e.to_string()));
        }));
    }
}
