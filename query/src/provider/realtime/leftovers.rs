//! What is in a field of a NULL struct? NULL. Rows may arrive with anything there, and DataFusion takes a field out of a struct without
//! a look at the struct's own NULLs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::nullif;
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::error::ArrowError;

/// The same column with NULL in all fields of structs that are NULL. Values are not copied.
pub(in crate::provider) fn without_leftovers(column: ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Struct(fields) => {
            let structs = column.as_struct();
            let of_field = |values: &ArrayRef| match structs.nulls() {
                Some(nulls) => without_leftovers(nullif(values, &is_null(nulls))?),
                None => without_leftovers(Arc::clone(values)),
            };
            let columns = structs.columns().iter().map(of_field).collect::<Result<Vec<_>, _>>()?;
            let nulls = structs.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, structs.len())?))
        }
        DataType::List(item) if has_struct(item.data_type()) => {
            let lists = column.as_list::<i32>();
            let offsets = lists.value_offsets();
            let (first, end) = (offsets[0], offsets[lists.len()]);
            // Only the elements of these rows: a slice holds those of all rows that it was cut from.
            let values = lists.values().slice(first.as_usize(), (end - first).as_usize());
            let values = without_leftovers(values)?;
            let offsets = OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, lists.nulls().cloned())?))
        }
        _ => Ok(column),
    }
}

fn is_null(nulls: &NullBuffer) -> BooleanArray {
    BooleanArray::new(!nulls.inner(), None)
}

fn has_struct(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(item) => has_struct(item.data_type()),
        _ => false,
    }
}
