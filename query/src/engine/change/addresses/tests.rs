//! Are the rows of a DELETE collected whole, however they come, and is their memory counted?

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use tidewater_storage::Code;
use tidewater_storage::memory::MemoryLedger;

use super::*;
use crate::memory::QueryMemory;

fn batch(addresses: &[(i32, i64)]) -> RecordBatch {
    let files: ArrayRef = Arc::new(Int32Array::from_iter_values(addresses.iter().map(|address| address.0)));
    let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(addresses.iter().map(|address| address.1)));
    RecordBatch::try_from_iter([("file", files), ("row", rows)]).expect("a batch")
}

fn collected(batches: &[RecordBatch]) -> Result<Vec<(usize, Vec<u32>)>> {
    let pool = QueryMemory::new(MemoryLedger::new(1 << 30)).query_pool();
    let mut addresses = Addresses::new(&pool);
    batches.iter().try_for_each(|batch| addresses.add(batch))?;
    let (found, held) = addresses.finish()?;
    assert_eq!(pool.held(), held.size() as u64);
    drop(held);
    assert_eq!(pool.held(), 0);
    Ok(found.into_iter().map(|(file, rows)| (file, rows.into_iter().collect())).collect())
}

#[test]
fn rows_of_files_in_any_order_and_more_than_once() {
    let found = collected(&[
        batch(&[(2, 7), (2, 5), (0, 1), (2, 7)]),
        batch(&[]),
        batch(&[(0, 0), (0, 1), (5, 4_294_967_295)]),
    ]);
    assert_eq!(found.expect("collected"), [(0, vec![0, 1]), (2, vec![5, 7]), (5, vec![u32::MAX])]);
    assert!(collected(&[]).expect("nothing").is_empty());
}

#[test]
fn what_is_no_address_is_a_bug() {
    for wrong in [batch(&[(-1, 0)]), batch(&[(0, -1)]), batch(&[(0, 1 << 32)])] {
        assert_eq!(collected(&[wrong]).expect_err("no address").code(), Code::Internal);
    }
    let texts: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["a"]));
    let columns = RecordBatch::try_from_iter([("file", Arc::clone(&texts)), ("row", texts)]).expect("a batch");
    assert_eq!(collected(&[columns]).expect_err("no address").code(), Code::Internal);
}

#[test]
fn a_run_of_rows_holds_little_and_scattered_ones_what_they_take() {
    let pool = QueryMemory::new(MemoryLedger::new(1 << 30)).query_pool();
    let held_by = |step: i64| {
        let mut addresses = Addresses::new(&pool);
        for from in (0..1_000_000).step_by(8_192) {
            let rows: Vec<(i32, i64)> = (from..from + 8_192).map(|row| (0, row * step)).collect();
            addresses.add(&batch(&rows)).expect("enough memory");
            assert!(pool.held() > 0);
        }
        let (_, held) = addresses.finish().expect("enough memory");
        held.size()
    };
    assert!(held_by(1) < 16 << 10);
    assert!(held_by(4_000) > 8_192 * 64);
}

#[test]
fn more_than_the_query_may_have_is_refused() {
    // The least memory that a server has: half of a quarter of 256 MiB for one query.
    let pool = QueryMemory::new(MemoryLedger::new(1 << 20)).query_pool();
    let mut addresses = Addresses::new(&pool);
    // Each row is the only one of its container.
    let rows = |file: i32| (0..1 << 16).map(move |row: i64| (file, row << 16)).collect::<Vec<_>>();
    let mut batches = (0..16).flat_map(|file| rows(file).chunks(8_192).map(batch).collect::<Vec<_>>());
    let outcome = batches.try_for_each(|rows| addresses.add(&rows));
    assert_eq!(outcome.expect_err("too much").code(), Code::QueryMemory);
}
