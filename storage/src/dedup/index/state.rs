//! What does a table's key index hold? Runs on disk, closed layers, the open layer: in the order of the log.

use std::sync::{Arc, Weak};

use super::runs::next_id;
use crate::dedup::canonical::KeySpec;
use crate::dedup::cold::ColdRun;
use crate::dedup::disk::{DiskBudget, DiskCharge};
use crate::dedup::hot::HotSet;
use crate::dedup::layer::{ClosedLayer, Span};
use crate::dedup::open::OpenIntegers;
use crate::dedup::permutation::Permutation;
use crate::dedup::word::{Lanes, MixSecret};
use crate::memory::{Charge, MemoryLedger, Share};

/// Figures of a key index, for `system.tables`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupStats {
    /// `dense` or `sparse`: where a new key goes.
    pub class: &'static str,
    pub keys: u64,
    /// Bytes of all allocations: layers, and the filters and page indexes of runs.
    pub bytes: u64,
    /// Of them, those of closed layers, which can go to disk once their rows are in files, and those of the open one.
    pub closed_bytes: u64,
    pub open_bytes: u64,
    /// Layers in memory that a probe may look at, the open one among them.
    pub layers: usize,
    /// The bits that each distinct permutation of a layer in memory treats as holes; 0 is the identity.
    pub permutations: Vec<u64>,
    /// Runs on disk that a probe may look at.
    pub runs: usize,
    /// Runs among them whose filters are read from disk as well.
    pub mapped_runs: usize,
    /// Keys that are on disk only.
    pub cold_keys: u64,
    /// Bytes of the runs' files.
    pub disk_bytes: u64,
}

/// All keys of a table. Not shared: the table's worker owns it and nobody else looks, except at a [`super::KeySnapshot`].
///
/// A key is a duplicate iff any run or layer has it. What can be refused is [`KeyIndex::has_capacity`]; what can fail,
/// because a disk is asked, is [`KeyIndex::look_up`]. Both stand before the claim.
#[derive(Debug)]
pub struct KeyIndex {
    /// Disjoint ranges of the log, ascending. No layer lies within one.
    pub(super) runs: Vec<Arc<ColdRun>>,
    /// Ascending by the ends of their ranges, but for merged ones, which stand where their oldest part stood.
    pub(super) closed: Vec<Arc<ClosedLayer>>,
    pub(super) open: Open,
    /// The last entry of the log whose keys are closed, or in a layer of their own.
    pub(super) through: u64,
    /// The first entry whose keys the open layer may hold. Layers of single entries behind it have come beside the open one.
    pub(super) open_from: u64,
    /// The last entry whose rows are in files, as far as somebody said so.
    pub(super) built_through: u64,
    /// Changes when a layer or a run comes or goes: what was looked up before is not whole any more.
    pub(super) generation: u64,
    /// Changes when a run comes or goes, and when the keys of all runs change: see [`super::RunSet`].
    pub(super) runs_version: u64,
    pub(super) run_keys_id: u64,
    pub(super) spec: KeySpec,
    pub(super) ledger: Arc<MemoryLedger>,
    /// Of the open layer. Layers and runs have their own.
    pub(super) charge: Charge,
    pub(super) max_bytes: Option<u64>,
    pub(super) disk: Arc<DiskBudget>,
    /// Of the runs.
    pub(super) disk_charge: DiskCharge,
    /// The last batch was refused, or a layer that is read at a start has no space.
    pub(super) is_short: bool,
    pub(super) jobs: Jobs,
}

/// Jobs that are under way: each lives as long as the job or its result, wherever that is.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) merging: Weak<()>,
    pub(super) spilling: Weak<()>,
    /// Layers up to here are being written to disk.
    pub(super) spilling_through: u64,
    pub(super) merging_runs: Weak<()>,
    pub(super) loading: Weak<()>,
}

#[derive(Debug)]
pub(super) enum Open {
    Integers(Box<OpenIntegers>),
    Hashes(HotSet<u128>),
}

impl Open {
    fn new(is_integer: bool, secret: MixSecret, hint: Option<Permutation>) -> Self {
        if is_integer {
            Open::Integers(Box::new(OpenIntegers::new(secret, hint)))
        } else {
            Open::Hashes(HotSet::new(secret))
        }
    }

    /// An empty layer for keys of the same kind.
    pub(super) fn fresh(&self, secret: MixSecret, hint: Option<Permutation>) -> Self {
        Self::new(matches!(self, Open::Integers(_)), secret, hint)
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Open::Integers(layer) => layer.bytes(),
            Open::Hashes(layer) => layer.bytes(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Open::Integers(layer) => layer.len(),
            Open::Hashes(layer) => layer.len(),
        }
    }

    pub(super) fn growth_bound(&self, n: usize) -> usize {
        match self {
            Open::Integers(layer) => layer.growth_bound(n),
            Open::Hashes(layer) => layer.growth_bound(n),
        }
    }

    pub(super) fn probe_integers(&self, keys: &[u64], among: Lanes) -> Lanes {
        match self {
            Open::Integers(layer) => layer.probe(keys, among),
            Open::Hashes(_) => 0,
        }
    }

    pub(super) fn probe_hashes(&self, keys: &[u128], among: Lanes) -> Lanes {
        match self {
            Open::Hashes(layer) => layer.probe(keys, among),
            Open::Integers(_) => 0,
        }
    }
}

impl KeyIndex {
    /// An empty index for keys that `spec` makes, charged to [`Share::Keys`].
    pub fn new(spec: &KeySpec, ledger: &Arc<MemoryLedger>) -> Self {
        let (disk, id) = (DiskBudget::unlimited(), next_id());
        Self {
            runs: Vec::new(),
            closed: Vec::new(),
            open: Open::new(spec.is_integer(), spec.mix_secret(), None),
            through: 0,
            open_from: 1,
            built_through: u64::MAX,
            generation: 0,
            runs_version: id,
            run_keys_id: id,
            spec: spec.clone(),
            ledger: Arc::clone(ledger),
            charge: ledger.charge(Share::Keys, 0),
            max_bytes: None,
            disk_charge: disk.charge(0),
            disk,
            is_short: false,
            jobs: Jobs::default(),
        }
    }

    /// Also holds this table's index, on its own, under `max_bytes` of memory.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = Some(max_bytes);
        self
    }

    /// The same from here on.
    pub(crate) fn limit(&mut self, max_bytes: u64) {
        self.max_bytes = Some(max_bytes);
    }

    /// Holds the files of runs, those that are being written among them, within `disk`, which other indexes share.
    #[must_use]
    pub fn with_disk(mut self, disk: &Arc<DiskBudget>) -> Self {
        self.disk_charge = disk.charge(self.disk_bytes());
        self.disk = Arc::clone(disk);
        self
    }

    /// Bytes of all allocations: layers, and the filters and page indexes of runs.
    pub fn bytes(&self) -> u64 {
        let closed: usize = self.closed.iter().map(|layer| layer.bytes()).sum();
        let runs: usize = self.runs.iter().map(|run| run.bytes()).sum();
        (closed + runs + self.open.bytes()) as u64
    }

    /// Bytes of the runs' files.
    pub fn disk_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.disk_bytes()).sum()
    }

    /// Forgets all keys: TRUNCATE. Jobs that are under way come back to nothing.
    pub fn clear(&mut self) {
        if !self.runs.is_empty() {
            self.runs.clear();
            self.note_runs(false);
        }
        self.closed.clear();
        self.open = self.open.fresh(self.spec.mix_secret(), None);
        self.note_change();
    }

    /// Closes the open layer with the keys of all entries through `through`, and opens the next one. Layers of one `epoch` are forgotten
    /// together, so only those are ever merged: epochs ascend, and with an endless `dedup_window` there is one. Returns the closed
    /// layers that this made: none if it was empty, two if it changed its class on the way.
    pub fn close_layer(&mut self, through: u64, epoch: u32) -> Vec<Arc<ClosedLayer>> {
        debug_assert!(through >= self.through, "layers are closed in the order of the log");
        let secret = self.spec.mix_secret();
        let fresh = self.open.fresh(secret, None);
        let parts = match std::mem::replace(&mut self.open, fresh) {
            Open::Integers(open) => {
                let parts = open.close();
                self.open = self.open.fresh(secret, parts.hint);
                vec![ClosedLayer::dense(parts.dense, parts.range), ClosedLayer::integers(parts.hot, parts.range)]
            }
            Open::Hashes(open) => vec![ClosedLayer::hashes(open)],
        };
        let span = Span { from: self.open_from.min(through), through, epoch };
        let made: Vec<Arc<ClosedLayer>> =
            parts.into_iter().filter(|part| !part.is_empty()).map(|part| part.held(span, &self.ledger)).collect();
        self.closed.extend(made.iter().cloned());
        self.through = through;
        self.open_from = through + 1;
        self.note_change();
        made
    }

    /// Puts a layer that was read from disk, or made beside the index, with the keys of these entries, in its place. If the open layer is
    /// for earlier entries too, it stays so: the new one is merged and goes to disk together with it, once that is closed.
    pub fn add_layer(&mut self, layer: ClosedLayer, from: u64, through: u64, epoch: u32) {
        let older = self.closed.iter().rposition(|other| other.through() <= through);
        let place = older.map_or(0, |older| older + 1);
        self.closed.insert(place, layer.held(Span { from, through, epoch }, &self.ledger));
        self.reach(from, through);
        self.note_change();
    }

    /// Keys of these entries are closed.
    fn reach(&mut self, from: u64, through: u64) {
        self.through = self.through.max(through);
        if self.open.len() == 0 && from <= self.open_from {
            self.open_from = self.open_from.max(through + 1);
        }
    }

    /// The open layer is for the keys of entry `from` and later ones, whatever layers are there: to be told when a table is opened, between
    /// the layers and runs that are on record and the entries that the log still has.
    pub fn opens_at(&mut self, from: u64) {
        self.open_from = from;
        self.built_through = from.saturating_sub(1);
    }

    /// The rows of all entries through this one are in files, so that their keys may go to disk. Nothing waits for a build of an index that
    /// is never told.
    pub fn note_built(&mut self, through: u64) {
        self.built_through = through;
    }

    /// Puts a run that was opened in its place. The layers whose keys it has must not be added.
    pub fn add_run(&mut self, run: ColdRun) {
        self.put_run(Arc::new(run));
        self.note_runs(false);
        self.note_change();
    }

    pub(super) fn put_run(&mut self, run: Arc<ColdRun>) {
        self.reach(run.from(), run.through());
        let place = self.runs.partition_point(|other| other.through() <= run.through());
        self.runs.insert(place, run);
        self.trim_filters();
    }

    /// Forgets the layers and runs whose last entry is `through` or an earlier one. What reaches further stays whole.
    pub fn forget_through(&mut self, through: u64) {
        let n_runs = self.runs.len();
        self.runs.retain(|run| run.through() > through);
        if self.runs.len() < n_runs {
            self.note_runs(false);
        }
        self.closed.retain(|layer| layer.through() > through);
        self.note_change();
    }

    pub fn stats(&self) -> DedupStats {
        let open = match &self.open {
            Open::Integers(open) => (open.is_dense(), open.permutation()),
            Open::Hashes(_) => (false, None),
        };
        let cold_keys: u64 = self.runs.iter().map(|run| run.n_keys()).sum();
        let hot_keys = self.closed.iter().map(|layer| layer.len()).sum::<usize>() + self.open.len();
        DedupStats {
            class: if open.0 { "dense" } else { "sparse" },
            keys: cold_keys + hot_keys as u64,
            bytes: self.bytes(),
            closed_bytes: self.closed.iter().map(|layer| layer.bytes() as u64).sum(),
            open_bytes: self.open.bytes() as u64,
            layers: self.closed.len() + 1,
            permutations: distinct_holes(self.closed.iter().filter_map(|layer| layer.permutation()).chain(open.1)),
            runs: self.runs.len(),
            mapped_runs: self.runs.iter().filter(|run| run.is_mapped()).count(),
            cold_keys,
            disk_bytes: self.disk_bytes(),
        }
    }

    /// Bytes that the ledger holds for this index: [`KeyIndex::bytes`], or more between capacity check and claim.
    pub fn charged(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|layer| layer.charged()).sum();
        let runs: u64 = self.runs.iter().map(|run| run.charged()).sum();
        closed + runs + self.charge.bytes()
    }

    /// A layer or a run came or went.
    pub(super) fn note_change(&mut self) {
        self.generation += 1;
        self.settle();
        self.settle_disk();
    }

    /// Charges what is held now.
    pub(super) fn settle(&mut self) {
        self.charge.resize(self.open.bytes() as u64);
    }

    /// Charges the files of the runs that are there now.
    fn settle_disk(&mut self) {
        let bytes = self.disk_bytes();
        self.disk_charge.resize(bytes);
    }
}

/// The holes of each distinct permutation, ascending.
pub(super) fn distinct_holes<'p>(permutations: impl Iterator<Item = &'p Permutation>) -> Vec<u64> {
    let mut holes: Vec<u64> = permutations.map(Permutation::holes).collect();
    holes.sort_unstable();
    holes.dedup();
    holes
}
