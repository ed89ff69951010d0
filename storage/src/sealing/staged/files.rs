//! How do a stream's rows and keys become files? Under names that are on record before the first byte, synced before anybody hears of them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{Int64Array, RecordBatch};
use roaring::RoaringBitmap;
use tokio::sync::OwnedSemaphorePermit;

use crate::catalog::TableDef;
use crate::dedup::ClosedLayer;
use crate::env::{FailPoints, in_background, make_folder};
use crate::error::{Code, Error, Result};
use crate::memory::{Charge, Share};
use crate::publishing::while_open;
use crate::sealed::{
    Entries, FilePlace, PlannedFile, SegmentFile, SourceRows, Target, plan_files, working_bytes, write_file,
};
use crate::sealing::build::write_layer;
use crate::table::{Folders, Gate, LayerFile, Shared, StagedFile, StagedLayer, Write, names as record_names};

/// Files that belong to nothing: they are deleted with this, unless somebody takes them.
#[derive(Default)]
pub(super) struct Unowned {
    places: Vec<Arc<FilePlace>>,
}

impl Unowned {
    /// A file to come. From here on nobody takes its recorded name for a left-over.
    fn hold(&mut self, shared: &Shared, name: &str) -> Arc<FilePlace> {
        let place = shared.built_place(name);
        self.places.push(Arc::clone(&place));
        place
    }

    /// From here on who has them decides what becomes of them.
    pub(super) fn take(&mut self) -> Vec<Arc<FilePlace>> {
        std::mem::take(&mut self.places)
    }

    /// They belong to nothing.
    pub(super) fn add(&mut self, places: Vec<Arc<FilePlace>>) {
        self.places.extend(places);
    }
}

impl Drop for Unowned {
    fn drop(&mut self) {
        // A thread that still writes one has its place too: the file goes with the last who has it.
        self.places.iter().for_each(|place| place.let_go());
    }
}

/// What was written for a stream.
#[derive(Default)]
pub(super) struct Written {
    pub(super) files: Vec<StagedFile>,
    pub(super) layers: Vec<StagedLayer>,
    /// All names on record.
    pub(super) names: Vec<String>,
    pub(super) unowned: Unowned,
}

impl Written {
    pub(super) fn add(&mut self, mut more: Written) {
        self.files.append(&mut more.files);
        self.layers.append(&mut more.layers);
        self.names.append(&mut more.names);
        self.unowned.add(more.unowned.take());
    }

    /// Puts names on record for files to come.
    async fn record(&mut self, shared: &Shared, n: usize, end: &str) -> Result<Vec<Arc<FilePlace>>> {
        self.names = (0..n).map(|_| format!("{}.{end}", shared.env.rng.uuid())).collect();
        let places = self.names.iter().map(|name| self.unowned.hold(shared, name)).collect();
        shared.log.commit(record_names(shared.def.id, &self.names)).await?;
        shared.env.fail.hit("stage.names_recorded")?;
        Ok(places)
    }
}

/// What a file's writer holds, beside its rows.
struct Held {
    _place: OwnedSemaphorePermit,
    _space: OwnedSemaphorePermit,
    _memory: Charge,
}

/// Writes rows, which the caller holds in memory, as at most 4 files: as a build does it, and in its place. `stop` ends it early.
pub(super) async fn write_rows(
    shared: &Arc<Shared>,
    def: &Arc<TableDef>,
    batches: Vec<RecordBatch>,
    stop: &Arc<AtomicBool>,
) -> Result<Written> {
    let sources: Arc<[SourceRows]> = sources(batches).into();
    let place = while_open(shared, Arc::clone(&shared.gate.builds).acquire_owned()).await?;
    // Others wrote while this one waited.
    shared.gate.check_space(Write::Rows)?;
    let needed = working_bytes(&sources, def);
    let space = while_open(shared, shared.gate.sorting.take(needed)).await?;
    let memory = shared.memory.charge(Share::Unassigned, needed);
    let held = Held { _place: place, _space: space, _memory: memory };
    let (of_plan, plan_def) = (Arc::clone(&sources), Arc::clone(def));
    let (planned, held) = in_background("stage", move || (plan_files(&of_plan, &plan_def), held)).await?;
    let planned = planned?;
    let mut written = Written::default();
    let places = written.record(shared, planned.len(), "parquet").await?;
    let job = RowsJob {
        folders: shared.folders.clone(),
        gate: Arc::clone(&shared.gate),
        fail: Arc::clone(&shared.env.fail),
        def: Arc::clone(def),
        sources,
        planned,
        names: written.names.clone(),
        places: places.clone(),
        now_us: shared.env.clock.now_us(),
        stop: Arc::clone(stop),
        _held: held,
    };
    let files = in_background("stage", move || job.run()).await??;
    shared.env.fail.hit("stage.files_synced")?;
    let files = files.into_iter().zip(places);
    written.files = files.map(|(file, place)| StagedFile { file, place, lost: RoaringBitmap::new() }).collect();
    Ok(written)
}

/// Their entry is not known: equal rows stay in the order of arrival.
fn sources(batches: Vec<RecordBatch>) -> Vec<SourceRows> {
    let most = batches.iter().map(RecordBatch::num_rows).max().unwrap_or(0);
    let seqs = Int64Array::from(vec![0; most]);
    let stamps: Arc<[(i64, i64)]> = Arc::new([(0, 0)]);
    let batches = batches.into_iter();
    batches.map(|rows| SourceRows { seqs: seqs.slice(0, rows.num_rows()), rows, stamps: Arc::clone(&stamps) }).collect()
}

/// Writes planned files.
struct RowsJob {
    folders: Folders,
    gate: Arc<Gate>,
    fail: Arc<FailPoints>,
    def: Arc<TableDef>,
    sources: Arc<[SourceRows]>,
    planned: Vec<PlannedFile>,
    names: Vec<String>,
    /// A file that nobody waits for any more goes when it is written.
    places: Vec<Arc<FilePlace>>,
    now_us: i64,
    stop: Arc<AtomicBool>,
    _held: Held,
}

impl RowsJob {
    fn run(self) -> Result<Vec<SegmentFile>> {
        let folder = self.folders.built();
        make_folder(&folder).map_err(|e| disk_error(&folder, e))?;
        let go_on = |coming| self.gate.may_grow(&self.stop, Write::Rows, coming);
        let mut files = Vec::with_capacity(self.planned.len());
        for (planned, name) in self.planned.iter().zip(&self.names) {
            let path = self.folders.built_path(name);
            let target = Target { path: &path, hour: planned.hour, def: &self.def, go_on: &go_on };
            files.push(write_file(target, name.clone(), planned, &self.sources, self.now_us, Entries::Unknown)?);
            self.fail.hit("stage.file_written")?;
        }
        sync_folder(&folder)?;
        drop(self.places);
        Ok(files)
    }
}

/// Writes the layers of a stream's keys; the caller holds them in memory.
pub(super) async fn write_layers(
    shared: &Arc<Shared>,
    layers: Vec<ClosedLayer>,
    stop: &Arc<AtomicBool>,
) -> Result<Written> {
    let mut written = Written::default();
    if layers.is_empty() {
        return Ok(written);
    }
    let places = written.record(shared, layers.len(), "keys").await?;
    let (folders, gate) = (shared.folders.clone(), Arc::clone(&shared.gate));
    let (fail, stop) = (Arc::clone(&shared.env.fail), Arc::clone(stop));
    let names = written.names.clone();
    let work = move || -> Result<Vec<StagedLayer>> {
        let folder = folders.built();
        make_folder(&folder).map_err(|e| disk_error(&folder, e))?;
        let mut staged = Vec::with_capacity(layers.len());
        for (layer, name) in layers.into_iter().zip(names) {
            gate.may_grow(&stop, Write::Rows, layer.bytes() as u64)?;
            let path = folders.built_path(&name);
            let bytes = write_layer(&layer, &path).map_err(|e| disk_error(&path, e))?;
            let keys = layer.len() as u64;
            staged.push(StagedLayer { file: LayerFile { name, bytes, keys, ..LayerFile::default() }, layer });
            fail.hit("stage.layer_written")?;
        }
        sync_folder(&folder)?;
        drop(places);
        Ok(staged)
    };
    written.layers = in_background("stage", work).await??;
    shared.env.fail.hit("stage.layers_synced")?;
    Ok(written)
}

/// New names are found after a power cut.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| disk_error(folder, e))
}

fn disk_error(path: &Path, e: std::io::Error) -> Error {
    let code = match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::FolderUnusable,
    };
    Error::new(code, format!("{} cannot be written: {e}", path.display()))
        .hint("free some space or mend the disk; nothing of the statement was stored")
        .source(e)
}
