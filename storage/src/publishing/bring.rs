//! How do files get into the Delta folder, and back? A hard link where both are on one disk, else a copy whose bytes are tested on the way.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::Xxh3;

use crate::env::make_folder;
use crate::error::{Code, Error, Result};
use crate::sealed::{SegmentFile, store_error};
use crate::table::{Folders, Shared};

/// One part of an upload.
const PART_BYTES: usize = 8 << 20;
/// Parts that are on their way at once.
const PARTS_IN_FLIGHT: usize = 4;

/// Brings a built file, and the filters beside it, into the Delta folder, durable when this returns. Repeating it does no harm.
pub(crate) async fn bring(shared: &Shared, file: &SegmentFile) -> Result<()> {
    let folders = &shared.folders;
    copy(folders, &file.name, file.bytes, file.checksum).await?;
    if let Some(sidecar) = &file.sidecar {
        copy(folders, &sidecar.name, sidecar.bytes, sidecar.checksum).await?;
    }
    Ok(())
}

async fn copy(folders: &Folders, name: &str, bytes: u64, checksum: u64) -> Result<()> {
    let from = folders.built_path(name);
    let to = folders.published_path(name);
    match &folders.tables().local {
        Some(local) => {
            let local = Arc::clone(local);
            tokio::task::spawn_blocking(move || local.link_in(&from, &to))
                .await
                .map_err(|e| Error::internal(format!("a file could not be linked: {e}")))?
        }
        None => upload(&folders.tables().store, from, &to, bytes, checksum).await,
    }
}

/// Sends a file part by part. Its checksum is tested before the last part completes the object: a damaged file is never published.
async fn upload(
    store: &Arc<dyn ObjectStore>,
    from: std::path::PathBuf,
    to: &StorePath,
    bytes: u64,
    checksum: u64,
) -> Result<()> {
    // An earlier attempt may have brought it.
    if store.head(to).await.is_ok_and(|found| found.size == bytes) {
        return Ok(());
    }
    let (parts, mut read) = mpsc::channel(1);
    let path = from.clone();
    let reader = tokio::task::spawn_blocking(move || read_parts(&path, &parts));
    let upload = store.put_multipart(to).await.map_err(|e| store_error("an upload cannot begin", e))?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    let mut hash = Xxh3::new();
    let mut n_bytes = 0;
    while let Some(part) = read.recv().await {
        let part: Bytes = part;
        hash.update(&part);
        n_bytes += part.len() as u64;
        upload.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(|e| store_error("an upload failed", e))?;
        upload.put(part);
    }
    let finished = reader.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
    let whole = finished.is_ok() && n_bytes == bytes && hash.digest() == checksum;
    if !whole {
        let _ = upload.abort().await;
        let how = finished.err().map_or_else(|| "its bytes do not match its checksum".to_owned(), |e| e.to_string());
        return Err(Error::new(
            Code::FileDamaged,
            format!("the built file {} cannot be published: {how}", from.display()),
        )
        .hint("restore the folder from a backup; queries that do not need the file go on"));
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

/// Copies an object of the tables' store of so many bytes to the local disk. Not synced: it is read at once and goes again. What an error
/// leaves behind is the caller's to delete.
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
        let end = bytes.min(start + PART_BYTES as u64);
        let part = store.get_range(from, start..end).await;
        let part = part.map_err(|e| store_error(&format!("the file {from} cannot be read"), e))?;
        file.write_all(&part).await.map_err(failed)?;
        start = end;
    }
    file.flush().await.map_err(failed)
}
