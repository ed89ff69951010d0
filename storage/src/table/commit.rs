//! In which order is what written? THE write orders: each change of a table is one [`Commit`], whole or not at all.
//!
//! | change | one synced batch holds | visible |
//! |---|---|---|
//! | rows | `Rows` entry, producers, ledger, rejected rows, idempotency keys | after the sync, before the answer |
//! | InitProducer | `Producer` entry, the producer | the same |
//! | TRUNCATE | `Truncate` entry, the log's new base, a range delete of the entries before it | the same |
//! | CREATE TABLE | the definition | after the sync, before the answer |
//! | DROP TABLE | the definition moved to the dropped ones | the same |
//! | views | the view's record | the same |
//!
//! Every step has a fail point before and after: `log.before_write`, `log.after_write`, `log.after_witness` in the writer;
//! `table.before_submit`, `table.before_publish`, `table.after_publish`, `table.after_answer` in the worker; `replay.entry` at the start.

use crate::catalog::{TableDef, View, view_to_disk};
use crate::ids::{CommitSeq, LogId, SHARD_ZERO, SchemaId, TableId};
use crate::log::{
    BatchMeta, Block, Commit, Entry, EntryBody, Family, Op, ProducerEpoch, log_key, log_range, meta_key, state_key,
    state_prefix,
};

/// The version of the folder's layout. Another one is refused.
pub(crate) const FORMAT: &[u8] = b"1";

/// Where an entry stands and when.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) table: TableId,
    pub(crate) schema: SchemaId,
    pub(crate) seq: CommitSeq,
    pub(crate) stamp_us: i64,
    pub(crate) uptime_us: u64,
}

impl Place {
    fn put(self, body: EntryBody) -> Op {
        let entry = Entry { schema: self.schema, stamp_us: self.stamp_us, uptime_us: self.uptime_us, body };
        Op::Put(Family::Log, log_key(self.table, SHARD_ZERO, self.seq), entry.encode())
    }
}

/// Rows and everything that is known of them: `records` are producers, ledger, rejected rows and idempotency keys.
pub(crate) fn rows(place: Place, batches: Vec<BatchMeta>, blocks: Vec<Block>, records: Vec<Op>, sync: bool) -> Commit {
    let mut ops = Vec::with_capacity(records.len() + 1);
    ops.push(place.put(EntryBody::Rows { batches, blocks }));
    ops.extend(records);
    Commit { ops, sync }
}

/// A producer's new epoch.
pub(crate) fn producer_epoch(place: Place, epoch: ProducerEpoch, producer: Op) -> Commit {
    Commit { ops: vec![place.put(EntryBody::Producer(epoch)), producer], sync: true }
}

/// Everything before `place` goes; producers stay.
pub(crate) fn truncate(place: Place) -> Commit {
    let (from, to) = log_range(place.table, SHARD_ZERO, CommitSeq(0), place.seq);
    let base = state_prefix(state_key::BASE, place.table, SHARD_ZERO);
    Commit {
        ops: vec![
            Op::DeleteRange(Family::Log, from, to),
            Op::Put(Family::State, base, place.seq.0.to_be_bytes().to_vec()),
            place.put(EntryBody::Truncate),
        ],
        sync: true,
    }
}

/// A new folder's identity.
pub(crate) fn first_start(log: LogId) -> Commit {
    Commit {
        ops: vec![
            Op::Put(Family::Meta, meta_key::FORMAT.to_vec(), FORMAT.to_vec()),
            Op::Put(Family::Meta, meta_key::LOG_ID.to_vec(), log.0.as_bytes().to_vec()),
        ],
        sync: true,
    }
}

pub(crate) fn create_table(def: &TableDef) -> Commit {
    Commit { ops: vec![Op::Put(Family::Meta, meta_key::of_table(meta_key::TABLE, def.id), def.to_disk())], sync: true }
}

/// The table is hidden; its log, keys and state stay, so that it can be brought back.
pub(crate) fn drop_table(def: &TableDef, now_us: i64) -> Commit {
    let mut dropped = now_us.to_be_bytes().to_vec();
    dropped.extend(def.to_disk());
    Commit {
        ops: vec![
            Op::Delete(Family::Meta, meta_key::of_table(meta_key::TABLE, def.id)),
            Op::Put(Family::Meta, meta_key::of_table(meta_key::DROPPED, def.id), dropped),
        ],
        sync: true,
    }
}

pub(crate) fn create_view(view: &View) -> Commit {
    Commit {
        ops: vec![Op::Put(Family::Meta, meta_key::of_view(&view.schema_name, &view.name), view_to_disk(view))],
        sync: true,
    }
}

pub(crate) fn drop_view(schema: &str, name: &str) -> Commit {
    Commit { ops: vec![Op::Delete(Family::Meta, meta_key::of_view(schema, name))], sync: true }
}
