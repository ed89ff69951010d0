//! Which Arrow types do clients see? One function decides, for every schema we announce and every batch we send.

mod profile;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StructArray, make_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Fields, SchemaRef};
pub use profile::Profile;
use tidewater_storage::{Code, Error, Result};

/// The schema that a client is told for a result of `schema`, unless it asks for other types.
pub fn wire_schema(schema: &SchemaRef) -> SchemaRef {
    Profile::Portable.schema(schema)
}

/// `batch` as a [`Profile`] announces it; `schema` is that of the profile.
pub fn to_wire(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(Error::internal(format!(
            "a batch has {} columns, {} were announced",
            batch.num_columns(),
            schema.fields().len()
        )));
    }
    let rows = batch.num_rows();
    let columns =
        batch.columns().iter().zip(schema.fields()).map(|(column, field)| wire_array(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// `array` with exactly the type `to`: cast where values change their form, relabelled where only names or flags differ.
fn wire_array(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), to) {
        (DataType::Dictionary(_, _), _) => {
            let dictionary = array.as_any_dictionary();
            let values = arrow::compute::take(dictionary.values(), dictionary.keys(), None)?;
            wire_array(&values, to)
        }
        (DataType::RunEndEncoded(_, values), _) => wire_array(&cast(array, values.data_type())?, to),
        (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
            DataType::Utf8,
        ) => text::hex(array),
        (nested, DataType::Utf8) if profile::is_nested(nested) => text::json(array),
        (DataType::Timestamp(a, Some(_)), DataType::Timestamp(b, Some(_))) if a == b => relabel(array, to),
        (DataType::Struct(_), DataType::Struct(fields)) => wire_struct(array.as_struct(), fields),
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = wire_array(list.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?))
        }
        (DataType::FixedSizeList(_, _), DataType::FixedSizeList(item, size)) => {
            let list = array.as_fixed_size_list();
            let values = wire_array(list.values(), item.data_type())?;
            Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(item), *size, values, list.nulls().cloned())?))
        }
        (DataType::LargeList(_), DataType::List(_)) => {
            let list = array.as_list::<i64>();
            wire_array(&narrow(list)?, to)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(Error::internal("a map's entries are no struct"));
            };
            let columns = map.entries().columns().iter().zip(fields).map(|(c, f)| wire_array(c, f.data_type()));
            let inner =
                StructArray::try_new(fields.clone(), columns.collect::<Result<_>>()?, map.entries().nulls().cloned())?;
            let offsets = map.offsets().clone();
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, inner, map.nulls().cloned(), *sorted)?))
        }
        (_, _) => cast(array, to),
    }
}

fn wire_struct(array: &StructArray, fields: &Fields) -> Result<ArrayRef> {
    let columns = array.columns().iter().zip(fields).map(|(column, field)| wire_array(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let nulls = array.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
}

/// A list with 64-bit offsets as one with 32-bit offsets.
fn narrow(list: &GenericListArray<i64>) -> Result<ArrayRef> {
    let DataType::LargeList(item) = list.data_type() else {
        return Err(Error::internal("not a large list"));
    };
    cast(&(Arc::new(list.clone()) as ArrayRef), &DataType::List(Arc::clone(item)))
}

/// The same buffers under another type of the same layout.
fn relabel(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(make_array(array.to_data().into_builder().data_type(to.clone()).build()?))
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|source| {
        Error::new(Code::ResultTooLarge, format!("a column of type {} cannot be sent as {to}", array.data_type()))
            .hint("select less per row, or cast the column in the query")
            .source(source)
    })
}
