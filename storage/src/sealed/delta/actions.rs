//! What does one commit say? The changes of a version, and the lines that they are in the log.

use std::collections::HashMap;

use bytes::Bytes;
use deltalake::kernel::{Action, Add as DeltaAdd, Remove as DeltaRemove, Transaction};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::deletes::DeletionVector;
use super::schema::{Features, metadata_action, protocol_action};
use super::stats::stats;
use super::tags::tags_of;
use crate::catalog::TableDef;
use crate::error::{Error, Result};
use crate::ids::{CommitSeq, LogId};
use crate::sealed::SegmentFile;

/// A file that is in the table from this commit on, or that it has with another deletion vector.
#[derive(Debug, Clone, Copy)]
pub struct Add<'a> {
    pub file: &'a SegmentFile,
    pub vector: Option<&'a DeletionVector>,
    /// Whether its rows were not in the table before.
    pub data_change: bool,
}

/// A file that leaves the table with this commit.
#[derive(Debug, Clone, Copy)]
pub struct Remove<'a> {
    pub file: &'a SegmentFile,
    /// What it had: name and deletion vector together are what is removed.
    pub vector: Option<&'a DeletionVector>,
    /// Whether its rows are nowhere in the table afterwards.
    pub data_change: bool,
}

/// Everything that one commit says.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// As `DESCRIBE HISTORY` shows it: `WRITE`, `CREATE TABLE`, `DELETE`, `OPTIMIZE`, `TRUNCATE`.
    pub operation: &'static str,
    /// The table as of this commit: names and types of its columns, for statistics. Files may have fewer columns.
    pub def: &'a TableDef,
    /// Version 0: the table is made.
    pub first: Option<&'a TableDef>,
    /// A changed schema; comes with `protocol`, because a property of the table goes with a feature.
    pub metadata: Option<&'a TableDef>,
    /// What the table uses from this commit on: with a changed schema, and with the first deletion vector. For version 0 the columns say
    /// it, unless there is a deletion vector already.
    pub protocol: Option<Features>,
    pub adds: Vec<Add<'a>>,
    pub removes: Vec<Remove<'a>>,
    /// Our appId, and the entry of the log up to which everything is in the table. Never expires.
    pub txn: Option<(&'a str, u64)>,
    pub commit_id: Uuid,
    pub log: LogId,
    /// Entries in `(from, through]` are what it brings.
    pub from: CommitSeq,
    pub through: CommitSeq,
    /// Milliseconds since 1970. Not below the one of the commit before: the caller's to keep.
    pub timestamp_ms: i64,
}

impl Change<'_> {
    /// The commit as it stands in the log, one action a line.
    pub fn to_bytes(&self) -> Result<Bytes> {
        let mut lines = Lines::default();
        lines.push(&self.commit_info())?;
        self.push_declarations(&mut lines)?;
        if let Some((app_id, version)) = self.txn {
            let version = i64::try_from(version)
                .map_err(|_| Error::internal(format!("the entry {version} of {app_id} has no place in a commit")))?;
            lines.push(&Action::Txn(Transaction::new(app_id, version)))?;
        }
        for remove in &self.removes {
            lines.push(&Action::Remove(self.remove_action(remove)?))?;
        }
        for add in &self.adds {
            lines.push(&Action::Add(self.add_action(add)?))?;
        }
        Ok(lines.bytes.into())
    }

    fn commit_info(&self) -> Value {
        json!({ "commitInfo": {
            "timestamp": self.timestamp_ms,
            "operation": self.operation,
            "operationParameters": {},
            "engineInfo": concat!("tidewater/", env!("CARGO_PKG_VERSION")),
            "tidewater": {
                "commitId": self.commit_id.to_string(),
                "log": self.log.0.to_string(),
                "from": self.from.0,
                "through": self.through.0,
            },
        } })
    }

    /// `protocol` and `metaData`, always both: which deletion vectors may be written is a feature and a property.
    fn push_declarations(&self, lines: &mut Lines) -> Result<()> {
        let features = match (self.protocol, self.first) {
            (Some(features), _) => features,
            (None, Some(def)) => Features::of(def),
            (None, None) if self.metadata.is_some() => {
                return Err(Error::internal("a commit changes the schema and does not say what the table uses"));
            }
            (None, None) => return Ok(()),
        };
        if self.first.is_some() && !features.deletion_vectors && self.adds.iter().any(|add| add.vector.is_some()) {
            return Err(Error::internal("a commit has deletion vectors and does not declare them"));
        }
        let def = self.first.or(self.metadata).unwrap_or(self.def);
        lines.push(&protocol_action(features))?;
        lines.push(&metadata_action(def, features)?)
    }

    fn add_action(&self, add: &Add<'_>) -> Result<DeltaAdd> {
        let file = add.file;
        Ok(DeltaAdd {
            path: file.name.clone(),
            partition_values: HashMap::new(),
            size: size_of(file)?,
            modification_time: file.created_at_us.div_euclid(1000),
            data_change: add.data_change,
            stats: Some(stats(file, self.def, add.vector.is_none())),
            tags: Some(tags_of(file)),
            deletion_vector: add.vector.map(DeletionVector::descriptor),
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }

    fn remove_action(&self, remove: &Remove<'_>) -> Result<DeltaRemove> {
        Ok(DeltaRemove {
            path: remove.file.name.clone(),
            data_change: remove.data_change,
            deletion_timestamp: Some(self.timestamp_ms),
            extended_file_metadata: Some(true),
            partition_values: Some(HashMap::new()),
            size: Some(size_of(remove.file)?),
            tags: Some(tags_of(remove.file)),
            deletion_vector: remove.vector.map(DeletionVector::descriptor),
            base_row_id: None,
            default_row_commit_version: None,
        })
    }
}

fn size_of(file: &SegmentFile) -> Result<i64> {
    i64::try_from(file.bytes)
        .map_err(|_| Error::internal(format!("the file {} has {} bytes, too many for Delta", file.name, file.bytes)))
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    fn push(&mut self, action: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.bytes, action)
            .map_err(|e| Error::internal(format!("an action has no form in JSON: {e}")).source(e))?;
        self.bytes.push(b'\n');
        Ok(())
    }
}
