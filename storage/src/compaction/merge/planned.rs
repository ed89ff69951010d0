//! How do files become others that are sorted in another way? All rows are in memory, as in a build.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, filter, filter_record_batch};
use arrow::datatypes::TimestampMicrosecondType;

use super::{BATCH_ROWS, Input, Merge, Merged};
use crate::compaction::picker::{Kind, late_hours};
use crate::error::{Error, Result};
use crate::limits::RUN_ROWS;
use crate::sealed::{Entries, ReadingBytes, SourceRows, Target, plan_file, rows_bytes, write_file};

const HOUR_US: i64 = 3_600_000_000;

/// Batches are joined up to a run's rows, or so many bytes: many small ones would be slow to sort.
const PIECE_BYTES: u64 = 64 << 20;

/// What a row takes beside its values while it is sorted: see [`crate::sealed::working_bytes`].
const SORT_ROW_BYTES: u64 = 64;

/// About what merging a file in memory takes: its rows, and once more in what is being sorted and written.
pub(super) fn needed_bytes(input: &Input, reading: ReadingBytes) -> u64 {
    input.live_rows().saturating_mul(2 * reading.row_bytes() + SORT_ROW_BYTES)
}

pub(super) fn merge(merge: &Merge, n_inputs: usize) -> Result<Merged> {
    let inputs = &merge.inputs[..n_inputs];
    let mut sources = Vec::new();
    for input in inputs {
        load(merge, input, &mut sources)?;
    }
    let parts = match merge.def.options.time_column.filter(|_| merge.kind == Kind::Late) {
        Some(time) => {
            let bytes = inputs.iter().map(Input::live_bytes).sum();
            let most = inputs.iter().map(Input::live_rows).max().unwrap_or(0);
            by_hour(sources, time, &merge.hours, bytes, most)?
        }
        None => vec![sources],
    };
    let mut files = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let Some(planned) = plan_file(part, &merge.def)? else { continue };
        let name = merge.name(at)?;
        let path = merge.shared.folders.built_path(name);
        let go_on = |coming| merge.check_stop(coming);
        let target = Target { path: &path, hour: planned.hour, def: &merge.def, go_on: &go_on };
        let file = write_file(target, name.clone(), &planned, part, merge.now_us, Entries::Known)?;
        files.push(merge.finished(file, n_inputs)?);
    }
    Ok(Merged { files, n_inputs })
}

/// All rows of a file that are not deleted.
fn load(merge: &Merge, input: &Input, sources: &mut Vec<SourceRows>) -> Result<()> {
    let stamps: Arc<[(i64, i64)]> = input.stamps()?.into();
    let mut batches: Vec<SourceRows> = Vec::new();
    let (mut n_rows, mut bytes) = (0, 0);
    for batch in input.batches(&merge.def, BATCH_ROWS)? {
        merge.check_stop(0)?;
        let batch = batch?;
        (n_rows, bytes) = (n_rows + batch.rows.num_rows(), bytes + rows_bytes(&batch.rows));
        batches.push(batch);
        if n_rows >= RUN_ROWS || bytes >= PIECE_BYTES {
            sources.push(joined(std::mem::take(&mut batches), &stamps)?);
            (n_rows, bytes) = (0, 0);
        }
    }
    if !batches.is_empty() {
        sources.push(joined(batches, &stamps)?);
    }
    Ok(())
}

fn joined(batches: Vec<SourceRows>, stamps: &Arc<[(i64, i64)]>) -> Result<SourceRows> {
    let first = batches.first().ok_or_else(|| Error::internal("a piece of a file has no rows"))?;
    let rows: Vec<&RecordBatch> = batches.iter().map(|batch| &batch.rows).collect();
    let seqs = batches.iter().flat_map(|batch| batch.seqs.values().iter().copied());
    Ok(SourceRows {
        rows: concat_batches(&first.rows.schema(), rows)?,
        seqs: Int64Array::from_iter_values(seqs),
        stamps: Arc::clone(stamps),
    })
}

/// The rows of each hour that gets a file of its own, newest first, then those of all others; see [`late_hours`] for `others`, `bytes` and
/// `most`.
pub(in crate::compaction) fn by_hour(
    sources: Vec<SourceRows>,
    time: usize,
    others: &BTreeMap<i64, u64>,
    bytes: u64,
    most: u64,
) -> Result<Vec<Vec<SourceRows>>> {
    let mut rows: BTreeMap<i64, u64> = BTreeMap::new();
    for hour in sources.iter().flat_map(|source| hours_of(&source.rows, time)) {
        *rows.entry(hour).or_default() += 1;
    }
    let hours = late_hours(&rows, bytes, others, most);
    if hours.is_empty() {
        return Ok(vec![sources]);
    }
    let mut parts: Vec<Vec<SourceRows>> = vec![Vec::new(); hours.len() + 1];
    // One by one: each goes when it is divided.
    for source in sources {
        let part_of = |hour: i64| hours.iter().position(|own| *own == hour).unwrap_or(hours.len());
        let of_rows: Vec<usize> = hours_of(&source.rows, time).map(part_of).collect();
        for (at, part) in parts.iter_mut().enumerate() {
            let own: BooleanArray = of_rows.iter().map(|part| Some(*part == at)).collect();
            if own.true_count() > 0 {
                part.push(SourceRows {
                    rows: filter_record_batch(&source.rows, &own)?,
                    seqs: filter(&source.seqs, &own)?.as_primitive().clone(),
                    stamps: Arc::clone(&source.stamps),
                });
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

/// The hour of each row's event time.
fn hours_of(rows: &RecordBatch, time: usize) -> impl Iterator<Item = i64> {
    let times = rows.column(time).as_primitive::<TimestampMicrosecondType>();
    (0..rows.num_rows()).map(move |row| times.value(row).div_euclid(HOUR_US))
}
