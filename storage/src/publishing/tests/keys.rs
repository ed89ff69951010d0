//! Is each key that is there twice found, in however many parts the keys are compared?

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use roaring::RoaringBitmap;

use super::super::keys::Pass;
use crate::catalog::TableDef;
use crate::catalog::tests::defined;
use crate::dedup::{KeyIndex, KeySpec};
use crate::error::{Code, Result};
use crate::memory::{MemoryLedger, Share};

const MIB: u64 = 1 << 20;

fn of_integers(def: &TableDef, keys: &[i64]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    RecordBatch::try_new(Arc::clone(&def.arrow_schema), vec![keys]).expect("rows of the table")
}

fn of_texts(def: &TableDef, keys: &[i64]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(keys.iter().map(|key| format!("key {key}"))));
    RecordBatch::try_new(Arc::clone(&def.arrow_schema), vec![keys]).expect("rows of the table")
}

/// Rows that were looked at, and of them those whose key was there before: of a file whose rows `deleted` are gone, and one more.
fn compared(
    def: &TableDef,
    files: [&[RecordBatch]; 2],
    deleted: &RoaringBitmap,
    n_parts: u64,
    max_bytes: u64,
) -> Result<(u64, u64)> {
    let (spec, asked) = (KeySpec::new(def).expect("a key"), Arc::new(()));
    let memory = MemoryLedger::with_keys(1 << 30, Some(4 * MIB));
    let (mut n_rows, mut n_twice) = (0, 0);
    for part in 0..n_parts {
        let seen = KeyIndex::new(&spec, &memory).with_max_bytes(max_bytes);
        let mut pass = Pass::new(&spec, seen, (part, n_parts), &asked);
        pass.add_all(files[0].iter().cloned().map(Ok), Some(deleted), 0)?;
        pass.add_all(files[1].iter().cloned().map(Ok), None, 0)?;
        n_rows += pass.n_rows;
        n_twice += pass.n_twice;
    }
    assert_eq!(memory.used(Share::Keys), 0, "given back");
    Ok((n_rows, n_twice))
}

/// Rows of a table with these keys.
type RowsOf = fn(&TableDef, &[i64]) -> RecordBatch;

#[test]
fn each_key_is_of_one_part() {
    let scattered: Vec<i64> = (0..20_000_i64).map(|key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)).collect();
    let kinds: [(DataType, RowsOf); 2] = [(DataType::Int64, of_integers), (DataType::Utf8, of_texts)];
    for (data_type, rows) in kinds {
        let def = defined(&[("id!", data_type)], &["id"], &[]);
        let first: Vec<RecordBatch> = scattered.chunks(5_000).map(|keys| rows(&def, keys)).collect();
        let other = [rows(&def, &scattered[700..703]), rows(&def, &scattered[19_999..])];
        // Two of the four are gone in the file that had them first.
        let deleted = RoaringBitmap::from_iter([701_u32, 19_999]);
        for n_parts in [1, 4, 64] {
            let found = compared(&def, [&first, &other], &deleted, n_parts, 4 * MIB).expect("there is memory");
            assert_eq!(found, (20_000 - 2 + 4, 2), "{n_parts} parts");
        }
    }
}

#[test]
fn smaller_parts_need_less_memory() {
    let scattered: Vec<i64> = (0..40_000_i64).map(|key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)).collect();
    let def = defined(&[("id!", DataType::Int64)], &["id"], &[]);
    let rows: Vec<RecordBatch> = scattered.chunks(1_000).map(|keys| of_integers(&def, keys)).collect();
    let compared = |n_parts| compared(&def, [&rows, &rows[..1]], &RoaringBitmap::new(), n_parts, MIB / 4);
    assert_eq!(compared(1).expect_err("they do not fit").code(), Code::DedupBudget);
    assert_eq!(compared(64).expect("they fit"), (41_000, 1_000));
}
