//! What may the state records forget? The ledger's old minutes become hours, rejected rows keep to their limits.

use crate::admission::ledger::LedgerOp;
use crate::admission::rejected::{KeptRecord, RejectedRecord, pick_forgotten};
use crate::error::Result;
use crate::ids::SHARD_ZERO;
use crate::log::{Commit, Family, Op, state_key, state_prefix};
use crate::table::worker::group::Publish;
use crate::table::worker::task::{Prepared, Worker};

impl Worker {
    /// No entry: nothing that a query sees of the table changes.
    pub(crate) fn on_housekeep(&mut self) -> Result<Prepared> {
        let now_us = self.shared.env.clock.now_us();
        // The counts in memory are ahead of the records by these.
        let mut ops = self.state.take_unwritten();
        {
            let mut ledger = self.shared.ledger.lock();
            let changes = ledger.compact(now_us);
            ledger.apply(&changes)?;
            ops.extend(changes.into_iter().map(|change| match change {
                LedgerOp::Put { key, value } => {
                    Op::Put(Family::State, self.state.state_key(state_key::LEDGER, &key), value)
                }
                LedgerOp::Delete { key } => Op::Delete(Family::State, self.state.state_key(state_key::LEDGER, &key)),
            }));
        }
        let prefix = state_prefix(state_key::REJECTED, self.state.def.id, SHARD_ZERO);
        let mut kept = Vec::new();
        for record in self.shared.store.scan(Family::State, &prefix)? {
            let (key, value) = record?;
            let expires_at_us = RejectedRecord::decode(&value)?.expires_at_us;
            kept.push(KeptRecord { bytes: (key.len() + value.len()) as u64, key: key.into_vec(), expires_at_us });
        }
        ops.extend(pick_forgotten(&kept, now_us).into_iter().map(|key| Op::Delete(Family::State, key)));
        Ok(Prepared {
            seq: self.state.last_seq,
            commit: (!ops.is_empty()).then_some(Commit { ops, sync: false }),
            publish: Publish::Nothing,
            stamp_us: self.state.last_stamp_us,
            answers: Vec::new(),
        })
    }
}
