//! Are keys on disk as good as keys in memory: found, counted, bounded, and never believed when they are damaged?

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType;
use tempfile::TempDir;

use super::super::index::MAX_RUNS;
use super::super::{ColdRun, DiskBudget, KeyIndex, KeySpec, Keys, SpillJob};
use super::{kind_type, numbered, random, snowflake, spec};
use crate::error::{Code, Error};
use crate::memory::{MemoryLedger, Share};

/// An index whose layers go to disk, and its runs' files.
struct Setup {
    folder: TempDir,
    spec: KeySpec,
    ledger: Arc<MemoryLedger>,
    index: KeyIndex,
    is_integer: bool,
    n_files: usize,
    /// The last entry.
    seq: u64,
}

impl Setup {
    /// Memory for about 10,000 keys: every layer of more than half as many is to go to disk.
    fn new(is_integer: bool) -> Self {
        Self::with_max_bytes(is_integer, 100 << 10)
    }

    fn with_max_bytes(is_integer: bool, max_bytes: u64) -> Self {
        let (spec, ledger) = (spec(&[kind_type(is_integer)]), MemoryLedger::new(0));
        let index = KeyIndex::new(&spec, &ledger).with_max_bytes(max_bytes);
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, spec, ledger, index, is_integer, n_files: 0, seq: 0 }
    }

    /// Another limit for the same index.
    fn limit(&mut self, max_bytes: u64) {
        let index = std::mem::replace(&mut self.index, KeyIndex::new(&self.spec, &self.ledger));
        self.index = index.with_max_bytes(max_bytes);
    }

    fn path(&mut self) -> PathBuf {
        self.n_files += 1;
        self.folder.path().join(format!("run-{}", self.n_files))
    }

    fn keys(&self, numbers: std::ops::Range<u64>) -> Keys {
        numbered(self.is_integer, numbers)
    }

    /// Looks up and claims; returns how many were here.
    fn claim(&mut self, keys: &Keys) -> usize {
        let known = self.index.look_up(keys).expect("an answer");
        self.index.claim_known(keys, None, &known).n_losers
    }

    fn close(&mut self, epoch: u32) {
        self.seq += 1;
        self.index.close_layer(self.seq, epoch);
    }

    fn run(&mut self, job: SpillJob) -> PathBuf {
        let path = self.path();
        let spilled = job.run(&path).expect("a run");
        assert!(self.index.apply_spill(spilled));
        self.index.load_filters().expect("filters");
        assert_eq!(self.ledger.used(Share::Keys), self.index.bytes(), "after a job nothing is held but what it made");
        assert_eq!(self.ledger.used(Share::Unassigned), 0);
        assert_eq!(self.index.charged(), self.index.bytes());
        path
    }

    /// Claims new keys, closes them and writes them to disk.
    fn spill(&mut self, numbers: std::ops::Range<u64>, epoch: u32) -> PathBuf {
        let keys = self.keys(numbers);
        assert_eq!(self.claim(&keys), 0);
        self.close(epoch);
        let job = self.index.pick_spill(self.seq).expect("memory is short");
        assert!(self.index.pick_spill(self.seq).is_none(), "one such job at a time");
        self.run(job)
    }
}

#[test]
fn keys_on_disk_are_found_in_far_less_memory() {
    for is_integer in [true, false] {
        let mut setup = Setup::with_max_bytes(is_integer, 200 << 10);
        let keys = setup.keys(0..20_000);
        assert_eq!(setup.claim(&keys), 0);
        let before = setup.index.bytes();
        setup.close(0);
        let job = setup.index.pick_spill(setup.seq).expect("memory is short");
        assert_eq!((job.n_keys(), job.is_run_merge()), (20_000, false));
        setup.run(job);
        let stats = setup.index.stats();
        assert_eq!((stats.keys, stats.cold_keys, stats.runs, stats.mapped_runs), (20_000, 20_000, 1, 0));
        assert!(stats.bytes < before / 4, "{} of {before} bytes", stats.bytes);
        let per_key = stats.disk_bytes as f64 / 20_000.0;
        let most = if is_integer { 10.0 } else { 20.0 };
        assert!(per_key < most, "{per_key:.2} bytes a key on disk");
        let more = setup.keys(10_000..30_000);
        assert_eq!(setup.claim(&more), 10_000);
        let all = setup.keys(0..40_000);
        let present = setup.index.probe(&all).expect("an answer").expect("some");
        assert!((0..40_000).all(|row| present.value(row) == (row < 30_000)));
    }
}

#[test]
fn a_filter_that_is_on_disk_answers_as_one_in_memory() {
    for is_integer in [true, false] {
        let mut setup = Setup::with_max_bytes(is_integer, 200 << 10);
        let path = setup.spill(0..20_000, 0);
        assert_eq!(setup.index.stats().mapped_runs, 0);
        // Half of what the index may hold is for filters; now they would be more.
        let mut small = KeyIndex::new(&setup.spec, &setup.ledger).with_max_bytes(10 << 10);
        small.add_run(ColdRun::open(&path, &setup.spec, &setup.ledger, 0).expect("a run"));
        small.load_filters().expect("there is no memory for them");
        let stats = small.stats();
        assert_eq!((stats.runs, stats.mapped_runs, stats.cold_keys), (1, 1, 20_000));
        assert!(stats.bytes < 4_000 && small.charged() == stats.bytes, "{stats:?}");
        let all = setup.keys(0..30_000);
        let (one, other) = (setup.index.probe(&all).expect("an answer"), small.probe(&all).expect("an answer"));
        assert_eq!(one, other);
        assert_eq!(one.map(|present| present.count_set_bits()), Some(20_000));
    }
}

#[test]
fn filters_give_way_before_rows_are_refused_and_layers_do_when_they_are_closed() {
    let mut setup = Setup::with_max_bytes(true, 400 << 10);
    setup.spill(0..45_000, 0);
    let mut next = 45_000;
    let error = loop {
        match setup.index.has_capacity(500) {
            Ok(()) => {
                let keys = setup.keys(next..next + 500);
                assert_eq!(setup.claim(&keys), 0);
                next += 500;
            }
            Err(error) => break error,
        }
    };
    let stats = setup.index.stats();
    assert_eq!((error.code(), stats.mapped_runs), (Code::DedupBudget, 1));
    assert!(setup.index.wants_build(), "{stats:?}");
    assert!(error.message().contains("on disk"), "{error}");
    assert!(error.retry_delay().is_none(), "nothing is closed that could go to disk");
    setup.close(0);
    assert!(setup.index.has_capacity(500).expect_err("still full").retry_delay().is_some());
    let job = setup.index.pick_spill(setup.seq).expect("memory is short");
    setup.run(job);
    setup.index.has_capacity(500).expect("memory");
    let all = setup.keys(0..next);
    assert_eq!(setup.claim(&all) as u64, next);
}

#[test]
fn a_disk_that_is_used_up_refuses_and_forgets_nothing() {
    let mut setup = Setup::new(true);
    let disk = DiskBudget::new(1 << 20);
    setup.index = KeyIndex::new(&setup.spec, &setup.ledger).with_max_bytes(400 << 10).with_disk(&disk);
    let (mut next, mut n_left) = (0, 10);
    let error = loop {
        if let Err(error) = setup.index.has_capacity(200) {
            let had_closed = setup.index.stats().closed_bytes > 0;
            if setup.index.wants_build() {
                setup.close(0);
            }
            match setup.index.pick_spill(setup.seq) {
                Some(job) => drop(setup.run(job)),
                None if had_closed || n_left == 0 => break error,
                None => n_left -= 1,
            }
            assert_eq!(disk.used(), setup.index.disk_bytes());
            while let Some(job) = setup.index.pick_run_merge() {
                setup.run(job);
            }
            continue;
        }
        let keys = setup.keys(next..next + 200);
        assert_eq!(setup.claim(&keys), 0);
        next += 200;
    };
    assert_eq!(error.code(), Code::DedupBudget);
    assert!(setup.index.disk_bytes() <= 1 << 20 && setup.index.stats().runs >= 1, "{:?}", setup.index.stats());
    assert!(error.hint_text().is_some_and(|hint| hint.contains("dedup.disk") && hint.contains("dedup_window")));
    assert!(error.message().contains("of 1048576 bytes") && error.retry_delay().is_none(), "{error}");
    let facts = error.metadata().iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert!(facts.contains(&"bytes_per_key") && facts.contains(&"disk_bytes"), "{facts:?}");
    let all = setup.keys(0..next);
    let present = setup.index.probe(&all).expect("an answer").expect("some");
    assert_eq!(present.count_set_bits() as u64, next);
}

#[test]
fn only_what_is_built_goes_to_disk_and_no_layer_is_torn() {
    let mut setup = Setup::new(true);
    for build in 0..4 {
        let keys = setup.keys(build * 4_000..(build + 1) * 4_000);
        assert_eq!(setup.claim(&keys), 0);
        setup.close(0);
    }
    assert!(setup.index.pick_spill(0).is_none());
    let job = setup.index.pick_spill(2).expect("memory is short");
    assert_eq!(job.n_keys(), 8_000);
    drop(job);
    // Layers 1 to 4 become one: as long as 4 is not built, nothing of it can go.
    setup.limit(10 << 20);
    while let Some(job) = setup.index.pick_merge() {
        assert!(setup.index.apply_merge(job.run()));
    }
    setup.limit(100 << 10);
    assert_eq!(setup.index.snapshot().spans(), [(1, 4)]);
    assert!(setup.index.pick_spill(3).is_none());
    let job = setup.index.pick_spill(4).expect("memory is short");
    let spilled = job.run(&setup.path()).expect("a run");
    assert_eq!((spilled.run().from(), spilled.run().through(), spilled.run().n_keys()), (1, 4, 16_000));
    assert!(setup.index.apply_spill(spilled));
}

#[test]
fn runs_are_merged_in_tiers_within_their_epoch() {
    for is_integer in [true, false] {
        let mut setup = Setup::new(is_integer);
        let n = 7_000;
        for build in 0..16 {
            setup.spill(build * n..(build + 1) * n, build as u32 / 8);
            while let Some(job) = setup.index.pick_run_merge() {
                assert!(job.is_run_merge() && setup.index.pick_run_merge().is_none());
                setup.run(job);
            }
            assert!(setup.index.stats().runs <= MAX_RUNS, "{:?}", setup.index.stats());
        }
        let stats = setup.index.stats();
        assert_eq!(stats.keys, 16 * n);
        assert!(stats.runs <= 5, "{stats:?}");
        let all = setup.keys(0..17 * n);
        assert_eq!(setup.claim(&all) as u64, 16 * n);
        setup.index.forget_through(8);
        let kept = setup.index.probe(&setup.keys(0..16 * n)).expect("an answer").expect("some");
        assert!((0..16 * n as usize).all(|row| kept.value(row) == (row >= 8 * n as usize)));
    }
}

#[test]
fn a_result_whose_layers_went_is_let_go() {
    let mut setup = Setup::new(true);
    let keys = setup.keys(0..9_000);
    setup.claim(&keys);
    setup.close(0);
    let job = setup.index.pick_spill(setup.seq).expect("memory is short");
    let spilled = job.run(&setup.path()).expect("a run");
    setup.index.clear();
    assert!(!setup.index.apply_spill(spilled));
    assert_eq!((setup.index.stats().keys, setup.index.stats().runs), (0, 0));
    setup.spill(0..9_000, 0);
    setup.spill(9_000..18_000, 0);
    let job = setup.index.pick_run_merge().expect("two runs of one size");
    let spilled = job.run(&setup.path()).expect("a run");
    setup.index.forget_through(setup.seq - 1);
    assert!(!setup.index.apply_spill(spilled), "one of its runs is forgotten");
    assert_eq!(setup.index.stats().keys, 9_000);
}

/// Keys that lie together under a permutation of their own: a counter above `shift` bits that never change.
fn spread(shift: u32, numbers: std::ops::Range<u64>) -> Keys {
    let high = u64::from(shift) << 56;
    Keys::Integers(numbers.map(|i| high | (i >> 4) << (shift + 4) | (i & 15)).collect())
}

#[test]
fn many_permutations_go_to_disk_and_stay_small_there() {
    let (spec, ledger) = (spec(&[DataType::UInt64]), MemoryLedger::new(0));
    let mut index = KeyIndex::new(&spec, &ledger);
    let folder = tempfile::tempdir().expect("a folder");
    let shifts = [2, 5, 8, 11, 14, 17];
    let few = |build: u64| numbered(true, build * 300..(build + 1) * 300);
    for (build, shift) in shifts.into_iter().enumerate() {
        // A layer of random keys between two dense ones: nothing is learned from the one before.
        for keys in [spread(shift, 0..8_000), few(build as u64)] {
            assert_eq!(index.claim(&keys, None).n_losers, 0);
            index.close_layer(index.snapshot().through() + 1, 0);
        }
    }
    let n_permutations = index.stats().permutations.len();
    assert!(n_permutations > 4, "{:?}", index.stats());
    let job = index.pick_spill(100).expect("layers of too many permutations");
    assert!(index.apply_spill(job.run(&folder.path().join("run")).expect("a run")));
    let stats = index.stats();
    assert_eq!((stats.runs, stats.cold_keys, stats.layers), (1, 6 * 8_300, 1));
    for (build, shift) in shifts.into_iter().enumerate() {
        let known = index.look_up(&spread(shift, 0..9_000)).expect("an answer");
        assert_eq!(index.claim_known(&spread(shift, 0..9_000), None, &known).n_losers, 8_000, "{shift}");
        let found = index.probe(&few(build as u64)).expect("an answer");
        assert_eq!(found.map(|found| found.count_set_bits()), Some(300));
    }
}

#[test]
fn ordered_keys_are_as_small_on_disk_as_in_memory_and_need_no_filter() {
    let (spec, ledger) = (spec(&[DataType::UInt64]), MemoryLedger::new(0));
    let mut index = KeyIndex::new(&spec, &ledger).with_max_bytes(20 << 10);
    let folder = tempfile::tempdir().expect("a folder");
    let jittered = |i: u64| i / 1000 * 1000 + (i % 1000 * 7919) % 1000;
    index.claim(&Keys::Integers((0..100_000).map(|i| jittered(i) * 3).collect()), None);
    index.close_layer(1, 0);
    let in_memory = index.bytes();
    let job = index.pick_spill(1).expect("memory is short");
    assert!(index.apply_spill(job.run(&folder.path().join("run")).expect("a run")));
    let stats = index.stats();
    // Sections are small in tests: most of the file is pages that are partly filled.
    assert!(stats.disk_bytes < 200_000 && stats.bytes < in_memory / 4, "{stats:?}, {in_memory} in memory");
    let asked = Keys::Integers((250_000..310_000).collect());
    let present = index.probe(&asked).expect("an answer").expect("some");
    assert!((0..60_000).all(|row| present.value(row) == (row < 50_000 && (row + 250_000) % 3 == 0)));
}

/// Every page of a run at `path` is damaged once; `ask` is then called with a run that could be opened.
fn damage_everywhere(path: &Path, setup: &Setup, mut ask: impl FnMut(ColdRun) -> Option<Error>) {
    let bytes = std::fs::read(path).expect("the file");
    let damaged = path.with_extension("damaged");
    let mut n_on_asking = 0;
    for page in 0..bytes.len() / 4096 {
        let mut copy = bytes.clone();
        copy[page * 4096 + (page * 131) % 4096] ^= 0x10;
        std::fs::write(&damaged, &copy).expect("a copy");
        let error = match ColdRun::open(&damaged, &setup.spec, &setup.ledger, 0) {
            Err(error) => error,
            Ok(run) => {
                n_on_asking += 1;
                ask(run).unwrap_or_else(|| panic!("page {page} was believed"))
            }
        };
        assert_eq!(error.code(), Code::LogDamaged, "{error}");
        assert!(error.message().contains("run-1.damaged"), "{error}");
    }
    assert!(n_on_asking > 3, "{n_on_asking} pages with keys");
    let cut = &bytes[..bytes.len() - 4096];
    std::fs::write(&damaged, cut).expect("a copy");
    let error = ColdRun::open(&damaged, &setup.spec, &setup.ledger, 0).expect_err("cut short");
    assert_eq!(error.code(), Code::LogDamaged);
}

#[test]
fn damage_is_an_error_wherever_it_is_and_claims_nothing() {
    for is_integer in [true, false] {
        let mut setup = Setup::new(is_integer);
        let path = setup.spill(0..9_000, 0);
        let keys = setup.keys(0..9_000);
        damage_everywhere(&path, &setup, |run| {
            let mut index = KeyIndex::new(&setup.spec, &setup.ledger);
            index.add_run(run);
            let before = index.stats();
            let error = index.look_up(&keys).err();
            assert_eq!(index.stats(), before);
            assert!(index.probe(&keys).is_err() && index.snapshot().probe(&keys).is_err());
            error
        });
        // A run that is merged is proven as well.
        let bytes = std::fs::read(&path).expect("the file");
        setup.spill(9_000..18_000, 0);
        let mut broken = bytes;
        broken[4096 + 50] ^= 1;
        std::fs::write(&path, &broken).expect("damage");
        let job = setup.index.pick_run_merge().expect("two runs of one size");
        let target = setup.path();
        let error = job.run(&target).expect_err("a damaged page");
        assert!(error.code() == Code::LogDamaged && error.message().contains("run-1"), "{error}");
        assert!(!target.exists() && setup.index.stats().runs == 2);
        assert!(setup.index.pick_run_merge().is_some(), "it is tried again");
    }
}

#[test]
fn a_run_of_another_table_another_kind_or_another_version_is_refused() {
    let mut setup = Setup::new(true);
    let path = setup.spill(0..9_000, 0);
    let error = ColdRun::open(&path, &spec(&[DataType::Utf8]), &setup.ledger, 0).expect_err("another kind");
    assert_eq!(error.code(), Code::LogDamaged);
    let mut other = super::table(&[DataType::Int64]);
    other.hash_key = *b"fedcba9876543210";
    let other = KeySpec::new(&other).expect("a key");
    let error = ColdRun::open(&path, &other, &setup.ledger, 0).expect_err("another table");
    assert!(error.message().contains("another table"), "{error}");
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes[4] = 9;
    std::fs::write(&path, &bytes).expect("a copy");
    let error = ColdRun::open(&path, &setup.spec, &setup.ledger, 0).expect_err("another version");
    assert_eq!(error.code(), Code::LogUnknownVersion);
    std::fs::write(&path, vec![0; 8192]).expect("a file that was never finished");
    let error = ColdRun::open(&path, &setup.spec, &setup.ledger, 0).expect_err("no header");
    assert_eq!(error.code(), Code::LogDamaged);
    let missing = ColdRun::open(&setup.path(), &setup.spec, &setup.ledger, 0).expect_err("no file");
    assert!(missing.code() == Code::LogDamaged && missing.message().contains("is missing"), "{missing}");
    assert_eq!(setup.ledger.used(Share::Keys), setup.index.bytes());
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_index_as_it_was() {
    let mut setup = Setup::new(true);
    let keys = setup.keys(0..9_000);
    setup.claim(&keys);
    setup.close(0);
    let job = setup.index.pick_spill(setup.seq).expect("memory is short");
    let error = job.run(&setup.folder.path().join("no").join("folder")).expect_err("no folder");
    assert_eq!(error.code(), Code::FolderUnusable);
    assert_eq!(setup.ledger.used(Share::Keys), setup.index.bytes());
    assert!(setup.index.pick_spill(setup.seq).is_some(), "it is tried again");
    assert_eq!(setup.claim(&keys), 9_000);
}

#[test]
#[should_panic(expected = "changed between look-up and claim")]
fn what_was_looked_up_before_a_layer_came_is_not_believed() {
    let mut setup = Setup::new(true);
    let keys = setup.keys(0..10);
    let known = setup.index.look_up(&keys).expect("an answer");
    setup.claim(&keys);
    setup.close(0);
    setup.index.claim_known(&keys, None, &known);
}

/// Runs written by version 1: every fourth number of 24,000. They are never written again: a new version gets new files beside these.
/// Where one is missing it is written when `UPDATE_FIXTURES` is set.
#[test]
fn runs_of_version_1_are_read() {
    type Case = (&'static str, bool, u64, fn(u64) -> Keys);
    let cases: [Case; 3] = [
        ("run-v1-integers.bin", true, 50 << 10, |offset| {
            Keys::Integers((0..6_000).map(|i| random(4 * i + offset)).collect())
        }),
        ("run-v1-hashes.bin", false, 50 << 10, |offset| {
            Keys::Hashes((0..6_000).map(|i| u128::from(random(4 * i + offset)) << 32 | 7).collect())
        }),
        ("run-v1-permuted.bin", true, 4 << 10, |offset| {
            Keys::Integers((0..6_000).map(|i| snowflake(4 * i + offset)).collect())
        }),
    ];
    for (name, is_integer, max_bytes, keys) in cases {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dedup/tests").join(name);
        let (spec, ledger) = (spec(&[kind_type(is_integer)]), MemoryLedger::new(0));
        if !path.exists() && std::env::var_os("UPDATE_FIXTURES").is_some() {
            let mut index = KeyIndex::new(&spec, &ledger).with_max_bytes(max_bytes);
            index.claim(&keys(0), None);
            index.close_layer(3, 0);
            index.pick_spill(3).expect("memory is short").run(&path).expect("a fixture");
        }
        let run = ColdRun::open(&path, &spec, &ledger, 0).expect("the fixture; UPDATE_FIXTURES=1 writes a missing one");
        assert_eq!((run.from(), run.through(), run.n_keys()), (1, 3, 6_000), "{name}");
        let mut index = KeyIndex::new(&spec, &ledger);
        index.add_run(run);
        // With filters on disk, if it has some, and in memory.
        for _ in 0..2 {
            assert_eq!(index.probe(&keys(0)).expect("an answer").map(|found| found.count_set_bits()), Some(6_000));
            assert_eq!(index.probe(&keys(1)).expect("an answer"), None);
            index.load_filters().expect("filters");
        }
        assert_eq!(index.stats().mapped_runs, 0);
    }
}

#[test]
fn what_a_filter_wrongly_admits_a_page_denies() {
    let mut setup = Setup::new(true);
    setup.spill(0..9_000, 0);
    let others = Keys::Integers((0..50_000).map(|i| random(i + (1 << 40))).collect());
    assert_eq!(setup.index.probe(&others).expect("an answer"), None);
}

#[test]
fn indexes_share_the_disk_and_give_it_back() {
    let disk = DiskBudget::new(400 << 10);
    let mut setups = [Setup::new(true), Setup::new(false)];
    for setup in &mut setups {
        setup.limit(100 << 10);
        let index = std::mem::replace(&mut setup.index, KeyIndex::new(&setup.spec, &setup.ledger));
        setup.index = index.with_disk(&disk);
    }
    setups[0].spill(0..9_000, 0);
    let first = disk.used();
    assert_eq!(first, setups[0].index.disk_bytes());
    // What is being written counts as well.
    let other = &mut setups[1];
    let keys = other.keys(0..6_000);
    other.claim(&keys);
    other.close(0);
    let job = other.index.pick_spill(other.seq).expect("memory is short");
    assert!(disk.used() > first + 6_000 * 16, "{} after {first}", disk.used());
    other.run(job);
    assert_eq!(disk.used(), first + other.index.disk_bytes());
    let keys = other.keys(6_000..17_000);
    other.claim(&keys);
    other.close(0);
    assert!(other.index.pick_spill(other.seq).is_none(), "{} of {}", disk.used(), disk.max_bytes());
    setups[0].index.clear();
    assert_eq!(disk.used(), setups[1].index.disk_bytes());
    let seq = setups[1].seq;
    assert!(setups[1].index.pick_spill(seq).is_some());
    drop(setups);
    assert_eq!(disk.used(), 0);
}

#[test]
fn filters_come_into_memory_as_far_as_there_is_some_the_newest_first() {
    let mut setup = Setup::with_max_bytes(true, 400 << 10);
    // One of each epoch.
    let paths = [setup.spill(0..40_000, 0), setup.spill(40_000..80_000, 1), setup.spill(80_000..120_000, 2)];
    let opened = |max_bytes: u64| {
        let mut index = KeyIndex::new(&setup.spec, &setup.ledger).with_max_bytes(max_bytes);
        for (epoch, path) in paths.iter().enumerate() {
            index.add_run(ColdRun::open(path, &setup.spec, &setup.ledger, epoch as u32).expect("a run"));
        }
        assert_eq!((index.stats().mapped_runs, index.stats().runs), (3, 3), "nothing is read at once");
        index.load_filters().expect("filters");
        assert!(index.bytes() <= max_bytes && index.charged() == index.bytes());
        index
    };
    let answers = |index: &KeyIndex| index.probe(&setup.keys(0..200_000)).expect("an answer");
    // A run's filters take about 55,000 bytes; all of them have half of the memory.
    let n_mapped = [1 << 20, 260 << 10, 150 << 10, 20 << 10].map(|max_bytes| {
        let index = opened(max_bytes);
        assert_eq!(answers(&index).map(|found| found.count_set_bits()), Some(120_000));
        index.stats().mapped_runs
    });
    assert_eq!(n_mapped, [0, 1, 2, 3]);
    // A job that reads them gives way to nothing, and there is one at a time.
    let mut index = opened(20 << 10);
    assert!(index.pick_filters().is_none());
    index = index.with_max_bytes(1 << 20);
    let job = index.pick_filters().expect("there is memory now");
    assert!(index.pick_filters().is_none() && job.n_keys() == 40_000);
    job.run().expect("filters");
    assert_eq!(index.stats().mapped_runs, 2);
}

#[test]
fn a_filter_that_is_damaged_stays_on_disk_and_holds_nothing() {
    let mut setup = Setup::new(true);
    let path = setup.spill(0..9_000, 0);
    let bytes = std::fs::read(&path).expect("the file");
    let mut n_damaged = 0;
    for page in 1..bytes.len() / 4096 {
        let mut copy = bytes.clone();
        copy[page * 4096 + 9] ^= 1;
        let damaged = path.with_extension("damaged");
        std::fs::write(&damaged, &copy).expect("a copy");
        let Ok(run) = ColdRun::open(&damaged, &setup.spec, &setup.ledger, 0) else { continue };
        let mut index = KeyIndex::new(&setup.spec, &setup.ledger);
        index.add_run(run);
        let before = index.bytes();
        if let Err(error) = index.load_filters() {
            assert_eq!(error.code(), Code::LogDamaged);
            assert_eq!((index.bytes(), index.charged(), index.stats().mapped_runs), (before, before, 1));
            n_damaged += 1;
        }
    }
    assert!(n_damaged >= 2, "{n_damaged} pages of filters");
}
