//! Which keys does a table have whose key layers are nowhere? Those of all rows of its files, also of deleted ones: read from their key
//! columns, hashed as those of incoming rows, and written as layers and runs in the memory that keys may have.
//!
//! ```text
//! file ──► here (local, or a copy) ──► its checksum ──► key columns ──► open layer ──(memory is nearly used up)──► run on disk
//!                                                                          └──────────(at the end)──────────────► layer files
//! ```
//! Every name is on record before the first byte of its file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::dedup::{ClosedLayer, KeyIndex, KeySpec, SpillJob};
use crate::env::{Moment, in_background, make_folder};
use crate::error::{Code, Error, Result};
use crate::publishing::download;
use crate::sealed::{SegmentFile, checksum_of, read_columns};
use crate::table::{LayerFile, Shared, Write, cleaned, names};

/// What a key takes on disk at most: its hash and a part of a filter.
const KEY_BYTES: u64 = 18;

/// Keys that are taken in at once: what so many may take at most is held before, and must fit into the least memory that keys can have.
const PIECE_ROWS: usize = 1024;

/// There is one epoch: all keys came before the table did.
const EPOCH: u32 = 0;

/// The files of the keys. Until they are on record as the table's, their names are on record as of nothing.
pub(crate) struct RebuiltKeys {
    pub(crate) layers: Vec<LayerFile>,
    /// The last entry that a layer says its keys are of. A layer needs a range of its own, so there may be more than the table ever had
    /// entries.
    pub(crate) through: u64,
    names: Arc<Names>,
}

impl RebuiltKeys {
    /// Names that were recorded, also of files that are gone already.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.taken.lock().clone()
    }

    /// They belong to nothing.
    pub(crate) async fn discard(&self) {
        self.names.discard().await;
    }
}

/// Reads the keys of `files`, which are in the Delta folder of `shared`; `at`: when they came, as far as anybody can tell. A table without a
/// primary key has none, and nothing is read. `DEDUP_BUDGET`: there is no memory for them; `FILE_DAMAGED` names a file. What was written is
/// deleted then.
pub(crate) async fn rebuild(shared: &Arc<Shared>, files: &[SegmentFile], at: Moment) -> Result<RebuiltKeys> {
    let names = Arc::new(Names { shared: Arc::clone(shared), taken: Mutex::default() });
    let rebuilt = match &shared.spec {
        Some(spec) => read_all(spec, files, at, &names).await,
        None => Ok((Vec::new(), 0)),
    };
    match rebuilt {
        Ok((layers, through)) => Ok(RebuiltKeys { layers, through, names }),
        Err(e) => {
            names.discard().await;
            Err(e)
        }
    }
}

async fn read_all(
    spec: &KeySpec,
    files: &[SegmentFile],
    at: Moment,
    names: &Arc<Names>,
) -> Result<(Vec<LayerFile>, u64)> {
    let shared = &names.shared;
    let folder = shared.folders.built();
    make_folder(&folder).map_err(|e| file_error(&folder, e))?;
    let n_rows: u64 = files.iter().map(|file| file.rows).sum();
    shared.gate.check_space_beside(Write::Copies, n_rows.saturating_mul(KEY_BYTES))?;
    let mut builder = Builder::new(spec, at, names);
    for file in files {
        shared.env.fail.hit("attach.file")?;
        let (path, copy) = bring_here(file, names).await?;
        let (known, task_path) = (file.clone(), path.clone());
        builder = in_background("keys", move || {
            builder.take_in(&known, &task_path)?;
            Ok::<_, Error>(builder)
        })
        .await?
        .map_err(|e| e.with("file", &file.name))?;
        if copy {
            // Its name is on record.
            drop(std::fs::remove_file(&path));
        }
    }
    in_background("keys", move || builder.finish()).await?
}

/// Where the file is on the local disk, and whether that is a copy.
async fn bring_here(file: &SegmentFile, names: &Names) -> Result<(PathBuf, bool)> {
    let shared = &names.shared;
    let published = shared.folders.published_path(&file.name);
    if let Some(local) = &shared.folders.tables().local {
        return Ok((local.root().join(published.to_string()), false));
    }
    shared.gate.check_space_beside(Write::Copies, file.bytes)?;
    let path = shared.folders.built_path(&names.take("copy").await?);
    download(shared, &published, file.bytes, &path).await?;
    Ok((path, true))
}

/// Names that are on record.
struct Names {
    shared: Arc<Shared>,
    taken: Mutex<Vec<String>>,
}

impl Names {
    /// A new one.
    async fn take(&self, end: &str) -> Result<String> {
        let name = format!("{}.{end}", self.shared.env.rng.uuid());
        self.shared.log.commit(names(self.shared.def.id, std::slice::from_ref(&name))).await?;
        self.taken.lock().push(name.clone());
        Ok(name)
    }

    /// Deletes their files. What cannot be deleted stays on record, and the next start tries again.
    async fn discard(&self) {
        let folders = &self.shared.folders;
        let taken = std::mem::take(&mut *self.taken.lock());
        let is_gone = |name: &String| match std::fs::remove_file(folders.built_path(name)) {
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
            Ok(()) => true,
        };
        let gone: Vec<String> = taken.into_iter().filter(is_gone).collect();
        // Others may be in it.
        drop(std::fs::remove_dir(folders.built()));
        if let Err(e) = self.shared.log.commit(cleaned(self.shared.def.id, &gone)).await {
            tracing::warn!(table_id = %self.shared.def.id, reason = %e, "names of key layers that belong to nothing stay on record");
        }
    }
}

/// An index that is made from files. Blocks.
struct Builder {
    names: Arc<Names>,
    runtime: Handle,
    spec: KeySpec,
    index: KeyIndex,
    at: Moment,
    /// The last number that a layer has for its range.
    through: u64,
    runs: Vec<LayerFile>,
    /// Closed, and in no file.
    layers: Vec<Arc<ClosedLayer>>,
}

impl Builder {
    /// Within a runtime.
    fn new(spec: &KeySpec, at: Moment, names: &Arc<Names>) -> Self {
        Self {
            names: Arc::clone(names),
            runtime: Handle::current(),
            spec: spec.clone(),
            index: KeyIndex::new(spec, &names.shared.memory).with_disk(&names.shared.gate.key_disk),
            at,
            through: 0,
            runs: Vec::new(),
            layers: Vec::new(),
        }
    }

    fn take_in(&mut self, file: &SegmentFile, path: &std::path::Path) -> Result<()> {
        let damaged = |how: &str| {
            Error::new(Code::FileDamaged, format!("{} is damaged: {how}", path.display()))
                .hint("restore the file from a backup")
        };
        // A key that is not what was written is one that is not remembered.
        if checksum_of(path)? != (file.bytes, file.checksum) {
            return Err(damaged("its bytes do not match its checksum"));
        }
        let shared = Arc::clone(&self.names.shared);
        let mut n_rows = 0;
        for rows in read_columns(path, &shared.def.arrow_schema, &shared.def.key)? {
            if shared.gate.closing.load(Ordering::Relaxed) {
                return Err(Error::new(Code::ShuttingDown, "the server is shutting down"));
            }
            let rows = rows?;
            for start in (0..rows.num_rows()).step_by(PIECE_ROWS) {
                let keys = self.spec.keys(&rows.slice(start, PIECE_ROWS.min(rows.num_rows() - start)));
                n_rows += keys.len() as u64;
                self.make_place(keys.len())?;
                // What is there already may come again: rows whose keys were forgotten, and rows that lost to others.
                self.index.insert(&keys, None);
            }
            if self.index.wants_build() {
                self.close();
                self.spill()?;
            }
        }
        if n_rows != file.rows {
            return Err(damaged(&format!("it has {n_rows} rows, the Delta log says {}", file.rows)));
        }
        Ok(())
    }

    /// Memory for so many keys more.
    fn make_place(&mut self, n_keys: usize) -> Result<()> {
        loop {
            let Err(refused) = self.index.has_capacity(n_keys) else { return Ok(()) };
            if !self.close() {
                return Err(refused);
            }
            self.spill()?;
        }
    }

    /// Ends the open layer. `false`: there was nothing in it.
    fn close(&mut self) -> bool {
        let made = self.index.close_layer(self.through + 1, EPOCH);
        if made.is_empty() {
            return false;
        }
        self.through += 1;
        self.layers.extend(made);
        true
    }

    /// Layers go to disk, and runs become few.
    fn spill(&mut self) -> Result<()> {
        while let Some(job) = self.index.pick_spill(self.through) {
            self.run(job)?;
        }
        while let Some(job) = self.index.pick_run_merge() {
            self.run(job)?;
        }
        Ok(())
    }

    fn run(&mut self, job: SpillJob) -> Result<()> {
        let name = self.runtime.block_on(self.names.take("run"))?;
        let shared = Arc::clone(&self.names.shared);
        let spilled = job.run(&shared.folders.built_path(&name))?;
        shared.env.fail.hit("attach.run_written")?;
        let run = spilled.run();
        let file = self.layer_file(name, run.disk_bytes(), run.n_keys(), (run.from(), run.through()), true);
        self.layers.retain(|layer| !spilled.replaces(layer.from(), layer.through(), false));
        let (replaced, kept): (Vec<LayerFile>, Vec<LayerFile>) =
            std::mem::take(&mut self.runs).into_iter().partition(|run| spilled.replaces(run.from, run.through, true));
        self.runs = kept;
        if !self.index.apply_spill(spilled) {
            return Err(Error::internal("keys were forgotten while they were read"));
        }
        self.runs.push(file);
        for run in replaced {
            // Its name is on record.
            drop(std::fs::remove_file(shared.folders.built_path(&run.name)));
        }
        Ok(())
    }

    /// Files of what is still in memory alone; all of them, synced with their folder.
    fn finish(mut self) -> Result<(Vec<LayerFile>, u64)> {
        self.close();
        let shared = Arc::clone(&self.names.shared);
        let mut files = std::mem::take(&mut self.runs);
        for layer in &self.layers {
            let name = self.runtime.block_on(self.names.take("keys"))?;
            let path = shared.folders.built_path(&name);
            let bytes = layer.write_file(&path).map_err(|e| file_error(&path, e))?;
            files.push(self.layer_file(name, bytes, layer.len() as u64, (layer.from(), layer.through()), false));
        }
        let folder = shared.folders.built();
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|e| file_error(&folder, e))?;
        shared.env.fail.hit("attach.keys_written")?;
        Ok((files, self.through))
    }

    fn layer_file(&self, name: String, bytes: u64, keys: u64, range: (u64, u64), is_run: bool) -> LayerFile {
        LayerFile {
            name,
            bytes,
            keys,
            from: range.0,
            through: range.1,
            stamp_us: self.at.wall_us,
            uptime_us: self.at.uptime_us,
            is_run,
            epoch: EPOCH,
            epoch_began_us: self.at.uptime_us,
        }
    }
}

fn file_error(path: &std::path::Path, e: std::io::Error) -> Error {
    let code = match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::FolderUnusable,
    };
    Error::new(code, format!("{} cannot be written: {e}", path.display()))
        .hint("free some space or mend the disk, and try again")
        .source(e)
}
