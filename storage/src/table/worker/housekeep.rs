//! What may the state records forget? The ledger's old minutes become hours; rejected rows and idle producers keep to their limits.

use crate::admission::ledger::LedgerOp;
use crate::error::Result;
use crate::ids::ProducerId;
use crate::limits::PRODUCER_TTL_S;
use crate::log::{Family, Op, state_key};
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::worker::group::Publish;
use crate::table::worker::task::{Prepared, Worker};

/// Producers that one entry forgets; the rest waits for the next time.
const MAX_FORGOTTEN: usize = 10_000;

impl Worker {
    /// An entry only if producers are forgotten: nothing else that a query sees of the table changes.
    pub(crate) fn on_housekeep(&mut self) -> Result<Prepared> {
        self.start_reclaim();
        if !self.shared.gate.has_space(Write::Small) {
            // All of this can wait.
            return Ok(self.only_records(Vec::new()));
        }
        let now = self.now();
        // The counts in memory are ahead of the records by these.
        let mut ops = self.state.take_unwritten();
        {
            let mut ledger = self.shared.ledger.lock();
            let changes = if ledger.may_roll_up() { ledger.compact(now.wall_us) } else { Vec::new() };
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
            return Ok(self.only_records(ops));
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

    fn only_records(&self, ops: Vec<Op>) -> Prepared {
        Prepared {
            seq: self.state.last_seq,
            commit: (!ops.is_empty()).then(|| commit::records(ops, false)),
            publish: Publish::Nothing,
            stamp_us: self.state.last_stamp_us,
            answers: Vec::new(),
        }
    }
}
