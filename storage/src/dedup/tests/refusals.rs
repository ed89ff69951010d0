//! Does a refusal say whether it passes by itself, and do filters go when others need the memory?

use std::sync::Arc;

use arrow::datatypes::DataType;
use tempfile::TempDir;

use super::super::{DiskBudget, KeyIndex, KeySpec, SpillJob};
use super::{numbered, spec};
use crate::error::{Code, Error};
use crate::memory::{MemoryLedger, Share};

const KIB: u64 = 1 << 10;
const BATCH: u64 = 500;

struct Setup {
    folder: TempDir,
    spec: KeySpec,
    ledger: Arc<MemoryLedger>,
    index: KeyIndex,
    next: u64,
    n_files: usize,
    seq: u64,
}

impl Setup {
    /// Memory for some 37,000 keys.
    fn new(disk: &Arc<DiskBudget>) -> Self {
        let (spec, ledger) = (spec(&[DataType::Int64]), MemoryLedger::new(0));
        let index = KeyIndex::new(&spec, &ledger).with_max_bytes(400 * KIB).with_disk(disk);
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, spec, ledger, index, next: 0, n_files: 0, seq: 0 }
    }

    /// Another disk for the same index.
    fn on(&mut self, disk: &Arc<DiskBudget>) {
        let index = std::mem::replace(&mut self.index, KeyIndex::new(&self.spec, &self.ledger));
        self.index = index.with_disk(disk);
    }

    /// What the next batch is refused with.
    fn refused(&mut self) -> Error {
        let refused = self.index.has_capacity(BATCH as usize).expect_err("there is no memory");
        assert_eq!(refused.code(), Code::DedupBudget);
        refused
    }

    fn passes(&mut self) -> bool {
        self.refused().retry_delay().is_some()
    }

    /// Claims keys until one batch more is refused.
    fn fill(&mut self) {
        while self.index.has_capacity(BATCH as usize).is_ok() {
            let keys = numbered(true, self.next..self.next + BATCH);
            let known = self.index.look_up(&keys).expect("an answer");
            assert_eq!(self.index.claim_known(&keys, None, &known).n_losers, 0);
            self.next += BATCH;
        }
    }

    fn close(&mut self) {
        self.seq += 1;
        self.index.close_layer(self.seq, 0);
    }

    fn run(&mut self, job: SpillJob) {
        self.n_files += 1;
        assert!(self.index.apply_spill(job.run(&self.folder.path().join(self.n_files.to_string())).expect("a run")));
    }

    fn spill(&mut self) {
        self.fill();
        self.close();
        let job = self.index.pick_spill(self.seq).expect("memory is short");
        self.run(job);
    }
}

#[test]
fn layers_that_are_on_their_way_to_disk_need_no_space_there_twice() {
    // One layer fits, and no second one.
    let mut setup = Setup::new(&DiskBudget::new(600 * KIB));
    setup.fill();
    assert!(!setup.passes(), "nothing is closed");
    setup.close();
    assert!(setup.passes());
    let job = setup.index.pick_spill(setup.seq).expect("memory is short");
    assert!(setup.passes(), "it is being made good");
    setup.run(job);
    setup.index.has_capacity(BATCH as usize).expect("memory");
}

#[test]
fn what_a_merge_of_runs_takes_comes_back() {
    let mut setup = Setup::new(&DiskBudget::unlimited());
    setup.spill();
    setup.spill();
    let on_disk = setup.index.disk_bytes();
    setup.on(&DiskBudget::new(2 * on_disk + 100 * KIB));
    let merge = setup.index.pick_run_merge().expect("runs of one size");
    setup.fill();
    setup.close();
    assert!(setup.index.pick_spill(setup.seq).is_none(), "the merge has the disk");
    assert!(setup.passes());
    setup.run(merge);
    assert!(setup.passes());
    let job = setup.index.pick_spill(setup.seq).expect("memory is short");
    setup.run(job);
    // A disk that is full for good.
    setup.fill();
    setup.close();
    setup.on(&DiskBudget::new(setup.index.disk_bytes() + KIB));
    let refused = setup.refused();
    assert!(refused.retry_delay().is_none() && refused.to_string().contains("dedup.disk"), "{refused}");
}

#[test]
fn layers_whose_rows_are_not_in_files_ask_for_a_build() {
    let mut setup = Setup::new(&DiskBudget::unlimited());
    setup.fill();
    setup.close();
    // A new epoch, or files of a stream, closed it.
    setup.index.note_built(0);
    assert!(!setup.passes() && setup.index.wants_build() && setup.index.is_helped_by_build());
    setup.index.note_built(setup.seq);
    assert!(setup.passes() && !setup.index.wants_build());
}

#[test]
fn others_that_hold_the_memory_give_it_back_if_the_disk_has_space() {
    let mut setup = Setup::new(&DiskBudget::unlimited());
    let share = setup.ledger.share(Share::Keys);
    let others = setup.ledger.charge(Share::Keys, share - KIB);
    assert!(setup.passes());
    setup.on(&DiskBudget::new(share / 2));
    assert!(!setup.passes());
    drop(others);
    setup.index.has_capacity(BATCH as usize).expect("memory");
}

#[test]
fn a_batch_that_never_fits_is_not_to_be_sent_again_as_it_is() {
    let mut setup = Setup::new(&DiskBudget::unlimited());
    setup.fill();
    setup.close();
    assert!(setup.passes());
    let refused = setup.index.has_capacity(20_000).expect_err("too many");
    assert!(refused.retry_delay().is_none() && refused.to_string().contains("send smaller batches"), "{refused}");
    assert!(setup.index.can_ever_take(BATCH as usize) && !setup.index.can_ever_take(20_000));
}

#[test]
fn filters_are_given_one_run_at_a_time_and_only_when_memory_is_short() {
    let mut setup = Setup::new(&DiskBudget::unlimited());
    setup.spill();
    setup.spill();
    setup.index.has_capacity(BATCH as usize).expect("memory");
    setup.close();
    setup.index.load_filters().expect("filters");
    assert_eq!((setup.index.stats().runs, setup.index.stats().mapped_runs), (2, 0));
    assert!(setup.index.filter_bytes() > 0 && !setup.index.give_filters(), "there is memory");
    let others = setup.ledger.charge(Share::Keys, setup.ledger.share(Share::Keys) / 10 * 9);
    for n_mapped in [1, 2] {
        assert!(setup.index.give_filters());
        assert_eq!(setup.index.stats().mapped_runs, n_mapped);
    }
    assert!(!setup.index.give_filters() && setup.index.filter_bytes() == 0);
    assert_eq!(setup.index.charged(), setup.index.bytes());
    drop(others);
}
