//! Is a sidecar read as it was written, and is one that is damaged refused?

use bytes::Bytes;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Code, Result};
use crate::sealed::sidecar::form::{DirectoryBuilder, encode_filter};
use crate::sealed::sidecar::{Block, Directory, Filter, TAIL_BYTES};

/// Numbers without order, the same in every run (SplitMix64, Steele and others, 2014).
fn random(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A sidecar of blocks with these hashes.
fn written(blocks: &[Vec<u64>]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), DirectoryBuilder::default());
    for hashes in blocks {
        let filter = encode_filter(&mut hashes.clone());
        directory.add(hashes.len() as u32, &filter).expect("it is small enough");
        out.extend(filter);
    }
    out.extend(directory.finish());
    out
}

fn parsed(bytes: &[u8]) -> Result<(Directory, Vec<Filter>)> {
    let directory = Directory::parse(bytes, bytes.len() as u64)?;
    let filter = |of: &Block| {
        let own = &bytes[of.range.start as usize..of.range.end as usize];
        Filter::parse(of, Bytes::copy_from_slice(own))
    };
    let filters = directory.blocks.iter().map(filter).collect::<Result<_>>()?;
    Ok((directory, filters))
}

/// The directory of entries (rows, filter's bytes, checksum), made by hand.
fn directory(entries: &[(u32, u32, u64)], n_blocks: u32, version: u16) -> Vec<u8> {
    let mut out = Vec::new();
    for (rows, n_bytes, checksum) in entries {
        out.extend(rows.to_le_bytes());
        out.extend(n_bytes.to_le_bytes());
        out.extend(checksum.to_le_bytes());
    }
    out.extend(n_blocks.to_le_bytes());
    out.extend(version.to_le_bytes());
    out.extend([0, 0]);
    out.extend(b"TWKF");
    let checksum = xxh3_64(&out);
    out.extend(checksum.to_le_bytes());
    out
}

#[test]
fn a_key_may_be_where_it_is_and_hardly_elsewhere() {
    for n in [1, 2, 3, 5, 10, 1_000, 20_000] {
        let groups: Vec<Vec<u64>> = (0..3).map(|group| (0..n).map(|i| random(group << 40 | i)).collect()).collect();
        let bytes = written(&groups);
        let (directory, filters) = parsed(&bytes).expect("whole");
        assert!(directory.blocks.iter().all(|group| group.rows == n));
        for (hashes, filter) in groups.iter().zip(&filters) {
            assert!(hashes.iter().all(|hash| filter.contains(*hash)), "{n} keys");
            let n_wrong = (0..100_000).filter(|i| filter.contains(random(1 << 50 | i))).count();
            assert!(n_wrong < 550, "{n} keys: {n_wrong} of 100,000 others");
        }
        assert!(n < 20_000 || bytes.len() < 3 * 20_000 * 5 / 4, "{} bytes", bytes.len());
    }
}

#[test]
fn keys_that_are_there_twice_do_no_harm() {
    let (_, filters) = parsed(&written(&[vec![7, 7, 9, 7, 9, 7]])).expect("whole");
    assert!(filters[0].contains(7) && filters[0].contains(9));
}

#[test]
fn a_block_without_a_filter_may_hold_any_key() {
    let (directory, filters) = parsed(&written(&[vec![1, 2], vec![], vec![3]])).expect("whole");
    assert!(directory.blocks[1].range.is_empty());
    assert!((0..1_000).all(|i| filters[1].contains(random(i))));
    assert!(filters[2].contains(3));
}

/// Made by another implementation, of the keys 1 to 5, of -100 to -81, and of 3 rows without a filter.
#[test]
fn the_first_version_is_read() {
    let fixture = include_bytes!("sidecar-v1.filters");
    let (found, filters) = parsed(fixture).expect("whole");
    let groups: Vec<(u64, u64, u64)> =
        found.blocks.iter().map(|group| (group.rows, group.range.start, group.range.end)).collect();
    assert_eq!(groups, [(5, 0, 40), (20, 40, 104), (3, 104, 104)]);
    let hash = |key: i64| xxh3_64(&key.to_le_bytes());
    let among = |filter: &Filter, keys: std::ops::Range<i64>| {
        keys.filter(|key| filter.contains(hash(*key))).collect::<Vec<_>>()
    };
    assert_eq!(among(&filters[0], 1..6), [1, 2, 3, 4, 5]);
    assert_eq!(among(&filters[1], -100..-80), (-100..-80).collect::<Vec<_>>());
    // What is admitted by mistake is a part of the form as well.
    assert_eq!(among(&filters[0], 1_000..2_000), [1_033, 1_579, 1_743, 1_894]);
    assert_eq!(among(&filters[1], 1_000..2_000), [1_211, 1_696]);
    assert_eq!(among(&filters[2], 0..10).len(), 10);
    // What is written of the same filters now has another version, which readers of row groups refuse, and is the same but for that.
    let mut expected = fixture[104..fixture.len() - size_of::<u64>()].to_vec();
    expected[3 * 16 + 4] = 2;
    let checksum = xxh3_64(&expected);
    expected.extend(checksum.to_le_bytes());
    let mut again = DirectoryBuilder::default();
    for (rows, filter) in [(5, &fixture[..40]), (20, &fixture[40..104]), (3, &fixture[..0])] {
        again.add(rows, filter).expect("it is small enough");
    }
    assert_eq!(again.finish(), expected);
}

#[test]
fn every_flipped_bit_is_seen() {
    let whole = written(&[(0..40).map(random).collect(), (40..45).map(random).collect()]);
    parsed(&whole).expect("whole");
    for at in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        let error = parsed(&damaged).expect_err("damaged");
        assert!(matches!(error.code(), Code::FileDamaged | Code::LogUnknownVersion), "bit {at}: {error}");
    }
}

#[test]
fn another_length_is_seen() {
    let whole = written(&[(0..40).map(random).collect()]);
    for n_bytes in 0..whole.len() {
        Directory::parse(&whole[..n_bytes], n_bytes as u64).expect_err("its end is missing");
        Directory::parse(&whole[whole.len() - n_bytes..], n_bytes as u64).expect_err("its beginning is missing");
    }
    Directory::parse(&whole, whole.len() as u64 + 1).expect_err("another file's end");
    let found = Directory::parse(&whole, whole.len() as u64).expect("whole");
    Filter::parse(&found.blocks[0], Bytes::copy_from_slice(&whole[..39])).expect_err("a part of a filter");
}

#[test]
fn what_cannot_be_is_refused_with_a_checksum_that_fits() {
    let refused = |bytes: &[u8]| parsed(bytes).expect_err("refused").code();
    assert_eq!(refused(&directory(&[], 0, 0)), Code::LogUnknownVersion);
    assert_eq!(refused(&directory(&[], 0, 3)), Code::LogUnknownVersion);
    assert_eq!(refused(&directory(&[], u32::MAX, 1)), Code::FileDamaged);
    assert_eq!(refused(&directory(&[(1, 0, 0)], 2, 1)), Code::FileDamaged);
    assert_eq!(refused(&directory(&[(1, u32::MAX, 0); 3], 3, 1)), Code::FileDamaged);
    parsed(&directory(&[], 0, 1)).expect("a file without rows");
    // Shapes whose places lie outside, and one that is cut off.
    let shape = |length: u32, count: u32, n_bytes: usize| {
        let mut filter = [7_u64.to_le_bytes().as_slice(), &length.to_le_bytes(), &count.to_le_bytes()].concat();
        filter.resize(n_bytes, 0);
        let entry = (1, filter.len() as u32, xxh3_64(&filter));
        filter.extend(directory(&[entry], 1, 1));
        filter
    };
    parsed(&shape(8, 8, 16 + 24)).expect("sound");
    for unsound in
        [shape(0, 8, 40), shape(3, 8, 40), shape(8, 0, 40), shape(8, 16, 40), shape(8, 8, 16), shape(8, 8, 9)]
    {
        assert_eq!(refused(&unsound), Code::FileDamaged);
    }
}

#[test]
fn the_directory_is_found_from_the_end() {
    let filter = encode_filter(&mut (0..50_000).map(random).collect());
    let (mut bytes, mut builder) = (Vec::new(), DirectoryBuilder::default());
    while !builder.is_full() {
        builder.add(50_000, &filter).expect("it is small enough");
        bytes.extend_from_slice(&filter);
        if bytes.len() > 1 << 20 {
            break;
        }
    }
    bytes.extend(builder.finish());
    let tail = &bytes[bytes.len() - TAIL_BYTES as usize..];
    let found = Directory::parse(tail, bytes.len() as u64).expect("it is there");
    assert_eq!(found, parsed(&bytes).expect("whole").0);
    let mut full = DirectoryBuilder::default();
    while !full.is_full() {
        full.add(1, &[]).expect("it is small enough");
    }
    let full = full.finish();
    assert!(full.len() as u64 <= TAIL_BYTES, "{} bytes", full.len());
    assert!(Directory::parse(&full, full.len() as u64).expect("whole").blocks.len() > 2_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_that_is_read_ends_the_process(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        n in any::<u32>(),
        rows in any::<u32>(),
    ) {
        drop(parsed(&bytes));
        let entry = (rows, n % 300, xxh3_64(&bytes));
        let mut whole = bytes;
        whole.extend(directory(&[entry], n % 3, 1));
        drop(parsed(&whole));
    }

    #[test]
    fn no_key_is_ever_denied(hashes in prop::collection::vec(any::<u64>(), 0..600)) {
        let (_, filters) = parsed(&written(std::slice::from_ref(&hashes))).expect("whole");
        prop_assert!(hashes.iter().all(|hash| filters[0].contains(*hash)));
    }
}
