//! Are a stream's keys told from those that others brought meanwhile, and do they become the table's?

use std::ops::Range;

use super::super::{ClosedLayer, KeyIndex, Keys};
use super::{kind_type, numbered, snowflake, spec};
use crate::memory::{MemoryLedger, Share};

fn check(is_integer: bool, keys: impl Fn(Range<u64>) -> Keys) {
    let (spec, ledger) = (spec(&[kind_type(is_integer)]), MemoryLedger::new(1 << 30));
    let mut table = KeyIndex::new(&spec, &ledger);
    table.claim(&keys(0..10_000), None);
    table.close_layer(1, 0);
    let mut stream = KeyIndex::new(&spec, &ledger);
    stream.claim(&keys(10_000..30_000), None);
    let charged = table.charged();
    let layers = stream.into_layers();
    assert_eq!(ledger.used(Share::Keys), charged, "nobody is charged for them");
    assert_eq!(layers.iter().map(ClosedLayer::len).sum::<usize>(), 20_000);
    let own: Vec<&ClosedLayer> = layers.iter().collect();
    let before = table.snapshot();
    assert_eq!((before.n_since(1), before.meets_since(1, &own)), (0, false));
    table.claim(&keys(30_000..35_000), None);
    table.close_layer(2, 0);
    let now = table.snapshot();
    assert_eq!((now.n_since(1), now.meets_since(1, &own)), (5_000, false));
    // One of the stream's, and a hundred others.
    table.claim(&keys(29_999..35_100), None);
    table.close_layer(3, 0);
    let now = table.snapshot();
    assert_eq!((now.n_since(2), now.meets_since(2, &own)), (101, true));
    assert!(now.meets_since(1, &own) && !now.meets_since(3, &own));
    let known = now.probe(&keys(10_000..30_000)).expect("in memory").expect("one");
    assert_eq!(known.set_indices().collect::<Vec<_>>(), [19_999]);
    for layer in layers {
        table.add_layer(layer, 4, 4, 0);
    }
    assert_eq!(table.claim(&keys(10_000..30_001), None).n_losers, 20_001);
}

#[test]
fn keys_that_came_meanwhile_are_found() {
    check(true, |numbers| numbered(true, numbers));
    check(false, |numbers| numbered(false, numbers));
    check(true, |numbers| Keys::Integers(numbers.map(snowflake).collect()));
}

#[test]
fn a_stream_without_keys_has_no_layers() {
    let ledger = MemoryLedger::new(1 << 30);
    assert!(KeyIndex::new(&spec(&[kind_type(true)]), &ledger).into_layers().is_empty());
    assert_eq!(ledger.used(Share::Keys), 0);
}
