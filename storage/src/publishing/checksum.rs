//! Is a file, or its sidecar, what was written? All of its bytes are read and hashed, at most so many a second, below everything else.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

use super::bring::unless_stopped;
use super::log_end::check_before;
use super::settle::delta_table;
use crate::env::in_background;
use crate::error::{Code, Error, Result};
use crate::sealed::{FilePlace, FileRef, read_local_from_disk, store_error};
use crate::table::Shared;

/// Read at once, at most, of a file on the local disk, and of one elsewhere.
const PIECE_BYTES: u64 = 1 << 20;
const REMOTE_PIECE_BYTES: u64 = 8 << 20;

/// Of a file on the local disk at least so many pieces are read: the thread that sleeps between two looks after each whether it is to end.
const PIECES_A_SECOND: u64 = 8;

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tested {
    Whole,
    /// And how.
    Damaged(String),
}

/// What is known of the bytes that are tested.
struct Written<'a> {
    place: &'a Arc<FilePlace>,
    /// Theirs, which may lie beside that of `place`.
    path: StorePath,
    bytes: u64,
    checksum: u64,
}

impl Tested {
    /// `found` are bytes and checksum.
    fn of(written: &Written<'_>, found: (u64, u64)) -> Self {
        let (bytes, checksum) = (written.bytes, written.checksum);
        match found {
            whole if whole == (bytes, checksum) => Self::Whole,
            (found, _) if found != bytes => Self::Damaged(format!("it has {found} bytes instead of {bytes}")),
            _ => Self::Damaged("its bytes do not match its checksum".to_owned()),
        }
    }
}

/// Reads the whole file, wherever it is, at most `rate` bytes a second. An error: nobody can say now. `STORE_UNAVAILABLE`: its Delta table
/// cannot be read either, as where a file system is not mounted or its disk has gone, and nobody deleted or damaged single files.
pub(crate) async fn test_file(shared: &Arc<Shared>, file: &FileRef, rate: Option<u64>) -> Result<Tested> {
    let path = file.place.path.clone();
    let written = Written { place: &file.place, path, bytes: file.file.bytes, checksum: file.file.checksum };
    test(shared, &written, rate).await
}

/// The same for the file's sidecar. One that it does not have is whole.
pub(super) async fn test_beside(shared: &Arc<Shared>, file: &FileRef, rate: Option<u64>) -> Result<Tested> {
    let Some((sidecar, path)) = file.sidecar() else { return Ok(Tested::Whole) };
    let written = Written { place: &file.place, path, bytes: sidecar.bytes, checksum: sidecar.checksum };
    test(shared, &written, rate).await
}

/// Whether the Delta table can be read: its newest commit is there, and a local disk gives its bytes, which a disk that has gone does not,
/// whatever is still known of names. `STORE_UNAVAILABLE` if not. A table is there also as somebody else left it who removed what was old
/// (`DELTA_CONFLICT` for whoever commits).
pub(super) async fn check_is_there(shared: &Shared) -> Result<()> {
    let Some(settled) = shared.sealing.lock().settled else { return Ok(()) };
    match check_before(shared, &delta_table(shared)?, settled.version + 1).await {
        Err(e) if e.code() == Code::DeltaConflict => return Ok(()),
        asked => asked?,
    }
    let folders = &shared.folders;
    let Some(local) = &folders.tables().local else { return Ok(()) };
    let folder = local.root().join(folders.published().to_string());
    match in_background("checksum", move || read_local_from_disk(&folder, settled.version).map(drop)).await? {
        Err(e) if e.code() != Code::DeltaDamaged => {
            let what = format!("the Delta table at {} cannot be read: {}", folders.location(), e.message());
            Err(Error::new(Code::StoreUnavailable, what)
                .hint("check its disk, and that its file system is mounted")
                .source(e))
        }
        _ => Ok(()),
    }
}

/// The disk, or its file system, has the file and cannot give it.
fn is_of_file(e: &io::Error) -> bool {
    matches!(Errno::from_io_error(e), Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG))
}

async fn test(shared: &Arc<Shared>, written: &Written<'_>, rate: Option<u64>) -> Result<Tested> {
    let mut found = read(shared, written, rate).await?;
    if found.is_err() && written.place.is_published {
        check_is_there(shared).await?;
        // Its file system may have been mounted between the two.
        found = read(shared, written, rate).await?;
    }
    Ok(match found {
        Ok(found) => Tested::of(written, found),
        Err(how) => Tested::Damaged(how),
    })
}

/// Bytes and checksum of what is there; or why nobody gets it: it is missing, or its disk does not give it. An error: nobody can say now.
async fn read(shared: &Arc<Shared>, written: &Written<'_>, rate: Option<u64>) -> Result<Result<(u64, u64), String>> {
    let rate = rate.map(|rate| rate.max(PIECES_A_SECOND));
    let piece = rate.map_or(PIECE_BYTES, |rate| (rate / PIECES_A_SECOND).min(PIECE_BYTES));
    let pause = move |bytes: u64| rate.map(|rate| Duration::from_secs_f64(bytes as f64 / rate as f64));
    let Some(path) = local_path_of(shared, written.place, &written.path) else {
        return read_remote(shared, written, &pause).await;
    };
    // Gone when nobody waits for the answer any more: nothing more is read then.
    let asked = Arc::new(());
    let is_asked = Arc::downgrade(&asked);
    let (stop, place) = (Arc::clone(&shared.stopping), Arc::clone(written.place));
    // Nothing else of the table: who asked may have gone, and the folder is closed while the last piece is read.
    let work = move || {
        // Its name does not go meanwhile.
        let _held = place;
        let measured = measure(&path, piece, |bytes| {
            if let Some(pause) = pause(bytes) {
                std::thread::sleep(pause);
            }
            !stop.load(Ordering::Relaxed) && is_asked.strong_count() > 0
        });
        measured.map_err(|e| (path, e))
    };
    match in_background("checksum", work).await? {
        Ok(Some(found)) => Ok(Ok(found)),
        Ok(None) => Err(stopping()),
        Err((_, e)) if e.kind() == io::ErrorKind::NotFound => Ok(Err(missing())),
        Err((_, e)) if is_of_file(&e) => Ok(Err(format!("it cannot be read: {e}"))),
        Err((path, e)) => {
            Err(Error::new(Code::FolderUnusable, format!("{} cannot be read: {e}", path.display())).source(e))
        }
    }
}

/// Bytes and XXH3-64. `goes_on` is asked after each piece, with its bytes; `None`: it did not want to.
fn measure(path: &Path, piece: u64, goes_on: impl Fn(u64) -> bool) -> io::Result<Option<(u64, u64)>> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes) = (Xxh3::new(), 0);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let n = file.by_ref().take(piece).read_to_end(&mut buffer)?;
        if n == 0 {
            return Ok(Some((bytes, hash.digest())));
        }
        hash.update(&buffer);
        bytes += n as u64;
        if !goes_on(n as u64) {
            return Ok(None);
        }
    }
}

async fn read_remote(
    shared: &Arc<Shared>,
    written: &Written<'_>,
    pause: &(dyn Fn(u64) -> Option<Duration> + Send + Sync),
) -> Result<Result<(u64, u64), String>> {
    let path = &written.path;
    let unread = |e| store_error(&format!("the file {path} cannot be read"), e);
    let store = written.place.store(shared.folders.stores());
    match store.head(path).await {
        Ok(found) if found.size != written.bytes => return Ok(Ok((found.size, 0))),
        Ok(_) => {}
        Err(object_store::Error::NotFound { .. }) => return Ok(Err(missing())),
        Err(e) => return Err(unread(e)),
    }
    let (mut hash, mut bytes) = (Xxh3::new(), 0);
    // Range by range: a request may not last as long as a slow pace would have it.
    while bytes < written.bytes {
        if shared.stopping.load(Ordering::Relaxed) {
            return Err(stopping());
        }
        let part = store.get_range(path, bytes..written.bytes.min(bytes + REMOTE_PIECE_BYTES)).await;
        let part = part.map_err(unread)?;
        hash.update(&part);
        bytes += part.len() as u64;
        if part.is_empty() {
            break;
        }
        if let Some(pause) = pause(part.len() as u64) {
            // Whether it is to end is asked above.
            drop(unless_stopped(&shared.stopping, tokio::time::sleep(pause)).await);
        }
    }
    Ok(Ok((bytes, hash.digest())))
}

fn missing() -> String {
    "it is missing".to_owned()
}

/// `None`: it is in a store elsewhere.
pub(crate) fn local_path(shared: &Shared, file: &FileRef) -> Option<PathBuf> {
    local_path_of(shared, &file.place, &file.place.path)
}

/// The same of what lies beside a file.
fn local_path_of(shared: &Shared, place: &FilePlace, path: &StorePath) -> Option<PathBuf> {
    match (&shared.folders.tables().local, place.is_published) {
        (Some(local), true) => Some(local.root().join(path.to_string())),
        (None, true) => None,
        (_, false) => place.local().map(|file| file.with_file_name(path.filename().unwrap_or_default())),
    }
}

fn stopping() -> Error {
    Error::new(Code::ShuttingDown, "files are tested again after the next start")
}
