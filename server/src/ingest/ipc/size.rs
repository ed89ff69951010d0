//! How many bytes do rows take when everything is spelled out? Dictionaries and views may stand for far more than they
//! are.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch, UnionArray, downcast_dictionary_array};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};

/// Of a row of a union: which type, and where the value is.
const UNION_BYTES: u64 = 5;

/// Bytes of a batch with dictionaries and views spelled out.
pub fn flat_batch_bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(flat_bytes).fold(0, u64::saturating_add)
}

/// Bytes of an array with dictionaries and views spelled out.
pub fn flat_bytes(array: &ArrayRef) -> u64 {
    let rows = array.len() as u64;
    match array.data_type() {
        DataType::Dictionary(..) => dictionary(array),
        DataType::Utf8View => views::<StringViewType>(array),
        DataType::BinaryView => views::<BinaryViewType>(array),
        DataType::Struct(_) => array.as_struct().columns().iter().map(flat_bytes).fold(rows / 8, u64::saturating_add),
        DataType::List(_) => list::<i32>(array),
        DataType::LargeList(_) => list::<i64>(array),
        DataType::Union(fields, _) => {
            let Some(union) = array.as_any().downcast_ref::<UnionArray>() else { return u64::MAX };
            let children = fields.iter().map(|(number, _)| flat_bytes(union.child(number)));
            children.fold(rows.saturating_mul(UNION_BYTES), u64::saturating_add)
        }
        DataType::FixedSizeList(..) => flat_bytes(array.as_fixed_size_list().values()),
        _ => array.to_data().get_slice_memory_size().map_or(u64::MAX, |bytes| bytes as u64),
    }
}

/// Offsets and elements. A slice of lists has all elements at hand, and is as large as its own.
fn list<O: OffsetSizeTrait>(array: &ArrayRef) -> u64 {
    let list = array.as_list::<O>();
    let [first, .., last] = list.value_offsets() else { return 0 };
    let (first, last) = (first.as_usize(), last.as_usize());
    flat_bytes(&list.values().slice(first, last - first)).saturating_add((list.len() * size_of::<O>()) as u64)
}

/// Four bytes of offset and the text, for each view.
fn views<T: ByteViewType>(array: &ArrayRef) -> u64 {
    // The low 32 bits of a view are its length.
    array.as_byte_view::<T>().views().iter().map(|view| 4 + u64::from(*view as u32)).fold(0, u64::saturating_add)
}

fn dictionary(array: &ArrayRef) -> u64 {
    let array = array.as_ref();
    downcast_dictionary_array! {
        array => {
            let width = width_of(array.values());
            let keys = array.keys().iter().flatten();
            #[allow(clippy::unnecessary_fallible_conversions, reason = "the macro expands to keys that may be negative, too")]
            let sum = keys.map(|key| width(usize::try_from(key).unwrap_or(usize::MAX)));
            sum.fold(array.len() as u64, u64::saturating_add)
        }
        _ => u64::MAX
    }
}

/// How wide the value at a place of a dictionary is. Only those that are asked for are looked at: a few rows may refer to a
/// dictionary of millions.
fn width_of(values: &ArrayRef) -> Box<dyn Fn(usize) -> u64 + '_> {
    let n = values.len();
    match values.data_type() {
        DataType::Utf8 => {
            let values = values.as_string::<i32>();
            Box::new(move |i| if i < n { 4 + u64::from(values.value_length(i).unsigned_abs()) } else { 0 })
        }
        DataType::LargeUtf8 => {
            let values = values.as_string::<i64>();
            Box::new(move |i| if i < n { 8 + values.value_length(i).unsigned_abs() } else { 0 })
        }
        DataType::Binary => {
            let values = values.as_binary::<i32>();
            Box::new(move |i| if i < n { 4 + u64::from(values.value_length(i).unsigned_abs()) } else { 0 })
        }
        DataType::LargeBinary => {
            let values = values.as_binary::<i64>();
            Box::new(move |i| if i < n { 8 + values.value_length(i).unsigned_abs() } else { 0 })
        }
        DataType::Utf8View => view_width::<StringViewType>(values),
        DataType::BinaryView => view_width::<BinaryViewType>(values),
        DataType::FixedSizeBinary(width) => {
            let width = u64::from(width.unsigned_abs());
            Box::new(move |_| width)
        }
        other => {
            let width = other.primitive_width().unwrap_or(1) as u64;
            Box::new(move |_| width)
        }
    }
}

fn view_width<T: ByteViewType>(values: &ArrayRef) -> Box<dyn Fn(usize) -> u64 + '_> {
    let views = values.as_byte_view::<T>().views();
    Box::new(move |i| views.get(i).map_or(0, |view| 4 + u64::from(*view as u32)))
}
