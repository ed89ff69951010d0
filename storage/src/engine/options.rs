//! How is a data folder opened? What the process may take, where its tables are, what is done without being asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{DurableLocalStore, Env};
use crate::error::Result;
use crate::limits::{MAX_KEY_DISK_BYTES, MAX_UNPUBLISHED_BYTES, MIN_FREE_BYTES};
use crate::scrub::ScrubOptions;
use crate::sealed::{StoreOptions, TablesStore, open_tables};

/// How to open a data folder.
pub struct EngineOptions {
    pub data_dir: PathBuf,
    /// Bytes for the whole process; see [`crate::memory`].
    pub memory_limit: u64,
    /// Bytes of it for the keys of all tables; `None`: a quarter of what the memtables leave.
    pub key_memory: Option<u64>,
    /// Ingest stops below this many free bytes on the data folder's file system; at least [`crate::limits::LEAST_MIN_FREE_BYTES`].
    pub min_free_bytes: u64,
    /// Where Delta tables are.
    pub tables: StoreOptions,
    /// Rows are refused when files that are built and not published take so many bytes.
    pub max_unpublished_bytes: u64,
    /// What keys of all tables may take on disk, where memory does not hold them: rows are refused (`DEDUP_BUDGET`) beyond both.
    pub max_key_disk_bytes: u64,
    /// How files are tested for damage.
    pub scrub: ScrubOptions,
    /// Build and publish when tables' options and memory say so, and not only when somebody asks; test files, too.
    pub seals_by_itself: bool,
    /// A folder that is behind its Delta tables opens all the same: [`Engine::accept_losses`] comes next, before anybody may write.
    pub accept_data_loss: bool,
    pub env: Env,
    /// Delta tables are in this store, which is not on the local disk.
    #[cfg(test)]
    pub(crate) elsewhere: Option<Arc<dyn object_store::ObjectStore>>,
}

impl EngineOptions {
    /// The defaults of the limits, in the real world.
    pub fn new(data_dir: impl Into<PathBuf>, memory_limit: u64) -> Self {
        Self {
            data_dir: data_dir.into(),
            memory_limit,
            key_memory: None,
            min_free_bytes: MIN_FREE_BYTES,
            tables: StoreOptions::default(),
            max_unpublished_bytes: MAX_UNPUBLISHED_BYTES,
            max_key_disk_bytes: MAX_KEY_DISK_BYTES,
            scrub: ScrubOptions::default(),
            seals_by_itself: true,
            accept_data_loss: false,
            env: Env::system(),
            #[cfg(test)]
            elsewhere: None,
        }
    }

    /// An engine in `folder`, which is held for as long as anything may write to its log: a temporary folder goes after the engine, whose
    /// tasks may outlive its handles. There, a log that cannot be written ends its own thread and not the process. For tests and examples.
    pub fn temporary(folder: Arc<impl AsRef<Path> + Send + Sync + 'static>, memory_limit: u64) -> Self {
        let data_dir = (*folder).as_ref().join("data");
        let fatal = move |reason: &str| {
            panic!("the log in {} cannot be written: {reason}", (*folder).as_ref().display());
        };
        let env = Env { fatal: Arc::new(fatal), ..Env::system() };
        Self { min_free_bytes: 0, env, ..Self::new(data_dir, memory_limit) }
    }

    /// The store that Delta tables are in. Blocks.
    pub(super) fn open_tables(&self, local: &Arc<DurableLocalStore>) -> Result<TablesStore> {
        let opened = open_tables(&self.data_dir, local, &self.tables)?;
        #[cfg(test)]
        if let Some(store) = &self.elsewhere {
            return Ok(TablesStore { store: Arc::clone(store), local: None, ..opened });
        }
        Ok(opened)
    }
}
