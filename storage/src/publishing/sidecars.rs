//! Are the sidecars of a table what its files say? Whole, and with a filter for all rows. What one of them lacks costs time, no rows.

use object_store::{ObjectStore, ObjectStoreExt};
use xxhash_rust::xxh3::xxh3_64;

use super::verify::{Check, outcome, passed, with_rows};
use crate::error::Result;
use crate::sealed::sidecar::Directory;
use crate::sealed::{FileRef, store_error};
use crate::table::TableSnapshot;

/// Reads all of them once.
pub(super) async fn check_sidecars(snapshot: &TableSnapshot) -> Check {
    const NAME: &str = "sidecars";
    if snapshot.def().key.is_empty() {
        return passed(NAME, "the table has no primary key".to_owned());
    }
    let mut problems = Vec::new();
    let (mut n_without, mut n_whole) = (0, 0);
    for file in with_rows(snapshot) {
        if file.file.sidecar.is_none() {
            n_without += 1;
            continue;
        }
        n_whole += 1;
        if let Err(e) = check(file, file.place.store(snapshot.stores()).as_ref()).await {
            problems.push(e);
        }
    }
    outcome(NAME, &problems, format!("{n_whole} files have filters of all their rows, {n_without} have none"))
}

async fn check(file: &FileRef, store: &dyn ObjectStore) -> Result<(), String> {
    let Some((sidecar, path)) = file.sidecar() else { return Ok(()) };
    let unread = |e| store_error(&format!("{path} cannot be read"), e).to_string();
    let bytes = store.get(&path).await.map_err(unread)?.bytes().await.map_err(unread)?;
    if bytes.len() as u64 != sidecar.bytes {
        return Err(format!("{path} has {} bytes instead of {}", bytes.len(), sidecar.bytes));
    }
    if xxh3_64(&bytes) != sidecar.checksum {
        return Err(format!("{path} does not match its checksum"));
    }
    let directory = Directory::parse(&bytes, sidecar.bytes).map_err(|e| format!("{path}: {e}"))?;
    let n_rows: u64 = directory.blocks.iter().map(|block| block.rows).sum();
    if n_rows != file.file.rows {
        return Err(format!("{path} is of {n_rows} rows, and its file has {}", file.file.rows));
    }
    Ok(())
}
