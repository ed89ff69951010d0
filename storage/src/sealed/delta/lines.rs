//! What does a commit say? Its lines, and what of them a committer must know of another's.

use std::collections::BTreeMap;

use deltalake::kernel::DeletionVectorDescriptor;
use serde::Deserialize;

use super::schema::Features;

/// One line of a commit. What it does not name is of no interest here: readers ignore actions that they do not know.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) commit_info: Option<CommitInfoLine>,
    pub(super) protocol: Option<Protocol>,
    pub(super) meta_data: Option<MetadataLine>,
    pub(super) txn: Option<TxnLine>,
    pub(super) add: Option<AddLine>,
    pub(super) remove: Option<RemoveLine>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CommitInfoLine {
    timestamp: Option<i64>,
    tidewater: Option<OwnLine>,
}

/// What we say of a commit of ours.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnLine {
    commit_id: Option<String>,
}

/// What readers and writers of a table must understand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    pub min_reader_version: i32,
    pub min_writer_version: i32,
    pub reader_features: Option<Vec<String>>,
    pub writer_features: Option<Vec<String>>,
}

impl Protocol {
    /// Of the features that we use, those that readers of this table must have.
    pub fn features(&self) -> Features {
        Features::named(self.reader_features.as_deref().unwrap_or_default())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetadataLine {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) schema_string: String,
    pub(super) configuration: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TxnLine {
    pub(super) app_id: String,
    pub(super) version: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddLine {
    /// As in a URL.
    pub(super) path: String,
    #[serde(default)]
    pub(super) size: i64,
    #[serde(default)]
    pub(super) modification_time: i64,
    pub(super) stats: Option<String>,
    pub(super) tags: Option<BTreeMap<String, Option<String>>>,
    pub(super) deletion_vector: Option<DeletionVectorDescriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoveLine {
    /// As in a URL.
    pub(super) path: String,
    pub(super) deletion_vector: Option<DeletionVectorDescriptor>,
}

/// A commit that stands at a version, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Winner {
    /// Of [`super::Change::commit_id`]; `None`: another writer made it.
    pub commit_id: Option<String>,
    /// appId and version.
    pub txns: Vec<(String, i64)>,
    /// Names of files within the table's folder. One that got another deletion vector is in both.
    pub removed: Vec<String>,
    pub added: Vec<String>,
    pub changes_metadata: bool,
    pub changes_protocol: bool,
    /// Milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

impl Winner {
    pub(super) fn of(lines: Vec<Line>) -> Self {
        let mut winner = Self::default();
        for line in lines {
            if let Some(info) = line.commit_info {
                winner.timestamp_ms = info.timestamp;
                winner.commit_id = info.tidewater.and_then(|own| own.commit_id);
            }
            winner.changes_protocol |= line.protocol.is_some();
            winner.changes_metadata |= line.meta_data.is_some();
            winner.txns.extend(line.txn.map(|txn| (txn.app_id, txn.version)));
            winner.added.extend(line.add.map(|add| decoded(&add.path)));
            winner.removed.extend(line.remove.map(|remove| decoded(&remove.path)));
        }
        winner
    }
}

/// The lines of a commit. An error says which one does not parse; a commit without lines is an empty version.
pub(super) fn parse_lines(bytes: &[u8]) -> Result<Vec<Line>, String> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines
        .map(|(i, line)| (i, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(i, line)| serde_json::from_slice(line).map_err(|e| format!("line {}: {e}", i + 1)))
        .collect()
}

/// A file's path as the store names it. One that is no path (another engine's absolute URL) stays as it is.
pub(super) fn decoded(path: &str) -> String {
    object_store::path::Path::from_url_path(path).map_or_else(|_| path.to_owned(), |path| path.to_string())
}
