//! In which order is what written? THE write orders: each change of a table is one [`Commit`], whole or not at all.
//!
//! | change | one synced batch holds | visible |
//! |---|---|---|
//! | rows | `Rows` entry, producers, ledger, rejected rows, idempotency keys | after the sync, before the answer |
//! | InitProducer | `Producer` entry, the producer | the same |
//! | TRUNCATE | `Truncate` entry, the log's new base, a range delete of the entries before it, that their space is owed | the same |
//! | CREATE TABLE | the definition | after the sync, before the answer |
//! | a table with its first rows | the definition and all that rows have | the same |
//! | DROP TABLE | the definition moved to the dropped ones | the same |
//! | views | the view's record | the same |
//! | idle producers | `Forget` entry, the producers' records gone | never: a batch of theirs finds them unknown |
//! | end of a dropped table | range deletes of its log and its records, the definition gone, that their space is owed | never |
//! | space given back | that it was owed is gone; not synced: at the worst it is given back twice | never |
//!
//! Every step has a fail point before and after: `log.before_write`, `log.after_write`, `log.after_witness` in the writer;
//! `table.before_submit`, `table.before_publish`, `table.after_publish`, `table.after_answer` in the worker; `replay.entry` at the start.
//! All but the last can be armed for one kind of commit: `log.after_write/truncate`.

use crate::catalog::{TableDef, View, dropped_to_disk, view_to_disk};
use crate::env::Moment;
use crate::ids::{CommitSeq, LogId, SHARD_ZERO, SchemaId, TableId};
use crate::log::{
    BatchMeta, Block, Commit, Entry, EntryBody, Family, Forget, Op, ProducerEpoch, TABLE_STATE, after_prefix, log_key,
    log_prefix, log_range, meta_key, state_key, state_prefix,
};

/// The version of the folder's layout. Another one is refused.
pub(crate) const FORMAT: &[u8] = b"1";

/// That entries were deleted whose space is not given back yet. It is all in the key; the value is its version.
const OWED: &[u8] = &[1];

/// Where an entry stands and when.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) table: TableId,
    pub(crate) schema: SchemaId,
    pub(crate) seq: CommitSeq,
    pub(crate) at: Moment,
}

impl Place {
    fn put(self, body: EntryBody) -> Op {
        let Moment { wall_us: stamp_us, uptime_us } = self.at;
        let entry = Entry { schema: self.schema, stamp_us, uptime_us, body };
        Op::Put(Family::Log, log_key(self.table, SHARD_ZERO, self.seq), entry.encode())
    }
}

/// Rows and everything that is known of them: `records` are producers, ledger, rejected rows and idempotency keys.
pub(crate) fn rows(place: Place, batches: Vec<BatchMeta>, blocks: Vec<Block>, records: Vec<Op>, sync: bool) -> Commit {
    let mut ops = Vec::with_capacity(records.len() + 1);
    ops.push(place.put(EntryBody::Rows { batches, blocks }));
    ops.extend(records);
    Commit { kind: "rows", ops, sync }
}

/// A producer's new epoch.
pub(crate) fn producer_epoch(place: Place, epoch: ProducerEpoch, producer: Op) -> Commit {
    Commit { kind: "producer", ops: vec![place.put(EntryBody::Producer(epoch)), producer], sync: true }
}

/// Producers that were idle for long: their records go with the entry that says so.
pub(crate) fn forget_producers(place: Place, producers: Vec<String>, records: Vec<Op>) -> Commit {
    let mut ops = vec![place.put(EntryBody::Forget(Forget { producers, keys_through: 0 }))];
    ops.extend(records);
    Commit { kind: "forget", ops, sync: true }
}

/// Records without an entry: counts of repeats, which change no row, and what housekeeping rolls up.
pub(crate) fn records(ops: Vec<Op>, sync: bool) -> Commit {
    Commit { kind: "records", ops, sync }
}

/// Nothing but a sync of what was written before.
pub(crate) fn sync() -> Commit {
    Commit { kind: "sync", ops: Vec::new(), sync: true }
}

/// Everything before `place` goes; producers stay.
pub(crate) fn truncate(place: Place) -> Commit {
    let (from, to) = log_range(place.table, SHARD_ZERO, CommitSeq(0), place.seq);
    let base = state_prefix(state_key::BASE, place.table, SHARD_ZERO);
    let mut ops = vec![
        Op::DeleteRange(Family::Log, from, to),
        Op::Put(Family::State, base, place.seq.0.to_be_bytes().to_vec()),
        place.put(EntryBody::Truncate),
    ];
    if owes_space(place.seq) {
        ops.push(owed(place.table));
    }
    Commit { kind: "truncate", ops, sync: true }
}

/// Whether a TRUNCATE at `seq` deletes entries.
pub(crate) fn owes_space(seq: CommitSeq) -> bool {
    seq > CommitSeq(1)
}

fn owed(table: TableId) -> Op {
    Op::Put(Family::Meta, meta_key::of_table(meta_key::RECLAIM, table), OWED.to_vec())
}

/// The space of a table's deleted entries is given back.
pub(crate) fn reclaimed(table: TableId) -> Commit {
    let ops = vec![Op::Delete(Family::Meta, meta_key::of_table(meta_key::RECLAIM, table))];
    Commit { kind: "reclaimed", ops, sync: false }
}

/// A new folder's identity.
pub(crate) fn first_start(log: LogId) -> Commit {
    Commit {
        kind: "first_start",
        ops: vec![
            Op::Put(Family::Meta, meta_key::FORMAT.to_vec(), FORMAT.to_vec()),
            Op::Put(Family::Meta, meta_key::LOG_ID.to_vec(), log.0.as_bytes().to_vec()),
        ],
        sync: true,
    }
}

pub(crate) fn create_table(def: &TableDef) -> Commit {
    Commit {
        kind: "create_table",
        ops: vec![Op::Put(Family::Meta, meta_key::of_table(meta_key::TABLE, def.id), def.to_disk())],
        sync: true,
    }
}

/// The table is hidden; its log, keys and state stay, so that it can be brought back.
pub(crate) fn drop_table(def: &TableDef, at: Moment) -> Commit {
    Commit {
        kind: "drop_table",
        ops: vec![
            Op::Delete(Family::Meta, meta_key::of_table(meta_key::TABLE, def.id)),
            Op::Put(Family::Meta, meta_key::of_table(meta_key::DROPPED, def.id), dropped_to_disk(def, at)),
        ],
        sync: true,
    }
}

/// Nothing of a dropped table stays.
pub(crate) fn purge_table(table: TableId) -> Commit {
    let range = |family, prefix: Vec<u8>| {
        let end = after_prefix(&prefix);
        Op::DeleteRange(family, prefix, end)
    };
    let mut ops = vec![range(Family::Log, log_prefix(table, SHARD_ZERO))];
    ops.extend(TABLE_STATE.map(|kind| range(Family::State, state_prefix(kind, table, SHARD_ZERO))));
    ops.push(Op::Delete(Family::Meta, meta_key::of_table(meta_key::DROPPED, table)));
    ops.push(owed(table));
    Commit { kind: "purge_table", ops, sync: true }
}

/// Uptime that the folder has accumulated: what is dropped is purged when it is old by this, too.
pub(crate) fn uptime(uptime_us: u64) -> Commit {
    let value = uptime_us.to_be_bytes().to_vec();
    Commit { kind: "uptime", ops: vec![Op::Put(Family::Meta, meta_key::UPTIME.to_vec(), value)], sync: true }
}

pub(crate) fn create_view(view: &View) -> Commit {
    Commit {
        kind: "create_view",
        ops: vec![Op::Put(Family::Meta, meta_key::of_view(&view.schema_name, &view.name), view_to_disk(view))],
        sync: true,
    }
}

pub(crate) fn drop_view(schema: &str, name: &str) -> Commit {
    Commit { kind: "drop_view", ops: vec![Op::Delete(Family::Meta, meta_key::of_view(schema, name))], sync: true }
}
