//! Which job is due, and what becomes of its result? Merges in memory, layers to disk, filters into memory, merges on disk.
//!
//! A job holds what it reads, and names what its result takes the place of. Whatever the index forgot meanwhile, the result is then of
//! no use: it is let go as a whole.

use std::sync::{Arc, Weak};

use super::choose::{Item, choose};
use super::merge::{MergeJob, Merged};
use super::state::{KeyIndex, distinct_holes};
use crate::dedup::cold::{ColdRun, Means, SpillJob, Spilled};
use crate::dedup::disk::DiskCharge;
use crate::dedup::layer::ClosedLayer;
use crate::error::Result;

/// Closed layers in memory, and runs on disk, that a probe looks at. Only more epochs than this make them more.
pub(in crate::dedup) const MAX_LAYERS: usize = 8;
pub(in crate::dedup) const MAX_RUNS: usize = 8;

/// Permutations of layers in memory: layers of different ones are never merged, but they do go to disk together.
const MAX_PERMUTATIONS: usize = 4;

/// A run whose filters come into memory. Made by [`KeyIndex::pick_filters`], run on any thread that may block.
#[derive(Debug)]
pub struct FilterJob {
    run: Arc<ColdRun>,
    _alive: Arc<()>,
}

impl FilterJob {
    /// Keys that the filters are of.
    pub fn n_keys(&self) -> u64 {
        self.run.n_keys()
    }

    /// Reads them. From then on everybody who holds the run has them; memory that turns out to be short takes them away again.
    ///
    /// # Errors
    /// As [`ColdRun::open`]: the run's file is asked for them, as before.
    pub fn run(self) -> Result<()> {
        self.run.load_filters()
    }
}

fn is_alive(job: &Weak<()>) -> bool {
    job.strong_count() > 0
}

impl KeyIndex {
    /// Layers in memory that should become one, if there are any and memory allows it. One merge at a time: until the job and its
    /// result are gone there is no other.
    pub fn pick_merge(&mut self) -> Option<MergeJob> {
        if is_alive(&self.jobs.merging) {
            return None;
        }
        // Others wait for the layer that is open.
        let layers: Vec<&Arc<ClosedLayer>> = self.staying().filter(|layer| layer.from() < self.open_from).collect();
        let item = |layer: &&Arc<ClosedLayer>| Item {
            epoch: self.epoch_of(layer),
            class: layer.permutation().map(|permutation| permutation.holes()),
            n_keys: layer.len() as u64,
            bytes: layer.bytes() as u64,
        };
        let items: Vec<Item> = layers.iter().map(item).collect();
        // The rows that come meanwhile need memory too.
        let places = choose(&items, self.headroom() / 2, MAX_LAYERS)?;
        let inputs = places.into_iter().map(|i| Arc::clone(layers[i])).collect();
        let alive = Arc::new(());
        self.jobs.merging = Arc::downgrade(&alive);
        Some(MergeJob::new(inputs, &self.ledger, alive))
    }

    /// The closed layers that are not being written to disk.
    pub(super) fn staying(&self) -> impl Iterator<Item = &Arc<ClosedLayer>> {
        let spilling = self.is_spilling().then_some(self.jobs.spilling_through);
        self.closed.iter().filter(move |layer| spilling.is_none_or(|through| layer.through() > through))
    }

    /// Layers are being written to disk.
    pub(super) fn is_spilling(&self) -> bool {
        is_alive(&self.jobs.spilling)
    }

    /// The epoch with which a layer goes. One that lies within another's range goes with that: ranges of epochs do not overlap then.
    fn epoch_of(&self, layer: &ClosedLayer) -> u32 {
        let around = self.closed.iter().map(|other| other.span()).filter(|span| span.contains(layer.span()));
        around.map(|span| span.epoch).max().unwrap_or(layer.span().epoch)
    }

    /// Puts a merged layer in the place of those that it was made of. `false`: they are not all here any more, and nothing changed.
    pub fn apply_merge(&mut self, merged: Merged) -> bool {
        let is_input = |layer: &Arc<ClosedLayer>| merged.inputs.iter().any(|input| Arc::ptr_eq(input, layer));
        let n_here = self.closed.iter().filter(|layer| is_input(layer)).count();
        let Some(place) = self.closed.iter().position(is_input).filter(|_| n_here == merged.inputs.len()) else {
            return false;
        };
        self.closed.retain(|layer| !is_input(layer));
        self.closed.insert(place, Arc::clone(&merged.layer));
        self.note_change();
        true
    }

    /// The oldest layers, of one epoch, that should go to disk, if memory is nearly used up, or layers of too many permutations are in
    /// it. Only layers that end at entry `built_through` or before, which is the last one whose rows are in files: a later one may still
    /// be lost with the log, and a key must not outlive its row. One such job at a time, and none while layers are merged.
    pub fn pick_spill(&mut self, built_through: u64) -> Option<SpillJob> {
        if is_alive(&self.jobs.spilling) || is_alive(&self.jobs.merging) {
            return None;
        }
        let permutations = self.closed.iter().filter_map(|layer| layer.permutation());
        let is_varied = distinct_holes(permutations).len() > MAX_PERMUTATIONS;
        if !is_varied && !self.is_crowded() {
            return None;
        }
        let least = if is_varied { 0 } else { self.least_spill_bytes() };
        let (through, layers) = self.spillable(built_through, least, self.disk_left())?;
        let alive = Arc::new(());
        self.jobs.spilling = Arc::downgrade(&alive);
        self.jobs.spilling_through = through;
        let disk_bytes = layers.iter().map(|layer| layer.spilled_bytes()).sum();
        SpillJob::new(layers, Vec::new(), &self.spec, self.means(self.disk.charge(disk_bytes)), alive)
    }

    /// What a job may take that writes a run.
    fn means(&self, disk: DiskCharge) -> Means<'_> {
        Means { ledger: &self.ledger, filter_bytes: self.headroom(), disk }
    }

    /// The layers of the oldest epoch that can become one run, and where they end: none reaches past `built_through` or is left behind
    /// before that end. The newest are left out if `disk_left` has no space for all. `None`: there are none, or they have less than
    /// `least` bytes.
    pub(super) fn spillable(
        &self,
        built_through: u64,
        least: u64,
        disk_left: u64,
    ) -> Option<(u64, Vec<Arc<ClosedLayer>>)> {
        let mut epochs: Vec<u32> = self.closed.iter().map(|layer| self.epoch_of(layer)).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs.into_iter().find_map(|epoch| self.spillable_of(epoch, built_through, least, disk_left))
    }

    fn spillable_of(
        &self,
        epoch: u32,
        built_through: u64,
        least: u64,
        disk_left: u64,
    ) -> Option<(u64, Vec<Arc<ClosedLayer>>)> {
        let mine = || self.closed.iter().filter(move |layer| self.epoch_of(layer) == epoch);
        let mut cut = built_through.min(self.open_from.saturating_sub(1));
        loop {
            // A merged layer may begin before the cut and end behind it: the cut moves before that layer.
            while let Some(torn) = mine().find(|layer| layer.from() <= cut && layer.through() > cut) {
                cut = torn.from().checked_sub(1)?;
            }
            let layers: Vec<Arc<ClosedLayer>> = mine().filter(|layer| layer.through() <= cut).cloned().collect();
            let through = layers.iter().map(|layer| layer.through()).max()?;
            if layers.iter().map(|layer| layer.bytes() as u64).sum::<u64>() < least {
                return None;
            }
            if layers.iter().map(|layer| layer.spilled_bytes()).sum::<u64>() <= disk_left {
                return Some((through, layers));
            }
            cut = through.checked_sub(1)?;
        }
    }

    /// Runs that should become one, if there are any and the disk allows it: their files stay until the result takes their place. One
    /// such job at a time.
    pub fn pick_run_merge(&mut self) -> Option<SpillJob> {
        if is_alive(&self.jobs.merging_runs) {
            return None;
        }
        let items: Vec<Item> = self
            .runs
            .iter()
            .map(|run| Item { epoch: run.epoch(), class: None, n_keys: run.n_keys(), bytes: run.disk_bytes() })
            .collect();
        let places = choose(&items, self.disk_left(), MAX_RUNS)?;
        let disk_bytes = places.iter().map(|i| items[*i].bytes).sum();
        let runs = places.into_iter().map(|i| Arc::clone(&self.runs[i])).collect();
        let alive = Arc::new(());
        self.jobs.merging_runs = Arc::downgrade(&alive);
        SpillJob::new(Vec::new(), runs, &self.spec, self.means(self.disk.charge_copy(disk_bytes)), alive)
    }

    /// The newest run whose filters are on disk and have space in memory, if there is one. One such job at a time.
    pub fn pick_filters(&mut self) -> Option<FilterJob> {
        if is_alive(&self.jobs.loading) {
            return None;
        }
        let fits = |run: &&Arc<ColdRun>| run.is_mapped() && self.may_load(run.filter_bytes_in_memory());
        let run = Arc::clone(self.runs.iter().rev().find(fits)?);
        let alive = Arc::new(());
        self.jobs.loading = Arc::downgrade(&alive);
        Some(FilterJob { run, _alive: alive })
    }

    /// Brings filters into memory, those of the newest runs first, as far as there is some. Blocks: for a start, before anybody asks.
    ///
    /// # Errors
    /// As [`ColdRun::open`].
    pub fn load_filters(&mut self) -> Result<()> {
        while let Some(job) = self.pick_filters() {
            job.run()?;
        }
        Ok(())
    }

    /// Puts a run in the place of the layers, or runs, that it was made of. `false`: they are not all here any more, and nothing
    /// changed; its file is of no use then. Otherwise the batch that records it deletes the records of what it replaces, for which
    /// [`Spilled::replaces`] is asked before.
    pub fn apply_spill(&mut self, spilled: Spilled) -> bool {
        // The job's own estimate of the disk goes with the rest of it.
        let Spilled { run, layers, runs, .. } = spilled;
        let is_layer = |layer: &Arc<ClosedLayer>| layers.iter().any(|input| Arc::ptr_eq(input, layer));
        let is_run = |run: &Arc<ColdRun>| runs.iter().any(|input| Arc::ptr_eq(input, run));
        let n_layers = self.closed.iter().filter(|layer| is_layer(layer)).count();
        let n_runs = self.runs.iter().filter(|run| is_run(run)).count();
        if n_layers != layers.len() || n_runs != runs.len() {
            return false;
        }
        self.closed.retain(|layer| !is_layer(layer));
        self.runs.retain(|run| !is_run(run));
        let same_keys = layers.is_empty();
        // What they hold is given back before the run is asked what it may hold.
        drop((layers, runs));
        self.put_run(Arc::new(run));
        self.note_runs(same_keys);
        self.note_change();
        true
    }
}
