//! Is what callers found in runs before the worker's turn as good as what the worker finds, or not believed?

use std::sync::Arc;

use tempfile::TempDir;

use super::super::{KeyIndex, KeySpec, Keys, RunSet};
use super::{kind_type, numbered, spec};
use crate::memory::MemoryLedger;

struct Setup {
    folder: TempDir,
    spec: KeySpec,
    ledger: Arc<MemoryLedger>,
    index: KeyIndex,
    is_integer: bool,
    n_files: usize,
    seq: u64,
}

impl Setup {
    fn new(is_integer: bool) -> Self {
        let (spec, ledger) = (spec(&[kind_type(is_integer)]), MemoryLedger::new(0));
        let index = KeyIndex::new(&spec, &ledger).with_max_bytes(100 << 10);
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, spec, ledger, index, is_integer, n_files: 0, seq: 0 }
    }

    fn keys(&self, numbers: std::ops::Range<u64>) -> Keys {
        numbered(self.is_integer, numbers)
    }

    fn claim(&mut self, numbers: std::ops::Range<u64>) {
        let keys = self.keys(numbers);
        let known = self.index.look_up(&keys).expect("an answer");
        self.index.claim_known(&keys, None, &known);
    }

    fn close(&mut self) {
        self.seq += 1;
        self.index.close_layer(self.seq, 0);
    }

    fn spill(&mut self, numbers: std::ops::Range<u64>) {
        self.claim(numbers);
        self.close();
        let job = self.index.pick_spill(self.seq).expect("memory is short");
        self.n_files += 1;
        assert!(self.index.apply_spill(job.run(&self.folder.path().join(self.n_files.to_string())).expect("a run")));
    }

    fn merge_runs(&mut self) {
        let job = self.index.pick_run_merge().expect("runs of one size");
        self.n_files += 1;
        assert!(self.index.apply_spill(job.run(&self.folder.path().join(self.n_files.to_string())).expect("a run")));
    }

    /// How many of the keys were here, as a claim says that got what `seen` knows. The keys are the index's afterwards.
    fn claim_seen(&mut self, seen: &RunSet, numbers: std::ops::Range<u64>) -> usize {
        let keys = self.keys(numbers);
        let found = seen.look_up(&keys).expect("an answer");
        let known = self.index.look_up_with(&keys, Some(found)).expect("an answer");
        self.index.claim_known(&keys, None, &known).n_losers
    }
}

#[test]
fn keys_in_runs_layers_and_open_are_all_found() {
    for is_integer in [true, false] {
        let mut setup = Setup::new(is_integer);
        setup.spill(0..9_000);
        setup.claim(9_000..10_000);
        setup.close();
        setup.claim(10_000..11_000);
        let seen = setup.index.run_set();
        assert!(!seen.is_empty() && seen.version() == setup.index.runs_version());
        assert_eq!(setup.claim_seen(&seen, 8_500..12_000), 2_500);
        // Claims in between do no harm, nor do layers that come.
        assert_eq!(setup.claim_seen(&seen, 11_500..12_500), 500);
        setup.close();
        assert_eq!(setup.claim_seen(&seen, 0..13_000), 12_500);
    }
}

#[test]
fn what_was_found_holds_while_the_runs_have_the_same_keys() {
    let mut setup = Setup::new(true);
    setup.spill(0..9_000);
    setup.spill(9_000..18_000);
    let seen = setup.index.run_set();
    setup.merge_runs();
    assert_ne!(seen.version(), setup.index.runs_version(), "others look again");
    // The files that were seen may be gone by now: nobody asks them.
    let keys = setup.keys(0..20_000);
    let found = seen.look_up(&keys).expect("an answer");
    let new = setup.index.run_set();
    assert_eq!(setup.claim_seen(&new, 17_000..19_000), 1_000);
    let known = setup.index.look_up_with(&keys, Some(found)).expect("an answer");
    assert_eq!(setup.index.claim_known(&keys, None, &known).n_losers, 19_000);
}

#[test]
fn what_was_found_in_other_keys_is_not_believed() {
    let mut setup = Setup::new(true);
    let none = setup.index.run_set();
    setup.spill(0..9_000);
    assert_eq!(setup.claim_seen(&none, 8_000..9_500), 1_000, "keys went to disk since");
    let seen = setup.index.run_set();
    setup.index.forget_through(1);
    assert_eq!(setup.claim_seen(&seen, 0..1_000), 0, "the run is forgotten");
    let mut setup = Setup::new(true);
    setup.spill(0..9_000);
    let seen = setup.index.run_set();
    setup.index.clear();
    assert_eq!(setup.claim_seen(&seen, 0..1_000), 0, "all is forgotten");
    // Another index, as after a worker that failed, has other numbers.
    let mut other = KeyIndex::new(&setup.spec, &setup.ledger);
    let keys = setup.keys(0..100);
    let known = other.look_up_with(&keys, seen.look_up(&keys).ok()).expect("an answer");
    assert_eq!(other.claim_known(&keys, None, &known).n_losers, 0);
}
