//! How does a tail become sorted runs? One stable sort of a few parts, cut into pieces; runs beside the table's worker.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, take, take_record_batch};
use arrow::row::{RowConverter, SortField};

use super::part::{RealtimePart, batch_bytes, column_bytes};
use super::version::concat_rows;
use crate::catalog::one_nan;
use crate::error::{Error, Result};
use crate::limits::RUN_ROWS;

/// Parts are sorted together up to so many bytes: a text column addresses its bytes with 31 bits.
const MAX_SORT_BYTES: u64 = 1 << 30;

/// What a row takes while it is sorted, beside its values: its place and first bytes, its index, and what its key has around the values.
const SORT_ROW_BYTES: u64 = 40;

/// About what [`build_runs`] holds at its peak, beside `parts`: their rows joined, the same in order, and what is compared.
pub fn working_bytes(parts: &[Arc<RealtimePart>], sort_by: &[usize]) -> u64 {
    parts.iter().map(|part| part_working_bytes(part, sort_by)).sum()
}

fn part_working_bytes(part: &RealtimePart, sort_by: &[usize]) -> u64 {
    // In Arrow's row format a text takes up to twice its bytes.
    let keys = 2 * sort_by.iter().map(|&column| column_bytes(part.rows.column(column))).sum::<u64>();
    2 * part.bytes + keys + SORT_ROW_BYTES * part.n_rows() as u64
}

/// How many of the first parts can be sorted together within `bytes`. One at least: otherwise what is larger would keep everything behind
/// it from ever being sorted.
pub fn n_fitting(parts: &[Arc<RealtimePart>], sort_by: &[usize], bytes: u64) -> usize {
    let mut needed = 0_u64;
    let fits = |part: &&Arc<RealtimePart>| {
        needed = needed.saturating_add(part_working_bytes(part, sort_by));
        needed <= bytes
    };
    parts.iter().take_while(fits).count().max(1)
}

/// Merges parts into runs of [`RUN_ROWS`] rows, the last of them with the rest. Rows are sorted by the columns `sort_by`,
/// ascending, NULLs last, NaN after numbers; equal rows keep the order of their arrival, and with an empty `sort_by` all
/// do. Takes about 100 ms for a run; an error only if the parts do not have one schema.
pub fn build_runs(parts: &[Arc<RealtimePart>], sort_by: &[usize]) -> Result<Vec<RealtimePart>> {
    let mut runs = Vec::new();
    for group in cut_by_bytes(parts) {
        build_group(group, sort_by, &mut runs)?;
    }
    Ok(runs)
}

/// Neighbouring parts that fit together into [`MAX_SORT_BYTES`] and have one schema.
fn cut_by_bytes(parts: &[Arc<RealtimePart>]) -> Vec<&[Arc<RealtimePart>]> {
    let mut groups = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, part) in parts.iter().enumerate() {
        let part_bytes = batch_bytes(&part.rows);
        let other_schema = parts[start].rows.schema_ref() != part.rows.schema_ref();
        if at > start && (bytes + part_bytes > MAX_SORT_BYTES || other_schema) {
            groups.push(&parts[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += part_bytes;
    }
    if start < parts.len() {
        groups.push(&parts[start..]);
    }
    groups
}

fn build_group(parts: &[Arc<RealtimePart>], sort_by: &[usize], runs: &mut Vec<RealtimePart>) -> Result<()> {
    let mut rows = concat_rows(parts)?;
    let mut seqs = Int64Array::from_iter_values(parts.iter().flat_map(|part| part.seqs.values().iter().copied()));
    if !sort_by.is_empty() {
        let order = sorted_order(&rows, sort_by)?;
        rows = take_record_batch(&rows, &order)?;
        seqs = take(&seqs, &order, None)?.as_primitive().clone();
    }
    let mut stamps: Vec<(i64, i64)> = parts.iter().flat_map(|part| part.stamps.iter().copied()).collect();
    stamps.sort_unstable();
    stamps.dedup();

    let n_runs = (rows.num_rows() / RUN_ROWS).max(1);
    for run in 0..n_runs {
        let start = run * RUN_ROWS;
        let end = if run + 1 == n_runs { rows.num_rows() } else { start + RUN_ROWS };
        let (rows, seqs) = if n_runs == 1 {
            (rows.clone(), seqs.clone())
        } else {
            (detach(&rows.slice(start, end - start))?, detach_seqs(&seqs.slice(start, end - start)))
        };
        let stamps = stamps_of(&seqs, &stamps);
        let mut part = RealtimePart::new(rows, seqs, stamps, !sort_by.is_empty());
        part.leading = sort_by.first().copied();
        runs.push(part);
    }
    Ok(())
}

/// A copy of a slice: a run must not hold the memory of its neighbours when it goes by itself.
fn detach(rows: &RecordBatch) -> Result<RecordBatch> {
    let order = UInt32Array::from_iter_values(0..index(rows.num_rows())?);
    Ok(take_record_batch(rows, &order)?)
}

fn detach_seqs(seqs: &Int64Array) -> Int64Array {
    Int64Array::from_iter_values(seqs.values().iter().copied())
}

/// The stamps of the entries that have a row among `seqs`.
fn stamps_of(seqs: &Int64Array, stamps: &[(i64, i64)]) -> Arc<[(i64, i64)]> {
    let mut present = seqs.values().to_vec();
    present.sort_unstable();
    present.dedup();
    stamps.iter().filter(|(seq, _)| present.binary_search(seq).is_ok()).copied().collect()
}

/// The indexes of the rows in sorted order. Compares Arrow's row format, whose bytes have the order of the values; the
/// first eight of them are kept beside the index, so that most comparisons touch no row.
fn sorted_order(rows: &RecordBatch, sort_by: &[usize]) -> Result<UInt32Array> {
    let n_rows = index(rows.num_rows())?;
    let options = SortOptions { descending: false, nulls_first: false };
    let columns: Vec<ArrayRef> = sort_by.iter().map(|&column| one_nan(rows.column(column))).collect();
    let fields = columns.iter().map(|c| SortField::new_with_options(c.data_type().clone(), options)).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut order: Vec<(u64, u32)> = (0..n_rows).map(|row| (prefix(keys.row(row as usize).data()), row)).collect();
    order.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| keys.row(a.1 as usize).cmp(&keys.row(b.1 as usize))).then(a.1.cmp(&b.1))
    });
    Ok(UInt32Array::from_iter_values(order.into_iter().map(|(_, row)| row)))
}

/// The first eight bytes as a number of the same order; a shorter key is filled up with the lowest byte.
fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = key.len().min(8);
    first[..n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(first)
}

fn index(n_rows: usize) -> Result<u32> {
    u32::try_from(n_rows).map_err(|_| Error::internal(format!("{n_rows} rows are too many for one sort")))
}
