//! How do files get into the Delta folder, and back? A hard link where both are on one disk, else a copy whose bytes are tested on the way.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncWriteExt;
use tokio::sync::{AcquireError, mpsc};
use xxhash_rust::xxh3::Xxh3;

use crate::env::{in_background, make_folder};
use crate::error::{Code, Error, Result};
use crate::sealed::{SegmentFile, checksum_of, local_sidecar_of, store_error};
use crate::table::{BringPlaces, Shared, Write};

/// One part of an upload.
const PART_BYTES: usize = 8 << 20;
/// Parts that are on their way at once.
const PARTS_IN_FLIGHT: usize = 4;
/// What an upload has in memory at most: these parts, one in hand, one that waits, and one that is being read.
pub(super) const UPLOAD_BYTES: u64 = ((PARTS_IN_FLIGHT + 3) * PART_BYTES) as u64;

/// How soon who waits sees that the server stops, or the table is closed.
const STOP_INTERVAL: Duration = Duration::from_millis(100);
/// How long the parts of an upload that was stopped are waited for to go. What stays there is in no object.
const ABORT_WAIT: Duration = Duration::from_secs(2);

/// What came of `work`. `SHUTTING_DOWN` soon after `stop` is set: it is dropped then.
pub(crate) async fn unless_stopped<T>(stop: &AtomicBool, work: impl Future<Output = T>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    while !stop.load(Ordering::Relaxed) {
        if let Ok(done) = tokio::time::timeout(STOP_INTERVAL, work.as_mut()).await {
            return Ok(done);
        }
    }
    Err(Error::new(Code::ShuttingDown, "the server is shutting down, or the table was closed; the next start goes on"))
}

/// Waits for a place for as long as the table is open. What is waited for in which order stands at [`crate::table::Gate`].
pub(crate) async fn while_open<T>(shared: &Shared, place: impl Future<Output = Result<T, AcquireError>>) -> Result<T> {
    let place = unless_stopped(&shared.stopping, place).await.map_err(|_| shared.closed())?;
    place.map_err(|_| Error::internal("there are no places any more"))
}

/// Brings a built file, and the sidecar beside it, into the Delta folder, durable when this returns. Repeating it does no harm. Returns the
/// file as the table is to have it: a sidecar that is damaged stays behind, because no row is lost without it.
pub(crate) async fn bring(shared: &Shared, file: &SegmentFile) -> Result<SegmentFile> {
    let folders = &shared.folders;
    let from = folders.built_path(&file.name);
    let beside = local_sidecar_of(&from);
    let _place = match &folders.tables().local {
        Some(_) => Some(unless_stopped(&shared.stopping, shared.gate.brings.take(0)).await??),
        // Each upload has a place of its own.
        None => None,
    };
    if folders.tables().local.is_some() {
        // What is linked is not read on the way.
        check(from.clone(), file).await?;
    }
    let copied = copy(shared, from, &file.name, file.bytes, file.checksum).await;
    copied.map_err(|e| e.with("file", &file.name))?;
    let mut brought = file.clone();
    if let Some(sidecar) = &file.sidecar {
        let path = beside.clone();
        match in_background("publish", move || checksum_of(&path)).await? {
            Ok(found) if found == (sidecar.bytes, sidecar.checksum) => {
                copy(shared, beside, &sidecar.name, sidecar.bytes, sidecar.checksum).await?;
            }
            found => {
                let reason = found.map_or_else(|e| e.to_string(), |_| "its bytes do not match its checksum".to_owned());
                tracing::warn!(table_id = %shared.def.id, path = %beside.display(), %reason, "a file is published without its sidecar");
                brought.sidecar = None;
            }
        }
    }
    Ok(brought)
}

/// `FILE_DAMAGED`: a built file is not what was written.
async fn check(path: PathBuf, file: &SegmentFile) -> Result<()> {
    let built = path.clone();
    let how = match in_background("publish", move || checksum_of(&built)).await? {
        Ok(found) if found == (file.bytes, file.checksum) => return Ok(()),
        Ok(_) => "its bytes do not match its checksum".to_owned(),
        Err(_) if !path.exists() => "it is missing".to_owned(),
        Err(e) => return Err(e),
    };
    Err(damaged(&path, &how).with("file", &file.name))
}

fn damaged(path: &Path, how: &str) -> Error {
    Error::new(Code::FileDamaged, format!("the built file {} cannot be published: {how}", path.display())).hint(
        "restore it from a copy and run CALL verify for its table; if there is none, CALL give_up deletes its rows; until then nothing \
         that came later is published, and queries that do not need it go on",
    )
}

/// `name` is the file's place in the Delta folder.
async fn copy(shared: &Shared, from: PathBuf, name: &str, bytes: u64, checksum: u64) -> Result<()> {
    let (to, tables) = (shared.folders.published_path(name), shared.folders.tables());
    match &tables.local {
        Some(local) => {
            let (local, stop) = (Arc::clone(local), Arc::clone(&shared.stopping));
            tokio::task::spawn_blocking(move || local.link_in(&from, &to, &stop))
                .await
                .map_err(|e| Error::ended_early("the linking of a file", &e))?
        }
        None => upload(&tables.store, from, &to, (bytes, checksum), &shared.gate.brings, &shared.stopping).await,
    }
}

/// Sends a file of these bytes and this checksum part by part. The checksum is tested before the object is complete: a damaged file is
/// never published. When `stop` is set it ends within a part, and there is no object.
pub(super) async fn upload(
    store: &Arc<dyn ObjectStore>,
    from: PathBuf,
    to: &StorePath,
    (bytes, checksum): (u64, u64),
    places: &BringPlaces,
    stop: &AtomicBool,
) -> Result<()> {
    // An earlier attempt may have brought it.
    if unless_stopped(stop, store.head(to)).await?.is_ok_and(|found| found.size == bytes) {
        return Ok(());
    }
    let upload = unless_stopped(stop, store.put_multipart(to)).await?;
    let upload = upload.map_err(|e| store_error("an upload cannot begin", e))?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    // Not before: a store that does not answer keeps no place from the files of others.
    let place = unless_stopped(stop, places.take(bytes.min(UPLOAD_BYTES))).await.flatten();
    let _place = match place {
        Ok(place) => place,
        Err(e) => {
            drop(tokio::time::timeout(ABORT_WAIT, upload.abort()).await);
            return Err(e);
        }
    };
    let (parts, mut read) = mpsc::channel(1);
    let path = from.clone();
    let reader = tokio::task::spawn_blocking(move || read_parts(&path, &parts));
    let mut hash = Xxh3::new();
    let mut n_bytes = 0;
    let sent = async {
        while let Some(part) = read.recv().await {
            let part: Bytes = part;
            hash.update(&part);
            n_bytes += part.len() as u64;
            upload.wait_for_capacity(PARTS_IN_FLIGHT).await?;
            upload.put(part);
        }
        // What is left is one request, which is waited for.
        upload.wait_for_capacity(0).await
    };
    let sent = unless_stopped(stop, sent).await;
    match sent {
        Ok(sent) => sent.map_err(|e| store_error("an upload failed", e))?,
        Err(stopped) => {
            drop(tokio::time::timeout(ABORT_WAIT, upload.abort()).await);
            return Err(stopped);
        }
    }
    let finished = reader.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
    let whole = finished.is_ok() && n_bytes == bytes && hash.digest() == checksum;
    if !whole {
        let _ = upload.abort().await;
        let how = finished.err().map_or_else(|| "its bytes do not match its checksum".to_owned(), |e| e.to_string());
        return Err(damaged(&from, &how));
    }
    upload.finish().await.map_err(|e| store_error("an upload could not be completed", e))?;
    Ok(())
}

fn read_parts(path: &Path, parts: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    loop {
        let mut part = Vec::with_capacity(PART_BYTES);
        let n = file.by_ref().take(PART_BYTES as u64).read_to_end(&mut part)?;
        if n == 0 || parts.blocking_send(part.into()).is_err() {
            return Ok(());
        }
    }
}

/// Copies an object of the tables' store of so many bytes to the local disk. Not synced: it is read at once and goes again. `DISK_FULL` as
/// soon as others have taken the space that it needs. What an error leaves behind is the caller's to delete.
pub(crate) async fn download(shared: &Shared, from: &StorePath, bytes: u64, to: &Path) -> Result<()> {
    let store = &shared.folders.tables().store;
    let failed = |e: std::io::Error| {
        let code = match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
            _ => Code::FolderUnusable,
        };
        Error::new(code, format!("{} cannot be written: {e}", to.display())).source(e)
    };
    if let Some(folder) = to.parent() {
        make_folder(folder).map_err(failed)?;
    }
    let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
    let mut start = 0;
    while start < bytes {
        shared.gate.may_grow(&shared.stopping, Write::Copies, bytes - start)?;
        let end = bytes.min(start + PART_BYTES as u64);
        let part = unless_stopped(&shared.stopping, store.get_range(from, start..end)).await?;
        let part = part.map_err(|e| match e {
            object_store::Error::NotFound { .. } => {
                Error::new(Code::FileDamaged, format!("the file {from} is damaged: it is missing")).source(e)
            }
            e => store_error(&format!("the file {from} cannot be read"), e),
        })?;
        file.write_all(&part).await.map_err(failed)?;
        start = end;
    }
    file.flush().await.map_err(failed)
}
