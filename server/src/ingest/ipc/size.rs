//! How many bytes do rows take when everything is spelled out? Dictionaries and views may stand for far more than they
//! are.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, downcast_dictionary_array};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};

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
        DataType::List(_) => flat_bytes(array.as_list::<i32>().values()).saturating_add(rows * 4),
        DataType::LargeList(_) => flat_bytes(array.as_list::<i64>().values()).saturating_add(rows * 8),
        DataType::FixedSizeList(..) => flat_bytes(array.as_fixed_size_list().values()),
        _ => array.to_data().get_slice_memory_size().map_or(u64::MAX, |bytes| bytes as u64),
    }
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
            let widths = widths(array.values());
            let keys = array.keys().iter().flatten();
            #[allow(clippy::unnecessary_fallible_conversions, reason = "the macro expands to keys that may be negative, too")]
            let sum = keys.map(|key| widths.of(usize::try_from(key).unwrap_or(usize::MAX)));
            sum.fold(array.len() as u64, u64::saturating_add)
        }
        _ => u64::MAX
    }
}

/// How wide the values of a dictionary are.
enum Widths {
    Each(Vec<u64>),
    All(u64),
}

impl Widths {
    fn of(&self, i: usize) -> u64 {
        match self {
            Widths::Each(widths) => widths.get(i).copied().unwrap_or(0),
            Widths::All(width) => *width,
        }
    }
}

fn widths(values: &ArrayRef) -> Widths {
    let n = values.len();
    let each = |width: &dyn Fn(usize) -> u64| Widths::Each((0..n).map(width).collect());
    match values.data_type() {
        DataType::Utf8 => each(&|i| 4 + u64::from(values.as_string::<i32>().value_length(i).unsigned_abs())),
        DataType::LargeUtf8 => each(&|i| 8 + values.as_string::<i64>().value_length(i).unsigned_abs()),
        DataType::Binary => each(&|i| 4 + u64::from(values.as_binary::<i32>().value_length(i).unsigned_abs())),
        DataType::LargeBinary => each(&|i| 8 + values.as_binary::<i64>().value_length(i).unsigned_abs()),
        DataType::FixedSizeBinary(width) => Widths::All(u64::from(width.unsigned_abs())),
        other => Widths::All(other.primitive_width().unwrap_or(1) as u64),
    }
}
