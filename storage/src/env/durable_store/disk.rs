//! How does a file get its name only when its bytes are safe? Temporary name, bytes, sync, name, sync of the folder.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::env::Env;

/// Temporary files are named by this and digits. `LocalFileSystem` lists no name that ends in `#` and digits and refuses to address one;
/// other readers of Delta folders pass over names that begin with a dot. The target's name is no part of it, so that neither a `#` in that
/// name nor its length matters.
pub(super) const TEMPORARY: &str = ".staged#";

/// A copy looks whether it is still wanted after so many bytes.
const COPY_BYTES: u64 = 8 << 20;

/// Folders that are known to be synced: two for each table. Past it all are forgotten and synced again when they are used.
const MAX_KNOWN_FOLDERS: usize = 65_536;

/// The files below one folder. All calls block.
pub(super) struct Disk {
    /// Absolute, without symbolic links.
    pub(super) root: PathBuf,
    pub(super) env: Env,
    /// A temporary name is made of both: no two processes take the same soon after one another, no two threads ever.
    start: u64,
    next: AtomicU64,
    /// Folders whose own names, up to the root, were synced by this process. A folder that was already there counts only then: who made it
    /// may have been killed before its sync, or be about to sync it.
    known: Mutex<HashSet<PathBuf>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A file under a temporary name. That name goes when this does.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // It is gone when the file was renamed.
        if let Err(e) = fs::remove_file(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), reason = %e, "a temporary file stays on disk");
        }
    }
}

impl Disk {
    /// Makes the root if it is not there, durably.
    pub(super) fn open(root: &Path, env: &Env) -> io::Result<Self> {
        let n_new = root.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).count();
        fs::create_dir_all(root).map_err(|e| context("make the folder", root, &e))?;
        let root = fs::canonicalize(root).map_err(|e| context("find the folder", root, &e))?;
        // One parent at least: who made the folder may not have synced it.
        for parent in root.ancestors().skip(1).take(n_new.max(1)) {
            match sync_folder(parent) {
                // A parent that may be entered and not read was not made by us.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => break,
                synced => synced?,
            }
        }
        let mut start = [0; 8];
        env.rng.fill(&mut start);
        Ok(Self {
            root,
            env: env.clone(),
            start: u64::from_le_bytes(start),
            next: AtomicU64::new(0),
            known: Mutex::default(),
        })
    }

    /// An empty file in `folder`, which is made if it is not there.
    pub(super) fn stage_new(&self, folder: &Path) -> io::Result<(Staged, File)> {
        self.make_folder(folder)?;
        loop {
            let path = self.temporary(folder);
            match File::create_new(&path) {
                Ok(file) => return Ok((Staged { path }, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(context("create", &path, &e)),
            }
        }
    }

    /// Another name of the file `from`, whose bytes are synced; a synced copy where the file systems differ. A copy fails soon after `stop`
    /// is set.
    pub(super) fn stage_link(&self, from: &Path, folder: &Path, stop: &AtomicBool) -> io::Result<Staged> {
        self.make_folder(folder)?;
        loop {
            let path = self.temporary(folder);
            match fs::hard_link(from, &path) {
                Ok(()) => return Ok(Staged { path }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
                    return self.stage_copy(from, folder, stop);
                }
                Err(e) => return Err(context("link", from, &e)),
            }
        }
    }

    /// A synced copy of the file `from`. Fails soon after `stop` is set.
    pub(super) fn stage_copy(&self, from: &Path, folder: &Path, stop: &AtomicBool) -> io::Result<Staged> {
        let mut source = File::open(from).map_err(|e| context("open", from, &e))?;
        let (staged, mut file) = self.stage_new(folder)?;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::other(format!("the copy of {} was stopped", from.display())));
            }
            let mut part = source.by_ref().take(COPY_BYTES);
            if io::copy(&mut part, &mut file).map_err(|e| context("copy", from, &e))? == 0 {
                break;
            }
        }
        self.sync(&file)?;
        Ok(staged)
    }

    /// The bytes of a staged file, all written.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.hit("store.before_sync")?;
        file.sync_all()
    }

    /// Syncs a file that may have come without us: only then may another name rest on it. `NotFound` unless it is a file.
    pub(super) fn sync_source(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path).map_err(|e| context("open", path, &e))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is no file", path.display())));
        }
        file.sync_all()
    }

    /// Gives a staged file, whose bytes are synced, its name. False: the name is taken and `replace` is not set; that name is durable then,
    /// so that whoever reads what stands there may rely on it. After an error the name may be there or not.
    pub(super) fn publish(&self, staged: Staged, target: &Path, replace: bool) -> io::Result<bool> {
        self.hit("store.before_name")?;
        let named = if replace { fs::rename(&staged.path, target) } else { fs::hard_link(&staged.path, target) };
        let is_new = match named {
            Ok(()) => true,
            Err(e) if !replace && e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(context("name", target, &e)),
        };
        // Also after a rename: between two names of one file it does nothing.
        drop(staged);
        self.hit("store.after_name")?;
        sync_folder(folder_of(target)?)?;
        self.hit("store.after_sync")?;
        Ok(is_new)
    }

    /// False: there was no such file; its absence is durable too.
    pub(super) fn remove(&self, path: &Path) -> io::Result<bool> {
        self.hit("store.before_delete")?;
        let was_there = match fs::remove_file(path) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(context("delete", path, &e)),
        };
        self.hit("store.after_delete")?;
        match sync_folder(folder_of(path)?) {
            Err(e) if !was_there && e.kind() == io::ErrorKind::NotFound => {}
            synced => synced?,
        }
        Ok(was_there)
    }

    /// Makes a folder below the root, and its name durable.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() && self.known.lock().contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(|e| context("make the folder", folder, &e))?;
        for named in folder.ancestors().take_while(|named| *named != self.root) {
            if let Some(parent) = named.parent() {
                sync_folder(parent)?;
            }
        }
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN_FOLDERS {
            known.clear();
        }
        known.insert(folder.to_owned());
        Ok(())
    }

    fn temporary(&self, folder: &Path) -> PathBuf {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("{TEMPORARY}{:020}{n:010}", self.start))
    }

    fn hit(&self, point: &'static str) -> io::Result<()> {
        self.env.fail.hit(point).map_err(io::Error::other)
    }
}

/// The folder of a file of the store.
pub(super) fn folder_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other(format!("{} has no folder", path.display())))
}

/// Names in `folder` survive a power cut when this returns.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(|e| context("sync the folder", folder, &e))
}

/// What failed and where; the kind stays.
fn context(what: &str, path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("cannot {what} {}: {e}", path.display()))
}
