//! What does the next commit of the Delta table say, and what is settled once it is found? One form for all who commit.

use std::collections::HashSet;

use crate::catalog::TableDef;
use crate::error::Result;
use crate::ids::{CommitSeq, SHARD_ZERO};
use crate::sealed::{Add, Change, Features, Remove};
use crate::table::{Intent, PublishedFile, Settled, Shared};

/// A commit to be made: the table afterwards is the table before, but for what stands here.
pub(crate) struct Draft<'a> {
    /// As `DESCRIBE HISTORY` shows it.
    pub(crate) operation: &'static str,
    /// What is settled; `None`: the commit makes the table.
    pub(crate) from: Option<Settled>,
    /// The last entry of the log that is in the table then.
    pub(crate) through: CommitSeq,
    /// What its schema is then.
    pub(crate) def: &'a TableDef,
    /// Files that are in the table from here on, or have another deletion vector.
    pub(crate) adds: &'a [PublishedFile],
    /// Files that leave the table, or had another deletion vector until now.
    pub(crate) removes: Vec<&'a PublishedFile>,
    /// The rows are others than before. Otherwise they are in other files.
    pub(crate) data_change: bool,
}

impl Draft<'_> {
    /// The version that the commit makes.
    fn version(&self) -> u64 {
        self.from.map_or(0, |from| from.version + 1)
    }

    /// The commit's bytes and all that must be on record before they are sent. The schema, and what readers must have, is declared where it
    /// is not what Delta's log says already.
    pub(crate) fn intent(&self, shared: &Shared) -> Result<Intent> {
        let from = self.from.unwrap_or_default();
        let has_vectors = from.has_vectors || self.adds.iter().any(|file| file.vector.is_some());
        let is_new_schema = self.from.is_some() && from.schema() != self.def.schema_id;
        let commit_id = shared.env.rng.uuid();
        let timestamp_ms = (shared.env.clock.now_us() / 1000).max(from.timestamp_ms);
        let (app_id, data_change) = (app_id(shared), self.data_change);
        let adds = self.adds.iter().map(|file| Add { file: &file.file, vector: file.vector.as_ref(), data_change });
        let removes = self.removes.iter();
        let removes = removes.map(|file| Remove { file: &file.file, vector: file.vector.as_ref(), data_change });
        let change = Change {
            operation: self.operation,
            def: self.def,
            first: self.from.is_none().then_some(self.def),
            metadata: is_new_schema.then_some(self.def),
            protocol: ((has_vectors && !from.has_vectors) || is_new_schema)
                .then(|| Features::of(self.def).with_deletion_vectors(has_vectors)),
            adds: adds.collect(),
            removes: removes.collect(),
            txn: Some((app_id.as_str(), self.through.0)),
            commit_id,
            log: shared.log_id,
            from: from.through(),
            through: self.through,
            timestamp_ms,
        };
        let stays: HashSet<&str> = self.adds.iter().map(|file| file.file.name.as_str()).collect();
        let gone = self.removes.iter().map(|file| file.file.name.as_str()).filter(|name| !stays.contains(name));
        Ok(Intent {
            commit_id,
            bytes: change.to_bytes()?.to_vec(),
            after: Settled {
                version: self.version(),
                through: self.through.0,
                schema: self.def.schema_id.0,
                has_vectors,
                timestamp_ms,
                checkpoint: from.checkpoint.max(*shared.checkpointed.lock()),
                first_version: (*shared.first_version.lock()).unwrap_or(from.first_version),
            },
            published: self.adds.iter().map(PublishedFile::to_disk).collect(),
            removed: gone.map(str::to_owned).collect(),
        })
    }
}

/// Who commits, as Delta's log names it: the log's id is in it, so that a folder that was restored is another one.
pub(super) fn app_id(shared: &Shared) -> String {
    format!("{}{}", app_ids_of_table(shared), shared.log_id.0)
}

/// How the names of all begin that ever committed to this table.
pub(super) fn app_ids_of_table(shared: &Shared) -> String {
    format!("tidewater/{}/{}/", shared.def.id, SHARD_ZERO.0)
}
