//! What has a table of its own that others have of the folder? The id of its log, and the place of its Delta folder.

use std::sync::Arc;

use prost::Message;
use url::Url;
use uuid::Uuid;

use crate::error::{Code, Error, Result};
use crate::ids::{LogId, SHARD_ZERO, TableId};
use crate::log::{Family, Store, state_key, state_prefix};
use crate::table::SharedParts;

/// Stands first in the record.
const VERSION: u8 = 1;

/// Of a table that was attached, or whose log was begun anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Nobody else's, ever: the Delta table knows by it who commits.
    pub(crate) log_id: LogId,
    /// What its Delta folder is in; `None`: where new tables are made.
    pub(crate) root: Option<Url>,
}

#[derive(Clone, PartialEq, Message)]
struct DiskOrigin {
    #[prost(bytes = "vec", tag = "1")]
    log_id: Vec<u8>,
    #[prost(string, optional, tag = "2")]
    root: Option<String>,
}

impl Origin {
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        let root = self.root.as_ref().map(Url::to_string);
        let disk = DiskOrigin { log_id: self.log_id.0.as_bytes().to_vec(), root };
        let mut out = vec![VERSION];
        out.extend(disk.encode_to_vec());
        out
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        let damaged = |why: String| {
            Error::new(Code::LogDamaged, format!("the record of a table's origin is damaged: {why}"))
                .hint("nothing was changed; restore the folder from a backup")
        };
        let disk = match bytes.split_first() {
            Some((&VERSION, body)) => DiskOrigin::decode(body).map_err(|e| damaged(e.to_string()))?,
            Some((version, _)) => {
                return Err(Error::new(
                    Code::LogUnknownVersion,
                    format!("the record of a table's origin has version {version}, this program reads {VERSION}"),
                )
                .hint("start the version of Tidewater that wrote this folder, or a newer one"));
            }
            None => return Err(damaged("it is empty".to_owned())),
        };
        let root = disk.root.map(|root| Url::parse(&root)).transpose().map_err(|e| damaged(e.to_string()))?;
        Ok(Self { log_id: LogId(Uuid::from_slice(&disk.log_id).map_err(|e| damaged(e.to_string()))?), root })
    }

    /// The record of a table; `None`: it has nothing of its own.
    pub(crate) fn of(store: &Store, table: TableId) -> Result<Option<Self>> {
        let record = store.get(Family::State, &state_prefix(state_key::ORIGIN, table, SHARD_ZERO))?;
        record.map(|record| Self::from_disk(&record)).transpose()
    }

    /// What such a table has of `parts`, and what is its own. Blocks.
    pub(crate) fn parts(&self, parts: &SharedParts) -> Result<SharedParts> {
        let mut own = parts.clone();
        own.log_id = self.log_id;
        if let Some(root) = &self.root {
            own.tables = parts.other_stores.open(root)?;
            own.stores.tables = Arc::clone(&own.tables.store);
        }
        Ok(own)
    }
}

/// What a table has of `parts`, as its record says. Blocks.
pub(crate) fn parts_of(parts: &SharedParts, table: TableId) -> Result<SharedParts> {
    match Origin::of(&parts.store, table)? {
        Some(origin) => origin.parts(parts),
        None => Ok(parts.clone()),
    }
}
