//! Are the sidecars of a table what its files say? Whole, and with a filter for all rows. What one of them lacks costs time, no rows; it is
//! written again from its file.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::checksum::{Tested, check_is_there, local_path, test_beside};
use super::verify::{Check, Untold, in_time, outcome_of_files, passed, with_rows};
use crate::catalog::TableDef;
use crate::env::in_background;
use crate::error::{Error, Result};
use crate::sealed::sidecar::{Directory, Rebuild};
use crate::sealed::{FileRef, RemoteFile, read_columns, store_error};
use crate::table::{Quarantine, Shared, Table, TableSnapshot, Write};

/// Reads all of them once, after their files were tested. Those that are damaged or missing are written again, as far as there is time.
pub(super) async fn check_sidecars(shared: &Arc<Shared>, snapshot: &TableSnapshot, until: Instant) -> Check {
    const NAME: &str = "sidecars";
    if snapshot.def().key.is_empty() {
        return passed(NAME, "the table has no primary key".to_owned());
    }
    let (mut problems, mut untold) = (Vec::new(), Untold::default());
    let (mut n_without, mut n_whole, mut n_mended) = (0, 0, 0);
    for file in with_rows(snapshot) {
        if file.file.sidecar.is_none() {
            n_without += 1;
            continue;
        }
        match in_time(until, look_at(shared, snapshot, file)).await {
            Some(Ok(Ok(was_mended))) => {
                n_whole += 1;
                n_mended += u64::from(was_mended);
            }
            Some(Ok(Err(problem))) => problems.push(problem),
            Some(Err(e)) => untold.note(&file.place.path, &e),
            None => untold.n_left += 1,
        }
    }
    let mut detail = format!("{n_whole} files have filters of all their rows, {n_without} have none");
    if n_mended > 0 {
        detail += &format!("; {n_mended} of these filters were damaged or missing, and were written again");
    }
    outcome_of_files(NAME, &problems, detail, untold)
}

/// Whether the sidecar had to be written again, or what is wrong with it. An error: nobody can say now.
async fn look_at(shared: &Arc<Shared>, snapshot: &TableSnapshot, file: &FileRef) -> Result<Result<bool, String>> {
    let Some(how) = check(shared, file).await? else { return Ok(Ok(false)) };
    Ok(match mend(shared, snapshot.def(), file).await {
        Ok(true) => Ok(true),
        Ok(false) => Err(format!("{how}: queries read its file without it, until a merge writes another")),
        Err(e) => {
            // Its store may have gone in between.
            check_is_there(shared).await?;
            Err(format!("{how}, and cannot be written again: {e}"))
        }
    })
}

/// Tests the sidecar of a file that was found whole, at most `rate` bytes a second. One that is damaged or missing is written again, as fast
/// as it can be, or told. An error: nobody can say now.
pub(crate) async fn test_sidecar(table: &Table, file: &FileRef, rate: Option<u64>) -> Result<()> {
    let shared = &table.shared;
    let Tested::Damaged(how) = test_beside(shared, file, rate).await? else { return Ok(()) };
    let def = table.def();
    let why = match mend(shared, &def, file).await {
        Ok(true) => return Ok(()),
        Ok(false) => "the next publish or merge of its file leaves it behind".to_owned(),
        Err(e) => e.to_string(),
    };
    if let Some((_, path)) = file.sidecar().filter(|_| !shared.is_closing()) {
        tracing::warn!(table_id = %shared.def.id, table = def.name, %path, how, why, "filters are damaged or missing, and are not written again now");
    }
    Ok(())
}

/// Writes the sidecar again, if the keys of its file give the very bytes that are on record. Otherwise `false`, as for a built file, which
/// leaves it behind when it is published, and for one that has left the table.
async fn mend(shared: &Arc<Shared>, def: &Arc<TableDef>, file: &FileRef) -> Result<bool> {
    let Some((sidecar, path)) = file.sidecar() else { return Ok(false) };
    // Whoever removes the files of a dropped table waits for who holds this: nothing is written behind them.
    let known = Arc::clone(&shared.quarantine);
    // The bytes of a damaged file may mean anything.
    if !file.place.is_published || known.has(&file.file.name) || shared.is_closing() || !is_there(shared, file) {
        return Ok(false);
    }
    let bytes = rebuilt(shared, def, file).await?;
    if !sidecar.is(&bytes) {
        return Ok(false);
    }
    shared.gate.check_space(Write::Copies)?;
    let store = Arc::clone(file.place.store(shared.folders.stores()));
    put_again(store, &path, bytes.into(), known, file.file.name.clone()).await?;
    let path: &str = path.as_ref();
    tracing::info!(table_id = %shared.def.id, table = def.name, path, "filters that were damaged or missing were written again");
    Ok(true)
}

/// Puts the sidecar of `file`, and notes it: what readers have kept of the damaged one goes. Also when who asked has gone in between, as at
/// the end of its time, and after an error: the sidecar may be there, and nobody would look at it again.
pub(super) async fn put_again(
    store: Arc<dyn ObjectStore>,
    path: &StorePath,
    bytes: PutPayload,
    known: Arc<Quarantine>,
    file: String,
) -> Result<()> {
    let to = path.clone();
    let putting = tokio::spawn(async move {
        let put = store.put(&to, bytes).await;
        known.note_restored(&file);
        put
    });
    let put = putting.await.map_err(|e| Error::ended_early(format!("the writing of {path}"), &e))?;
    put.map(drop).map_err(|e| store_error(&format!("{path} cannot be written"), e))
}

/// The table has the file: it is days until its name goes.
fn is_there(shared: &Shared, file: &FileRef) -> bool {
    shared.version.load().files.refs().iter().any(|known| known.file.name == file.file.name)
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

/// What is wrong with the sidecar. An error: nobody can say now.
async fn check(shared: &Arc<Shared>, file: &FileRef) -> Result<Option<String>> {
    let Some((sidecar, path)) = file.sidecar() else { return Ok(None) };
    let read = match file.place.store(shared.folders.stores()).get(&path).await {
        Ok(found) => found.bytes().await,
        Err(e) => Err(e),
    };
    let Ok(bytes) = read else {
        // Missing, or not to be had now: which of them, its test tells.
        return Ok(match test_beside(shared, file, None).await? {
            Tested::Whole => None,
            Tested::Damaged(how) => Some(format!("{path}: {how}")),
        });
    };
    if bytes.len() as u64 != sidecar.bytes {
        return Ok(Some(format!("{path} has {} bytes instead of {}", bytes.len(), sidecar.bytes)));
    }
    if xxh3_64(&bytes) != sidecar.checksum {
        return Ok(Some(format!("{path} does not match its checksum")));
    }
    let n_rows: u64 = match Directory::parse(&bytes, sidecar.bytes) {
        Ok(directory) => directory.blocks.iter().map(|block| block.rows).sum(),
        Err(e) => return Ok(Some(format!("{path}: {e}"))),
    };
    let is_of_all = n_rows == file.file.rows;
    Ok((!is_of_all).then(|| format!("{path} is of {n_rows} rows, and its file has {}", file.file.rows)))
}
