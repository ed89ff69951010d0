//! Under which key does a record stand in RocksDB? Table and shard first, so that a table is one range.

use crate::ids::{CommitSeq, Shard, TableId, array};

/// The three column families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Entries: `table ‖ shard ‖ commit_seq`.
    Log,
    /// Producers, ledger, rejected rows, idempotency keys: `kind ‖ table ‖ shard ‖ …`.
    State,
    /// Format, log id, place of the tables' store, table definitions, views, users, tokens, sessions, space that is owed.
    Meta,
}

impl Family {
    pub(crate) const ALL: [Family; 3] = [Family::Log, Family::State, Family::Meta];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Log => "log",
            Family::State => "state",
            Family::Meta => "meta",
        }
    }
}

const TABLE_BYTES: usize = 16 + 2;
/// Kind, table, shard: where the own part of a state key begins.
const STATE_PREFIX_BYTES: usize = 1 + TABLE_BYTES;

/// The prefix of all entries of a table.
pub(crate) fn log_prefix(table: TableId, shard: Shard) -> Vec<u8> {
    let mut key = Vec::with_capacity(TABLE_BYTES + 8);
    key.extend(table.0.as_bytes());
    key.extend(shard.0.to_be_bytes());
    key
}

pub(crate) fn log_key(table: TableId, shard: Shard, seq: CommitSeq) -> Vec<u8> {
    let mut key = log_prefix(table, shard);
    key.extend(seq.0.to_be_bytes());
    key
}

/// All entries of a table from `from` (inclusive) to `to` (exclusive).
pub(crate) fn log_range(table: TableId, shard: Shard, from: CommitSeq, to: CommitSeq) -> (Vec<u8>, Vec<u8>) {
    (log_key(table, shard, from), log_key(table, shard, to))
}

/// The sequence in a log key.
pub(crate) fn log_seq(key: &[u8]) -> CommitSeq {
    CommitSeq(u64::from_be_bytes(array(key.get(TABLE_BYTES..).unwrap_or_default())))
}

/// What a state record is about; the byte stands first in its key.
pub(crate) mod state_key {
    pub(crate) const PRODUCER: u8 = b'p';
    pub(crate) const LEDGER: u8 = b'l';
    pub(crate) const REJECTED: u8 = b'r';
    pub(crate) const IDEMPOTENCY: u8 = b'i';
    /// Is there if producers of the table were forgotten.
    pub(crate) const FORGOT: u8 = b'f';
    /// Is there if keys were forgotten since the last TRUNCATE, or may have been: rows may have one that is there before.
    pub(crate) const FORGOT_KEYS: u8 = b'w';
    /// The first sequence that the log still holds.
    pub(crate) const BASE: u8 = b'b';
    /// Ranges of the log that are built and not published, by their last sequence.
    pub(crate) const RANGE: u8 = b'g';
    /// Files of the Delta table, by name.
    pub(crate) const PUBLISHED: u8 = b's';
    /// Files of key layers, by name.
    pub(crate) const LAYER: u8 = b'k';
    /// Deleted rows, by file.
    pub(crate) const DELETED: u8 = b'x';
    /// Names of files that may be on disk and belong to nothing, with what they are of.
    pub(crate) const NAME: u8 = b'n';
    /// The last commit of the Delta table that is known for sure.
    pub(crate) const SETTLED: u8 = b'd';
    /// The commit of the Delta table that is about to be sent, or was.
    pub(crate) const INTENT: u8 = b't';
    /// Published files of entries before this one are gone, and Delta's log does not know yet.
    pub(crate) const TRUNCATED: u8 = b'u';
    /// Files that are damaged, by name.
    pub(crate) const DAMAGED: u8 = b'q';
    /// How many rows left the table, and why.
    pub(crate) const GONE: u8 = b'c';
    /// What the table has of its own that others have of the folder: its log id, and the place of its Delta folder.
    pub(crate) const ORIGIN: u8 = b'o';
}

/// All kinds of records that a table has.
pub(crate) const TABLE_STATE: [u8; 18] = [
    state_key::PRODUCER,
    state_key::LEDGER,
    state_key::REJECTED,
    state_key::IDEMPOTENCY,
    state_key::FORGOT,
    state_key::FORGOT_KEYS,
    state_key::BASE,
    state_key::RANGE,
    state_key::PUBLISHED,
    state_key::LAYER,
    state_key::DELETED,
    state_key::NAME,
    state_key::SETTLED,
    state_key::INTENT,
    state_key::TRUNCATED,
    state_key::DAMAGED,
    state_key::GONE,
    state_key::ORIGIN,
];

/// The first key after all that begin with `prefix`, which must not be all 0xff.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The prefix of all records of one kind of one table.
pub(crate) fn state_prefix(kind: u8, table: TableId, shard: Shard) -> Vec<u8> {
    let mut key = Vec::with_capacity(STATE_PREFIX_BYTES + 32);
    key.push(kind);
    key.extend(log_prefix(table, shard));
    key
}

/// The table of a state key.
pub(crate) fn table_of(key: &[u8]) -> TableId {
    TableId(uuid::Uuid::from_bytes(array(key.get(1..).unwrap_or_default())))
}

/// The own part of a state key.
pub(crate) fn suffix_of(key: &[u8]) -> &[u8] {
    key.get(STATE_PREFIX_BYTES..).unwrap_or_default()
}

/// Keys of the `meta` family.
pub(crate) mod meta_key {
    use crate::ids::{TableId, array};

    pub(crate) const FORMAT: &[u8] = b"format";
    pub(crate) const LOG_ID: &[u8] = b"log_id";
    /// Where the folder's tables are, as the settings of the start said that made them.
    pub(crate) const STORE: &[u8] = b"store";
    /// Microseconds of uptime that the folder has accumulated.
    pub(crate) const UPTIME: &[u8] = b"uptime";
    pub(crate) const TABLE: u8 = b'T';
    pub(crate) const DROPPED: u8 = b'D';
    pub(crate) const VIEW: u8 = b'V';
    /// Entries of this table were deleted whose space is not given back yet.
    pub(crate) const RECLAIM: u8 = b'R';
    pub(crate) const USER: u8 = b'U';
    pub(crate) const TOKEN: u8 = b'K';
    pub(crate) const SIGNING_KEY: u8 = b'S';
    pub(crate) const SESSION: u8 = b'C';

    pub(crate) fn of_table(kind: u8, table: TableId) -> Vec<u8> {
        let mut key = vec![kind];
        key.extend(table.0.as_bytes());
        key
    }

    /// The table of a key that [`of_table`] made.
    pub(crate) fn table_of(key: &[u8]) -> TableId {
        TableId(uuid::Uuid::from_bytes(array(key.get(1..).unwrap_or_default())))
    }

    /// A user's key by name, a token's and a session's by id.
    pub(crate) fn of_account(kind: u8, name: &str) -> Vec<u8> {
        let mut key = vec![kind];
        key.extend(name.as_bytes());
        key
    }

    pub(crate) fn of_view(schema: &str, name: &str) -> Vec<u8> {
        let mut key = vec![VIEW];
        key.extend(schema.as_bytes());
        key.push(0);
        key.extend(name.as_bytes());
        key
    }
}
