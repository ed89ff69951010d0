//! Is a record that was written read again, by this version and by the next?

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Int64Array, StringArray};

use super::{all_types, random_rows};
use crate::error::Code;
use crate::ids::{CommitSeq, SchemaId};
use crate::sealed::bounds::{BoundsBuilder, ColumnBounds};
use crate::sealed::file::{SegmentFile, Sidecar, Tail};

/// What [`example`] is on disk. A change of the form needs a version and a fixture of its own.
const FILE_V1: &str = "\
    010a0c303139382e7061727175657410d209180321efcdab896745230128023005380740054a1610052a08fbffffffffffff\
    ff32082c010000000000004a0a0801100c2a003202c3a94a1a08021012181420032a10ffffffffffffffffffffffffffffff\
    ff4a020804508080f281838985065a180a0b303139382e66696c7465721009190100000000000000620408071001";

fn some(value: impl Array + 'static) -> Option<ArrayRef> {
    Some(Arc::new(value))
}

fn example() -> SegmentFile {
    let digits = |number| Decimal128Array::from(vec![number]).with_precision_and_scale(20, 3).expect("a decimal");
    SegmentFile {
        name: "0198.parquet".into(),
        bytes: 1234,
        rows: 3,
        checksum: 0x0123_4567_89ab_cdef,
        schema: SchemaId(2),
        min_seq: CommitSeq(5),
        max_seq: CommitSeq(7),
        entry: Some((CommitSeq(7), -1)),
        hour: Some(-3),
        columns: vec![
            ColumnBounds { min: some(Int64Array::from(vec![-5])), max: some(Int64Array::from(vec![300])), nulls: 0 },
            ColumnBounds { min: some(StringArray::from(vec![""])), max: some(StringArray::from(vec!["é"])), nulls: 1 },
            ColumnBounds { min: some(digits(-1)), max: None, nulls: 2 },
            ColumnBounds::unknown(4),
        ],
        created_at_us: 1_700_000_000_000_000,
        sidecar: Some(Sidecar { name: "0198.filter".into(), bytes: 9, checksum: 1 }),
        tail: None,
    }
}

fn fixture() -> Vec<u8> {
    let pairs = (0..FILE_V1.len()).step_by(2).map(|at| &FILE_V1[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect()
}

/// All that a record says, as text: arrays have no equality of their own.
fn said(file: &SegmentFile) -> String {
    format!("{file:?}")
}

#[test]
fn the_first_version_is_still_read() {
    assert_eq!(example().to_disk(), fixture());
    let read = SegmentFile::from_disk(&fixture(), "a file").expect("the fixture");
    assert_eq!(said(&read), said(&example()));
}

#[test]
fn other_versions_and_damage_are_refused() {
    let whole = fixture();
    let code = |bytes: &[u8]| SegmentFile::from_disk(bytes, "a built file").expect_err("damaged").code();
    let mut newer = whole.clone();
    newer[0] = 2;
    assert_eq!(code(&newer), Code::LogUnknownVersion);
    assert_eq!(code(&[]), Code::LogDamaged);
    assert_eq!(code(&whole[..whole.len() - 1]), Code::LogDamaged);
    let error = SegmentFile::from_disk(&[1, 0xFF], "a built file").expect_err("damaged");
    assert!(error.to_string().contains("a built file"), "{error}");
    // A flipped bit may give another record, and never a panic.
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = SegmentFile::from_disk(&flipped, "a file");
    }
}

#[test]
fn bounds_of_every_type_come_back() {
    let def = all_types(&[]);
    for seed in 0..20 {
        let rows = random_rows(&def, 1 + seed as usize, seed);
        let columns = rows.columns().iter().map(|column| {
            let mut bounds = BoundsBuilder::new();
            bounds.add(column).expect("of one type");
            bounds.finish()
        });
        let tail = Some(Tail { bytes: seed, checksum: u64::MAX - seed });
        let file =
            SegmentFile { columns: columns.collect(), entry: None, hour: None, sidecar: None, tail, ..example() };
        let read = SegmentFile::from_disk(&file.to_disk(), "a file").expect("whole");
        assert_eq!(said(&read), said(&file));
        for (read, written) in read.columns.iter().zip(&file.columns) {
            let types = |bounds: &ColumnBounds| {
                (bounds.min.as_ref().map(|a| a.data_type().clone()), bounds.max.as_ref().map(|a| a.data_type().clone()))
            };
            assert_eq!(types(read), types(written));
        }
    }
}
