//! Does an entry come back as it was written, and is anything else refused?

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::*;
use crate::error::Code;
use crate::ids::SchemaId;

fn rows(n: usize, width: usize) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n as i64));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("{i:0width$}"))));
    RecordBatch::try_from_iter([("id", ids), ("text", texts)]).expect("columns of one length")
}

fn entry(blocks: Vec<Block>) -> Entry {
    let batches = vec![BatchMeta { producer: "p".to_owned(), epoch: 1, sequence: 7, rows: 3 }];
    Entry { schema: SchemaId(1), stamp_us: 5, uptime_us: 6, body: EntryBody::Rows { batches, blocks } }
}

#[test]
fn rows_come_back_without_those_that_lost() {
    for width in [4, 2_000] {
        let lost: RoaringBitmap = [0, 2].into_iter().collect();
        let blocks = vec![
            Block::encode(&rows(3, width)).expect("encodes"),
            Block::encode(&rows(5, width)).expect("encodes").with_lost(lost),
        ];
        let read = Entry::decode(&entry(blocks).encode()).expect("own bytes");
        assert_eq!((read.stamp_us, read.uptime_us, read.schema), (5, 6, SchemaId(1)));
        let EntryBody::Rows { blocks, batches } = read.body else { panic!("a rows entry") };
        assert_eq!(batches[0].sequence, 7);
        assert_eq!(blocks[0].decode().expect("decodes"), rows(3, width));
        let kept = blocks[1].decode().expect("decodes");
        assert_eq!(kept.num_rows(), 3);
        assert_eq!(kept.column(0).as_ref(), &Int64Array::from(vec![1, 3, 4]));
    }
}

#[test]
fn every_kind_comes_back() {
    let bodies = [
        EntryBody::Segment(Segment { files: vec![vec![1, 2], vec![3]], key_layers: vec![vec![4]] }),
        EntryBody::Delete(Delete { files: vec![DeletedRows { file: "a".to_owned(), rows: vec![5, 6] }] }),
        EntryBody::Truncate,
        EntryBody::Schema { definition: vec![7, 8] },
        EntryBody::Producer(ProducerEpoch { producer: "p".to_owned(), epoch: 9, reset: true }),
        EntryBody::Forget(Forget { producers: vec!["p".to_owned()], keys_through: 10 }),
    ];
    for body in bodies {
        let entry = Entry { schema: SchemaId(2), stamp_us: -5, uptime_us: 6, body };
        let read = Entry::decode(&entry.encode()).expect("own bytes");
        assert_eq!(format!("{read:?}"), format!("{entry:?}"));
    }
}

#[test]
fn the_first_version_is_still_read() {
    let fixture = include_bytes!("../../fixtures/entry-v1.bin");
    let read = Entry::decode(fixture).expect("the fixture");
    let EntryBody::Rows { blocks, .. } = read.body else { panic!("a rows entry") };
    assert_eq!(blocks[0].decode().expect("decodes"), rows(3, 4));
}

proptest! {
    /// No damage is believed, and none brings the process down.
    #[test]
    fn damage_is_found(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>()) {
        let good = entry(vec![Block::encode(&rows(100, 8)).expect("encodes")]).encode();
        let mut flipped = good.clone();
        let i = at.index(flipped.len());
        flipped[i] ^= 1 << bit;
        prop_assert!(Entry::decode(&flipped).is_err());
        let short = &good[..cut.index(good.len())];
        prop_assert_eq!(Entry::decode(short).map(|_| ()).map_err(|e| e.code()), Err(Code::LogDamaged));
    }
}

#[test]
fn only_an_empty_folder_becomes_a_data_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |names: &[&str]| {
        let path = folder.path().join(names.join("+").replace('/', "-"));
        for name in names {
            match name.strip_suffix('/') {
                Some(name) => std::fs::create_dir_all(path.join(name)).expect("made"),
                None => {
                    std::fs::create_dir_all(&path).expect("made");
                    std::fs::write(path.join(name), "").expect("made");
                }
            }
        }
        check_data_folder(&path, &[])
    };
    for fine in [
        &[".hidden", "lost+found/"][..],
        // A volume of Kubernetes.
        &["..data/", "..2026_01_31/"],
        // A first start that ended early.
        &["LOCK"],
        &["LOCK", "witness"],
        &["LOCK", "witness", "log/"],
        // What a person left in a data folder is none of ours.
        &["LOCK", "witness", "log/", "tables/", "notes.txt"],
    ] {
        with(fine).unwrap_or_else(|e| panic!("{fine:?}: {e}"));
    }
    let empty = tempfile::tempdir().expect("a folder");
    check_data_folder(empty.path(), &[]).expect("nothing is in it");
    std::fs::write(empty.path().join("demo.log"), "").expect("made");
    check_data_folder(empty.path(), &["demo.log"]).expect("the caller's own");
    check_data_folder(&folder.path().join("absent"), &[]).expect("it will be made");
    // A RocksDB of somebody, a home, logs of a program, tables without their log.
    for other in [&["CURRENT", "LOCK"][..], &["notes.txt"], &["log/", "a.txt"], &["tables/"], &["witness", "x/"]] {
        let error = with(other).expect_err("refused");
        assert_eq!(error.code(), Code::FolderUnusable, "{other:?}");
        assert!(error.message().contains(" is no data folder"), "{error}");
    }
}
