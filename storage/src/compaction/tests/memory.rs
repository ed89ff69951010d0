//! Is all that a merge holds within what it is charged, and is there enough of it for files as they should be?

use crate::compaction::merge::Memory;
use crate::limits::{MERGING_DIVISOR, ROW_GROUP_ROWS, ZONE_ROWS};
use crate::memory::{MIN_LIMIT_BYTES, MemoryLedger, Share};
use crate::sealed::ReadingBytes;

const GIB: u64 = 1 << 30;

/// What a merge may take where the process may take so much.
fn budget(limit: u64) -> u64 {
    MemoryLedger::new(limit).share(Share::Unassigned) / MERGING_DIVISOR
}

/// Of a file with a page and a small dictionary for each of its columns.
fn file(n_columns: usize, row_bytes: u64) -> ReadingBytes {
    ReadingBytes::new(n_columns as u64 * (96 << 10), row_bytes)
}

#[test]
fn a_merge_takes_no_more_than_its_budget_unless_two_files_do() {
    for limit in [MIN_LIMIT_BYTES, GIB, 2 * GIB, 16 * GIB] {
        for (n_columns, row_bytes) in [(2, 16), (12, 100), (50, 1_000), (3, 100_000)] {
            for n_files in [1, 2, 10, 64] {
                let (budget, readings) = (budget(limit), vec![file(n_columns, row_bytes); n_files]);
                let memory = Memory::of(&readings, n_columns, budget);
                let what =
                    format!("{n_files} files, {n_columns} columns, {row_bytes} bytes a row, {limit}: {memory:?}");
                assert!(memory.bytes() <= budget || memory.n_inputs <= 2, "{what}");
                assert!(memory.n_inputs >= n_files.min(2) && memory.n_inputs <= n_files, "{what}");
                // The first rows wait where the row group is written, with what is found out of them.
                let first_bytes = memory.first_rows as u64 * (row_bytes + 64);
                assert!(first_bytes <= memory.group_bytes || memory.first_rows == 1, "{what}");
                assert!(memory.group_bytes >= budget / 4, "{what}");
                for n_rows in [memory.batch_rows, memory.chunk_rows] {
                    assert!(n_rows.is_power_of_two() && (256..=ZONE_ROWS).contains(&n_rows), "{what}");
                }
            }
        }
    }
}

#[test]
fn two_files_that_take_more_than_there_is_are_merged_and_counted() {
    let budget = budget(MIN_LIMIT_BYTES);
    let readings = vec![ReadingBytes::new(budget, 1_000); 10];
    let memory = Memory::of(&readings, 3, budget);
    assert_eq!((memory.n_inputs, memory.batch_rows), (2, 256));
    let reading = 2 * (budget + 2 * 1_000 * 256);
    assert!(memory.bytes() >= reading + memory.group_bytes, "{memory:?}");
    assert!(memory.group_bytes >= budget / 4, "{memory:?}");
}

#[test]
fn what_is_known_of_many_columns_takes_less_than_they_do() {
    let memory = Memory::of(&[file(2_000, 20_000); 4], 2_000, budget(MIN_LIMIT_BYTES));
    assert!(memory.group_bytes >= 2_000 * (32 << 10), "{memory:?}");
}

#[test]
fn ordinary_rows_have_row_groups_of_the_usual_size() {
    // As those of the design load take them in memory, and more than they take in a file.
    let (row_bytes, encoded_bytes) = (100, 40);
    for limit in [2 * GIB, 4 * GIB, 16 * GIB] {
        let memory = Memory::of(&[file(12, row_bytes); 10], 12, budget(limit));
        assert_eq!(memory.n_inputs, 10, "{memory:?}");
        assert!(memory.group_bytes > ROW_GROUP_ROWS as u64 * encoded_bytes, "{memory:?}");
        assert!(memory.first_rows > ROW_GROUP_ROWS / 5, "{memory:?}");
    }
    let memory = Memory::of(&[file(12, row_bytes); 10], 12, budget(8 * GIB));
    assert_eq!(memory.first_rows, ROW_GROUP_ROWS, "all of a row group says how it is laid out");
}
