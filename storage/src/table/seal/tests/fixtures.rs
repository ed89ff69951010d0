//! Does this version read what the first one wrote of builds, publishes and streams?
//!
//! The bytes stand in `storage/fixtures`. They are never written again: a change of a form needs a version and a fixture of its own beside
//! these. Where one is missing it is written when `UPDATE_FIXTURES` is set.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use roaring::RoaringBitmap;
use uuid::Uuid;

use crate::env::Moment;
use crate::error::{Code, Result};
use crate::ids::{CommitSeq, SchemaId};
use crate::log::{Entry, EntryBody, Segment};
use crate::sealed::{ColumnBounds, DeletionVector, SegmentFile, Sidecar};
use crate::table::seal::records::{
    Base, BuiltRange, Gone, Intent, LayerFile, NameKind, PublishedFile, Settled, deleted_from_disk, deleted_to_disk,
};

/// What the fixture of this name holds.
fn fixture(name: &str, written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if !path.exists() && std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, written).expect("a fixture");
    }
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; UPDATE_FIXTURES=1 writes a missing one", path.display()))
}

/// The fixture is read as `example`, whose bytes are `written`, and not at all when it is cut or of another version.
fn check<T: Debug>(name: &str, example: &T, written: &[u8], read: impl Fn(&[u8]) -> Result<T>) {
    let bytes = fixture(name, written);
    // Not all of what a record says has an equality: arrays have none.
    let found = read(&bytes).expect("the fixture is read");
    assert_eq!(format!("{found:?}"), format!("{example:?}"), "{name}");
    assert_eq!(read(&[]).expect_err("it is empty").code(), Code::LogDamaged, "{name}");
    let newer = [vec![bytes[0] + 1], bytes[1..].to_vec()].concat();
    let code = read(&newer).expect_err("of another version").code();
    assert!(matches!(code, Code::LogUnknownVersion | Code::LogDamaged), "{name}: {code}");
    // A flipped bit may give another record, and never a panic.
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = read(&flipped);
    }
}

fn file(name: &str, entry: Option<(CommitSeq, i64)>) -> SegmentFile {
    let some = |value: ArrayRef| Some(value);
    SegmentFile {
        name: name.to_owned(),
        bytes: 4096,
        rows: 100,
        checksum: 0x0123_4567_89ab_cdef,
        schema: SchemaId(2),
        min_seq: CommitSeq(5),
        max_seq: CommitSeq(7),
        entry,
        hour: Some(472_222),
        columns: vec![
            ColumnBounds {
                min: some(Arc::new(Int64Array::from(vec![-5]))),
                max: some(Arc::new(Int64Array::from(vec![300]))),
                nulls: 0,
            },
            ColumnBounds { min: some(Arc::new(StringArray::from(vec!["apple"]))), max: None, nulls: 3 },
        ],
        created_at_us: 1_700_000_000_000_000,
        sidecar: Some(Sidecar { name: format!("{name}.keys"), bytes: 130, checksum: 77 }),
        tail: None,
    }
}

fn vector() -> DeletionVector {
    let descriptor = concat!(
        "\u{1}",
        r#"{"storageType":"u","pathOrInlineDv":"_dvvBn[lx{q8@P<9BNH/isA","offset":1,"sizeInBytes":36,"cardinality":2}"#
    );
    DeletionVector::from_disk(descriptor.as_bytes()).expect("a descriptor")
}

fn published() -> PublishedFile {
    let since = Some(Moment { wall_us: 1_700_000_000_000_001, uptime_us: 60_000_000 });
    PublishedFile { file: file("b.parquet", None), version: 4, vector: Some(vector()), since }
}

fn settled() -> Settled {
    Settled {
        version: 4,
        through: 7,
        schema: 2,
        has_vectors: true,
        timestamp_ms: 1_700_000_000_123,
        checkpoint: Some(3),
        first_version: 1,
    }
}

fn layer() -> LayerFile {
    LayerFile {
        name: "c.keys".to_owned(),
        bytes: 2048,
        keys: 100,
        from: 5,
        through: 7,
        stamp_us: 1_700_000_000_000_002,
        uptime_us: 61_000_000,
        is_run: true,
        epoch: 3,
        epoch_began_us: 50_000_000,
    }
}

#[test]
fn a_built_range_is_read() {
    let range = BuiltRange {
        from: CommitSeq(5),
        through: CommitSeq(7),
        files: vec![file("a.parquet", None), file("s.parquet", Some((CommitSeq(6), 1_700_000_000_000_000)))],
    };
    check("built-range-v1.bin", &range, &range.to_disk(), BuiltRange::from_disk);
    assert_eq!(range.to_disk(), fixture("built-range-v1.bin", &[]));
}

#[test]
fn a_published_file_is_read() {
    // What is written of a deletion vector is JSON, whose keys may come in another order.
    let published = published();
    check("published-v1.bin", &published, &published.to_disk(), PublishedFile::from_disk);
}

#[test]
fn a_settled_version_is_read() {
    let settled = settled();
    check("settled-v1.bin", &settled, &settled.to_disk(), Settled::from_disk);
    assert_eq!(settled.to_disk(), fixture("settled-v1.bin", &[]));
}

#[test]
fn a_commit_that_was_about_to_be_sent_is_read() {
    let intent = Intent {
        commit_id: Uuid::from_u128(8),
        bytes: b"{\"commitInfo\":{}}\n".to_vec(),
        after: settled(),
        published: vec![PublishedFile { vector: None, since: None, ..published() }.to_disk()],
        removed: vec!["old.parquet".to_owned()],
    };
    check("intent-v1.bin", &intent, &intent.to_disk(), Intent::from_disk);
    assert_eq!(intent.to_disk(), fixture("intent-v1.bin", &[]));
    let files = Intent::from_disk(&fixture("intent-v1.bin", &[])).and_then(|intent| intent.published_files());
    assert_eq!(files.expect("readable")[0].file.name, "b.parquet");
}

#[test]
fn a_key_layer_is_read() {
    let layer = layer();
    check("key-layer-v1.bin", &layer, &layer.to_disk(), LayerFile::from_disk);
    assert_eq!(layer.to_disk(), fixture("key-layer-v1.bin", &[]));
}

#[test]
fn rows_that_left_are_read() {
    let gone = Gone { deleted: 1, truncated: 2, expired: 3 };
    check("gone-v1.bin", &gone, &gone.to_disk(), Gone::from_disk);
    assert_eq!(gone.to_disk(), fixture("gone-v1.bin", &[]));
}

#[test]
fn deleted_rows_are_read() {
    let rows: RoaringBitmap = [0, 5, 70_000].into_iter().collect();
    check("deleted-v1.bin", &rows, &deleted_to_disk(&rows), deleted_from_disk);
    assert_eq!(deleted_to_disk(&rows), fixture("deleted-v1.bin", &[]));
}

#[test]
fn files_of_a_stream_are_read() {
    let entry = Entry {
        schema: SchemaId(2),
        stamp_us: 1_700_000_000_000_003,
        uptime_us: 62_000_000,
        body: EntryBody::Segment(Segment {
            files: vec![file("s.parquet", Some((CommitSeq(8), 1_700_000_000_000_003))).to_disk()],
            key_layers: vec![layer().to_disk()],
        }),
    };
    check("entry-segment-v1.bin", &entry, &entry.encode(), Entry::decode);
    assert_eq!(entry.encode(), fixture("entry-segment-v1.bin", &[]));
    let read = Entry::decode(&fixture("entry-segment-v1.bin", &[])).expect("the fixture");
    let EntryBody::Segment(segment) = read.body else { panic!("a segment") };
    let read = SegmentFile::from_disk(&segment.files[0], "a file of a stream").expect("readable");
    assert_eq!((read.name.as_str(), read.entry), ("s.parquet", Some((CommitSeq(8), 1_700_000_000_000_003))));
    assert_eq!(LayerFile::from_disk(&segment.key_layers[0]).expect("readable"), layer());
}

#[test]
fn small_records_are_read_as_they_stand() {
    let at = Moment { wall_us: -2, uptime_us: 3 };
    let base = Base { seq: CommitSeq(258), at };
    let bytes = [&[0, 0, 0, 0, 0, 0, 1, 2][..], &[255, 255, 255, 255, 255, 255, 255, 254], &[0, 0, 0, 0, 0, 0, 0, 3]];
    assert_eq!(base.to_disk(), bytes.concat());
    assert_eq!(Base::from_disk(&bytes.concat()).expect("readable"), base);
    // As the first builds wrote it.
    assert_eq!(Base::from_disk(bytes[0]).expect("readable"), Base { seq: CommitSeq(258), at: Moment::default() });
    let removed = [vec![3], bytes[1..].concat()].concat();
    for (kind, bytes) in [(NameKind::Built, vec![1]), (NameKind::Anywhere, vec![2]), (NameKind::Removed(at), removed)] {
        assert_eq!(kind.to_disk(), bytes);
        assert_eq!(NameKind::from_disk(&bytes).expect("readable"), kind);
    }
}
