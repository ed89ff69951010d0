//! How much of a merge is in memory at once? Batches of its inputs, and what is made of them; all within what it is charged.

use crate::limits::{ROW_GROUP_ROWS, ZONE_ROWS};
use crate::sealed::ReadingBytes;

use super::BATCH_ROWS;

/// Batches and chunks are made smaller until all have a place in memory, but not below this.
const LEAST_ROWS: usize = 256;

/// A chunk is there in pieces, joined, and in the types of the file.
const CHUNK_TIMES: u64 = 3;

/// What is found out of first rows takes about so much more for each: its place, the same as Arrow takes it, one of its columns by itself,
/// and the set of that column's values.
const FACTS_ROW_BYTES: u64 = 64;

/// More first rows say no more of a file.
const FIRST_BYTES: u64 = 128 << 20;

/// The part of a row group that a column has takes at least so much, or it would be little more than what the footer says of it.
const LEAST_COLUMN_BYTES: u64 = 32 << 10;

/// How the memory of a merge of ordered files is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::compaction) struct Memory {
    /// So many of the first files are read at once, in batches of so many rows.
    pub(in crate::compaction) n_inputs: usize,
    pub(in crate::compaction) batch_rows: usize,
    /// Rows that are joined at once: a power of two, so that they end where pages end.
    pub(in crate::compaction) chunk_rows: usize,
    /// A file's layout is decided by its first rows: as many as a row group has, if they have a place. They wait where the row group will be.
    pub(in crate::compaction) first_rows: usize,
    /// A row group ends when it takes so much.
    pub(in crate::compaction) group_bytes: u64,
    reading: u64,
    joining: u64,
}

impl Memory {
    /// Half of the budget, and what reading leaves of the other half, is for what is written. Two files, if there are two, are merged
    /// whatever they take: [`Self::bytes`] may be more than the budget then.
    pub(in crate::compaction) fn of(readings: &[ReadingBytes], n_columns: usize, budget: u64) -> Self {
        let (n_inputs, batch_rows) = fitting(readings, budget / 2);
        let readings = &readings[..n_inputs];
        let of_one = |reading: &ReadingBytes| reading.with_batches_of(batch_rows);
        let reading = readings.iter().map(of_one).fold(0, u64::saturating_add);
        let row_bytes = readings.iter().map(|reading| reading.row_bytes()).max().unwrap_or(0);
        let left = budget.saturating_sub(reading).max(budget / 2);
        let chunk_bytes = |n_rows: usize| row_bytes.saturating_mul(CHUNK_TIMES * n_rows as u64);
        let chunk_rows = halved(ZONE_ROWS, |n_rows| chunk_bytes(n_rows) <= left / 4);
        let joining = chunk_bytes(chunk_rows);
        let least = (left / 2).max(n_columns as u64 * LEAST_COLUMN_BYTES);
        let group_bytes = left.saturating_sub(joining).max(least);
        let first_rows = group_bytes.min(FIRST_BYTES) / row_bytes.saturating_add(FACTS_ROW_BYTES);
        let first_rows = usize::try_from(first_rows).unwrap_or(usize::MAX).clamp(1, ROW_GROUP_ROWS);
        Self { n_inputs, batch_rows, chunk_rows, first_rows, group_bytes, reading, joining }
    }

    /// All of it.
    pub(in crate::compaction) fn bytes(&self) -> u64 {
        self.reading.saturating_add(self.joining).saturating_add(self.group_bytes)
    }
}

/// How many of the first files can be read at once, two at least if there are two, and in batches of how many rows.
fn fitting(readings: &[ReadingBytes], budget: u64) -> (usize, usize) {
    let needed = |n_rows: usize| {
        let of_one = |reading: &ReadingBytes| reading.with_batches_of(n_rows);
        readings.iter().map(of_one).fold(0, u64::saturating_add)
    };
    let n_rows = halved(BATCH_ROWS, |n_rows| needed(n_rows) <= budget);
    let mut bytes = 0_u64;
    let fits = |reading: &&ReadingBytes| {
        bytes = bytes.saturating_add(reading.with_batches_of(n_rows));
        bytes <= budget
    };
    let n = readings.iter().take_while(fits).count();
    (n.max(2).min(readings.len()), n_rows)
}

/// So many rows, or the largest part that fits: a half, a quarter, and so on.
fn halved(most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let mut n_rows = most;
    while n_rows > LEAST_ROWS && !fits(n_rows) {
        n_rows /= 2;
    }
    n_rows
}
