//! How much memory do rows hold, how much would they hold when decoded, and do they pin what is not theirs?

use std::collections::HashMap;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, MutableArrayData, RecordBatch, RecordBatchOptions, make_array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema};

use crate::catalog::MAX_TYPE_DEPTH;
use crate::error::{Code, Error, Result};
use crate::limits::MAX_STATEMENT_ROWS_BYTES;

/// Rows may hold twice their bytes (builders double their buffers) before they are copied.
const PINNED_FACTOR: u64 = 2;

/// Copying less than this is not worth a look.
const PINNED_SLACK_BYTES: u64 = 16 << 10;

/// Bytes of the batch's own values, without what its buffers hold beside them.
pub(super) fn own_bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| slice_bytes(&column.to_data())).sum()
}

/// Arrow's own figure counts all elements of a list's child, also those before and after a slice.
fn slice_bytes(data: &ArrayData) -> u64 {
    let nulls = data.nulls().map_or(0, |_| data.len().div_ceil(8) as u64);
    match (data.data_type(), data.child_data()) {
        (DataType::List(_), [items]) => {
            let offsets = data.buffer::<i32>(0);
            let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.get(data.len()).copied().unwrap_or(0));
            let (first, n) = (first as usize, (last - first) as usize);
            nulls + size_of_val(offsets) as u64 + slice_bytes(&items.slice(first, n))
        }
        (DataType::Struct(_), columns) => nulls + columns.iter().map(slice_bytes).sum::<u64>(),
        _ => data.get_slice_memory_size().unwrap_or_else(|_| data.get_buffer_memory_size()) as u64,
    }
}

/// The batch, copied if its buffers hold much more than `own_bytes`: a slice of a large message must not keep all of it alive.
pub(super) fn unpinned(batch: RecordBatch, own_bytes: u64) -> Result<RecordBatch> {
    let mut allocations = HashMap::new();
    for column in batch.columns() {
        for_each_buffer(&column.to_data(), &mut |buffer| {
            allocations.insert(buffer.data_ptr().as_ptr() as usize, buffer.capacity() as u64);
        });
    }
    let held: u64 = allocations.values().sum();
    if held <= own_bytes.saturating_mul(PINNED_FACTOR).saturating_add(PINNED_SLACK_BYTES) {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(copied).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(
        batch.schema(),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )?)
}

fn copied(array: &ArrayRef) -> Result<ArrayRef> {
    let data = array.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    Ok(make_array(copy.freeze()))
}

fn for_each_buffer(data: &ArrayData, visit: &mut dyn FnMut(&Buffer)) {
    data.buffers().iter().for_each(&mut *visit);
    if let Some(nulls) = data.nulls() {
        visit(nulls.buffer());
    }
    for child in data.child_data() {
        for_each_buffer(child, visit);
    }
}

/// Bytes of one row of `schema` that has only NULLs or empty values.
pub(super) fn fixed_row_bytes(schema: &Schema) -> u64 {
    schema.fields().iter().map(|field| fixed_bytes(field.data_type())).sum()
}

/// The same of one value.
pub(super) fn fixed_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Struct(fields) => 1 + fields.iter().map(|field| fixed_bytes(field.data_type())).sum::<u64>(),
        other => other.primitive_width().map_or(4, |width| width as u64),
    }
}

/// Refuses rows that are small as they came but would be huge when decoded: many keys for one long dictionary value, many
/// views of one buffer, many rows for a wide table. Without this a message of a few MiB could take all memory.
pub(super) fn check_decoded_size(batch: &RecordBatch, target: &Schema) -> Result<()> {
    let mut bytes = (batch.num_rows() as u64).saturating_mul(fixed_row_bytes(target));
    for column in batch.columns() {
        bytes = bytes.saturating_add(decoded_bytes(column, 0)?);
    }
    if bytes <= MAX_STATEMENT_ROWS_BYTES as u64 {
        return Ok(());
    }
    Err(Error::new(
        Code::BatchTooLarge,
        format!("{} rows take {bytes} bytes when decoded, the limit is {MAX_STATEMENT_ROWS_BYTES}", batch.num_rows()),
    )
    .with("bytes", bytes)
    .with("limit", MAX_STATEMENT_ROWS_BYTES)
    .hint("send the rows in smaller batches"))
}

fn decoded_bytes(array: &ArrayRef, depth: usize) -> Result<u64> {
    use DataType as T;
    // A list inside the deepest type that a table can have; what is deeper matches no column.
    if depth > MAX_TYPE_DEPTH {
        return Err(malformed(format!("a column nests types deeper than {MAX_TYPE_DEPTH} levels")));
    }
    let children = |arrays: &[ArrayRef]| -> Result<u64> {
        arrays.iter().try_fold(0u64, |sum, child| Ok(sum.saturating_add(decoded_bytes(child, depth + 1)?)))
    };
    match array.data_type() {
        T::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let lengths = value_lengths(dictionary.values())?;
            if lengths.is_empty() {
                return Ok(0);
            }
            Ok(dictionary.normalized_keys().into_iter().fold(0, |sum: u64, key| sum.saturating_add(lengths[key])))
        }
        T::RunEndEncoded(_, _) => {
            let data = array.to_data();
            let Some(values) = data.child_data().get(1) else { return Ok(0) };
            let longest = value_lengths(&make_array(values.clone()))?.into_iter().max().unwrap_or(0);
            Ok(longest.saturating_mul(array.len() as u64))
        }
        T::Utf8View | T::BinaryView => Ok(view_lengths(array).fold(0, u64::saturating_add)),
        T::ListView(_) | T::LargeListView(_) => {
            let (sizes, values) = match array.as_list_view_opt::<i32>() {
                Some(list) => (list.sizes().iter().map(|&n| n as u64).sum::<u64>(), list.values()),
                None => {
                    let list = array.as_list_view::<i64>();
                    (list.sizes().iter().map(|&n| n.unsigned_abs()).sum::<u64>(), list.values())
                }
            };
            if sizes > values.len() as u64 {
                return Err(malformed("the lists of a column share elements".into()));
            }
            children(std::slice::from_ref(values))
        }
        T::List(_) => children(std::slice::from_ref(array.as_list::<i32>().values())),
        T::LargeList(_) => children(std::slice::from_ref(array.as_list::<i64>().values())),
        T::FixedSizeList(_, _) => children(std::slice::from_ref(array.as_fixed_size_list().values())),
        T::Struct(_) => children(array.as_struct().columns()),
        T::Map(_, _) | T::Union(_, _) => Ok(array.get_buffer_memory_size() as u64),
        _ => Ok(slice_bytes(&array.to_data())),
    }
}

/// Bytes of each value of a dictionary or of runs. Only plain values are taken there.
fn value_lengths(values: &ArrayRef) -> Result<Vec<u64>> {
    use DataType as T;
    let of_offsets = |offsets: &mut dyn Iterator<Item = u64>| -> Vec<u64> {
        let all: Vec<u64> = offsets.collect();
        all.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect()
    };
    Ok(match values.data_type() {
        T::Utf8 => of_offsets(&mut values.as_string::<i32>().value_offsets().iter().map(|&o| o as u64)),
        T::LargeUtf8 => of_offsets(&mut values.as_string::<i64>().value_offsets().iter().map(|&o| o as u64)),
        T::Binary => of_offsets(&mut values.as_binary::<i32>().value_offsets().iter().map(|&o| o as u64)),
        T::LargeBinary => of_offsets(&mut values.as_binary::<i64>().value_offsets().iter().map(|&o| o as u64)),
        T::Utf8View | T::BinaryView => view_lengths(values).collect(),
        T::FixedSizeBinary(width) => vec![u64::from(width.unsigned_abs()); values.len()],
        T::Null | T::Boolean => vec![1; values.len()],
        other => match other.primitive_width() {
            Some(width) => vec![width as u64; values.len()],
            None => return Err(malformed(format!("a dictionary of {other} is not supported"))),
        },
    })
}

/// The low 32 bits of a view are the value's length.
fn view_lengths(array: &ArrayRef) -> impl Iterator<Item = u64> {
    let views = match array.as_string_view_opt() {
        Some(text) => text.views().clone(),
        None => array.as_binary_view().views().clone(),
    };
    (0..views.len()).map(move |i| u64::from(views[i] as u32))
}

fn malformed(message: String) -> Error {
    Error::new(Code::MalformedPayload, message)
}
