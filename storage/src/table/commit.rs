//! In which order is what written? THE write orders: each change of a table is one [`Commit`], whole or not at all.
//!
//! | change | one synced batch holds | visible |
//! |---|---|---|
//! | rows | `Rows` entry, producers, ledger, rejected rows, idempotency keys | after the sync, before the answer |
//! | rows that were rejected before | what rows have, and the records of rejected rows without them | the same |
//! | files of a stream | `Segment` entry, its key layers, rows that lost by then, the names' records gone, ledger, idempotency key | after the sync, before the answer |
//! | InitProducer | `Producer` entry, the producer | the same |
//! | TRUNCATE | `Truncate` entry, the log's new base, a range delete of the entries before it, how many rows went, that their space is owed | the same |
//! | the first start, and one over another store while no sealed table is in the old one | the log id, the place of the tables' store; of a later one that alone | never |
//! | CREATE TABLE | the definition, that no row has left | after the sync, before the answer |
//! | a table with its first rows | the definition and all that rows have | the same |
//! | a table in the place of another | what a table with its first rows has, or without any, and the other's definition moved to the dropped ones | the same |
//! | DROP TABLE | the definition moved to the dropped ones | the same |
//! | views | the view's record | the same |
//! | users and tokens | the record; with a user who goes, those of all their tokens | the same |
//! | idle producers, old keys | `Forget` entry, the producers' and key layers' records gone, names of the layers' files, that some were forgotten | never: a batch finds them unknown |
//! | end of a dropped table | range deletes of its log and its records, the definition gone, that their space is owed | never |
//! | names of files to come | one record a name | never |
//! | a prefix of the log is built | the range with its files, its key layers, deleted rows, the log's new base, a range delete of the entries, the names' records gone, how many rows expired, that their space is owed | after the sync; the same rows as before, but for those |
//! | keys go to disk, runs of them or files of layers are merged | the new files, those gone that they replace, the names of both | never: the same keys |
//! | DELETE | `Delete` entry, how many rows were ever deleted | after the sync, before the answer |
//! | a commit of the Delta table is about to be sent | its bytes and what it makes of the table | never |
//! | it was found at its version | its files, the settled version, the ranges and the intent gone, names of what is left behind | the same rows as before, elsewhere |
//! | ALTER TABLE | `Schema` entry, the definition | after the sync, before the answer |
//! | DROP undone | the definition moved back | after the sync, before the answer |
//! | a Delta table that was there becomes a table, or takes the place of a log that lost entries | the definition, its log id and place, its files, deleted rows and key layers, the settled version, the log's base, everything else of that log gone | after the sync, before the answer |
//! | a file is damaged, or whole again | its record, or that it is gone | before the write: nobody reads a damaged file, on record or not |
//! | files that belong to nothing are gone | their names' records gone; not synced: at the worst they are looked for again | never |
//! | space given back | that it was owed is gone; not synced: at the worst it is given back twice | never |
//!
//! A recorded name of a file is that of its sidecar too: the one follows from the other, and both go together.
//!
//! Every step has a fail point before and after: `log.before_write`, `log.after_write`, `log.after_witness` in the writer;
//! `table.before_submit`, `table.before_publish`, `table.after_publish`, `table.after_answer` in the worker; `replay.entry` at the start.
//! All but the last can be armed for one kind of commit: `log.after_write/truncate`.
//!
//! A build stops at `build.names_recorded`, `build.file_written`, `build.layer_written` and `build.files_synced`; a publish at
//! `publish.file_brought`, `publish.files_brought`, `publish.before_send`, `publish.after_send` and `publish.settled`; a compaction at
//! `compact.names_recorded`, `compact.file_written`, `compact.files_synced`, `compact.file_brought` and `compact.decided`; retention at
//! `retention.decided`; a replay at `replay.page_read`, when rejected rows were read; keys on
//! their way to disk at `keys.run_written` and `keys.files_written`; a checkpoint of the Delta log at `checkpoint.before_write`,
//! `checkpoint.written` and `checkpoint.read_back`, before anything older goes.
//!
//! A table that is attached stops at `attach.file`, `attach.run_written`, `attach.keys_written`, `attach.before_take_over` and
//! `attach.taken_over`.
//!
//! Files of a stream have theirs before their entry: `stage.names_recorded`, `stage.file_written`, `stage.files_synced`,
//! `stage.layer_written`, `stage.layers_synced`, `stage.before_commit`.

use crate::access::{AccountKind, AccountRecord};
use crate::catalog::{TableDef, View, dropped_to_disk, view_to_disk};
use crate::env::Moment;
use crate::ids::{CommitSeq, LogId, SHARD_ZERO, SchemaId, TableId};
use crate::log::{
    BatchMeta, Block, Commit, Delete, Entry, EntryBody, Family, Forget, Op, ProducerEpoch, Segment, TABLE_STATE,
    after_prefix, log_key, log_prefix, log_range, meta_key, state_key, state_prefix,
};
use crate::sealed::{DeletionVector, FileRef};
use crate::table::seal::{
    Base, BuiltRange, Damage, Gone, Intent, LayerFile, NameKind, PublishedFile, Settled, deleted_to_disk,
};

/// The version of the form of data folders. A folder of another one is refused.
pub const DISK_FORMAT: &str = "1";

/// The same as a folder has it.
pub(crate) const FORMAT: &[u8] = DISK_FORMAT.as_bytes();

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

/// Producers that were idle for long, and keys that are older than the `dedup_window`: their records go with the entry that says so. `layers`
/// are the files of these keys.
pub(crate) fn forget(place: Place, forgotten: Forget, layers: &[String], records: Vec<Op>) -> Commit {
    let table = place.table;
    let mut ops = vec![place.put(EntryBody::Forget(forgotten))];
    for name in layers {
        ops.push(delete_one(state_key::LAYER, table, name.as_bytes()));
        ops.push(name_op(table, name, NameKind::Built));
    }
    ops.extend((!layers.is_empty()).then(|| put(state_key::FORGOT_KEYS, table, &[], vec![1])));
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

/// Everything before `place` goes; producers stay. `left` are the files that are not needed any more, by name; `has_published`: the Delta
/// table must be told; `gone` are all rows that ever left the table, with these, if they are counted.
pub(crate) fn truncate(place: Place, left: &[(String, NameKind)], has_published: bool, gone: Option<Gone>) -> Commit {
    let table = place.table;
    let (from, to) = log_range(table, SHARD_ZERO, CommitSeq(0), place.seq);
    let base = Base { seq: place.seq, at: place.at };
    let mut ops = vec![
        Op::DeleteRange(Family::Log, from, to),
        put(state_key::BASE, table, &[], base.to_disk()),
        place.put(EntryBody::Truncate),
    ];
    let forgotten = [state_key::RANGE, state_key::LAYER, state_key::DELETED, state_key::FORGOT_KEYS];
    ops.extend(forgotten.map(|kind| delete_all(kind, table)));
    ops.extend(left.iter().map(|(name, kind)| name_op(table, name, *kind)));
    if has_published {
        ops.push(put(state_key::TRUNCATED, table, &[], base.to_disk()));
    }
    ops.extend(gone.map(|gone| gone_op(table, gone)));
    if owes_space(place.seq) {
        ops.push(owed(table));
    }
    Commit { kind: "truncate", ops, sync: true }
}

/// Rows of files go; the log is where they are named until the next build.
pub(crate) fn delete(place: Place, delete: Delete, gone: Option<Gone>) -> Commit {
    let mut ops = vec![place.put(EntryBody::Delete(delete))];
    ops.extend(gone.map(|gone| gone_op(place.table, gone)));
    Commit { kind: "delete", ops, sync: true }
}

/// What makes files of a stream rows of the table.
pub(crate) struct SegmentRecord<'a> {
    pub(crate) files: &'a [FileRef],
    pub(crate) layers: &'a [LayerFile],
    /// Names whose files belong to the table now.
    pub(crate) used_names: &'a [String],
    /// Ledger, idempotency keys, and records of others that become durable with the rows, or not at all.
    pub(crate) records: Vec<Op>,
}

pub(crate) fn segment(place: Place, record: SegmentRecord<'_>) -> Commit {
    let table = place.table;
    let segment = Segment {
        files: record.files.iter().map(|file| file.file.to_disk()).collect(),
        key_layers: record.layers.iter().map(LayerFile::to_disk).collect(),
    };
    let mut ops = vec![place.put(EntryBody::Segment(segment))];
    ops.extend(record.layers.iter().map(|layer| layer_op(table, layer)));
    ops.extend(record.files.iter().filter_map(|file| {
        let deleted = deleted_to_disk(file.deleted.as_ref()?);
        Some(put(state_key::DELETED, table, file.file.name.as_bytes(), deleted))
    }));
    ops.extend(record.used_names.iter().map(|name| delete_one(state_key::NAME, table, name.as_bytes())));
    ops.extend(record.records);
    Commit { kind: "segment", ops, sync: true }
}

/// Another shape of the table, from this entry on.
pub(crate) fn alter(place: Place, def: &TableDef) -> Commit {
    let definition = def.to_disk();
    let record = Op::Put(Family::Meta, meta_key::of_table(meta_key::TABLE, def.id), definition.clone());
    Commit { kind: "alter", ops: vec![place.put(EntryBody::Schema { definition }), record], sync: true }
}

/// Before the first byte of these files is written. Synced, and with it all that the log has.
pub(crate) fn names(table: TableId, names: &[String]) -> Commit {
    names_of(table, names, NameKind::Built)
}

/// The same for files that may be in the Delta folder as well before a commit names them.
pub(crate) fn names_anywhere(table: TableId, names: &[String]) -> Commit {
    names_of(table, names, NameKind::Anywhere)
}

fn names_of(table: TableId, names: &[String], kind: NameKind) -> Commit {
    let ops = names.iter().map(|name| name_op(table, name, kind)).collect();
    Commit { kind: "names", ops, sync: true }
}

/// What a build makes durable: from here on the files are the truth and the entries are gone.
pub(crate) struct BuildRecord<'a> {
    pub(crate) through: CommitSeq,
    /// `None`: no entry had rows that are left.
    pub(crate) range: Option<&'a BuiltRange>,
    pub(crate) layers: &'a [LayerFile],
    /// Of the last entry.
    pub(crate) at: Moment,
    /// All deleted rows of files that entries of the range name.
    pub(crate) deleted: Vec<(String, &'a roaring::RoaringBitmap)>,
    /// Names whose files belong to the table now.
    pub(crate) used_names: Vec<&'a str>,
    /// All rows that ever left the table, if they changed with this.
    pub(crate) gone: Option<Gone>,
}

pub(crate) fn build(table: TableId, record: &BuildRecord<'_>) -> Commit {
    let next = record.through.next();
    let (from, to) = log_range(table, SHARD_ZERO, CommitSeq(0), next);
    let base = Base { seq: next, at: record.at };
    let mut ops =
        vec![Op::DeleteRange(Family::Log, from, to), put(state_key::BASE, table, &[], base.to_disk()), owed(table)];
    let key = record.through.0.to_be_bytes();
    ops.extend(record.range.map(|range| put(state_key::RANGE, table, &key, range.to_disk())));
    ops.extend(record.layers.iter().map(|layer| layer_op(table, layer)));
    let deleted = record.deleted.iter();
    ops.extend(deleted.map(|(name, rows)| put(state_key::DELETED, table, name.as_bytes(), deleted_to_disk(rows))));
    ops.extend(record.used_names.iter().map(|name| delete_one(state_key::NAME, table, name.as_bytes())));
    ops.extend(record.gone.map(|gone| gone_op(table, gone)));
    Commit { kind: "build", ops, sync: true }
}

fn layer_op(table: TableId, layer: &LayerFile) -> Op {
    put(state_key::LAYER, table, layer.name.as_bytes(), layer.to_disk())
}

/// Files of keys take the place of others: a run that of layers or of other runs, few files of layers that of many.
pub(crate) fn layers(table: TableId, new: &[LayerFile], replaced: &[LayerFile]) -> Commit {
    let mut ops = Vec::with_capacity(2 * (new.len() + replaced.len()));
    for file in new {
        ops.push(layer_op(table, file));
        ops.push(delete_one(state_key::NAME, table, file.name.as_bytes()));
    }
    for layer in replaced {
        ops.push(delete_one(state_key::LAYER, table, layer.name.as_bytes()));
        ops.push(name_op(table, &layer.name, NameKind::Built));
    }
    Commit { kind: "layers", ops, sync: true }
}

/// A commit of the Delta table is about to be sent: whatever becomes of it is settled by what stands at its version.
pub(crate) fn intent(table: TableId, intent: &Intent) -> Commit {
    Commit { kind: "intent", ops: vec![put(state_key::INTENT, table, &[], intent.to_disk())], sync: true }
}

/// A commit of the Delta table that was found at its version.
pub(crate) struct PublishRecord<'a> {
    pub(crate) after: Settled,
    pub(crate) published: &'a [PublishedFile],
    pub(crate) removed: &'a [String],
    /// Ranges that it has.
    pub(crate) ranges: &'a [CommitSeq],
    /// It has what a TRUNCATE hid.
    pub(crate) settles_truncate: bool,
    /// Files that are not needed where they are any more.
    pub(crate) left: &'a [(String, NameKind)],
    /// Deleted rows of files that left.
    pub(crate) forgotten: &'a [String],
    /// All rows that ever left the table, if they changed with this.
    pub(crate) gone: Option<Gone>,
}

pub(crate) fn published(table: TableId, record: &PublishRecord<'_>) -> Commit {
    let mut ops =
        vec![put(state_key::SETTLED, table, &[], record.after.to_disk()), delete_one(state_key::INTENT, table, &[])];
    ops.extend(record.ranges.iter().map(|through| delete_one(state_key::RANGE, table, &through.0.to_be_bytes())));
    ops.extend(record.removed.iter().map(|name| delete_one(state_key::PUBLISHED, table, name.as_bytes())));
    let files = record.published.iter();
    ops.extend(files.clone().map(|file| put(state_key::PUBLISHED, table, file.file.name.as_bytes(), file.to_disk())));
    let vectors = files.filter_map(|file| file.vector.as_ref().and_then(DeletionVector::file_name));
    ops.extend(vectors.map(|name| delete_one(state_key::NAME, table, name.as_bytes())));
    if record.settles_truncate {
        ops.push(delete_one(state_key::TRUNCATED, table, &[]));
    }
    ops.extend(record.forgotten.iter().map(|name| delete_one(state_key::DELETED, table, name.as_bytes())));
    ops.extend(record.left.iter().map(|(name, kind)| name_op(table, name, *kind)));
    ops.extend(record.gone.map(|gone| gone_op(table, gone)));
    Commit { kind: "published", ops, sync: true }
}

/// A file is damaged.
pub(crate) fn damaged(table: TableId, name: &str, damage: &Damage) -> Commit {
    let ops = vec![put(state_key::DAMAGED, table, name.as_bytes(), damage.to_disk())];
    Commit { kind: "damaged", ops, sync: true }
}

/// Files are whole again, or not in the table any more.
pub(crate) fn not_damaged(table: TableId, names: &[String]) -> Commit {
    let ops = names.iter().map(|name| delete_one(state_key::DAMAGED, table, name.as_bytes())).collect();
    Commit { kind: "not_damaged", ops, sync: true }
}

/// Files that belonged to nothing are gone.
pub(crate) fn cleaned(table: TableId, names: &[String]) -> Commit {
    let ops = names.iter().map(|name| delete_one(state_key::NAME, table, name.as_bytes())).collect();
    Commit { kind: "cleaned", ops, sync: false }
}

fn put(kind: u8, table: TableId, suffix: &[u8], value: Vec<u8>) -> Op {
    let mut key = state_prefix(kind, table, SHARD_ZERO);
    key.extend(suffix);
    Op::Put(Family::State, key, value)
}

fn delete_one(kind: u8, table: TableId, suffix: &[u8]) -> Op {
    let mut key = state_prefix(kind, table, SHARD_ZERO);
    key.extend(suffix);
    Op::Delete(Family::State, key)
}

fn delete_all(kind: u8, table: TableId) -> Op {
    let prefix = state_prefix(kind, table, SHARD_ZERO);
    let end = after_prefix(&prefix);
    Op::DeleteRange(Family::State, prefix, end)
}

fn gone_op(table: TableId, gone: Gone) -> Op {
    put(state_key::GONE, table, &[], gone.to_disk())
}

fn name_op(table: TableId, name: &str, kind: NameKind) -> Op {
    put(state_key::NAME, table, name.as_bytes(), kind.to_disk())
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

/// A new folder's identity. `place` is that of the tables' store, as its record has it.
pub(crate) fn first_start(log: LogId, place: Vec<u8>) -> Commit {
    Commit {
        kind: "first_start",
        ops: vec![
            Op::Put(Family::Meta, meta_key::FORMAT.to_vec(), FORMAT.to_vec()),
            Op::Put(Family::Meta, meta_key::LOG_ID.to_vec(), log.0.as_bytes().to_vec()),
            Op::Put(Family::Meta, meta_key::STORE.to_vec(), place),
        ],
        sync: true,
    }
}

pub(crate) fn create_table(def: &TableDef) -> Commit {
    Commit {
        kind: "create_table",
        ops: vec![
            Op::Put(Family::Meta, meta_key::of_table(meta_key::TABLE, def.id), def.to_disk()),
            gone_op(def.id, Gone::default()),
        ],
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

/// A dropped table is there again.
pub(crate) fn undrop_table(def: &TableDef) -> Commit {
    Commit {
        kind: "undrop_table",
        ops: vec![
            Op::Delete(Family::Meta, meta_key::of_table(meta_key::DROPPED, def.id)),
            Op::Put(Family::Meta, meta_key::of_table(meta_key::TABLE, def.id), def.to_disk()),
        ],
        sync: true,
    }
}

/// A Delta table that was there before as a table of this folder.
pub(crate) struct AttachRecord<'a> {
    pub(crate) def: &'a TableDef,
    /// Its log id and the place of its Delta folder, as their record has them.
    pub(crate) origin: Vec<u8>,
    /// Where its log begins.
    pub(crate) base: Base,
    /// The commit that took it over.
    pub(crate) settled: Settled,
    pub(crate) published: &'a [PublishedFile],
    /// Deleted rows, by file.
    pub(crate) deleted: Vec<(&'a str, &'a roaring::RoaringBitmap)>,
    pub(crate) layers: &'a [LayerFile],
    /// Files that are not needed any more.
    pub(crate) left: &'a [(String, NameKind)],
    /// Names that belong to the table, or to nothing and are gone already.
    pub(crate) used_names: Vec<String>,
    /// It takes the place of a log whose entries go.
    pub(crate) replaces: bool,
}

/// Whatever a log of the table said before goes, but for counters and rejected rows, which are true all the same. Who goes on as a producer is
/// told that it is not known; nor are idempotency keys: rows that are gone must not be answered as accepted. Keys may have been forgotten.
pub(crate) fn attach(record: &AttachRecord<'_>) -> Commit {
    let table = record.def.id;
    let entries = log_prefix(table, SHARD_ZERO);
    let end = after_prefix(&entries);
    let mut ops = vec![Op::DeleteRange(Family::Log, entries, end)];
    let kinds = TABLE_STATE
        .into_iter()
        .filter(|kind| !matches!(*kind, state_key::LEDGER | state_key::REJECTED | state_key::NAME));
    ops.extend(kinds.map(|kind| delete_all(kind, table)));
    ops.push(Op::Put(Family::Meta, meta_key::of_table(meta_key::TABLE, table), record.def.to_disk()));
    ops.push(put(state_key::ORIGIN, table, &[], record.origin.clone()));
    ops.push(put(state_key::BASE, table, &[], record.base.to_disk()));
    ops.push(put(state_key::SETTLED, table, &[], record.settled.to_disk()));
    ops.extend([state_key::FORGOT, state_key::FORGOT_KEYS].map(|kind| put(kind, table, &[], vec![1])));
    let files = record.published.iter();
    ops.extend(files.map(|file| put(state_key::PUBLISHED, table, file.file.name.as_bytes(), file.to_disk())));
    let deleted = record.deleted.iter();
    ops.extend(deleted.map(|(name, rows)| put(state_key::DELETED, table, name.as_bytes(), deleted_to_disk(rows))));
    ops.extend(record.layers.iter().map(|layer| layer_op(table, layer)));
    ops.extend(record.left.iter().map(|(name, kind)| name_op(table, name, *kind)));
    ops.extend(record.used_names.iter().map(|name| delete_one(state_key::NAME, table, name.as_bytes())));
    if record.replaces {
        ops.push(owed(table));
    }
    Commit { kind: "attach", ops, sync: true }
}

/// Nothing of a dropped table stays.
pub(crate) fn purge_table(table: TableId) -> Commit {
    let entries = log_prefix(table, SHARD_ZERO);
    let end = after_prefix(&entries);
    let mut ops = vec![Op::DeleteRange(Family::Log, entries, end)];
    ops.extend(TABLE_STATE.map(|kind| delete_all(kind, table)));
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

/// A user, a token, a session or the signing key is written, or goes.
pub(crate) fn account(records: Vec<AccountRecord>) -> Commit {
    let op = |record: AccountRecord| {
        let kind = match record.kind {
            AccountKind::User => meta_key::USER,
            AccountKind::Token => meta_key::TOKEN,
            AccountKind::SigningKey => meta_key::SIGNING_KEY,
            AccountKind::Session => meta_key::SESSION,
        };
        let key = meta_key::of_account(kind, &record.name);
        match record.value {
            Some(value) => Op::Put(Family::Meta, key, value),
            None => Op::Delete(Family::Meta, key),
        }
    };
    Commit { kind: "account", ops: records.into_iter().map(op).collect(), sync: true }
}
