//! What may the state records forget? The ledger's old minutes become hours; rejected rows, idle producers and keys keep to their limits.

use crate::admission::ledger::LedgerOp;
use crate::env::Moment;
use crate::error::Result;
use crate::ids::{CommitSeq, ProducerId};
use crate::limits::PRODUCER_TTL_S;
use crate::log::{Family, Forget, Op, state_key};
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::seal::forgettable;
use crate::table::worker::group::Publish;
use crate::table::worker::task::{Prepared, Worker};
use crate::table::worker::upkeep::let_go_when_written;

/// Producers that one entry forgets; the rest waits for the next time.
const MAX_FORGOTTEN: usize = 10_000;

impl Worker {
    /// An entry only if producers or keys are forgotten: nothing else that a query sees of the table changes.
    pub(crate) fn on_housekeep(&mut self) -> Result<Prepared> {
        self.start_reclaim();
        self.start_keys_job();
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
        let keys_through = self.old_keys(now);
        if idle.is_empty() && keys_through.is_none() {
            return Ok(self.only_records(ops));
        }
        for id in &idle {
            self.state.producers.remove(id);
            let key = self.state.state_key(state_key::PRODUCER, id.as_str().as_bytes());
            ops.push(Op::Delete(Family::State, key));
        }
        if !idle.is_empty() {
            ops.push(Op::Put(Family::State, self.state.state_key(state_key::FORGOT, &[]), vec![1]));
            self.state.has_forgotten = true;
        }
        let layers = keys_through.map(|through| self.forget_keys(through)).unwrap_or_default();
        let files = layers.iter().map(|name| self.shared.built_place(name)).collect();
        let place = self.next_place();
        self.state.unsynced = false;
        let forgotten = Forget {
            producers: idle.iter().map(ToString::to_string).collect(),
            keys_through: keys_through.map_or(0, |through| through.0),
        };
        Ok(Prepared {
            seq: place.seq,
            commit: Some(commit::forget(place, forgotten, &layers, ops)),
            publish: Publish::Nothing,
            stamp_us: place.at.wall_us,
            answers: vec![let_go_when_written(files)],
        })
    }

    /// The last entry whose keys are past the `dedup_window` by both clocks.
    fn old_keys(&mut self, now: Moment) -> Option<CommitSeq> {
        let window_us = self.state.def.options.dedup_window_us?;
        // Without new keys no epoch would ever end.
        self.state.begin_epoch(now);
        let seal = &self.state.seal;
        // Their entries are in the log: a replay would bring them back.
        let not_built = seal.layer_files.iter().filter(|layer| CommitSeq(layer.through) >= seal.base.seq);
        let not_built = not_built.map(|layer| layer.epoch).chain(seal.layers.iter().map(|layer| layer.epoch.number));
        let kept_from = not_built.min().unwrap_or(u32::MAX).min(seal.key_epoch.number);
        forgettable(&seal.layer_files, kept_from, window_us, now)
    }

    /// Lets whole layers go, with all keys of entries up to and with `through`. Returns the names of their files.
    fn forget_keys(&mut self, through: CommitSeq) -> Vec<String> {
        if let Some(keys) = &mut self.state.keys {
            keys.forget_through(through.0);
        }
        // A stream that looked its keys up before looks again.
        self.keys_id = self.shared.next_frozen_id();
        let files = &mut self.state.seal.layer_files;
        files.extract_if(.., |layer| layer.through <= through.0).map(|layer| layer.name).collect()
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
