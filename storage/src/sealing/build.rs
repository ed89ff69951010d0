//! How does a prefix of the log become files? Closed by the worker, written beside it, recorded by it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::dedup::ClosedLayer;
use crate::env::{Moment, in_background, make_folder};
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::memory::Share;
use crate::publishing::while_open;
use crate::sealed::{
    Entries, FilePlace, SegmentFile, SourceRows, Target, plan_files, remove_local, working_bytes, write_file,
};
use crate::table::{Built, Frozen, LayerFile, Shared, Table, TableRequest, Write as GateWrite, names, sync};

use super::expired::leave_out;
use super::picker::Cause;

/// At most so many Parquet files: one for each hour with enough rows, and one for the rest.
const MAX_FILES: usize = 4;

/// A build is begun again so often when its worker failed meanwhile.
const MAX_AGAIN: usize = 3;

impl Table {
    /// Brings everything that was acknowledged before the call into files on the local disk. Returns the last entry that is.
    pub async fn build(&self) -> Result<CommitSeq> {
        build(self, Cause::Request).await
    }
}

/// The same; runs to its end whether or not the caller waits.
pub(crate) async fn build(table: &Table, cause: Cause) -> Result<CommitSeq> {
    let table = table.clone();
    let task = tokio::spawn(async move {
        let shared = Arc::clone(&table.shared);
        let _one = shared.building.lock().await;
        let id = shared.jobs.lock().add("build", cause.name());
        let mut outcome = build_once(&table, id).await;
        // A worker that failed closes nothing for its successor.
        for _ in 0..MAX_AGAIN {
            if !outcome.as_ref().is_err_and(|e| e.code() == Code::BuildLost) {
                break;
            }
            outcome = build_once(&table, id).await;
        }
        let now_us = shared.env.clock.now_us();
        shared.jobs.lock().end(id, now_us, outcome.as_ref().err().map(ToString::to_string));
        outcome
    });
    task.await.unwrap_or_else(|e| Err(Error::ended_early("a build", &e)))
}

/// The caller holds `building`.
async fn build_once(table: &Table, job: u64) -> Result<CommitSeq> {
    let shared = &table.shared;
    // Before the prefix is closed: what waits grows by what arrives meanwhile.
    let place = while_open(shared, Arc::clone(&shared.gate.builds).acquire_owned()).await?;
    // What is built takes about half of what it takes in memory.
    let promised = shared.version.load().realtime.bytes() / 2;
    shared.gate.check_space_beside(GateWrite::Freeing, promised)?;
    let Some(frozen) = table.ask(|answer| TableRequest::Freeze { answer }).await? else {
        return Ok(shared.version.load().upper);
    };
    let now = shared.now();
    shared.jobs.lock().begin(job, now.wall_us);
    let through = frozen.through;
    let minted = Names::mint(&frozen, shared);
    shared.log.commit(names(shared.def.id, &minted.all())).await?;
    shared.env.fail.hit("build.names_recorded")?;

    let sources = sources(&frozen);
    let needed = working_bytes(&sources, &frozen.def);
    let space = while_open(shared, shared.gate.sorting.take(needed)).await?;
    let memory = shared.memory.charge(Share::Unassigned, needed);
    let task_shared = Arc::clone(shared);
    let work = move || {
        let _held = (place, space, memory);
        write_all(&task_shared, frozen, &sources, &minted, now)
    };
    let built = in_background("build", work).await??;
    shared.env.fail.hit("build.files_synced")?;
    let (n_files, n_rows) = (built.files.len(), built.files.iter().map(|(file, _)| file.rows).sum::<u64>());
    let n_expired = built.expired;
    let places: Vec<_> = built.files.iter().map(|(_, place)| Arc::clone(place)).collect();
    let recorded = table.ask(|answer| TableRequest::Built { built: Box::new(built), answer }).await;
    match recorded {
        Ok(()) => {
            let (id, name, through_seq) = (shared.def.id, table.def().name.clone(), through.0);
            tracing::info!(table_id = %id, table = %name, through = through_seq, n_files, n_rows, n_expired, "a range was built");
            Ok(through)
        }
        // A TRUNCATE came first: these rows are gone, as they should be.
        Err(e) if e.code() == Code::BuildOvertaken => {
            places.iter().for_each(|place| place.let_go());
            Ok(through)
        }
        Err(e) if e.code() == Code::BuildLost => {
            places.iter().for_each(|place| place.let_go());
            Err(e)
        }
        Err(e) => {
            hold_until_told(shared, places).await;
            Err(e)
        }
    }
}

/// The worker failed before it answered: its commit may be in the log, on its way there, or never have been made. Returns when the records of
/// the files' names tell which it is. Nobody cleans by what they say until then: the files are held, and a build holds `building` as well.
pub(super) async fn hold_until_told(shared: &Shared, places: Vec<Arc<FilePlace>>) {
    // What the worker handed to the log is written before this.
    if shared.log.commit(sync()).await.is_err() {
        // They tell nothing any more: nobody in this process may take the files for left-overs.
        std::mem::forget(places);
    }
}

/// Names of files to come. They are on record before the first byte is written, so that none is ever found by listing a folder.
struct Names {
    files: Vec<String>,
    layers: Vec<String>,
}

impl Names {
    fn mint(frozen: &Frozen, shared: &Shared) -> Self {
        let n_files = if frozen.parts.is_empty() { 0 } else { MAX_FILES };
        let mint = |n, end: &str| (0..n).map(|_| format!("{}.{end}", shared.env.rng.uuid())).collect();
        Self { files: mint(n_files, "parquet"), layers: mint(frozen.layers.len(), "keys") }
    }

    fn all(&self) -> Vec<String> {
        self.files.iter().chain(&self.layers).cloned().collect()
    }
}

fn sources(frozen: &Frozen) -> Vec<SourceRows> {
    let parts = frozen.parts.iter();
    parts
        .map(|part| SourceRows { rows: part.rows.clone(), seqs: part.seqs.clone(), stamps: Arc::clone(&part.stamps) })
        .collect()
}

/// Writes and syncs everything. Blocks. What an error leaves behind is deleted here, or by its recorded name later.
fn write_all(
    shared: &Arc<Shared>,
    frozen: Frozen,
    sources: &[SourceRows],
    minted: &Names,
    now: Moment,
) -> Result<Built> {
    let written = write_files(shared, &frozen, sources, minted, now)
        .and_then(|files| Ok((files, write_layers(shared, &frozen, minted)?)))
        .and_then(|written| {
            sync_folder(&shared.folders.built())?;
            Ok(written)
        });
    let ((files, expired), layers) = match written {
        Ok(written) => written,
        Err(e) => {
            for name in minted.all() {
                // Its name stays on record.
                let _ = remove_local(&shared.folders.built_path(&name));
            }
            return Err(e);
        }
    };
    let files = files.into_iter().map(|file| {
        let place = shared.built_place(&file.name);
        (file, place)
    });
    Ok(Built {
        id: frozen.id,
        from: frozen.from,
        through: frozen.through,
        at: frozen.at,
        files: files.collect(),
        layers,
        expired,
        retention_us: frozen.def.options.retention_us,
        used_names: minted.all(),
    })
}

/// The files, and how many rows are in none of them because they expired.
fn write_files(
    shared: &Shared,
    frozen: &Frozen,
    sources: &[SourceRows],
    minted: &Names,
    now: Moment,
) -> Result<(Vec<SegmentFile>, u64)> {
    make_folder(&shared.folders.built()).map_err(|e| file_error(&shared.folders.built(), e))?;
    let mut planned = plan_files(sources, &frozen.def)?;
    let n_expired = leave_out(&mut planned, frozen, now);
    // Others may have filled the disk since the build began.
    let go_on = |coming| shared.gate.may_grow(&shared.stopping, GateWrite::Freeing, coming);
    let mut files = Vec::with_capacity(planned.len());
    for (at, planned) in planned.iter().enumerate() {
        let name = minted.files.get(at).ok_or_else(|| Error::internal("a build has more files than names"))?;
        let path = shared.folders.built_path(name);
        let target = Target { path: &path, hour: planned.hour, def: &frozen.def, go_on: &go_on };
        files.push(write_file(target, name.clone(), planned, sources, now.wall_us, Entries::Known)?);
        shared.env.fail.hit("build.file_written")?;
    }
    Ok((files, n_expired))
}

fn write_layers(shared: &Shared, frozen: &Frozen, minted: &Names) -> Result<Vec<LayerFile>> {
    let mut files = Vec::with_capacity(frozen.layers.len());
    for (layer, name) in frozen.layers.iter().zip(&minted.layers) {
        shared.gate.may_grow(&shared.stopping, GateWrite::Freeing, layer.layer.bytes() as u64)?;
        let path = shared.folders.built_path(name);
        let bytes = write_layer(&layer.layer, &path).map_err(|e| file_error(&path, e))?;
        files.push(LayerFile {
            name: name.clone(),
            bytes,
            keys: layer.layer.len() as u64,
            from: layer.layer.from(),
            through: layer.layer.through(),
            stamp_us: layer.at.wall_us,
            uptime_us: layer.at.uptime_us,
            is_run: false,
            epoch: layer.epoch.number,
            epoch_began_us: layer.epoch.began_us,
        });
        shared.env.fail.hit("build.layer_written")?;
    }
    Ok(files)
}

/// Writes and syncs the file of a key layer; the caller syncs the folder. Returns its bytes.
pub(super) fn write_layer(layer: &ClosedLayer, path: &Path) -> std::io::Result<u64> {
    layer.write_file(path)
}

/// New names are found after a power cut.
fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // There is none while there was nothing to write.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(|e| file_error(folder, e)),
    }
}

fn file_error(path: &Path, e: std::io::Error) -> Error {
    let code = match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::FolderUnusable,
    };
    Error::new(code, format!("{} cannot be written: {e}", path.display()))
        .hint("free some space or mend the disk; the rows are safe in the log, and the build is tried again")
        .source(e)
}
