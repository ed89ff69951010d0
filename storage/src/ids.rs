//! What names a thing? Identifiers that stand on disk and on the wire.

use std::fmt;

use uuid::Uuid;

use crate::error::{Code, Error, Result};

/// A table's identity: minted at CREATE TABLE, never reused, so that DROP and CREATE of one name never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub Uuid);

/// The identity of one log: minted when a data folder is created or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub Uuid);

/// The place of an entry in a table's log. Dense from 1; 0 stands before the first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommitSeq(pub u64);

/// The version of a table's schema. Starts at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub u32);

/// The shard of a table. One node holds shard 0 of every table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u16);

/// The only shard of a table on one node.
pub const SHARD_ZERO: Shard = Shard(0);

impl CommitSeq {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CommitSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a commit stands: pass it to a query as `min_commit` to read one's own writes. Opaque to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitToken {
    pub table: TableId,
    pub shard: Shard,
    pub log: LogId,
    pub seq: CommitSeq,
}

/// Version, number of parts; then a part: table, shard, log, sequence.
const TOKEN_VERSION: u8 = 1;
const TOKEN_PART_BYTES: usize = 16 + 2 + 16 + 8;

impl CommitToken {
    /// The bytes that clients carry.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + TOKEN_PART_BYTES);
        out.extend([TOKEN_VERSION, 1]);
        out.extend(self.table.0.as_bytes());
        out.extend(self.shard.0.to_be_bytes());
        out.extend(self.log.0.as_bytes());
        out.extend(self.seq.0.to_be_bytes());
        out
    }

    /// Reads bytes that [`CommitToken::encode`] wrote; anything else is an `INVALID_COMMIT_TOKEN` error.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let part = match bytes {
            [TOKEN_VERSION, 1, part @ ..] if part.len() == TOKEN_PART_BYTES => part,
            _ => {
                return Err(Error::new(
                    Code::InvalidCommitToken,
                    format!("{} bytes are not a commit token of this version", bytes.len()),
                )
                .hint("pass the bytes of a commit token exactly as the server returned them"));
            }
        };
        let (table, rest) = part.split_at(16);
        let (shard, rest) = rest.split_at(2);
        let (log, seq) = rest.split_at(16);
        Ok(Self {
            table: TableId(Uuid::from_bytes(array(table))),
            shard: Shard(u16::from_be_bytes(array(shard))),
            log: LogId(Uuid::from_bytes(array(log))),
            seq: CommitSeq(u64::from_be_bytes(array(seq))),
        })
    }
}

/// The first `N` bytes of `bytes`; missing ones are zero.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let n = bytes.len().min(N);
    out[..n].copy_from_slice(&bytes[..n]);
    out
}

/// A producer's name: 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`, chosen by the client, stable over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(String);

impl ProducerId {
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._:/-".contains(&c);
        if id.is_empty() || id.len() > 128 || !id.bytes().all(allowed) {
            return Err(Error::new(
                Code::InvalidProducer,
                format!("'{}' is not a producer id", id.chars().take(40).collect::<String>()),
            )
            .hint("use 1 to 128 characters of A-Z a-z 0-9 . _ : / -"));
        }
        Ok(Self(id))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
