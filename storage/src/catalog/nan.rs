//! Which NaN do tables have? One. Machines make several, 0.0 / 0.0 is one with a sign on most, and whoever orders floats by their bits finds
//! some of them in front of all numbers, some behind, and no two equal.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields, Float32Type, Float64Type};

/// Without a sign and without further bits: behind all numbers in every order of Arrow, and what most libraries call NaN.
const NAN_32: f32 = f32::from_bits(0x7fc0_0000);
const NAN_64: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

/// Values that are looked at before it is asked whether one was found: without a way out among them, several are looked at at once.
const CHUNK: usize = 1024;

/// The same REALs and DOUBLEs, alone or within lists and structs, with the one NaN in the place of every other. Nothing is copied if there is
/// no other, nor of other types. What stands for a NULL is anything.
pub fn one_nan(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            one_nan_of::<Float32Type>(array, NAN_32, |v| v.is_nan() && v.to_bits() != NAN_32.to_bits())
        }
        DataType::Float64 => {
            one_nan_of::<Float64Type>(array, NAN_64, |v| v.is_nan() && v.to_bits() != NAN_64.to_bits())
        }
        DataType::List(field) => one_nan_in_lists(array, field),
        DataType::Struct(fields) => one_nan_in_structs(array, fields),
        _ => Arc::clone(array),
    }
}

fn one_nan_of<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    nan: T::Native,
    is_other: impl Fn(T::Native) -> bool,
) -> ArrayRef {
    let given = array.as_primitive::<T>();
    let has_other = |values: &[T::Native]| values.iter().fold(false, |found, &value| found | is_other(value));
    if !given.values().chunks(CHUNK).any(has_other) {
        return Arc::clone(array);
    }
    Arc::new(given.unary::<_, T>(|value| if is_other(value) { nan } else { value }))
}

fn one_nan_in_lists(array: &ArrayRef, field: &FieldRef) -> ArrayRef {
    let list = array.as_list::<i32>();
    let offsets = list.offsets();
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { return Arc::clone(array) };
    // A slice still has the elements of all rows.
    let given = list.values().slice(first as usize, (last - first) as usize);
    let values = one_nan(&given);
    if Arc::ptr_eq(&given, &values) {
        return Arc::clone(array);
    }
    let offsets = OffsetBuffer::from_lengths(offsets.lengths());
    Arc::new(ListArray::new(Arc::clone(field), offsets, values, list.nulls().cloned()))
}

fn one_nan_in_structs(array: &ArrayRef, fields: &Fields) -> ArrayRef {
    let given = array.as_struct();
    let columns: Vec<ArrayRef> = given.columns().iter().map(one_nan).collect();
    if columns.iter().zip(given.columns()).all(|(column, given)| Arc::ptr_eq(column, given)) {
        return Arc::clone(array);
    }
    Arc::new(StructArray::new(fields.clone(), columns, given.nulls().cloned()))
}
