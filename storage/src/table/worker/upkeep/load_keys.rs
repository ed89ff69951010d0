//! Which keys are in memory when a table is opened? Layers as far as memory goes; what has no space becomes a run before it is read on.
//!
//! So a start with a smaller budget than the one before stays within it, but for a single layer that is larger than the budget. Filters of
//! runs are read when everything else has its memory, the newest run's first.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::keys::{put_files, run_bytes, run_file, sync_folder};
use crate::dedup::{ClosedLayer, ColdRun, KeySpec, SpillJob};
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::handle::Shared;
use crate::table::seal::{KeyEpoch, LayerFile};
use crate::table::worker::state::TableState;

/// A layer in memory is at most so much larger than its file, in parts of four: a hot table has places to grow.
const MEMORY_QUARTERS: u64 = 5;

/// Reads the keys of entries that are built. Those of streams that are not built come with their entries. Blocks.
pub(crate) fn load_keys(state: &mut TableState, shared: &Shared) -> Result<()> {
    let Some(spec) = shared.spec.as_ref().filter(|_| state.keys.is_some()) else { return Ok(()) };
    let base = state.seal.base.seq;
    let built = state.seal.layer_files.iter().filter(|file| CommitSeq(file.from) < base);
    state.seal.key_epoch = KeyEpoch::of(built.clone());
    let (runs, mut layers): (Vec<LayerFile>, Vec<LayerFile>) = built.cloned().partition(|file| file.is_run);
    let Some(keys) = &mut state.keys else { return Ok(()) };
    // Before anything is added: what is closed ends there.
    keys.opens_at(base.0);
    for run in runs {
        keys.add_run(ColdRun::open(&shared.folders.built_path(&run.name), spec, &shared.memory, run.epoch)?);
    }
    // The newest last: what has to go to disk on the way is the oldest.
    layers.sort_by_key(|layer| std::cmp::Reverse((layer.through, layer.from)));
    while let Some(layer) = layers.pop() {
        // Those that are read and reach no further than what is not can become a run: no file is torn by it.
        let through = layers.iter().map(|other| other.from).chain([layer.from]).min().unwrap_or(0).saturating_sub(1);
        make_space(state, shared, layer.bytes / 4 * MEMORY_QUARTERS, through)?;
        let Some(keys) = &mut state.keys else { return Ok(()) };
        keys.add_layer(read_layer(&layer, spec, shared)?, layer.from, layer.through, layer.epoch);
    }
    Ok(())
}

/// Keys of an entry that was replayed came beside those that are built: of these, layers go to disk if all together are too many now.
/// `false`: none can any more. Blocks.
pub(crate) fn make_space_for_more(state: &mut TableState, shared: &Shared) -> Result<bool> {
    let built_through = state.seal.built_through().0;
    make_space(state, shared, 1, built_through)
}

/// Takes layers that end at `through` or before to disk until `bytes` more have space. `false`: there are no more such layers, or the disk
/// has no space for them.
fn make_space(state: &mut TableState, shared: &Shared, bytes: u64, through: u64) -> Result<bool> {
    while let Some(keys) = &mut state.keys
        && keys.is_short_of(bytes)
    {
        let Some(job) = keys.pick_spill(through) else { return Ok(false) };
        if let Err(full) = shared.gate.check_space_beside(Write::Rows, run_bytes(&job)) {
            tracing::warn!(table_id = %shared.def.id, reason = %full, "keys are in memory that should be on disk");
            return Ok(false);
        }
        spill(state, shared, job)?;
    }
    Ok(true)
}

/// As a worker does it, and recorded as it does: a start that is cut short here leaves a table as it was, or with the run.
fn spill(state: &mut TableState, shared: &Shared, job: SpillJob) -> Result<()> {
    let name = format!("{}.run", shared.env.rng.uuid());
    let place = shared.built_place(&name);
    shared.log.commit_blocking(commit::names(shared.def.id, std::slice::from_ref(&name)))?;
    let spilled = job.run(&shared.folders.built_path(&name))?;
    shared.env.fail.hit("keys.run_written")?;
    sync_folder(&shared.folders.built())?;
    let recorded = run_file(&state.seal.layer_files, &spilled, name);
    let Some(((file, replaced), keys)) = recorded.zip(state.keys.as_mut()) else {
        place.let_go();
        return Ok(());
    };
    let new = vec![file];
    shared.log.commit_blocking(commit::layers(shared.def.id, &new, &replaced))?;
    replaced.iter().for_each(|gone| shared.built_place(&gone.name).let_go());
    put_files(&mut state.seal.layer_files, new, &replaced);
    keys.apply_spill(spilled);
    Ok(())
}

/// A layer from its file.
pub(crate) fn read_layer(layer: &LayerFile, spec: &KeySpec, shared: &Shared) -> Result<ClosedLayer> {
    let path = shared.folders.built_path(&layer.name);
    let file = File::open(&path).map_err(|e| unread(&path, e))?;
    ClosedLayer::read_from(BufReader::new(file), spec, &path.display().to_string())
}

fn unread(path: &Path, e: std::io::Error) -> Error {
    Error::new(Code::LogDamaged, format!("the key layer {} cannot be read: {e}", path.display())).source(e)
}
