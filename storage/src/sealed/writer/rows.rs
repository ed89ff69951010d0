//! Which rows come next in a file? Those of several pieces, joined column by column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::plan::SourceRows;
use crate::catalog::TableDef;

/// Rows in the table's types, by (source, row). `OffsetOverflowError`: their texts do not fit into one array.
pub(super) fn joined_rows(
    sources: &[SourceRows],
    def: &TableDef,
    places: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    let columns = def.columns.iter().enumerate();
    let columns = columns.map(|(at, column)| joined_column(sources, at, &column.data_type, places));
    RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns.collect::<Result<_, _>>()?)
}

/// The values of one column; NULL for rows that came before the table had it.
pub(super) fn joined_column(
    sources: &[SourceRows],
    at: usize,
    data_type: &DataType,
    places: &[(usize, usize)],
) -> Result<ArrayRef, ArrowError> {
    let null = new_null_array(data_type, 1);
    let has_column = |source: &SourceRows| at < source.rows.num_columns();
    let arrays: Vec<&dyn Array> =
        sources.iter().map(|source| source.rows.columns().get(at).unwrap_or(&null).as_ref()).collect();
    if sources.iter().all(has_column) {
        return interleave(&arrays, places);
    }
    let places: Vec<(usize, usize)> =
        places.iter().map(|&(source, row)| (source, if has_column(&sources[source]) { row } else { 0 })).collect();
    interleave(&arrays, &places)
}

/// The entry of each row.
pub(super) fn joined_seqs(sources: &[SourceRows], places: &[(usize, usize)]) -> Int64Array {
    places.iter().map(|&(source, row)| sources[source].seqs.value(row)).collect::<Vec<_>>().into()
}

/// Places as Arrow takes them.
pub(super) fn places(rows: &[(u32, u32)]) -> Vec<(usize, usize)> {
    rows.iter().map(|&(source, row)| (source as usize, row as usize)).collect()
}
