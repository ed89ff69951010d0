//! Is every NaN the same one, and is nothing else touched?

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};

use crate::catalog::one_nan;

const NAN: u64 = 0x7ff8_0000_0000_0000;
/// With a sign, with other bits, one that traps, and both ends of those.
const OTHERS: [u64; 5] =
    [0xfff8_0000_0000_0000, 0x7ff8_0000_0000_0001, 0x7ff0_0000_0000_0001, 0x7fff_ffff_ffff_ffff, u64::MAX];
/// Among them the largest numbers of both signs, both zeros and both infinities.
const NUMBERS: [f64; 8] = [0.0, -0.0, 1.5, f64::MAX, f64::MIN, 5e-324, f64::INFINITY, f64::NEG_INFINITY];

fn bits(array: &ArrayRef) -> Vec<u64> {
    array.as_primitive::<Float64Type>().values().iter().map(|value| value.to_bits()).collect()
}

/// More than is looked at in one go, with `at` in the place of one number.
fn doubles(others: &[(usize, u64)]) -> ArrayRef {
    let mut values: Vec<f64> = NUMBERS.iter().copied().cycle().take(3_000).collect();
    others.iter().for_each(|&(at, bits)| values[at] = f64::from_bits(bits));
    Arc::new(Float64Array::from(values))
}

#[test]
fn doubles_have_one_nan() {
    for at in [0, 1_023, 1_024, 2_999] {
        for other in OTHERS {
            let given = doubles(&[(at, other), (7, NAN)]);
            let expected = doubles(&[(at, NAN), (7, NAN)]);
            assert_eq!(bits(&one_nan(&given)), bits(&expected), "{other:x} at {at}");
        }
    }
    let given: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(f64::from_bits(OTHERS[0])), None]));
    let one = one_nan(&given);
    assert_eq!((one.null_count(), bits(&one)[1]), (2, NAN));
}

#[test]
fn reals_have_one_nan() {
    let given = [0xffc0_0000, 0x7fc0_0001, 0x8000_0000, 0x7f80_0000].map(f32::from_bits);
    let given: ArrayRef = Arc::new(Float32Array::from(given.to_vec()));
    let one = one_nan(&given);
    let bits: Vec<u32> = one.as_primitive::<Float32Type>().values().iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [0x7fc0_0000, 0x7fc0_0000, 0x8000_0000, 0x7f80_0000]);
}

#[test]
fn what_has_no_other_is_not_copied() {
    let lists = |elements: ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new_list_field(DataType::Float64, true));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([elements.len()]), elements, None))
    };
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![-1]));
    for given in [doubles(&[(9, NAN)]), integers, lists(doubles(&[])), doubles(&[]).slice(5, 0)] {
        assert!(Arc::ptr_eq(&one_nan(&given), &given), "{}", given.data_type());
    }
}

/// A slice of lists of structs: NULLs, empty lists and elements of other rows beside.
#[test]
fn nested_floats_have_one_nan() {
    let floats = [OTHERS[0], OTHERS[0], NAN, OTHERS[1], OTHERS[2]].map(f64::from_bits);
    let floats: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4]));
    let fields = vec![Field::new("x", DataType::Float64, true), Field::new("n", DataType::Int64, true)];
    let nulls = NullBuffer::from(vec![true, true, false, true, true]);
    let structs = StructArray::new(fields.into(), vec![floats, numbers], Some(nulls));
    let field = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
    let nulls = NullBuffer::from(vec![true, true, false, true, true]);
    let lists: ArrayRef =
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([1, 2, 0, 1, 1]), Arc::new(structs), Some(nulls)));
    let slice = lists.slice(1, 3);
    let one = one_nan(&slice);
    assert_eq!((one.data_type(), one.len(), one.null_count()), (slice.data_type(), 3, 1));
    one.to_data().validate_full().expect("valid");
    let one = one.as_list::<i32>();
    for (row, numbers) in [(0, vec![1, 2]), (1, vec![]), (2, vec![3])] {
        let elements = one.value(row);
        let elements = elements.as_struct();
        assert_eq!(elements.column(1).as_ref(), &Int64Array::from_iter_values(numbers) as &dyn Array);
        assert_eq!(elements.null_count(), usize::from(row == 0));
        assert!(bits(elements.column(0)).iter().all(|&bits| bits == NAN), "row {row}");
    }
}
