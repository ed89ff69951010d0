//! How do layers or runs become one run on disk, while the worker goes on? A job that streams, and what it made.

use std::path::Path;
use std::sync::Arc;

use super::kind::{Kind, Order};
use super::run::ColdRun;
use super::stream::{Merge, Remixed, SORT_BYTES, Source, Words};
use super::write::{FILTER_BYTES_PER_100_KEYS, RunWriter, scratch_bytes};
use crate::dedup::canonical::KeySpec;
use crate::dedup::disk::DiskCharge;
use crate::dedup::layer::{ClosedLayer, Span};
use crate::dedup::open::KeyRange;
use crate::dedup::word::MixSecret;
use crate::error::Result;
use crate::memory::{Charge, MemoryLedger, Share};

/// Parts of permuted keys that one run has: each is looked at by every probe that its range does not rule out. The keys of further
/// permutations, the rarest, are mixed.
const MAX_PERMUTED_PARTS: usize = 3;

/// Layers, or runs, that become one run. Made by [`crate::dedup::KeyIndex::pick_spill`] and
/// [`crate::dedup::KeyIndex::pick_run_merge`], run on any thread that may block.
#[derive(Debug)]
pub struct SpillJob {
    layers: Vec<Arc<ClosedLayer>>,
    runs: Vec<Arc<ColdRun>>,
    span: Span,
    spec: KeySpec,
    ledger: Arc<MemoryLedger>,
    /// What the run's filters will take in memory, held from before it is written; `None`: they stay on disk for now.
    filters: Option<Charge>,
    /// What the run may take on disk.
    disk: DiskCharge,
    alive: Arc<()>,
}

/// What a job may take.
pub(in crate::dedup) struct Means<'m> {
    pub(in crate::dedup) ledger: &'m Arc<MemoryLedger>,
    /// Memory that filters may take beside everything that is there.
    pub(in crate::dedup) filter_bytes: u64,
    pub(in crate::dedup) disk: DiskCharge,
}

/// A run that is written, synced and opened: see [`crate::dedup::KeyIndex::apply_spill`].
#[derive(Debug)]
pub struct Spilled {
    pub(in crate::dedup) run: ColdRun,
    /// What it takes the place of.
    pub(in crate::dedup) layers: Vec<Arc<ClosedLayer>>,
    pub(in crate::dedup) runs: Vec<Arc<ColdRun>>,
    /// Until the index counts the run.
    _disk: DiskCharge,
    /// While it lives no other job of its kind is picked.
    _alive: Arc<()>,
}

impl Spilled {
    /// The new run: its range of the log, keys and bytes are what is to be recorded.
    pub fn run(&self) -> &ColdRun {
        &self.run
    }

    /// Whether the run has all keys of the recorded layer, or run, of these entries, so that its record and its file can go.
    pub fn replaces(&self, from: u64, through: u64, is_run: bool) -> bool {
        let asked = Span { from, through, ..Span::default() };
        match is_run {
            true => self.runs.iter().any(|run| (run.from(), run.through()) == (from, through)),
            false => self.layers.iter().any(|layer| layer.span().contains(asked)),
        }
    }
}

/// Sources in one order.
struct Group<'s> {
    order: Order,
    sources: Vec<&'s Source>,
}

impl SpillJob {
    /// `None`: there is nothing to write.
    pub(in crate::dedup) fn new(
        layers: Vec<Arc<ClosedLayer>>,
        runs: Vec<Arc<ColdRun>>,
        spec: &KeySpec,
        means: Means<'_>,
        alive: Arc<()>,
    ) -> Option<Self> {
        let spans = layers.iter().map(|layer| layer.span()).chain(runs.iter().map(|run| run.span()));
        let span = spans.reduce(Span::union)?;
        let Means { ledger, filter_bytes, disk } = means;
        let of_filters = estimated_filters(&layers, &runs);
        let filters = (1..=filter_bytes).contains(&of_filters).then(|| ledger.charge(Share::Keys, of_filters));
        Some(Self { layers, runs, span, spec: spec.clone(), ledger: Arc::clone(ledger), filters, disk, alive })
    }

    /// Keys that are written: some hundred nanoseconds each at most.
    pub fn n_keys(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(|layer| layer.len() as u64).sum();
        layers + self.runs.iter().map(|run| run.n_keys()).sum::<u64>()
    }

    /// Whether runs are merged, rather than layers written.
    pub fn is_run_merge(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Writes the run to `path`, syncs the file and opens it. The caller syncs the folder and records the run. Blocks; takes two
    /// megabytes of [`Share::Unassigned`], whatever the size, and ten when orders of keys change: callers bound how many run at once.
    ///
    /// # Errors
    /// `DISK_FULL` or `FOLDER_UNUSABLE` when it cannot be written, `LOG_DAMAGED` when a run that is merged is damaged: each names
    /// the file. What was written is deleted, and the index is as it was.
    pub fn run(self, path: &Path) -> Result<Spilled> {
        let scratch = scratch_bytes(self.n_keys());
        let Self { layers, runs, span, spec, ledger, filters, disk, alive } = self;
        let charge = ledger.charge(Share::Unassigned, scratch);
        let sources = sources(&layers, &runs, spec.is_integer());
        let written = match spec.is_integer() {
            true => write::<u64>(&sources, span, spec.mix_secret(), path, charge),
            false => write::<u128>(&sources, span, spec.mix_secret(), path, charge),
        };
        let opened = written.and_then(|()| {
            let run = ColdRun::open(path, &spec, &ledger, span.epoch)?;
            if let Some(reserved) = filters {
                // Their own charge takes over.
                drop(reserved);
                run.load_filters()?;
            }
            Ok(run)
        });
        let run = opened.inspect_err(|_| {
            // Its name is on record: what stays is deleted at the next start.
            drop(std::fs::remove_file(path));
        })?;
        Ok(Spilled { run, layers, runs, _disk: disk, _alive: alive })
    }
}

/// About what the filters of one run of all these keys take. Dense keys mostly need none.
fn estimated_filters(layers: &[Arc<ClosedLayer>], runs: &[Arc<ColdRun>]) -> u64 {
    let sparse = layers.iter().filter(|layer| layer.permutation().is_none());
    let of_layers = sparse.map(|layer| (layer.len() * FILTER_BYTES_PER_100_KEYS / 100) as u64).sum::<u64>();
    of_layers + runs.iter().map(|run| run.filter_bytes_in_memory()).sum::<u64>()
}

fn sources(layers: &[Arc<ClosedLayer>], runs: &[Arc<ColdRun>], is_integer: bool) -> Vec<Source> {
    let parts = |run: &Arc<ColdRun>| {
        let n_parts = match is_integer {
            true => u64::parts_of(&run.file.parts).len(),
            false => u128::parts_of(&run.file.parts).len(),
        };
        let run = Arc::clone(&run.file);
        (0..n_parts).map(move |number| Source::Part { run: Arc::clone(&run), number })
    };
    layers.iter().map(|layer| Source::Layer(Arc::clone(layer))).chain(runs.iter().flat_map(parts)).collect()
}

fn write<W: Kind>(sources: &[Source], span: Span, secret: MixSecret, path: &Path, mut charge: Charge) -> Result<()> {
    let (permuted, mixed, remixed) = grouped::<W>(sources);
    let mut writer = RunWriter::create(path, span, secret)?;
    let mut parts = Vec::new();
    for group in &permuted {
        let words = group.sources.iter().map(|source| source.words::<W>()).collect();
        parts.push(writer.write_part(group.order.clone(), range_of::<W>(&group.sources), Merge::new(words)?)?);
    }
    let mut words: Vec<Words<'_, W>> = mixed.iter().map(|source| source.words::<W>()).collect();
    if !remixed.is_empty() {
        charge.resize(charge.bytes() + SORT_BYTES);
        words.push(Box::new(Remixed::new(remixed.clone(), secret)));
    }
    if !words.is_empty() {
        let range = range_of::<W>(&mixed).union(range_of::<W>(&remixed));
        parts.push(writer.write_part(Order::Mixed, range, Merge::new(words)?)?);
    }
    writer.finish(&parts)
}

/// The sources by order: those of the commonest permutations, the mixed ones, and those that are to be mixed.
fn grouped<W: Kind>(sources: &[Source]) -> (Vec<Group<'_>>, Vec<&Source>, Vec<&Source>) {
    let mut permuted: Vec<Group<'_>> = Vec::new();
    let mut mixed = Vec::new();
    for source in sources {
        let order = source.order::<W>();
        match permuted.iter_mut().find(|group| group.order == order) {
            _ if order == Order::Mixed => mixed.push(source),
            Some(group) => group.sources.push(source),
            None => permuted.push(Group { order, sources: vec![source] }),
        }
    }
    permuted.sort_by_key(|group| std::cmp::Reverse(group.sources.iter().map(|one| one.n_keys::<W>()).sum::<u64>()));
    let rare = permuted.split_off(MAX_PERMUTED_PARTS.min(permuted.len()));
    (permuted, mixed, rare.into_iter().flat_map(|group| group.sources).collect())
}

fn range_of<W: Kind>(sources: &[&Source]) -> KeyRange {
    sources.iter().fold(KeyRange::EMPTY, |range, source| range.union(source.range::<W>()))
}
