//! Is a Delta table one that Tidewater made, and what does it hold? As its own log says: nothing is asked here, and nothing changed.

use std::collections::HashSet;

use roaring::RoaringBitmap;
use url::Url;

use crate::catalog::TableDef;
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, SHARD_ZERO};
use crate::sealed::{DeletionVector, Loaded, SegmentFile, sidecar_of};
use crate::table::{NameKind, PublishedFile, Settled};

/// With this property our `txn` would be forgotten in time, and nobody could tell any more who commits.
const TXN_RETENTION: &str = "delta.setTransactionRetentionDuration";

/// A `txn` has at most an i64, and more entries than these are to come.
const MAX_THROUGH: u64 = 1 << 62;

/// Not "ingest its files": a Delta folder keeps files that its log has replaced or deleted.
const LOAD_INSTEAD: &str =
    "attach takes tables that Tidewater made; load another's rows, as a program that reads Delta gives them";

/// A Delta table of ours, at one version.
#[derive(Debug)]
pub(crate) struct Ours {
    /// As its properties have it: without the secret of its keys.
    pub(crate) def: TableDef,
    /// The last entry that its files and commits name.
    pub(crate) through: CommitSeq,
    /// In the order of the loaded ones.
    pub(crate) files: Vec<SegmentFile>,
    loaded: Loaded,
}

impl Ours {
    /// `UNSUPPORTED_REQUEST`: it is not ours, or has what this program does not know; `LOG_UNKNOWN_VERSION` for its definition; else
    /// `DELTA_DAMAGED`. Each says which table.
    pub(crate) fn of(loaded: Loaded, location: &Url) -> Result<Self> {
        let refused = |code: Code, why: &str| Error::new(code, format!("{location} cannot be attached: {why}"));
        if !loaded.is_exclusive() {
            let why =
                "its protocol has no writer feature tidewater.exclusiveWriter, so that others may have written to it";
            return Err(refused(Code::UnsupportedRequest, why).hint(LOAD_INSTEAD));
        }
        let Some(text) = &loaded.definition else {
            return Err(
                refused(Code::UnsupportedRequest, "its properties have no tidewater.definition").hint(LOAD_INSTEAD)
            );
        };
        let def = TableDef::from_disk(text.as_bytes()).map_err(|e| match e.code() {
            Code::LogUnknownVersion => {
                refused(e.code(), e.message()).hint("use the version of Tidewater that wrote it, or a newer one")
            }
            _ => refused(Code::DeltaDamaged, e.message()),
        })?;
        let unknown = loaded.unknown_features();
        if !unknown.is_empty() {
            let why = format!(
                "its protocol has the writer features {}, which this program does not know",
                unknown.join(", ")
            );
            return Err(refused(Code::UnsupportedRequest, &why)
                .hint("use the version of Tidewater that wrote it, or a newer one"));
        }
        if loaded.configuration.contains_key(TXN_RETENTION) {
            let why = format!("its property {TXN_RETENTION} lets it forget who commits");
            return Err(refused(Code::UnsupportedRequest, &why).hint("take the property away"));
        }
        let problems = loaded.problems(&def, def.schema_id);
        if !problems.is_empty() {
            return Err(refused(Code::DeltaDamaged, &problems.join("; ")));
        }
        let files = loaded.segments(&def).map_err(|e| refused(e.code(), e.message()))?;
        let mut through = files.iter().map(|file| file.max_seq).max().unwrap_or_default();
        let prefix = format!("tidewater/{}/", def.id);
        for (shard_and_log, version) in
            loaded.txns.iter().filter_map(|(id, version)| Some((id.strip_prefix(&prefix)?, version)))
        {
            let (shard, _) = shard_and_log.split_once('/').unwrap_or_default();
            if shard != SHARD_ZERO.0.to_string() {
                return Err(refused(Code::UnsupportedRequest, "it has more than one shard"));
            }
            through = through.max(CommitSeq(u64::try_from(*version).unwrap_or(0)));
        }
        if through.0 > MAX_THROUGH {
            return Err(refused(Code::DeltaDamaged, &format!("no log has {through} entries")));
        }
        Ok(Self { def, through, files, loaded })
    }

    pub(crate) fn version(&self) -> u64 {
        self.loaded.version
    }

    /// The newest time that it names, microseconds since 1970.
    pub(crate) fn newest_us(&self) -> i64 {
        let entries = self.files.iter().filter_map(|file| Some(file.entry?.1));
        let files = self.files.iter().map(|file| file.created_at_us);
        files.chain(entries).fold(self.def.created_at_us, i64::max)
    }

    /// What is settled. `timestamp_ms` is that of its newest commit, `first_version` the oldest one that is still in its log.
    pub(crate) fn settled(&self, timestamp_ms: i64, first_version: u64) -> Settled {
        Settled {
            version: self.loaded.version,
            through: self.through.0,
            schema: self.def.schema_id.0,
            has_vectors: self.loaded.features().deletion_vectors,
            timestamp_ms,
            // Whoever made one, nobody here has read it back.
            checkpoint: None,
            first_version,
        }
    }

    /// Its files as records have them; when they came is not known any more, only that it was before `at`.
    pub(crate) fn published(&self, at: Moment) -> Vec<PublishedFile> {
        let files = self.loaded.files.iter().zip(&self.files);
        let published = files.map(|(loaded, file)| PublishedFile {
            file: file.clone(),
            version: self.loaded.version,
            vector: loaded.vector.clone(),
            since: Some(at),
        });
        published.collect()
    }

    /// Deleted rows, by file.
    pub(crate) fn deleted(&self) -> Vec<(&str, &RoaringBitmap)> {
        let deleted = self.loaded.files.iter().filter_map(|file| Some((file.name.as_str(), file.deleted.as_ref()?)));
        deleted.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Names of everything that is in the table.
    pub(crate) fn names(&self) -> HashSet<String> {
        let vectors =
            self.loaded.files.iter().filter_map(|file| file.vector.as_ref().and_then(DeletionVector::file_name));
        let beside = self.files.iter().map(|file| match &file.sidecar {
            Some(sidecar) => sidecar.name.clone(),
            None => sidecar_of(&file.name),
        });
        self.files.iter().map(|file| file.name.clone()).chain(beside).chain(vectors).collect()
    }

    /// What left the table and may still be in its folder: nobody else deletes it. Later than it would have been, because nobody knows when
    /// it left.
    pub(crate) fn left(&self, at: Moment) -> Vec<(String, NameKind)> {
        self.loaded.removed.iter().map(|name| (name.clone(), NameKind::Removed(at))).collect()
    }
}
