//! Does an index answer as a plain set does, through closing, merging, going to disk, forgetting and starting again?

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::DataType;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{ClosedLayer, ColdRun, FileSpan, KeyIndex, KeySpec, Keys, Merged, RunSet, Spilled};
use super::model::{SHAPES, Shape, hashed};
use super::{random, spec};
use crate::memory::{MemoryLedger, Share};

#[derive(Debug, Clone)]
enum Step {
    /// Claims the next keys, and some that were seen before.
    Claim {
        n_new: usize,
        n_old: usize,
    },
    /// New keys of one entry that come as a layer of their own.
    Stream {
        n_new: usize,
    },
    /// Closes what is open; also begins an epoch.
    Close {
        begins_epoch: bool,
    },
    /// Each of these starts a job, or puts the result of the one before in place: other steps may come between.
    Merge,
    Spill,
    MergeRuns,
    /// Filters come into memory as far as there is some.
    LoadFilters,
    /// Files of layers become fewer.
    Rewrite,
    /// Others see the runs that are there now, until they look again.
    See,
    /// Forgets the oldest epoch that is over.
    Forget,
    Clear,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let claim = (0..1500_usize, 0..200_usize).prop_map(|(n_new, n_old)| Step::Claim { n_new, n_old });
    let small = (0..200_usize, 0..30_usize).prop_map(|(n_new, n_old)| Step::Claim { n_new, n_old });
    let stream = (0..600_usize).prop_map(|n_new| Step::Stream { n_new });
    let close = prop::bool::weighted(0.2).prop_map(|begins_epoch| Step::Close { begins_epoch });
    let step = prop_oneof![
        6 => claim,
        4 => small,
        3 => stream,
        8 => close,
        8 => Just(Step::Merge),
        8 => Just(Step::Spill),
        6 => Just(Step::MergeRuns),
        2 => Just(Step::LoadFilters),
        4 => Just(Step::Rewrite),
        4 => Just(Step::See),
        2 => Just(Step::Forget),
        1 => Just(Step::Clear),
        3 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..50)
}

/// A layer's file, in memory.
struct LayerFile {
    bytes: Vec<u8>,
    from: u64,
    through: u64,
    epoch: u32,
}

struct RunFile {
    path: PathBuf,
    from: u64,
    through: u64,
    epoch: u32,
}

/// An index beside what is on record of it, and a plain map from key to the epoch in which it was closed; `None`: it is open.
struct Life {
    shape: Shape,
    hashes: bool,
    max_bytes: u64,
    spec: KeySpec,
    ledger: Arc<MemoryLedger>,
    folder: TempDir,
    index: KeyIndex,
    model: HashMap<u64, Option<u32>>,
    layers: Vec<LayerFile>,
    runs: Vec<RunFile>,
    /// Entries with a layer of their own since the last closing, and their keys.
    streams: Vec<(u64, Vec<u64>)>,
    n_files: usize,
    next: u64,
    seq: u64,
    closed_through: u64,
    epoch: u32,
    merged: Option<Merged>,
    spilled: Option<Spilled>,
    merged_runs: Option<Spilled>,
    /// Runs as callers see them, who ask them before the worker's turn.
    seen: RunSet,
}

impl Life {
    fn new(shape: Shape, hashes: bool, max_bytes: u64) -> Self {
        let spec = spec(&[if hashes { DataType::Utf8 } else { DataType::Int64 }]);
        let ledger = MemoryLedger::new(0);
        Self {
            shape,
            hashes,
            max_bytes,
            index: KeyIndex::new(&spec, &ledger).with_max_bytes(max_bytes),
            spec,
            ledger,
            folder: tempfile::tempdir().expect("a folder"),
            model: HashMap::new(),
            layers: Vec::new(),
            runs: Vec::new(),
            streams: Vec::new(),
            n_files: 0,
            next: 0,
            seq: 0,
            closed_through: 0,
            epoch: 0,
            merged: None,
            spilled: None,
            merged_runs: None,
            seen: RunSet::default(),
        }
    }

    fn keys(&self, raw: &[u64]) -> Keys {
        if self.hashes { hashed(raw) } else { Keys::Integers(raw.to_vec()) }
    }

    fn claim(&mut self, n_new: usize, n_old: usize) {
        let end = self.next + n_new as u64;
        let new = (self.next..end).map(|i| self.shape.key(i));
        let old = (0..n_old as u64).map(|i| self.shape.key(random(i + end) % (end + 1)));
        let raw: Vec<u64> = old.chain(new).collect();
        self.next = end;
        self.seq += 1;
        let keys = self.keys(&raw);
        // Every other batch was looked up by its caller, perhaps in runs of before.
        let found = self.seq.is_multiple_of(2).then(|| self.seen.look_up(&keys).expect("an answer"));
        let known = self.index.look_up_with(&keys, found).expect("an answer");
        let claimed = self.index.claim_known(&keys, None, &known);
        for (row, key) in raw.iter().enumerate() {
            let lost = claimed.losers.as_ref().is_some_and(|losers| losers.value(row));
            assert_eq!(lost, self.model.contains_key(key), "row {row}, key {key:#x}");
            self.model.entry(*key).or_insert(None);
        }
    }

    fn stream(&mut self, n_new: usize) {
        let end = self.next + n_new as u64;
        let mut raw: Vec<u64> = (self.next..end).map(|i| self.shape.key(i)).collect();
        raw.sort_unstable();
        raw.dedup();
        raw.retain(|key| !self.model.contains_key(key));
        self.next = end;
        self.seq += 1;
        let mut own = KeyIndex::new(&self.spec, &self.ledger);
        assert_eq!(own.claim(&self.keys(&raw), None).n_losers, 0);
        for layer in own.into_layers() {
            let mut bytes = Vec::new();
            layer.write_to(&mut bytes).expect("a layer");
            self.layers.push(LayerFile { bytes, from: self.seq, through: self.seq, epoch: self.epoch });
            self.index.add_layer(layer, self.seq, self.seq, self.epoch);
        }
        let epoch = self.epoch;
        self.model.extend(raw.iter().map(|key| (*key, Some(epoch))));
        self.streams.push((self.seq, raw));
    }

    fn close(&mut self, begins_epoch: bool) {
        if self.seq == self.closed_through {
            return;
        }
        self.epoch += u32::from(begins_epoch);
        let (through, epoch) = (self.seq, self.epoch);
        let made = self.index.close_layer(through, epoch);
        // What came beside the layer goes with it.
        let streams = std::mem::take(&mut self.streams);
        if let Some(from) = made.first().map(|layer| layer.from()) {
            self.layers.iter_mut().filter(|layer| layer.from >= from).for_each(|layer| layer.epoch = epoch);
            for key in streams.into_iter().filter(|(seq, _)| *seq >= from).flat_map(|(_, keys)| keys) {
                if let Some(closed) = self.model.get_mut(&key) {
                    *closed = Some(epoch);
                }
            }
        }
        for layer in made {
            assert!(layer.from() > self.closed_through && layer.through() == through);
            let mut bytes = Vec::new();
            layer.write_to(&mut bytes).expect("a layer");
            self.layers.push(LayerFile { bytes, from: layer.from(), through, epoch });
        }
        self.model.values_mut().for_each(|closed| *closed = closed.or(Some(epoch)));
        self.closed_through = through;
    }

    fn merge(&mut self) {
        match self.merged.take() {
            Some(merged) => {
                self.index.apply_merge(merged);
            }
            None => self.merged = self.index.pick_merge().map(|job| job.run()),
        }
    }

    fn path(&mut self) -> PathBuf {
        self.n_files += 1;
        self.folder.path().join(format!("run-{}", self.n_files))
    }

    fn spill(&mut self) {
        match self.spilled.take() {
            Some(spilled) => self.apply(spilled),
            None => {
                let path = self.path();
                let job = self.index.pick_spill(self.closed_through);
                self.spilled = job.map(|job| job.run(&path).expect("a run"));
            }
        }
    }

    fn merge_runs(&mut self) {
        match self.merged_runs.take() {
            Some(spilled) => self.apply(spilled),
            None => {
                let path = self.path();
                let job = self.index.pick_run_merge();
                self.merged_runs = job.map(|job| job.run(&path).expect("a run"));
            }
        }
    }

    /// As the table does it: the recorded files that are replaced hold the keys of the new ones.
    fn rewrite(&mut self) {
        let span = |layer: &LayerFile| FileSpan {
            from: layer.from,
            through: layer.through,
            epoch: layer.epoch,
            bytes: layer.bytes.len() as u64,
        };
        let spans: Vec<FileSpan> = self.layers.iter().map(span).collect();
        let Some(job) = self.index.pick_rewrite_past(2, &spans, self.closed_through) else { return };
        let replaced = job.replaces().to_vec();
        let epoch = self.layers[replaced[0]].epoch;
        assert!(replaced.iter().all(|at| self.layers[*at].epoch == epoch) && job.n_files() < replaced.len());
        let paths: Vec<PathBuf> = (0..job.n_files()).map(|_| self.path()).collect();
        let written = job.run(&paths).expect("files");
        let mut at = 0;
        self.layers.retain(|_| {
            at += 1;
            !replaced.contains(&(at - 1))
        });
        for (file, path) in written.iter().zip(&paths) {
            let bytes = std::fs::read(path).expect("a file");
            assert_eq!(file.bytes, bytes.len() as u64);
            self.layers.push(LayerFile { bytes, from: file.from, through: file.through, epoch });
        }
    }

    /// Records a run as the table does: what it replaces is on record no more.
    fn apply(&mut self, spilled: Spilled) {
        let (path, from, through) = (spilled.run().path().to_owned(), spilled.run().from(), spilled.run().through());
        let is_layer_gone: Vec<bool> =
            self.layers.iter().map(|layer| spilled.replaces(layer.from, layer.through, false)).collect();
        let is_run_gone: Vec<bool> =
            self.runs.iter().map(|run| spilled.replaces(run.from, run.through, true)).collect();
        if !self.index.apply_spill(spilled) {
            return std::fs::remove_file(path).expect("a file of no use");
        }
        let layer_epochs = self.layers.iter().zip(&is_layer_gone).filter(|(_, gone)| **gone).map(|(one, _)| one.epoch);
        let run_epochs = self.runs.iter().zip(&is_run_gone).filter(|(_, gone)| **gone).map(|(one, _)| one.epoch);
        let epochs: Vec<u32> = layer_epochs.chain(run_epochs).collect();
        let epoch = *epochs.first().expect("it replaces something");
        assert!(epochs.iter().all(|other| *other == epoch), "{epochs:?}");
        let (mut layer_gone, mut run_gone) = (is_layer_gone.into_iter(), is_run_gone.into_iter());
        self.layers.retain(|_| layer_gone.next() == Some(false));
        self.runs.retain(|_| run_gone.next() == Some(false));
        let apart = |other_from: u64, other_through: u64| other_through < from || other_from > through;
        assert!(self.layers.iter().all(|layer| apart(layer.from, layer.through)));
        assert!(self.runs.iter().all(|run| apart(run.from, run.through)));
        self.runs.push(RunFile { path, from, through, epoch });
    }

    fn forget(&mut self) {
        let layers = self.layers.iter().map(|layer| (layer.epoch, layer.through));
        let all: Vec<(u32, u64)> = layers.chain(self.runs.iter().map(|run| (run.epoch, run.through))).collect();
        let Some(oldest) = all.iter().map(|(epoch, _)| *epoch).min().filter(|oldest| *oldest < self.epoch) else {
            return;
        };
        let end = all.iter().filter(|(epoch, _)| *epoch == oldest).map(|(_, through)| *through).max().unwrap_or(0);
        self.index.forget_through(end);
        self.layers.retain(|layer| layer.through > end);
        self.runs.retain(|run| run.through > end);
        self.model.retain(|_, closed| *closed != Some(oldest));
    }

    fn clear(&mut self) {
        self.index.clear();
        self.layers.clear();
        self.runs.clear();
        self.streams.clear();
        self.model.clear();
    }

    /// What is on record, and the log from there on.
    fn reopen(&mut self) {
        (self.merged, self.spilled, self.merged_runs) = (None, None, None);
        let mut index = KeyIndex::new(&self.spec, &self.ledger).with_max_bytes(self.max_bytes);
        for run in &self.runs {
            let opened = ColdRun::open(&run.path, &self.spec, &self.ledger, run.epoch).expect("a run");
            assert_eq!((opened.from(), opened.through()), (run.from, run.through));
            index.add_run(opened);
        }
        for layer in &self.layers {
            let read = ClosedLayer::read_from(layer.bytes.as_slice(), &self.spec, "a layer").expect("a layer");
            index.add_layer(read, layer.from, layer.through, layer.epoch);
        }
        index.opens_at(self.closed_through + 1);
        let open: Vec<u64> = self.model.iter().filter(|(_, closed)| closed.is_none()).map(|(key, _)| *key).collect();
        index.insert(&self.keys(&open), None);
        index.load_filters().expect("filters");
        self.index = index;
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Claim { n_new, n_old } => self.claim(*n_new, *n_old),
            Step::Stream { n_new } => self.stream(*n_new),
            Step::Close { begins_epoch } => self.close(*begins_epoch),
            Step::Merge => self.merge(),
            Step::Spill => self.spill(),
            Step::MergeRuns => self.merge_runs(),
            Step::LoadFilters => self.index.load_filters().expect("filters"),
            Step::Rewrite => self.rewrite(),
            Step::See => self.seen = self.index.run_set(),
            Step::Forget => self.forget(),
            Step::Clear => self.clear(),
            Step::Reopen => self.reopen(),
        }
        let stats = self.index.stats();
        assert_eq!(stats.keys as usize, self.model.len(), "after {step:?}");
        assert_eq!((stats.bytes, self.index.charged()), (self.index.bytes(), self.index.bytes()), "after {step:?}");
        // Runs that others still see are held by them.
        let is_seen = self.seen.is_empty() || self.seen.version() == self.index.runs_version();
        if is_seen && self.merged.is_none() && self.spilled.is_none() && self.merged_runs.is_none() {
            assert_eq!(self.ledger.used(Share::Keys), stats.bytes, "after {step:?}");
        }
    }

    fn check(&self) {
        let extremes = [0, 1, u64::MAX, u64::MAX - 1];
        let all: Vec<u64> = (0..self.next + 100).map(|i| self.shape.key(i)).chain(extremes).collect();
        let keys = self.keys(&all);
        let present = self.index.probe(&keys).expect("an answer");
        let snapshot = self.index.snapshot();
        let closed = snapshot.probe(&keys).expect("an answer");
        let new = self.index.probe_new(&keys, snapshot.through()).expect("an answer");
        for (row, key) in all.iter().enumerate() {
            let has = |rows: &Option<arrow::buffer::BooleanBuffer>| rows.as_ref().is_some_and(|rows| rows.value(row));
            let expected = self.model.get(key);
            assert_eq!(has(&present), expected.is_some(), "key {key:#x}");
            assert_eq!(has(&closed), expected.is_some_and(Option::is_some), "key {key:#x}");
            assert_eq!(has(&new), expected.is_some_and(Option::is_none), "key {key:#x}");
        }
    }
}

fn live(shape: Shape, hashes: bool, max_bytes: u64, steps: &[Step]) {
    let mut life = Life::new(shape, hashes, max_bytes);
    steps.iter().for_each(|step| life.step(step));
    life.check();
    life.step(&Step::Reopen);
    life.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_plain_set_whatever_happens_to_its_parts(
        shape in prop::sample::select(&SHAPES[..]),
        hashes in any::<bool>(),
        max_bytes in prop::sample::select(vec![24_u64 << 10, 100 << 10, 2 << 20]),
        steps in steps(),
    ) {
        live(shape, hashes, max_bytes, &steps);
    }
}

#[test]
fn every_shape_of_keys_survives_every_step() {
    let claim = |n_new| Step::Claim { n_new, n_old: 300 };
    let close = || Step::Close { begins_epoch: false };
    let mut steps = Vec::new();
    for round in 0..4 {
        steps.extend([claim(5_000), close(), claim(5_000), close(), Step::Merge, claim(500), Step::Merge]);
        steps.extend([Step::Rewrite, claim(200), close(), claim(200), close(), Step::Merge, Step::Merge]);
        steps.extend([Step::Rewrite, claim(50)]);
        steps.extend([Step::Spill, claim(100), Step::Spill, Step::LoadFilters, Step::See, claim(100), claim(100)]);
        steps.extend([Step::MergeRuns, close(), Step::MergeRuns, claim(100), claim(100)]);
        if round % 2 == 1 {
            steps.extend([Step::Reopen, claim(200), Step::Stream { n_new: 400 }, Step::Merge, claim(50)]);
            steps.extend([Step::Spill, Step::Close { begins_epoch: true }, Step::Merge, Step::Spill, Step::Spill]);
            steps.extend([Step::Merge, Step::Merge, Step::Forget, Step::MergeRuns, Step::MergeRuns]);
        }
    }
    for shape in SHAPES {
        for max_bytes in [30 << 10, 300 << 10] {
            live(shape, false, max_bytes, &steps);
        }
    }
    live(Shape::Random, true, 300 << 10, &steps);
}
