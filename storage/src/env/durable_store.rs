//! Where do a store's files rest on the local disk so that a power cut takes none? An object store that syncs bytes before it names them.

mod disk;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{
    CopyMode, CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result as StoreResult, UploadPart,
};

use super::Env;
use crate::error::{Code, Error, Result};
use disk::{Disk, Staged, folder_of};

/// As object_store's errors name this store.
const STORE: &str = "DurableLocalStore";

/// Of one `delete_stream`: each waits for its own sync.
const DELETES_AT_ONCE: usize = 10;

/// An [`ObjectStore`] over a folder of the local disk. What a write has acknowledged survives a power cut, and no name is ever seen, before
/// or after one, whose bytes are not whole.
///
/// Reads and lists are [`LocalFileSystem`]'s. Writes are not: it never syncs, and to sync after it is too late, because the name may be
/// durable before the bytes are. Here a file is written under a temporary name in the folder of its target, synced, linked or renamed, and
/// the folder synced with every parent that was made for it.
///
/// `PutMode::Update` and attributes are refused; an e-tag comes with `head`, not with a put. After an error that is neither `AlreadyExists`
/// nor `NotFound` the outcome of a write is unknown; a write whose future is dropped goes on to its end. `AlreadyExists` says that the
/// object that stands there is durable: a crash between its name and the sync of its folder is made good. A crash leaves at most temporary
/// files, `.staged#` and digits, that no list shows.
#[derive(Clone)]
pub struct DurableLocalStore {
    /// For reads, and for the rules of names.
    files: LocalFileSystem,
    disk: Arc<Disk>,
}

impl std::fmt::Debug for DurableLocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for DurableLocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{STORE}({})", self.disk.root.display())
    }
}

impl DurableLocalStore {
    /// Over the folder `root`, which is made if it is not there. Blocks.
    ///
    /// Fail points: `store.before_sync`, `store.before_name`, `store.after_name` (the folder is not synced), `store.after_sync`,
    /// `store.before_delete`, `store.after_delete`.
    pub fn open(root: &Path, env: &Env) -> Result<Self> {
        let refused =
            |e: io::Error| local_error(format!("the folder {} cannot hold files of tables", root.display()), e);
        let disk = Disk::open(root, env).map_err(refused)?;
        let files = LocalFileSystem::new_with_prefix(&disk.root).map_err(|e| refused(e.into()))?;
        Ok(Self { files, disk: Arc::new(disk) })
    }

    /// The same over another folder. Blocks.
    pub fn beside(&self, root: &Path) -> Result<Self> {
        Self::open(root, &self.disk.env)
    }

    /// Absolute, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.disk.root
    }

    /// Gives the local file `from`, whose bytes are synced, a name in the store as well; the bytes are copied and synced where the file
    /// systems differ. Durable when it returns. Blocks.
    ///
    /// A target that has the same length is taken for a repeat; one that has not is an error. A copy that is not finished when `stop` is set
    /// leaves nothing behind (`SHUTTING_DOWN`).
    pub fn link_in(&self, from: &Path, to: &StorePath, stop: &AtomicBool) -> Result<()> {
        let failed = |e: io::Error| local_error(format!("{} cannot be linked to {to} in {self}", from.display()), e);
        let target = self.files.path_to_filesystem(to).map_err(|e| failed(e.into()))?;
        let linked = folder_of(&target)
            .and_then(|folder| self.disk.stage_link(from, folder, stop))
            .and_then(|staged| self.disk.publish(staged, &target, false));
        if linked.is_err() && stop.load(Ordering::Relaxed) {
            return Err(Error::new(Code::ShuttingDown, format!("{} is copied after the next start", from.display())));
        }
        if linked.map_err(failed)? {
            return Ok(());
        }
        let bytes = |path: &Path| std::fs::metadata(path).map(|found| found.len());
        let (here, there) = (bytes(from).map_err(failed)?, bytes(&target).map_err(failed)?);
        if here == there {
            return Ok(());
        }
        Err(Error::new(
            Code::FolderUnusable,
            format!("{} has {there} bytes, and {here} of {} should stand there", target.display(), from.display()),
        )
        .hint("another program wrote into the table's folder: move that file away"))
    }

    fn path(&self, location: &StorePath) -> StoreResult<PathBuf> {
        self.files.path_to_filesystem(location)
    }
}

#[async_trait]
impl ObjectStore for DurableLocalStore {
    async fn put_opts(&self, location: &StorePath, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let replace = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => return Err(not_supported("PutMode::Update")),
        };
        if !options.attributes.is_empty() {
            return Err(not_supported("attributes"));
        }
        let target = self.path(location)?;
        let (disk, location) = (Arc::clone(&self.disk), location.clone());
        blocking(move || {
            let put = || {
                let (staged, mut file) = disk.stage_new(folder_of(&target)?)?;
                payload.iter().try_for_each(|part| file.write_all(part))?;
                disk.sync(&file)?;
                disk.publish(staged, &target, replace)
            };
            answer(put(), &location)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        if !options.attributes.is_empty() {
            return Err(not_supported("attributes"));
        }
        let target = self.path(location)?;
        let (disk, location) = (Arc::clone(&self.disk), location.clone());
        blocking(move || {
            let (staged, file) =
                folder_of(&target).and_then(|folder| disk.stage_new(folder)).map_err(|e| failed(&location, e))?;
            let upload = Upload {
                disk,
                location,
                target,
                staged: Some(staged),
                file: Arc::new(file),
                next: 0,
                written: Arc::default(),
            };
            Ok(Box::new(upload) as Box<dyn MultipartUpload>)
        })
        .await
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &StorePath, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        let store = self.clone();
        let delete = move |location: StoreResult<StorePath>| {
            let store = store.clone();
            async move {
                let location = location?;
                let path = store.path(&location)?;
                blocking(move || match store.disk.remove(&path) {
                    Ok(true) => Ok(location),
                    Ok(false) => Err(not_found(&location)),
                    Err(e) => Err(failed(&location, e)),
                })
                .await
            }
        };
        locations.map(delete).buffered(DELETES_AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> StoreResult<()> {
        let between = Between::new(self, from, to)?;
        blocking(move || between.copy(options.mode == CopyMode::Overwrite)).await
    }

    /// The new name is durable before the old one goes: a crash between the two leaves both.
    async fn rename_opts(&self, from: &StorePath, to: &StorePath, options: RenameOptions) -> StoreResult<()> {
        let between = Between::new(self, from, to)?;
        let replace = options.target_mode == RenameTargetMode::Overwrite;
        blocking(move || {
            between.copy(replace)?;
            // The copy onto itself changed nothing.
            if between.source == between.target {
                return Ok(());
            }
            between.disk.remove(&between.source).map_err(|e| failed(&between.from, e))?;
            Ok(())
        })
        .await
    }
}

/// A copy or a rename.
struct Between {
    disk: Arc<Disk>,
    from: StorePath,
    to: StorePath,
    source: PathBuf,
    target: PathBuf,
}

impl Between {
    fn new(store: &DurableLocalStore, from: &StorePath, to: &StorePath) -> StoreResult<Self> {
        let (source, target) = (store.path(from)?, store.path(to)?);
        Ok(Self { disk: Arc::clone(&store.disk), from: from.clone(), to: to.clone(), source, target })
    }

    /// Both names mean the same bytes then: no file of the store is ever written in place.
    fn copy(&self, replace: bool) -> StoreResult<()> {
        self.disk.sync_source(&self.source).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => not_found(&self.from),
            _ => failed(&self.from, e),
        })?;
        let copied = folder_of(&self.target)
            .and_then(|folder| self.disk.stage_link(&self.source, folder, &AtomicBool::new(false)))
            .and_then(|staged| self.disk.publish(staged, &self.target, replace));
        answer(copied, &self.to).map(|_| ())
    }
}

/// A file that comes in parts; its name is there when it is complete.
#[derive(Debug)]
struct Upload {
    disk: Arc<Disk>,
    location: StorePath,
    target: PathBuf,
    /// `None`: completed or aborted.
    staged: Option<Staged>,
    file: Arc<File>,
    /// Where the next part begins.
    next: u64,
    /// Bytes of the parts that were written. A part that failed, or that nobody waited for, is missing here.
    written: Arc<AtomicU64>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let from = self.next;
        self.next += data.content_length() as u64;
        let (file, written, location) = (Arc::clone(&self.file), Arc::clone(&self.written), self.location.clone());
        Box::pin(blocking(move || {
            let mut at = from;
            for bytes in &data {
                file.write_all_at(bytes, at).map_err(|e| failed(&location, e))?;
                at += bytes.len() as u64;
            }
            written.fetch_add(at - from, Ordering::Release);
            Ok(())
        }))
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let staged = self.staged.take().ok_or_else(|| self.ended())?;
        let (disk, location, target) = (Arc::clone(&self.disk), self.location.clone(), self.target.clone());
        let (file, all, written) = (Arc::clone(&self.file), self.next, self.written.load(Ordering::Acquire));
        blocking(move || {
            let publish = || {
                if written != all {
                    return Err(io::Error::other(format!("{written} bytes of {all} were written")));
                }
                disk.sync(&file)?;
                disk.publish(staged, &target, true)
            };
            answer(publish(), &location)
        })
        .await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let staged = self.staged.take().ok_or_else(|| self.ended())?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

impl Upload {
    fn ended(&self) -> StoreError {
        failed(&self.location, io::Error::other("the upload is completed or aborted"))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        match tokio::runtime::Handle::try_current() {
            // To unlink a large file takes its time.
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(staged))),
            Err(_) => drop(staged),
        }
    }
}

/// Runs `work` where it may block: on a thread for that if there is a runtime, here if there is none.
async fn blocking<T, F>(work: F) -> StoreResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> StoreResult<T> + Send + 'static,
{
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

/// Of [`Disk::publish`].
fn answer(published: io::Result<bool>, location: &StorePath) -> StoreResult<PutResult> {
    match published {
        Ok(true) => Ok(PutResult { e_tag: None, version: None }),
        Ok(false) => Err(StoreError::AlreadyExists { path: location.to_string(), source: "its name is taken".into() }),
        Err(e) => Err(failed(location, e)),
    }
}

fn failed(location: &StorePath, e: io::Error) -> StoreError {
    match e.kind() {
        io::ErrorKind::PermissionDenied => {
            StoreError::PermissionDenied { path: location.to_string(), source: Box::new(e) }
        }
        _ => StoreError::Generic { store: STORE, source: Box::new(e) },
    }
}

fn not_found(location: &StorePath) -> StoreError {
    StoreError::NotFound { path: location.to_string(), source: "there is no such file".into() }
}

fn not_supported(what: &str) -> StoreError {
    StoreError::NotSupported { source: format!("{STORE} does not support {what}").into() }
}

fn local_error(what: String, e: io::Error) -> Error {
    let (code, hint) = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (Code::DiskFull, "free some space"),
        _ => (Code::FolderUnusable, "check that the file system is mounted, writable and has hard links"),
    };
    Error::new(code, format!("{what}: {e}")).hint(hint).source(e)
}
