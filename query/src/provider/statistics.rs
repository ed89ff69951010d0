//! What is known about the rows of a scan without reading them? Exact counts and bounds, so that metadata can answer.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;

use super::realtime::RealtimeRows;

/// Statistics of all rows, in the order of `projection`. Exact: `count`, `min` and `max` are answered from them.
pub(super) fn exact(rows: &RealtimeRows, projection: &[usize]) -> Statistics {
    Statistics {
        num_rows: Precision::Exact(rows.n_rows),
        total_byte_size: byte_size(rows, rows.n_rows, projection.len()),
        column_statistics: projection.iter().map(|&column| rows.statistics(column).clone()).collect(),
    }
}

/// Statistics of `n_rows` candidates before filters: bounds hold still, counts are upper limits.
pub(super) fn estimated(rows: &RealtimeRows, projection: &[usize], n_rows: usize) -> Statistics {
    let mut statistics = exact(rows, projection).to_inexact();
    statistics.num_rows = Precision::Inexact(n_rows);
    statistics.total_byte_size = byte_size(rows, n_rows, projection.len());
    for column in &mut statistics.column_statistics {
        column.null_count = Precision::Absent;
    }
    statistics
}

/// Only the number of rows is known, of one partition or under a limit.
pub(super) fn counted(n_rows: Precision<usize>, n_columns: usize) -> Statistics {
    Statistics {
        num_rows: n_rows,
        total_byte_size: Precision::Absent,
        column_statistics: vec![ColumnStatistics::new_unknown(); n_columns],
    }
}

/// The planner compares sizes of join sides: bytes in the proportion of rows and columns.
fn byte_size(rows: &RealtimeRows, n_rows: usize, n_columns: usize) -> Precision<usize> {
    let bytes: u64 = rows.parts.iter().map(|part| part.bytes).sum();
    let columns = rows.schema.fields().len().max(1);
    let share = (n_rows as f64 / rows.n_rows.max(1) as f64) * (n_columns as f64 / columns as f64);
    Precision::Inexact((bytes as f64 * share) as usize)
}

/// Made once a snapshot: ask [`RealtimeRows::statistics`].
pub(super) fn of_column(rows: &RealtimeRows, column: usize) -> ColumnStatistics {
    let mut statistics = ColumnStatistics::new_unknown();
    let Some(bounds) = rows.bounds(column) else {
        return statistics;
    };
    if bounds.nulls.null_count() == 0 {
        let nulls: u64 = bounds.nulls.values().iter().sum();
        statistics.null_count = Precision::Exact(nulls as usize);
    }
    // Stamps may name entries whose rows are all in another part: bounds of system columns are limits, not values.
    let exact = rows.has_exact_bounds(column) && is_exact(rows.schema.field(column).data_type());
    statistics.min_value = bound(min_of(&bounds.min), &bounds.min, exact);
    statistics.max_value = bound(max_of(&bounds.max), &bounds.max, exact);
    statistics
}

/// The smallest value; NULL if there is none. As MIN decides.
pub(crate) fn min_of(values: &ArrayRef) -> Result<ScalarValue> {
    let mut min = MinAccumulator::try_new(values.data_type())?;
    min.update_batch(std::slice::from_ref(values))?;
    min.evaluate()
}

/// The largest value; NULL if there is none. As MAX decides.
pub(crate) fn max_of(values: &ArrayRef) -> Result<ScalarValue> {
    let mut max = MaxAccumulator::try_new(values.data_type())?;
    max.update_batch(std::slice::from_ref(values))?;
    max.evaluate()
}

fn bound(value: Result<ScalarValue>, bounds: &ArrayRef, exact: bool) -> Precision<ScalarValue> {
    match value {
        Ok(value) if !value.is_null() && exact => Precision::Exact(value),
        // A NULL among inexact bounds means unknown, so that the smallest known one says nothing.
        Ok(value) if !value.is_null() && bounds.null_count() == 0 => Precision::Inexact(value),
        _ => Precision::Absent,
    }
}

/// Types whose zone bounds are values that occur: no NaN, no cut text.
pub(super) fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Date32
                | DataType::Time64(TimeUnit::Microsecond)
                | DataType::Timestamp(TimeUnit::Microsecond, _)
        )
}
