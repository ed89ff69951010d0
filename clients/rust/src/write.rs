//! What can be asked of a write, and what does its answer say?

use bytes::Bytes;
use tidewater_proto::ingest::v1 as pb;
use tidewater_proto::ingest::v1::{Durability, OnRowError, SchemaPolicy, SequenceMode};

use crate::error::{Error, Result, RowError};
use crate::ipc::Compression;

/// How a batch is to be stored. The default keeps bad rows apart, refuses unknown columns, and takes the table's durability.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    pub durability: Durability,
    pub on_row_error: OnRowError,
    pub schema_policy: SchemaPolicy,
    /// Refuse unless the table's schema has this version; see [`crate::TableInfo::version`].
    pub expected_schema_version: Option<u32>,
    /// IANA zone or offset in which a time without an offset is read when the column is an instant; UTC by default.
    pub time_zone: Option<String>,
    pub compression: Compression,
}

impl WriteOptions {
    pub(crate) fn to_proto(&self) -> pb::BatchOptions {
        pb::BatchOptions {
            durability: self.durability.into(),
            on_row_error: self.on_row_error.into(),
            schema_policy: self.schema_policy.into(),
            expected_schema_version: self.expected_schema_version.unwrap_or_default(),
            time_zone: self.time_zone.clone().unwrap_or_default(),
        }
    }
}

/// What makes a single write repeatable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Identity {
    /// Nothing: the write is sent once, and an error leaves open whether it was stored.
    #[default]
    None,
    /// Batch `sequence` of a producer. Sent again until it is answered.
    Producer {
        id: String,
        /// 0: nobody is fenced.
        epoch: u64,
        sequence: u64,
        mode: SequenceMode,
    },
    /// 1 to 128 bytes, remembered for 24 hours. Sent again until it is answered.
    IdempotencyKey(String),
}

impl Identity {
    pub(crate) fn is_repeatable(&self) -> bool {
        *self != Identity::None
    }
}

/// Where a commit stands. Opaque; pass it to a query as `min_commit` to read what was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommitToken(pub Bytes);

/// The answer to a batch that was taken: its rows are durable and visible.
/// `received` = `accepted` + `duplicates` + `rejected`.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchResult {
    /// 0 without a producer.
    pub sequence: u64,
    /// The batch was stored before; nothing was stored now. The counts are those of the first answer as long as the server
    /// remembers them.
    pub repeated: bool,
    pub received: u64,
    pub accepted: u64,
    /// Rows whose primary key was there before.
    pub duplicates: u64,
    /// Bad rows, kept in `system.rejected`.
    pub rejected: u64,
    /// The first 100 bad rows, ascending.
    pub row_errors: Vec<RowError>,
    pub commit: CommitToken,
    /// What this answer promises.
    pub durability: Durability,
}

impl TryFrom<pb::BatchResult> for BatchResult {
    type Error = Error;

    fn try_from(result: pb::BatchResult) -> Result<Self> {
        if let Some(error) = Error::of_batch(&result) {
            return Err(error);
        }
        Ok(Self {
            durability: result.durability(),
            sequence: result.sequence,
            repeated: result.repeated,
            received: result.received,
            accepted: result.accepted,
            duplicates: result.duplicates,
            rejected: result.rejected,
            row_errors: result.row_errors.into_iter().map(RowError::from).collect(),
            commit: CommitToken(result.commit_token),
        })
    }
}
