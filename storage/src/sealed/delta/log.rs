//! Where is the log of a Delta table, what stands in it, and what may go? One commit a version, each put once.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::Deserialize;
use url::Url;

use super::checkpoint::txns_of;
use super::kernel::Kernel;
use super::lines::{Winner, parse_lines};
use crate::env::FailPoints;
use crate::error::{Code, Error, Result};
use crate::sealed::store_error;

/// The table's folder as the kernel names it: a folder of its own, whatever the store, so that no name in it needs an escape. From a host
/// of this form (that of S3 directory buckets) the kernel takes listings in any order, and a local folder has none.
const KERNEL_ROOT: &str = "tidewater://table--x-s3/";

/// Where the log is within a table's folder, and what says which checkpoint is the newest.
const LOG: &str = "_delta_log";
const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// So many files that are missing are named.
const MAX_MISSING: usize = 100;

/// One Delta table: its folder, and the log in it.
#[derive(Debug, Clone)]
pub struct DeltaTable {
    /// The folder as a store of its own.
    store: Arc<dyn ObjectStore>,
    log: LogStoreRef,
    root: Url,
    location: Url,
    fail: Arc<FailPoints>,
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
        Ok(Self { store, log, root, location: url.clone(), fail: Arc::default() })
    }

    /// The same, which stops at `checkpoint.before_write`, `checkpoint.written` and `checkpoint.read_back` if they are armed there.
    pub fn with_fail_points(self, fail: &Arc<FailPoints>) -> Self {
        Self { fail: Arc::clone(fail), ..self }
    }

    pub(super) fn fail(&self) -> &Arc<FailPoints> {
        &self.fail
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
        winner(&bytes, &self.named(&path)).map(Some)
    }

    /// The version of the checkpoint that readers begin with; `None`: there is none.
    pub async fn last_checkpoint(&self) -> Result<Option<u64>> {
        let path = Path::from(LAST_CHECKPOINT);
        let unread = |e| store_error(&format!("{} cannot be read", self.named(&path)), e);
        match self.store.get(&path).await {
            Ok(found) => Ok(checkpoint_version(&found.bytes().await.map_err(unread)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(unread(e)),
        }
    }

    /// The `txn`s that the checkpoint of `version` has: appId and version. Empty: it is not there as one file. `DELTA_DAMAGED`: it is no
    /// checkpoint.
    pub async fn checkpoint_txns(&self, version: u64) -> Result<Vec<(String, i64)>> {
        let path = checkpoint_path(version);
        let unread = |e| store_error(&format!("{} cannot be read", self.named(&path)), e);
        match self.store.get(&path).await {
            Ok(found) => named_txns(found.bytes().await.map_err(unread)?, &self.named(&path)),
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(e) => Err(unread(e)),
        }
    }

    /// Whether the commit of `version` is there. It is not read.
    pub async fn has_commit(&self, version: u64) -> Result<bool> {
        self.exists(&commit_path(version)).await
    }

    /// The oldest version whose commit is still there: the log is listed. `None`: there is none.
    pub async fn oldest_commit(&self) -> Result<Option<u64>> {
        let unread = |e| store_error(&format!("the Delta log at {} cannot be listed", self.location), e);
        let log = Path::from(LOG);
        let mut names = self.store.list(Some(&log));
        let mut oldest: Option<u64> = None;
        while let Some(found) = names.try_next().await.map_err(unread)? {
            let version = found.location.filename().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
            oldest = oldest.into_iter().chain(version).min();
        }
        Ok(oldest)
    }

    /// What readers of `version` need of the log and do not find, by name in the table's folder: the newest checkpoint, and each commit behind
    /// it. The first ones, if they are many. It is asked which checkpoint is announced, and listed what is behind that; nobody may remove what
    /// is old meanwhile.
    pub async fn missing(&self, version: u64) -> Result<Vec<String>> {
        let announced = self.last_checkpoint().await?;
        if announced.is_some_and(|checkpoint| checkpoint > version) {
            // Somebody went on from here.
            return Ok(Vec::new());
        }
        let mut commits = HashSet::new();
        let mut checkpoint: Option<u64> = None;
        let unread = |e| store_error(&format!("the Delta log at {} cannot be listed", self.location), e);
        let log = Path::from(LOG);
        let mut names = match announced {
            // Names of a version follow its number.
            Some(checkpoint) => self.store.list_with_offset(Some(&log), &Path::from(format!("{LOG}/{checkpoint:020}"))),
            None => self.store.list(Some(&log)),
        };
        while let Some(found) = names.try_next().await.map_err(unread)? {
            let Some((number, what)) = found.location.filename().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Some(number) = number.parse::<u64>().ok().filter(|number| *number <= version) else { continue };
            match what {
                "json" => commits.extend([number]),
                // Of one file, or of several.
                _ if what.starts_with("checkpoint.") => checkpoint = checkpoint.max(Some(number)),
                _ => {}
            }
        }
        let lost = announced.filter(|_| checkpoint.is_none()).map(checkpoint_path);
        let first = checkpoint.or(announced).map_or(0, |checkpoint| checkpoint + 1);
        let behind = (first..=version).filter(|number| !commits.contains(number)).map(commit_path);
        Ok(lost.into_iter().chain(behind).take(MAX_MISSING).map(|path| path.to_string()).collect())
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

/// [`DeltaTable::read`] for a table whose folder is on the local disk. Blocks.
pub fn read_local(folder: &std::path::Path, version: u64) -> Result<Option<Winner>> {
    let path = folder.join(commit_path(version).to_string());
    local_bytes(&path)?.map(|bytes| winner(&bytes, &path.display().to_string())).transpose()
}

/// The same, of the disk and not of what is kept of it in memory, where it may be while the disk has gone. Blocks.
pub fn read_local_from_disk(folder: &std::path::Path, version: u64) -> Result<Option<Winner>> {
    if let Ok(commit) = std::fs::File::open(folder.join(commit_path(version).to_string())) {
        // What is not on disk yet stays; then the disk is asked for the next one.
        let _ = rustix::fs::fadvise(&commit, 0, None, rustix::fs::Advice::DontNeed);
    }
    read_local(folder, version)
}

/// [`DeltaTable::last_checkpoint`] for such a table. Blocks.
pub fn last_local_checkpoint(folder: &std::path::Path) -> Result<Option<u64>> {
    Ok(local_bytes(&folder.join(LAST_CHECKPOINT))?.and_then(|bytes| checkpoint_version(&bytes)))
}

/// [`DeltaTable::checkpoint_txns`] for such a table. Blocks.
pub fn local_checkpoint_txns(folder: &std::path::Path, version: u64) -> Result<Vec<(String, i64)>> {
    let path = folder.join(checkpoint_path(version).to_string());
    match local_bytes(&path)? {
        Some(bytes) => named_txns(bytes.into(), &path.display().to_string()),
        None => Ok(Vec::new()),
    }
}

/// [`DeltaTable::has_commit`] for such a table. Blocks.
pub fn has_local_commit(folder: &std::path::Path, version: u64) -> Result<bool> {
    let path = folder.join(commit_path(version).to_string());
    path.try_exists()
        .map_err(|e| Error::new(Code::FolderUnusable, format!("{} cannot be looked at: {e}", path.display())).source(e))
}

/// `None`: there is no such file.
fn local_bytes(path: &std::path::Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::new(Code::FolderUnusable, format!("{} cannot be read: {e}", path.display())).source(e)),
    }
}

/// What the bytes of a commit say; `named` is their file.
fn winner(bytes: &[u8], named: &str) -> Result<Winner> {
    let lines = parse_lines(bytes).map_err(|why| {
        Error::new(Code::DeltaDamaged, format!("{named} is not a commit: {why}"))
            .hint("nobody can read the table from this version on; if it is the last one, the file was never whole")
    })?;
    Ok(Winner::of(lines))
}

/// What the bytes of a checkpoint say; `named` is their file.
fn named_txns(bytes: Bytes, named: &str) -> Result<Vec<(String, i64)>> {
    txns_of(bytes).map_err(|why| Error::new(Code::DeltaDamaged, format!("{named} is not a checkpoint: {why}")))
}

/// What announces a checkpoint. It is a hint: one that cannot be read is none.
fn checkpoint_version(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Announced {
        version: u64,
    }
    serde_json::from_slice::<Announced>(bytes).ok().map(|announced| announced.version)
}

fn commit_path(version: u64) -> Path {
    Path::from(format!("{LOG}/{version:020}.json"))
}

fn checkpoint_path(version: u64) -> Path {
    Path::from(format!("{LOG}/{version:020}.checkpoint.parquet"))
}
