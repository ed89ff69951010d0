//! Do layers in memory stay few, at a cost that is told beforehand, and does a merge change no answer?

use std::sync::Arc;

use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::super::index::{Item, MAX_LAYER_FILES, MAX_LAYERS, choose, choose_rewrite};
use super::super::{FileSpan, KeyIndex, Keys};
use super::{kind_type, numbered, spec};
use crate::memory::{MemoryLedger, Share};

const NO_LIMIT: u64 = u64::MAX;

fn item(n_keys: u64) -> Item {
    Item { epoch: 0, class: None, n_keys, bytes: n_keys }
}

/// Merges what is chosen until all is well; returns how many keys were rewritten.
fn settle(items: &mut Vec<Item>, most_bytes: u64, most_items: usize) -> u64 {
    let mut rewritten = 0;
    while let Some(places) = choose(items, most_bytes, most_items) {
        assert!(places.len() >= 2 && places.is_sorted());
        let n_keys: u64 = places.iter().map(|i| items[*i].n_keys).sum();
        assert!(n_keys <= most_bytes);
        let first = items[places[0]];
        assert!(places.iter().all(|i| (items[*i].epoch, items[*i].class) == (first.epoch, first.class)));
        rewritten += n_keys;
        for place in places.iter().rev() {
            items.remove(*place);
        }
        items.insert(places[0], Item { n_keys, bytes: n_keys, ..first });
    }
    rewritten
}

proptest! {
    #[test]
    fn tiers_are_few_and_every_key_is_rewritten_once_for_each_doubling(
        sizes in prop::collection::vec(1..1000_u64, 1..400),
    ) {
        let (mut items, mut rewritten) = (Vec::new(), 0);
        for size in &sizes {
            items.push(item(*size));
            rewritten += settle(&mut items, NO_LIMIT, usize::MAX);
        }
        let total: u64 = sizes.iter().sum();
        prop_assert_eq!(items.iter().map(|item| item.n_keys).sum::<u64>(), total);
        let sizes: Vec<u64> = items.iter().map(|item| item.n_keys).collect();
        prop_assert!(sizes.windows(2).all(|pair| pair[0] > 2 * pair[1]), "{:?}", sizes);
        // A key that is rewritten is in a set at least half as large again.
        let doublings = 2.0 + (total as f64).log2() / 1.5_f64.log2();
        prop_assert!(rewritten as f64 <= total as f64 * doublings, "{} of {} keys", rewritten, total);
    }

    #[test]
    fn groups_never_mix_and_memory_bounds_what_is_merged(
        items in prop::collection::vec((0..3_u32, prop::option::of(0..3_u64), 1..1000_u64), 1..40),
        most_bytes in 1..3000_u64,
    ) {
        let mut items: Vec<Item> = items
            .into_iter()
            .map(|(epoch, class, n_keys)| Item { epoch, class, n_keys, bytes: n_keys })
            .collect();
        items.sort_by_key(|item| item.epoch);
        let total: u64 = items.iter().map(|item| item.n_keys).sum();
        settle(&mut items, most_bytes, MAX_LAYERS);
        prop_assert_eq!(items.iter().map(|item| item.n_keys).sum::<u64>(), total);
    }
}

#[test]
fn an_epoch_that_is_over_comes_to_one_and_too_many_are_merged_without_a_tier() {
    let mut items: Vec<Item> = [1000, 100, 10, 1].map(item).to_vec();
    assert_eq!(settle(&mut items, NO_LIMIT, MAX_LAYERS), 0);
    items.push(Item { epoch: 1, ..item(5) });
    settle(&mut items, NO_LIMIT, MAX_LAYERS);
    assert_eq!(items.iter().map(|item| item.n_keys).collect::<Vec<_>>(), [1111, 5]);
    // Sizes that no tier brings together.
    let mut items: Vec<Item> = (0..12).rev().map(|i| item(3_u64.pow(i))).collect();
    settle(&mut items, NO_LIMIT, MAX_LAYERS);
    assert_eq!(items.len(), MAX_LAYERS);
    assert_eq!(items[0], item(3_u64.pow(11)));
}

/// Layers in memory and their files, as builds leave them; bytes stand for keys.
#[derive(Default)]
struct Files {
    layers: Vec<FileSpan>,
    files: Vec<FileSpan>,
    rewritten: u64,
}

impl Files {
    fn build(&mut self, seq: u64, epoch: u32, bytes: u64) {
        let made = FileSpan { from: seq, through: seq, epoch, bytes };
        self.layers.push(made);
        self.files.push(made);
        loop {
            let as_item = |layer: &FileSpan| Item { epoch: layer.epoch, ..item(layer.bytes) };
            let items: Vec<Item> = self.layers.iter().map(as_item).collect();
            let Some(places) = choose(&items, NO_LIMIT, MAX_LAYERS) else { break };
            let merged = joined(places.iter().map(|i| self.layers[*i]));
            for place in places.iter().rev() {
                self.layers.remove(*place);
            }
            self.layers.insert(places[0], merged);
        }
    }

    fn rewrite(&mut self, built_through: u64, most_files: usize) -> bool {
        let Some((files, layers)) = choose_rewrite(&self.files, &self.layers, built_through, most_files) else {
            return false;
        };
        assert!(layers.len() < files.len());
        let replaced: Vec<FileSpan> = files.iter().map(|i| self.files[*i]).collect();
        let new: Vec<FileSpan> = layers.iter().map(|i| self.layers[*i]).collect();
        let keys = |spans: &[FileSpan]| spans.iter().map(|span| span.bytes).sum::<u64>();
        assert_eq!(keys(&replaced), keys(&new), "the same keys");
        assert!(replaced.iter().chain(&new).all(|span| span.epoch == new[0].epoch && span.through <= built_through));
        self.rewritten += keys(&new);
        self.files.retain(|file| !replaced.contains(file));
        self.files.extend(new);
        true
    }

    fn most_of_an_epoch(&self) -> usize {
        let n_files = |epoch| self.files.iter().filter(|file| file.epoch == epoch).count();
        self.files.iter().map(|file| n_files(file.epoch)).max().unwrap_or(0)
    }
}

fn joined(spans: impl Iterator<Item = FileSpan>) -> FileSpan {
    spans
        .reduce(|a, b| FileSpan {
            from: a.from.min(b.from),
            through: a.through.max(b.through),
            epoch: a.epoch.max(b.epoch),
            bytes: a.bytes + b.bytes,
        })
        .expect("some")
}

proptest! {
    #[test]
    fn files_are_few_and_every_key_is_written_again_once_for_each_doubling(
        sizes in prop::collection::vec(1..1000_u64, 1..300),
        builds_an_epoch in 1..200_usize,
    ) {
        let mut all = Files::default();
        for (i, size) in sizes.iter().enumerate() {
            let seq = i as u64 + 1;
            all.build(seq, (i / builds_an_epoch) as u32, *size);
            while all.rewrite(seq, MAX_LAYER_FILES) {}
            prop_assert!(all.most_of_an_epoch() <= MAX_LAYER_FILES, "{:?}", all.files);
        }
        let total: u64 = sizes.iter().sum();
        prop_assert_eq!(all.files.iter().map(|file| file.bytes).sum::<u64>(), total);
        let doublings = 2.0 + (total as f64).log2() / 1.5_f64.log2();
        prop_assert!(all.rewritten as f64 <= total as f64 * doublings, "{} of {} keys", all.rewritten, total);
    }
}

#[test]
fn only_files_of_one_epoch_that_are_built_and_whole_become_fewer() {
    let span = |from, through, epoch| FileSpan { from, through, epoch, bytes: through - from + 1 };
    let large = FileSpan { bytes: 99, ..span(21, 30, 0) };
    let files = [span(1, 10, 0), span(1, 10, 0), span(11, 20, 0), large, span(31, 40, 1)];
    let choose = |layers: &[FileSpan], built| choose_rewrite(&files, layers, built, 2);
    // Two layers of one range, as two classes of keys leave them: three files become two.
    let layers = [span(1, 20, 0), span(1, 10, 0), span(21, 30, 0), span(31, 40, 1)];
    assert_eq!(choose(&layers, 40), Some((vec![0, 1, 2], vec![0, 1])));
    assert_eq!(choose(&layers, 20), Some((vec![0, 1, 2], vec![0, 1])));
    assert_eq!(choose(&layers, 19), None, "they are not built");
    assert_eq!(choose_rewrite(&files, &layers, 40, 4), None, "there are few");
    // As many as before.
    assert_eq!(choose(&[span(1, 20, 0), span(1, 20, 0), span(1, 10, 0), span(21, 30, 0)], 40), None);
    // The cheapest for each file less.
    let layers = [span(1, 10, 0), span(11, 30, 0)];
    assert_eq!(choose(&layers, 40), Some((vec![0, 1], vec![0])));
    // A file of another epoch, or one that reaches beyond, holds the others back.
    assert_eq!(choose(&[span(1, 40, 1)], 40), None);
    assert_eq!(choose(&[span(1, 15, 0)], 40), None);
}

/// Merges all that is due.
fn merge_all(index: &mut KeyIndex) -> usize {
    let mut n_merges = 0;
    while let Some(job) = index.pick_merge() {
        assert!(index.pick_merge().is_none(), "one merge at a time");
        let merged = job.run();
        assert!(index.pick_merge().is_none(), "one merge at a time");
        assert!(index.apply_merge(merged));
        n_merges += 1;
    }
    n_merges
}

#[test]
fn any_number_of_builds_leaves_a_handful_of_layers() {
    for is_integer in [true, false] {
        let ledger = MemoryLedger::new(0);
        let mut index = KeyIndex::new(&spec(&[kind_type(is_integer)]), &ledger);
        for build in 0..200 {
            let keys = numbered(is_integer, build * 500..(build + 1) * 500);
            assert_eq!(index.claim(&keys, None).n_losers, 0);
            index.close_layer(build + 1, 0);
            merge_all(&mut index);
            assert!(index.stats().layers <= MAX_LAYERS + 1, "{:?}", index.stats());
            assert_eq!((index.charged(), ledger.used(Share::Keys)), (index.bytes(), index.bytes()));
        }
        assert_eq!(index.stats().keys, 100_000);
        assert_eq!(index.claim(&numbered(is_integer, 0..100_000), None).n_losers, 100_000);
        assert_eq!(index.claim(&numbered(is_integer, 100_000..101_000), None).n_losers, 0);
        index.clear();
        assert!(ledger.used(Share::Keys) < 1000);
    }
}

#[test]
fn dense_layers_of_one_permutation_become_one_as_small_as_they_were() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::UInt64]), &ledger);
    for build in 0..60 {
        index.claim(&Keys::Integers((build * 20_000..(build + 1) * 20_000).collect()), None);
        index.close_layer(build + 1, 0);
        merge_all(&mut index);
    }
    let stats = index.stats();
    assert!(stats.layers <= MAX_LAYERS + 1 && stats.permutations.len() == 1, "{stats:?}");
    assert!(stats.bytes < 100_000, "{stats:?}");
    assert_eq!(index.claim(&Keys::Integers((0..1_200_001).collect()), None).n_losers, 1_200_000);
}

#[test]
fn a_merge_whose_layers_went_changes_nothing() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::Int64]), &ledger);
    let build = |index: &mut KeyIndex, build: u64| {
        index.claim(&numbered(true, build * 1000..(build + 1) * 1000), None);
        index.close_layer(build + 1, build as u32 / 4);
    };
    (0..4).for_each(|i| build(&mut index, i));
    let merged = index.pick_merge().expect("four layers of one epoch").run();
    assert!(merged_charge(&ledger, &index) > 0, "what was merged is counted while it waits");
    index.forget_through(4);
    assert!(!index.apply_merge(merged));
    assert_eq!(index.stats().keys, 0);
    (4..8).for_each(|i| build(&mut index, i));
    let merged = index.pick_merge().expect("four layers of one epoch").run();
    index.clear();
    assert!(!index.apply_merge(merged));
    assert_eq!((index.stats().keys, ledger.used(Share::Keys)), (0, index.bytes()));
    // A job that is dropped frees the way for the next.
    (8..12).for_each(|i| build(&mut index, i));
    drop(index.pick_merge().expect("four layers of one epoch"));
    assert_eq!(merge_all(&mut index), 1);
    assert_eq!(index.claim(&numbered(true, 8000..12_000), None).n_losers, 4000);
}

fn merged_charge(ledger: &Arc<MemoryLedger>, index: &KeyIndex) -> u64 {
    ledger.used(Share::Keys) - index.charged()
}

#[test]
fn epochs_stay_apart_and_are_forgotten_as_a_whole() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::Utf8]), &ledger);
    for build in 0..24 {
        index.claim(&numbered(false, build * 100..(build + 1) * 100), None);
        index.close_layer(build + 1, build as u32 / 8);
        merge_all(&mut index);
    }
    // Eight builds of one epoch are one layer as soon as the next epoch has begun.
    let spans: Vec<(u64, u64)> = index.snapshot().spans();
    assert_eq!(spans[..2], [(1, 8), (9, 16)]);
    index.forget_through(15);
    assert_eq!(index.stats().keys, 1600);
    assert_eq!(index.claim(&numbered(false, 0..2400), None).n_losers, 1600);
}

#[test]
fn memory_that_is_short_is_not_used_for_merges() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::Int64]), &ledger).with_max_bytes(1 << 20);
    for build in 0..2 {
        index.claim(&numbered(true, build * 40_000..(build + 1) * 40_000), None);
        index.close_layer(build + 1, 0);
    }
    assert!(index.bytes() > 500_000 && index.pick_merge().is_none(), "{}", index.bytes());
}

#[test]
fn a_snapshot_and_what_came_since_answer_as_the_index_does() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::Int64]), &ledger);
    let claim = |index: &mut KeyIndex, keys: std::ops::Range<u64>| {
        index.claim(&numbered(true, keys), None);
    };
    claim(&mut index, 0..1000);
    index.close_layer(5, 0);
    claim(&mut index, 1000..1500);
    let snapshot = index.snapshot();
    assert_eq!(snapshot.through(), 5);
    claim(&mut index, 1500..2000);
    index.close_layer(9, 0);
    merge_all(&mut index);
    claim(&mut index, 2000..2500);
    let all = numbered(true, 0..3000);
    let known = snapshot.probe(&all).expect("an answer").expect("some");
    assert_eq!((known.count_set_bits(), known.value(999), known.value(1000)), (1000, true, false));
    let new = index.probe_new(&all, snapshot.through()).expect("an answer").expect("some");
    let whole = index.probe(&all).expect("an answer").expect("some");
    assert_eq!(&known | &new, whole);
    assert!((1000..2500).all(|row| new.value(row)) && !new.value(2500));
    drop(index);
    assert_eq!(snapshot.probe(&all).expect("an answer").map(|known| known.count_set_bits()), Some(1000));
}
