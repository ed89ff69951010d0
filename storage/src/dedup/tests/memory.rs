//! Is what is reported what is held, is it as little as promised, and does a budget refuse without harm?

use arrow::datatypes::DataType;

use super::super::hot::HotSet;
use super::super::permutation::Permutation;
use super::super::{KeyIndex, Keys};
use super::{random, snowflake, spec};
use crate::error::Code;
use crate::memory::{MemoryLedger, Share};

/// Claims `n` keys in batches of 10,000; returns class and bytes a key.
fn load(n: u64, key: impl Fn(u64) -> u64) -> (&'static str, f64) {
    let ledger = MemoryLedger::new(16 << 30);
    let mut index = KeyIndex::new(&spec(&[DataType::UInt64]), &ledger);
    for start in (0..n).step_by(10_000) {
        let keys = Keys::Integers((start..n.min(start + 10_000)).map(&key).collect());
        index.has_capacity(keys.len()).unwrap();
        assert_eq!(index.claim(&keys, None).n_losers, 0);
    }
    let stats = index.stats();
    assert_eq!(stats.keys, n);
    assert_eq!(ledger.used(Share::Keys), stats.bytes);
    (stats.class, stats.bytes as f64 / n as f64)
}

/// A permutation of `block` numbers at a time: ids that arrive out of order by so much.
fn jittered(i: u64, block: u64) -> u64 {
    i / block * block + (i % block * 7919) % block
}

#[test]
fn ordered_keys_take_less_than_half_a_byte() {
    type Case = (&'static str, f64, u64, fn(u64) -> u64);
    let cases: [Case; 5] = [
        ("sequential", 0.2, 1_000_000, |i| i),
        ("jittered", 0.4, 1_000_000, |i| jittered(i, 10_000)),
        ("snowflake", 0.5, 2_000_000, snowflake),
        ("snowflake bursts", 4.0, 1_000_000, |i| {
            // One millisecond in fifty brings two hundred ids from one machine.
            let ms = i / 200 * 50;
            if i % 200 < 100 { (ms << 22) | (i % 200) } else { (ms + i % 50) << 22 | (i % 100 / 50) << 12 | 200 }
        }),
        ("interleaved", 4.0, 1_000_000, |i| ((i % 200) << 40) | (i / 200)),
    ];
    for (name, most, n, key) in cases {
        let (class, bytes) = load(n, key);
        assert_eq!(class, "dense", "{name}");
        assert!(bytes <= most, "{name}: {bytes:.2} bytes a key");
    }
}

#[test]
fn random_keys_take_less_than_twelve_bytes() {
    for n in [20_000, 100_000, 400_000, 700_000, 1_000_000] {
        let (class, bytes) = load(n, random);
        assert_eq!(class, "sparse");
        assert!(bytes <= 12.0, "{n} keys: {bytes:.2} bytes a key");
    }
}

#[test]
fn a_class_is_left_when_keys_fall_apart_and_the_dense_part_stays_only_if_it_pays() {
    let (class, bytes) = load(600_000, |i| if i < 500_000 { i } else { random(i) });
    assert_eq!(class, "sparse");
    assert!(bytes < 3.0, "{bytes}");
    // A first sample that is dense, then a slow decay: every key moves over, a few at a time.
    let (class, bytes) = load(600_000, |i| if i < 5_000 { i } else { i * 1_000 });
    assert_eq!(class, "sparse");
    assert!(bytes < 12.0, "{bytes}");
}

#[test]
fn a_budget_that_is_used_up_refuses_and_forgets_nothing() {
    for types in [DataType::Int64, DataType::Utf8] {
        let is_integer = types == DataType::Int64;
        let ledger = MemoryLedger::new(0);
        let mut index = KeyIndex::new(&spec(&[types]), &ledger).with_max_bytes(3 << 20);
        let batch = |i: u64| {
            let keys = (i * 1000..(i + 1) * 1000).map(random);
            if is_integer { Keys::Integers(keys.collect()) } else { Keys::Hashes(keys.map(u128::from).collect()) }
        };
        let mut n_batches = 0;
        let error = loop {
            match index.has_capacity(1000) {
                Ok(()) => assert_eq!(index.claim(&batch(n_batches), None).n_losers, 0),
                Err(error) => break error,
            }
            n_batches += 1;
        };
        assert!(n_batches > 30, "{n_batches}");
        assert_eq!(error.code(), Code::DedupBudget);
        assert!(error.message().contains("3145728"), "{error}");
        let stats = index.stats();
        assert!(stats.bytes <= 3 << 20 && ledger.used(Share::Keys) == stats.bytes);
        for i in 0..n_batches {
            assert!(index.probe(&batch(i)).expect("an answer").is_some_and(|present| present.count_set_bits() == 1000));
        }
        assert!(index.probe(&batch(n_batches)).expect("an answer").is_none());
        assert!(index.has_capacity(1000).is_err());
        assert_eq!(index.stats(), stats);
        index.clear();
        index.has_capacity(1000).unwrap();
    }
}

#[test]
fn the_share_is_of_all_tables_and_is_given_back() {
    let ledger = MemoryLedger::new(0);
    let share = ledger.share(Share::Keys);
    let other = ledger.charge(Share::Keys, share - 1000);
    let mut index = KeyIndex::new(&spec(&[DataType::Int64]), &ledger);
    let error = index.has_capacity(10_000).unwrap_err();
    assert_eq!(error.code(), Code::DedupBudget);
    assert_eq!(ledger.used(Share::Keys), share - 1000);
    drop(other);
    index.has_capacity(10_000).unwrap();
    index.claim(&Keys::Integers((0..10_000).collect()), None);
    drop(index);
    assert_eq!(ledger.used(Share::Keys), 0);
}

#[test]
fn ordered_keys_are_taken_long_after_random_ones_are_refused() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::UInt64]), &ledger).with_max_bytes(24 << 20);
    for start in (0..3_000_000).step_by(10_000) {
        index.has_capacity(10_000).unwrap();
        index.claim(&Keys::Integers((start..start + 10_000).collect()), None);
    }
    assert_eq!(index.stats().keys, 3_000_000);
}

#[test]
fn closing_packs_dense_layers() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::UInt64]), &ledger);
    index.claim(&Keys::Integers((0..300_000).collect()), None);
    let open = index.bytes();
    assert_eq!(index.close_layer(1, 0).len(), 1);
    assert!(index.bytes() < open / 10, "{} of {open}", index.bytes());
    assert_eq!(index.close_layer(2, 0).len(), 0);
    // The next layer starts from what was learned.
    index.claim(&Keys::Integers(vec![400_000]), None);
    assert_eq!((index.stats().class, index.stats().layers), ("dense", 2));
}

#[test]
fn the_hot_table_counts_what_it_allocates() {
    let mut hot = HotSet::<u64>::new([1, 2]);
    for i in 0..3000 {
        hot.extend(&[random(i)]);
        assert_eq!(hot.bytes(), hot.measured_bytes());
    }
}

#[test]
fn copies_and_merges_of_hot_tables_count_what_they_allocate() {
    let of = |keys: std::ops::Range<u64>| {
        let mut hot = HotSet::<u64>::new([1, 2]);
        hot.extend(&keys.map(random).collect::<Vec<_>>());
        hot
    };
    let (small, large, overlapping) = (of(0..3_000), of(3_000..13_000), of(2_000..4_000));
    let merged = HotSet::merged(&small, &[&large, &overlapping]);
    assert_eq!(merged.len(), 13_000);
    assert_eq!(merged.bytes(), merged.measured_bytes());
    let mut keys = merged.keys();
    keys.sort_unstable();
    let mut expected: Vec<u64> = (0..13_000).map(random).collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    for set in [&small, &large, &merged, &of(0..1), &of(0..0)] {
        let words: Vec<u64> = set.in_order().collect();
        assert!(words.len() == set.len() && words.is_sorted());
    }
}

#[test]
fn permutations_are_bijections() {
    for holes in [0, 1, u64::MAX, 0xFF00, 0x8000_0000_0000_0001, 0x0F0F_0000_00F0_3000, 0x5555_5555_5555_5555] {
        let permutation = Permutation::new(holes);
        for i in 0..1000 {
            let key = random(i);
            assert_eq!(permutation.invert(permutation.apply(key)), key, "{holes:#x}");
        }
        let bits: u64 = (0..64).map(|bit| permutation.apply(1 << bit)).fold(0, |all, bit| {
            assert_eq!((bit.count_ones(), all & bit), (1, 0));
            all | bit
        });
        assert_eq!(bits, u64::MAX);
    }
    assert_eq!(Permutation::new(0xF0).apply(0xABC), 0xB << 60 | 0xAC);
}
