//! In which order do several tuples of VALUES take the rows of their parameters? As one execution after the other would: all tuples of the
//! first row, then those of the second. Of two rows with one key it is the earlier that stays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::DataType;
use datafusion::execution::memory_pool::MemoryReservation;
use tidewater_storage::Result;
use tidewater_storage::limits::MAX_STATEMENT_ROWS_BYTES;

use super::gather::too_large;
use super::insert::named;
use crate::error::OrError;

/// The tuples, each over all rows of parameters, as rows in their order: one batch, unless a column's values come with several types.
pub(super) fn in_order(
    tuples: Vec<RecordBatch>,
    columns: &[String],
    held: &MemoryReservation,
) -> Result<Vec<RecordBatch>> {
    let n_rows = tuples.first().map_or(0, RecordBatch::num_rows);
    // One tuple, or one row, is in order.
    if tuples.len() < 2 || n_rows < 2 {
        return Ok(tuples);
    }
    hold_copy(&tuples, held)?;
    let tuples = with_types_of_nulls(&tuples, columns, n_rows)?;
    let n_tuples = tuples.len();
    let places: Vec<(usize, usize)> =
        (0..n_rows).flat_map(|row| (0..n_tuples).map(move |tuple| (tuple, row))).collect();
    let is_alike = tuples.windows(2).all(|pair| pair[0].schema() == pair[1].schema());
    if is_alike {
        let tuples: Vec<&RecordBatch> = tuples.iter().collect();
        return Ok(vec![interleave_record_batch(&tuples, &places)?]);
    }
    // Such as 1 and 1.5: storage casts each to the column as it would alone.
    let one = |(tuple, row): (usize, usize)| -> Result<RecordBatch> {
        Ok(take_record_batch(&tuples[tuple], &UInt64Array::from(vec![row as u64]))?)
    };
    places.into_iter().map(one).collect()
}

/// A parameter may stand in any number of tuples, and each has a copy of it. Their memory is held before they are there.
fn hold_copy(tuples: &[RecordBatch], held: &MemoryReservation) -> Result<()> {
    let mut bytes = held.size();
    for array in tuples.iter().flat_map(RecordBatch::columns) {
        bytes = bytes.saturating_add(array.to_data().get_slice_memory_size()?);
    }
    let n_rows: usize = tuples.iter().map(RecordBatch::num_rows).sum();
    bytes = bytes.saturating_add(n_rows.saturating_mul(size_of::<(usize, usize)>()));
    if bytes > MAX_STATEMENT_ROWS_BYTES {
        return Err(too_large());
    }
    held.try_resize(bytes).or_error()
}

/// A driver that is given nothing but NULL knows no type: then they have that of the other tuples.
fn with_types_of_nulls(tuples: &[RecordBatch], columns: &[String], n_rows: usize) -> Result<Vec<RecordBatch>> {
    let type_of = |i: usize| tuples.iter().map(|tuple| tuple.column(i).data_type()).find(|found| !found.is_null());
    let types: Vec<Option<&DataType>> = (0..columns.len()).map(type_of).collect();
    let typed = |(array, data_type): (&ArrayRef, &Option<&DataType>)| match data_type {
        Some(data_type) if array.data_type().is_null() => new_null_array(data_type, n_rows),
        _ => Arc::clone(array),
    };
    tuples.iter().map(|tuple| named(columns, tuple.columns().iter().zip(&types).map(typed).collect(), n_rows)).collect()
}
