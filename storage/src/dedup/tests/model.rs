//! Does an index answer as a plain set does?

use std::collections::HashSet;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::super::{KeyIndex, Keys};
use super::{random, snowflake, spec};
use crate::memory::MemoryLedger;

/// How a stream of keys looks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Random,
    Sequential,
    Jittered,
    Snowflake,
    SameLowBits,
    SameHighBits,
    Extremes,
    FewValues,
    Interleaved,
    /// Dense, then random: the class changes on the way.
    DenseThenRandom,
    RandomThenDense,
}

pub(super) const SHAPES: [Shape; 11] = [
    Shape::Random,
    Shape::Sequential,
    Shape::Jittered,
    Shape::Snowflake,
    Shape::SameLowBits,
    Shape::SameHighBits,
    Shape::Extremes,
    Shape::FewValues,
    Shape::Interleaved,
    Shape::DenseThenRandom,
    Shape::RandomThenDense,
];

impl Shape {
    pub(super) fn key(self, i: u64) -> u64 {
        match self {
            Shape::Random => random(i),
            Shape::Sequential => i,
            Shape::Jittered => (1 << 40) + i + random(i) % 1000,
            Shape::Snowflake => snowflake(i),
            Shape::SameLowBits => random(i) << 40,
            Shape::SameHighBits => random(i) >> 40,
            Shape::Extremes => match i % 4 {
                0 => i / 4,
                1 => u64::MAX - i / 4,
                2 => 1 << (i / 4 % 64),
                _ => !(1 << (i / 4 % 64)),
            },
            Shape::FewValues => random(i) % 100,
            Shape::Interleaved => ((i % 300) << 32) | (i / 300),
            Shape::DenseThenRandom => {
                if i < 40_000 {
                    i
                } else {
                    random(i)
                }
            }
            Shape::RandomThenDense => {
                if i < 5_000 {
                    random(i)
                } else {
                    i
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Claims the next keys, and some that were seen before.
    Claim {
        n_new: usize,
        n_old: usize,
    },
    Close,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let claim = (0..4000_usize, 0..300_usize).prop_map(|(n_new, n_old)| Step::Claim { n_new, n_old });
    let small = (0..300_usize, 0..30_usize).prop_map(|(n_new, n_old)| Step::Claim { n_new, n_old });
    let step = prop_oneof![6 => claim, 10 => small, 2 => Just(Step::Close), 1 => Just(Step::Clear)];
    prop::collection::vec(step, 1..20)
}

pub(super) fn hashed(keys: &[u64]) -> Keys {
    // Half of the hashes share their high half, half of them their low half.
    Keys::Hashes(keys.iter().map(|k| if k % 2 == 0 { u128::from(*k) } else { u128::from(*k) << 64 | 5 }).collect())
}

/// Claims `keys` and compares with `model`. Returns what lost.
fn check(
    index: &mut KeyIndex,
    model: &mut HashSet<u64>,
    raw: &[u64],
    keys: &Keys,
    skip: Option<&BooleanBuffer>,
) -> Option<BooleanBuffer> {
    let before = index.bytes();
    index.has_capacity(raw.len()).unwrap();
    let bound = index.charged();
    let claimed = index.claim(keys, skip);
    assert!(index.bytes() <= bound, "{} keys grew {before} to {}, past {bound}", raw.len(), index.bytes());
    assert_eq!(index.charged(), index.bytes());
    let mut n_losers = 0;
    for (row, key) in raw.iter().enumerate() {
        let is_skipped = skip.is_some_and(|skip| skip.value(row));
        let lost = claimed.losers.as_ref().is_some_and(|losers| losers.value(row));
        assert_eq!(lost, !is_skipped && !model.insert(*key), "row {row}, key {key:#x}");
        n_losers += usize::from(lost);
    }
    assert_eq!(claimed.n_losers, n_losers);
    assert_eq!(claimed.losers.is_some(), n_losers > 0);
    assert_eq!(index.stats().keys as usize, model.len());
    claimed.losers
}

/// Runs `steps` on an index, and its entries on a second one as replay does.
fn run(shape: Shape, hashes: bool, steps: &[Step]) {
    let ledger = MemoryLedger::new(8 << 30);
    let types = if hashes { vec![DataType::Utf8] } else { vec![DataType::Int64] };
    let spec = spec(&types);
    let (mut live, mut replayed) = (KeyIndex::new(&spec, &ledger), KeyIndex::new(&spec, &ledger));
    let mut model = HashSet::new();
    let mut next = 0;
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Claim { n_new, n_old } => {
                let new = (next..next + *n_new as u64).map(|i| shape.key(i));
                let old = (0..*n_old as u64).map(|i| shape.key(random(i + next) % (next + *n_new as u64 + 1)));
                let mut raw: Vec<u64> = new.chain(old).collect();
                next += *n_new as u64;
                // Old keys stand between new ones, and some before the row that is the first with the key.
                for i in 0..raw.len() {
                    if random(i as u64).is_multiple_of(10) {
                        let other = random(i as u64 + 1) as usize % raw.len();
                        raw.swap(i, other);
                    }
                }
                let keys = if hashes { hashed(&raw) } else { Keys::Integers(raw.clone()) };
                let skip: Option<BooleanBuffer> =
                    (n % 3 == 0).then(|| (0..raw.len()).map(|row| random(row as u64).is_multiple_of(20)).collect());
                let lost = check(&mut live, &mut model, &raw, &keys, skip.as_ref());
                let mask = match (&skip, &lost) {
                    (Some(skip), Some(lost)) => Some(skip | lost),
                    (skip, lost) => skip.clone().or(lost.clone()),
                };
                replayed.insert(&keys, mask.as_ref());
            }
            Step::Close => {
                live.close_layer(n as u64 + 1, 0);
            }
            Step::Clear => {
                live.clear();
                replayed.clear();
                model.clear();
                assert_eq!(live.stats().keys, 0);
                assert!(live.bytes() < 1000, "{}", live.bytes());
            }
        }
    }
    let all: Vec<u64> = (0..next + 100).map(|i| shape.key(i)).chain([0, 1, u64::MAX, u64::MAX - 1]).collect();
    let keys = if hashes { hashed(&all) } else { Keys::Integers(all.clone()) };
    for index in [&live, &replayed] {
        let present = index.probe(&keys).expect("an answer");
        for (row, key) in all.iter().enumerate() {
            assert_eq!(present.as_ref().is_some_and(|p| p.value(row)), model.contains(key), "key {key:#x}");
        }
        assert_eq!(index.stats().keys as usize, model.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_plain_set(shape in prop::sample::select(&SHAPES[..]), hashes in any::<bool>(), steps in steps()) {
        run(shape, hashes, &steps);
    }
}

#[test]
fn every_shape_of_keys_is_exact_in_large_batches_with_layers_closed_on_the_way() {
    let claim = |n_new| Step::Claim { n_new, n_old: 500 };
    for shape in SHAPES {
        let steps = [claim(30_000), claim(30_000), Step::Close, claim(20_000), claim(1), Step::Close, claim(10_000)];
        run(shape, false, &steps);
    }
    run(Shape::Random, true, &[claim(30_000), Step::Close, claim(30_000)]);
}

#[test]
fn a_batch_of_one_key_keeps_its_first_row() {
    let ledger = MemoryLedger::new(0);
    let mut index = KeyIndex::new(&spec(&[DataType::Int64]), &ledger);
    let claimed = index.claim(&Keys::Integers(vec![9; 1000]), None);
    assert_eq!(claimed.n_losers, 999);
    assert!(!claimed.losers.unwrap().value(0));
    assert_eq!(index.claim(&Keys::Integers(Vec::new()), None).n_losers, 0);
}
