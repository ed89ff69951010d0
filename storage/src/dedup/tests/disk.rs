//! Does a closed layer come back from disk as it was, and is damage refused?

use arrow::datatypes::DataType;
use xxhash_rust::xxh3::xxh3_64;

use super::super::{ClosedLayer, KeyIndex, Keys};
use super::{random, snowflake, spec};
use crate::error::Code;
use crate::memory::MemoryLedger;

/// Keys whose layer is each of the three forms.
fn cases() -> [(DataType, &'static str, Keys); 3] {
    let n = 5_000;
    [
        (DataType::UInt64, "dense", Keys::Integers((0..n).map(snowflake).collect())),
        (DataType::UInt64, "sparse", Keys::Integers((0..n).map(random).chain([0, u64::MAX]).collect())),
        (DataType::Utf8, "sparse", Keys::Hashes((0..n).map(|i| u128::from(random(i)) << 64 | u128::from(i)).collect())),
    ]
}

fn written(data_type: &DataType, keys: &Keys) -> Vec<u8> {
    let mut index = KeyIndex::new(&spec(std::slice::from_ref(data_type)), &MemoryLedger::new(0));
    index.claim(keys, None);
    let mut bytes = Vec::new();
    let made = index.close_layer(1, 0);
    let [layer] = made.as_slice() else { panic!("one layer") };
    layer.write_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn layers_come_back_as_they_were() {
    for (data_type, class, keys) in cases() {
        let bytes = written(&data_type, &keys);
        let spec = spec(&[data_type]);
        let layer = ClosedLayer::read_from(bytes.as_slice(), &spec, "x").unwrap();
        assert_eq!((layer.class(), layer.len()), (class, keys.len()));
        let mut again = Vec::new();
        layer.write_to(&mut again).unwrap();
        assert_eq!(bytes, again);
        let mut index = KeyIndex::new(&spec, &MemoryLedger::new(0));
        index.add_layer(layer, 1, 1, 0);
        assert_eq!(index.claim(&keys, None).n_losers, keys.len());
        let more = match &keys {
            Keys::Integers(_) => Keys::Integers(vec![random(1 << 40), 3]),
            Keys::Hashes(_) => Keys::Hashes(vec![1, 2]),
        };
        assert_eq!(index.claim(&more, None).n_losers, 0);
    }
}

#[test]
fn damage_is_refused_wherever_it_is() {
    for (data_type, _, keys) in cases() {
        let bytes = written(&data_type, &keys);
        let spec = spec(&[data_type]);
        for at in (0..64).chain((64..bytes.len()).step_by(997)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let error = ClosedLayer::read_from(damaged.as_slice(), &spec, "layer-7").unwrap_err();
            assert!(matches!(error.code(), Code::LogDamaged | Code::LogUnknownVersion), "{error}");
            assert!(error.message().contains("layer-7"), "{error}");
            let cut = ClosedLayer::read_from(&bytes[..at], &spec, "layer-7").unwrap_err();
            assert_eq!(cut.code(), Code::LogDamaged);
        }
    }
}

#[test]
fn an_unknown_version_and_keys_of_another_kind_are_refused_by_name() {
    let (data_type, _, keys) = cases()[0].clone();
    let mut bytes = written(&data_type, &keys);
    let error = ClosedLayer::read_from(bytes.as_slice(), &spec(&[DataType::Utf8]), "x").unwrap_err();
    assert_eq!(error.code(), Code::LogDamaged);
    bytes[4] = 2;
    let end = bytes.len() - 8;
    let checksum = xxh3_64(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
    let error = ClosedLayer::read_from(bytes.as_slice(), &spec(&[data_type]), "x").unwrap_err();
    assert_eq!(error.code(), Code::LogUnknownVersion);
    assert!(error.message().contains("version 2"), "{error}");
}

/// Layers written by version 1. They are never written again: a new version gets new files beside these.
#[test]
fn layers_of_version_1_are_read() {
    let files: [(&[u8], DataType, Keys); 3] = [
        (include_bytes!("layer-v1-dense.bin"), DataType::UInt64, Keys::Integers((0..300).map(snowflake).collect())),
        (include_bytes!("layer-v1-sparse.bin"), DataType::UInt64, Keys::Integers((0..200).map(random).collect())),
        (
            include_bytes!("layer-v1-hashes.bin"),
            DataType::Utf8,
            Keys::Hashes((0..100).map(|i| u128::from(random(i)) << 32).collect()),
        ),
    ];
    for (bytes, data_type, keys) in files {
        let spec = spec(&[data_type]);
        let layer = ClosedLayer::read_from(bytes, &spec, "fixture").unwrap();
        assert_eq!(layer.len(), keys.len());
        let mut index = KeyIndex::new(&spec, &MemoryLedger::new(0));
        index.add_layer(layer, 1, 1, 0);
        assert_eq!(index.claim(&keys, None).n_losers, keys.len());
    }
}
