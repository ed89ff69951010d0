//! What is known about the rows of files without reading them? Exact counts and bounds, so that metadata can answer.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::columns::Origin;
use super::files::{Known, SealedFiles};
use crate::provider::statistics::is_exact;

/// Bounds of so many columns of files are handed to a scan; of more, only those of the time column. One takes some 300 bytes.
const MAX_COLUMN_STATISTICS: usize = 1 << 15;

/// Columns for which the files of a scan get statistics: those of `columns` that stand in files.
pub(super) fn columns_with_bounds(files: &SealedFiles, n_files: usize, columns: &[usize]) -> Vec<usize> {
    let stored = columns.iter().copied().filter(|&column| files.columns.origin(column) == Origin::Stored);
    if n_files.saturating_mul(files.schema().fields().len()) <= MAX_COLUMN_STATISTICS {
        return stored.collect();
    }
    let time = files.snapshot.def().options.time_column;
    stored.filter(|&column| Some(column) == time).collect()
}

/// Of one file, in the order of the reader's columns. The reader skips whole files by them while a query runs, and does not read columns
/// with one value: both hold for the rows that are left, whatever is deleted.
pub(super) fn of_file(files: &SealedFiles, at: usize, columns: &[usize]) -> Statistics {
    let mut statistics = unknown(files, [at].iter());
    for &column in columns {
        let Some(known) = files.known(at, column) else { continue };
        let known_as = |bound: &Option<ArrayRef>| match scalar(bound) {
            // Rows may have either of the two zeros.
            Some(value) if value.data_type().is_floating() => Precision::Inexact(value),
            Some(value) => Precision::Exact(value),
            None => Precision::Absent,
        };
        statistics.column_statistics[files.columns.in_source(column)] = ColumnStatistics {
            null_count: nulls(files, at, &known),
            min_value: known_as(&known.min),
            max_value: known_as(&known.max),
            ..ColumnStatistics::new_unknown()
        };
    }
    statistics
}

/// Whether a column has one value in all rows that are left. The reader does not read such columns.
pub(super) fn has_constants(of_file: &Statistics) -> bool {
    of_file.column_statistics.iter().any(|column| match (&of_file.num_rows, &column.null_count) {
        (Precision::Exact(rows), Precision::Exact(nulls)) if rows == nulls => true,
        (_, Precision::Exact(0)) => {
            matches!((&column.min_value, &column.max_value), (Precision::Exact(min), Precision::Exact(max)) if min == max)
        }
        _ => false,
    })
}

/// Of all files of a scan, in the order of the reader's columns. Exact: `count`, `min` and `max` are answered from them.
pub(super) fn of_all(files: &SealedFiles, chosen: &[usize], columns: &[usize]) -> Statistics {
    let mut statistics = unknown(files, chosen.iter());
    let stored = columns.iter().filter(|&&column| files.columns.origin(column) == Origin::Stored);
    for &column in stored {
        statistics.column_statistics[files.columns.in_source(column)] = of_column(files, chosen, column);
    }
    statistics
}

/// Rows are counted, nothing else is known.
fn unknown<'a>(files: &SealedFiles, chosen: impl Iterator<Item = &'a usize>) -> Statistics {
    let rows: u64 = chosen.map(|&at| files.files()[at].live_rows()).sum();
    Statistics {
        num_rows: Precision::Exact(count(rows)),
        total_byte_size: Precision::Absent,
        column_statistics: vec![ColumnStatistics::new_unknown(); files.columns.n_source()],
    }
}

fn of_column(files: &SealedFiles, chosen: &[usize], column: usize) -> ColumnStatistics {
    let has_exact_bounds = is_exact(files.schema().field(column).data_type());
    let (mut min, mut max) = (Extreme::new(Ordering::Less), Extreme::new(Ordering::Greater));
    let mut null_count = Precision::Exact(0);
    for &at in chosen {
        let file = &files.files()[at];
        let Some(known) = files.known(at, column) else { return ColumnStatistics::new_unknown() };
        null_count = null_count.add(&nulls(files, at, &known));
        if known.nulls >= file.file.rows {
            // All of them are NULL: it has no bounds, and needs none.
            continue;
        }
        let is_value = has_exact_bounds && file.n_deleted() == 0;
        min.meet(scalar(&known.min), is_value);
        max.meet(scalar(&known.max), is_value);
    }
    ColumnStatistics { null_count, min_value: min.known(), max_value: max.known(), ..ColumnStatistics::new_unknown() }
}

/// NULLs among the rows that are left: known if none or all are NULL, or if no row is deleted.
fn nulls(files: &SealedFiles, at: usize, known: &Known) -> Precision<usize> {
    let file = &files.files()[at];
    match known.nulls {
        0 => Precision::Exact(0),
        all if all >= file.file.rows => Precision::Exact(count(file.live_rows())),
        some if file.n_deleted() == 0 => Precision::Exact(count(some)),
        _ => Precision::Absent,
    }
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

fn scalar(bound: &Option<ArrayRef>) -> Option<ScalarValue> {
    bound.as_ref().and_then(|bound| ScalarValue::try_from_array(bound, 0).ok())
}

/// The smallest or the largest of the bounds of files.
struct Extreme {
    wanted: Ordering,
    /// Of bounds that a row has.
    value: Option<ScalarValue>,
    /// Of bounds that no row may have: it was deleted, or the bound was cut.
    limit: Option<ScalarValue>,
    is_unknown: bool,
}

impl Extreme {
    fn new(wanted: Ordering) -> Self {
        Self { wanted, value: None, limit: None, is_unknown: false }
    }

    fn meet(&mut self, bound: Option<ScalarValue>, is_value: bool) {
        let Some(bound) = bound else {
            self.is_unknown = true;
            return;
        };
        let wanted = self.wanted;
        let best = if is_value { &mut self.value } else { &mut self.limit };
        if best.as_ref().is_none_or(|best| bound.partial_cmp(best) == Some(wanted)) {
            *best = Some(bound);
        }
    }

    fn known(self) -> Precision<ScalarValue> {
        match (self.value, self.limit) {
            _ if self.is_unknown => Precision::Absent,
            // A row may come before the value.
            (Some(value), Some(limit)) if limit.partial_cmp(&value) == Some(self.wanted) => Precision::Inexact(limit),
            (Some(value), _) => Precision::Exact(value),
            (None, Some(limit)) => Precision::Inexact(limit),
            (None, None) => Precision::Absent,
        }
    }
}
