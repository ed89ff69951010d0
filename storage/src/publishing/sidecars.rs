//! Are the sidecars of a table what its files say? Whole, and with a filter for all rows. What one of them lacks costs time, no rows; it is
//! written again from its file.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use object_store::{ObjectStore, ObjectStoreExt};
use xxhash_rust::xxh3::xxh3_64;

use super::checksum::local_path;
use super::verify::{Check, outcome, passed, with_rows};
use crate::catalog::TableDef;
use crate::env::in_background;
use crate::error::Result;
use crate::sealed::sidecar::{Directory, Rebuild};
use crate::sealed::{FileRef, RemoteFile, read_columns, store_error};
use crate::table::{Shared, TableSnapshot, Write};

/// Reads all of them once, after their files were tested. Those that are damaged or missing are written again.
pub(super) async fn check_sidecars(shared: &Arc<Shared>, snapshot: &TableSnapshot) -> Check {
    const NAME: &str = "sidecars";
    if snapshot.def().key.is_empty() {
        return passed(NAME, "the table has no primary key".to_owned());
    }
    let mut problems = Vec::new();
    let (mut n_without, mut n_whole, mut n_mended) = (0, 0, 0);
    for file in with_rows(snapshot) {
        if file.file.sidecar.is_none() {
            n_without += 1;
            continue;
        }
        n_whole += 1;
        let Err(how) = check(file, file.place.store(snapshot.stores()).as_ref()).await else { continue };
        match mend(shared, snapshot.def(), file).await {
            Ok(true) => n_mended += 1,
            Ok(false) => {
                problems.push(format!("{how}: queries read its file without it, until a merge writes another"));
            }
            Err(e) => problems.push(format!("{how}, and cannot be written again: {e}")),
        }
    }
    let mut detail = format!("{n_whole} files have filters of all their rows, {n_without} have none");
    if n_mended > 0 {
        detail += &format!("; {n_mended} of these filters were damaged or missing, and were written again");
    }
    outcome(NAME, &problems, detail)
}

/// Writes the sidecar again, if the keys of its file give the very bytes that are on record. Otherwise `false`, as for a built file, which
/// leaves it behind when it is published.
async fn mend(shared: &Arc<Shared>, def: &Arc<TableDef>, file: &FileRef) -> Result<bool> {
    let Some((sidecar, path)) = file.sidecar() else { return Ok(false) };
    // The bytes of a damaged file may mean anything.
    if !file.place.is_published || shared.quarantine.has(&file.file.name) {
        return Ok(false);
    }
    let bytes = rebuilt(shared, def, file).await?;
    if !sidecar.is(&bytes) {
        return Ok(false);
    }
    shared.gate.check_space(Write::Copies)?;
    let store = file.place.store(shared.folders.stores());
    store.put(&path, bytes.into()).await.map_err(|e| store_error(&format!("{path} cannot be written"), e))?;
    // What readers have kept of the damaged one goes.
    shared.quarantine.note_restored(&file.file.name);
    let path: &str = path.as_ref();
    tracing::info!(table_id = %shared.def.id, table = def.name, path, "filters that were damaged or missing were written again");
    Ok(true)
}

/// The bytes that the file's sidecar should have, in memory. The key columns are read.
async fn rebuilt(shared: &Arc<Shared>, def: &Arc<TableDef>, file: &FileRef) -> Result<Vec<u8>> {
    let mut rebuild = Rebuild::default();
    if let Some(path) = local_path(shared, file) {
        let (def, place) = (Arc::clone(def), Arc::clone(&file.place));
        let work = move || {
            // Its name does not go meanwhile.
            let _held = place;
            add(&mut rebuild, read_columns(&path, &def.arrow_schema, &def.key)?, &def.key)?;
            rebuild.finish()
        };
        return in_background("verify", work).await?;
    }
    let store = file.place.store(shared.folders.stores());
    let remote = RemoteFile::open(store, &file.place.path, file.file.bytes).await?;
    for group in 0..remote.n_groups() {
        let fetched = remote.fetch(group, &def.key).await?;
        let def = Arc::clone(def);
        let work = move || -> Result<Rebuild> {
            add(&mut rebuild, fetched.rows(&def.arrow_schema)?, &def.key)?;
            Ok(rebuild)
        };
        rebuild = in_background("verify", work).await??;
    }
    rebuild.finish()
}

fn add(rebuild: &mut Rebuild, batches: impl Iterator<Item = Result<RecordBatch>>, key: &[usize]) -> Result<()> {
    for rows in batches {
        let rows = rows?;
        let key: Vec<ArrayRef> = key.iter().map(|&column| ArrayRef::clone(rows.column(column))).collect();
        rebuild.add(&key)?;
    }
    Ok(())
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
