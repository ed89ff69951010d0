//! Where is the log of a Delta table, what stands in it, and what may go? One commit a version, each put once.

use std::sync::Arc;

use bytes::Bytes;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

use super::kernel::Kernel;
use super::lines::{Winner, parse_lines};
use crate::error::{Code, Error, Result};
use crate::sealed::store_error;

/// The table's folder as the kernel names it: a folder of its own, whatever the store, so that no name in it needs an escape. From a host
/// of this form (that of S3 directory buckets) the kernel takes listings in any order, and a local folder has none.
const KERNEL_ROOT: &str = "tidewater://table--x-s3/";

/// One Delta table: its folder, and the log in it.
#[derive(Debug, Clone)]
pub struct DeltaTable {
    /// The folder as a store of its own.
    store: Arc<dyn ObjectStore>,
    log: LogStoreRef,
    root: Url,
    location: Url,
}

/// What became of a commit that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It stands at its version.
    Written,
    /// Something stands there, which may be an earlier attempt with the same bytes.
    Exists,
}

impl DeltaTable {
    /// `store` is the whole store, `folder` the table's folder in it, `url` the folder as readers name it, for messages
    /// (`file:///…/name-uuid`, `s3://bucket/prefix/name-uuid`). Nothing is read.
    pub fn new(store: Arc<dyn ObjectStore>, folder: Path, url: &Url) -> Result<Self> {
        let root = Url::parse(KERNEL_ROOT).map_err(|e| Error::internal(format!("{KERNEL_ROOT}: {e}")))?;
        let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, folder));
        let log = default_logstore(Arc::clone(&store), Arc::clone(&store), &root, &StorageConfig::default());
        Ok(Self { store, log, root, location: url.clone() })
    }

    pub(super) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(super) fn location(&self) -> &Url {
        &self.location
    }

    /// Must be called within a runtime.
    pub(super) fn kernel(&self) -> Kernel {
        Kernel::new(self.log.engine(None), self.root.clone(), self.location.clone())
    }

    /// Puts `bytes` as `version` if nothing stands there. An error: the outcome is unknown until [`Self::read`] finds something there.
    pub async fn put(&self, version: u64, bytes: Bytes) -> Result<Put> {
        let path = commit_path(version);
        match self.store.put_opts(&path, PutPayload::from(bytes), PutOptions::from(PutMode::Create)).await {
            Ok(_) => Ok(Put::Written),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(e) => Err(store_error(&format!("{} cannot be written", self.named(&path)), e)),
        }
    }

    /// What stands at `version`; `None`: nothing. An empty file is an empty version. `DELTA_DAMAGED`: it is not a commit.
    pub async fn read(&self, version: u64) -> Result<Option<Winner>> {
        let path = commit_path(version);
        let unread = |e| store_error(&format!("{} cannot be read", self.named(&path)), e);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await.map_err(unread)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(unread(e)),
        };
        let lines = parse_lines(&bytes).map_err(|why| {
            Error::new(Code::DeltaDamaged, format!("{} is not a commit: {why}", self.named(&path)))
                .hint("nobody can read the table from this version on; if it is the last one, the file was never whole")
        })?;
        Ok(Some(Winner::of(lines)))
    }

    /// Removes commits and checkpoints of the versions from `first` on that are older than `older_than_us` (when the commit was written by
    /// the store's clock, microseconds since 1970) and that the newest checkpoint not behind them makes needless: every version from the
    /// returned one on, the new `first`, can still be read. `version` has a checkpoint that was read back, and stays.
    ///
    /// Nothing is listed: the names are made from version numbers.
    pub async fn clean_log(&self, first: u64, version: u64, older_than_us: i64) -> Result<u64> {
        let mut young = first;
        while young < version && self.is_older(&commit_path(young), older_than_us).await? {
            young += 1;
        }
        // What is kept begins with a checkpoint.
        let mut kept = young;
        while kept > first && kept < version && !self.exists(&checkpoint_path(kept)).await? {
            kept -= 1;
        }
        for gone in first..kept {
            self.remove(&commit_path(gone)).await?;
            self.remove(&checkpoint_path(gone)).await?;
        }
        Ok(kept)
    }

    /// A file that is gone already counts as old.
    async fn is_older(&self, path: &Path, than_us: i64) -> Result<bool> {
        match self.store.head(path).await {
            Ok(found) => Ok(found.last_modified.timestamp_micros() < than_us),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(e) => Err(store_error(&format!("{} cannot be looked at", self.named(path)), e)),
        }
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        match self.store.head(path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(store_error(&format!("{} cannot be looked at", self.named(path)), e)),
        }
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(store_error(&format!("{} cannot be removed", self.named(path)), e)),
        }
    }

    /// A file of the table for messages.
    fn named(&self, path: &Path) -> String {
        format!("{}/{path}", self.location.as_str().trim_end_matches('/'))
    }
}

fn commit_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

fn checkpoint_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.checkpoint.parquet"))
}
