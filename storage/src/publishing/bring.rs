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
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::AcquireError;
use tokio::task::{JoinSet, spawn_blocking};
use xxhash_rust::xxh3::Xxh3;

use crate::env::{in_background, make_folder};
use crate::error::{Code, Error, Result};
use crate::sealed::{SegmentFile, checksum_of, local_sidecar_of, store_error};
use crate::table::{BringPlaces, Shared, Write};

/// One part of an upload.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Parts of an upload that are in memory at once, at most: one is read, the others are on their way.
const MAX_PARTS: u64 = 5;

/// How soon who waits sees that the server stops, or the table is closed.
const STOP_INTERVAL: Duration = Duration::from_millis(100);
/// How long a server that stops waits for the parts of an upload to go. What stays there is in no object.
pub(super) const ABORT_WAIT: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 2_000 });

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
/// never published. When `stop` is set it ends within a part, and there is no object. An error leaves no parts behind if the store answers.
pub(super) async fn upload(
    store: &Arc<dyn ObjectStore>,
    from: PathBuf,
    to: &StorePath,
    of_file: (u64, u64),
    places: &BringPlaces,
    stop: &AtomicBool,
) -> Result<()> {
    // An earlier attempt may have brought it.
    if unless_stopped(stop, store.head(to)).await?.is_ok_and(|found| found.size == of_file.0) {
        return Ok(());
    }
    let upload = unless_stopped(stop, store.put_multipart(to)).await?;
    let mut upload = upload.map_err(|e| store_error("an upload cannot begin", e))?;
    let mut on_way = JoinSet::new();
    let sent = send(&mut *upload, &mut on_way, &from, of_file, places, stop).await;
    if sent.is_err() {
        // Parts of no object are in no listing, and are paid for until somebody takes them away. None may come behind that.
        let mut abort = std::pin::pin!(async {
            on_way.shutdown().await;
            upload.abort().await
        });
        // A part fails when its store has a bad hour: who does not stop waits for as long as the store's requests are tried again.
        if unless_stopped(stop, abort.as_mut()).await.is_err() {
            drop(tokio::time::timeout(ABORT_WAIT, abort).await);
        }
    }
    sent
}

/// All parts, and then the object.
async fn send(
    upload: &mut dyn MultipartUpload,
    on_way: &mut JoinSet<object_store::Result<()>>,
    from: &Path,
    of_file: (u64, u64),
    places: &BringPlaces,
    stop: &AtomicBool,
) -> Result<()> {
    let n_parts = (places.bytes_of_one() / PART_BYTES as u64).clamp(1, MAX_PARTS);
    // Not before: a store that does not answer keeps no place from the files of others.
    let _place = unless_stopped(stop, places.take(of_file.0.min(n_parts * PART_BYTES as u64))).await??;
    let parts = async {
        let unread = |e: std::io::Error| damaged(from, &e.to_string());
        let mut hash = Xxh3::new();
        let mut n_bytes = 0;
        let mut file = open(from).await.map_err(unread)?;
        loop {
            while on_way.len() as u64 >= n_parts {
                part_arrived(on_way).await?;
            }
            let (back, part) = next_part(file).await.map_err(unread)?;
            if part.is_empty() {
                break;
            }
            file = back;
            hash.update(&part);
            n_bytes += part.len() as u64;
            on_way.spawn(upload.put_part(part.into()));
        }
        while !on_way.is_empty() {
            part_arrived(on_way).await?;
        }
        Ok::<_, Error>((n_bytes, hash.digest()))
    };
    if unless_stopped(stop, parts).await?? != of_file {
        return Err(damaged(from, "its bytes do not match its checksum"));
    }
    // What is left is one request, which is waited for.
    upload.complete().await.map(drop).map_err(|e| store_error("an upload could not be completed", e))
}

/// Waits until one of the parts is there.
async fn part_arrived(on_way: &mut JoinSet<object_store::Result<()>>) -> Result<()> {
    match on_way.join_next().await {
        Some(Ok(sent)) => sent.map_err(|e| store_error("an upload failed", e)),
        Some(Err(e)) => Err(Error::ended_early("a part of an upload", &e)),
        None => Ok(()),
    }
}

async fn open(path: &Path) -> std::io::Result<File> {
    let path = path.to_owned();
    spawn_blocking(move || File::open(path)).await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

/// The file, and what comes next in it; the last part is shorter, and what is behind it is empty.
async fn next_part(mut file: File) -> std::io::Result<(File, Bytes)> {
    let read = move || -> std::io::Result<(File, Bytes)> {
        let mut part = Vec::with_capacity(PART_BYTES);
        file.by_ref().take(PART_BYTES as u64).read_to_end(&mut part)?;
        Ok((file, part.into()))
    };
    spawn_blocking(read).await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
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
