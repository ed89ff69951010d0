//! Where does a settled file lie? On the local disk while it is built, then where the Delta table is.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::ObjectStore;
use object_store::path::Path;

use super::sidecar::{local_sidecar_of, may_have_sidecar};
use crate::env::soon;

/// The stores of one data folder. Paths of files are relative to their roots.
#[derive(Debug, Clone)]
pub struct FileStores {
    /// The data folder: built files, and published ones unless the tables are elsewhere.
    pub local: Arc<dyn ObjectStore>,
    /// Where Delta tables are. The same as `local` by default.
    pub tables: Arc<dyn ObjectStore>,
}

/// Where one file lies.
#[derive(Debug)]
pub struct FilePlace {
    /// In which store.
    pub is_published: bool,
    /// Within that store.
    pub path: Path,
    /// For a built file: its name goes when nobody holds this any more, if it was let go.
    local: Option<PathBuf>,
    let_go: AtomicBool,
}

impl FilePlace {
    /// A file under the data folder, by its path there and on the disk.
    pub(crate) fn built(path: Path, local: PathBuf) -> Self {
        Self { is_published: false, path, local: Some(local), let_go: AtomicBool::new(false) }
    }

    /// A file of the Delta table.
    pub(crate) fn published(path: Path) -> Self {
        Self { is_published: true, path, local: None, let_go: AtomicBool::new(false) }
    }

    /// The store that holds it.
    pub fn store<'s>(&self, stores: &'s FileStores) -> &'s Arc<dyn ObjectStore> {
        if self.is_published { &stores.tables } else { &stores.local }
    }

    /// Where another file of the same table is that lies beside this one: `name` is its place in the Delta folder, and has no folder where
    /// files are built.
    pub(crate) fn path_beside(&self, name: &str) -> Path {
        let name = if self.is_published { name } else { name.rsplit('/').next().unwrap_or(name) };
        name.split('/').fold(self.path.parent().unwrap_or_default(), |folder, part| folder.join(part))
    }

    /// How long a built file is on the disk.
    pub(crate) fn local_bytes(&self) -> std::io::Result<u64> {
        let local = self.local.as_ref().ok_or_else(|| std::io::Error::other("it is not on the local disk"))?;
        std::fs::metadata(local).map(|found| found.len())
    }

    /// Where a built file is on the disk.
    pub(crate) fn local(&self) -> Option<&std::path::Path> {
        self.local.as_deref()
    }

    pub(crate) fn is_let_go(&self) -> bool {
        self.let_go.load(Ordering::Acquire)
    }

    /// The table does not need it here any more: it is deleted when the last snapshot that names it is gone.
    pub(crate) fn let_go(&self) {
        self.let_go.store(true, Ordering::Release);
    }
}

impl Drop for FilePlace {
    /// The last who holds it may be a query, or the table's worker: the file goes a moment later, on a thread that nobody waits for.
    fn drop(&mut self) {
        let is_let_go = self.let_go.load(Ordering::Acquire);
        let Some(local) = self.local.take().filter(|_| is_let_go) else { return };
        // Its name stays on record until it is gone: clean-up, at the latest that of the next start, finds it by that.
        soon(move || {
            if let Err(e) = remove_local(&local) {
                tracing::warn!(path = %local.display(), reason = %e, "a built file stays on disk");
            }
        });
    }
}

/// Deletes a built file, and the sidecar beside it. Those that are not there are no error.
pub(crate) fn remove_local(file: &std::path::Path) -> std::io::Result<()> {
    let gone = |removed: std::io::Result<()>| match removed {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if may_have_sidecar(file) {
        gone(std::fs::remove_file(local_sidecar_of(file)))?;
    }
    gone(std::fs::remove_file(file))
}
