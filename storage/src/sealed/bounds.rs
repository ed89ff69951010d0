//! Which values can a settled file hold? Minimum, maximum and NULLs of each of its columns.

use std::mem::replace;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray,
    PrimitiveArray, StringArray, downcast_primitive,
};
use arrow::compute::{self, concat};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::error::Result;

/// A text or binary bound is cut here: what follows hardly ever decides whether a file is read.
const MAX_BOUND_BYTES: usize = 64;

/// The bounds of one column of a file. Every value lies within `[min, max]`.
#[derive(Debug, Clone)]
pub struct ColumnBounds {
    /// One value of the column's type. `None`: the type has no order, all values are NULL, a NaN is among them, or a text is too long to
    /// keep even in part.
    pub min: Option<ArrayRef>,
    pub max: Option<ArrayRef>,
    pub nulls: u64,
}

impl ColumnBounds {
    /// Nothing is known but the NULLs.
    pub fn unknown(nulls: u64) -> Self {
        Self { min: None, max: None, nulls }
    }
}

/// Collects the bounds of one column, batch by batch.
#[derive(Debug)]
pub(super) struct BoundsBuilder {
    min: Bound,
    max: Bound,
    nulls: u64,
}

#[derive(Debug)]
enum Bound {
    /// There was no value yet.
    Empty,
    /// An array of one value.
    Known(ArrayRef),
    /// Nothing can be said, whatever follows.
    Unknown,
}

impl BoundsBuilder {
    pub(super) fn new() -> Self {
        Self { min: Bound::Empty, max: Bound::Empty, nulls: 0 }
    }

    /// Takes in more values of the column. An error only if they are of another type than those before.
    pub(super) fn add(&mut self, values: &ArrayRef) -> Result<()> {
        self.nulls += values.null_count() as u64;
        let (min, max) = bounds_of(values);
        self.min = joined(replace(&mut self.min, Bound::Unknown), min, |both| bounds_of(both).0)?;
        self.max = joined(replace(&mut self.max, Bound::Unknown), max, |both| bounds_of(both).1)?;
        Ok(())
    }

    pub(super) fn finish(self) -> ColumnBounds {
        ColumnBounds { min: self.min.known(), max: self.max.known(), nulls: self.nulls }
    }
}

impl Bound {
    fn known(self) -> Option<ArrayRef> {
        match self {
            Bound::Known(value) => Some(value),
            Bound::Empty | Bound::Unknown => None,
        }
    }

    /// A bound that is not cut; `None` if there is no value.
    fn of<T: ArrowPrimitiveType>(value: Option<T::Native>, data_type: &DataType) -> Self {
        let array = |value| PrimitiveArray::<T>::from_value(value, 1).with_data_type(data_type.clone());
        value.map_or(Bound::Empty, |value| Bound::Known(Arc::new(array(value))))
    }
}

/// The bound of what two bounds are of; `pick` finds it in an array of both.
fn joined(old: Bound, new: Bound, pick: impl Fn(&ArrayRef) -> Bound) -> Result<Bound> {
    Ok(match (old, new) {
        (Bound::Unknown, _) | (_, Bound::Unknown) => Bound::Unknown,
        (Bound::Empty, other) | (other, Bound::Empty) => other,
        (Bound::Known(old), Bound::Known(new)) => pick(&concat(&[old.as_ref(), new.as_ref()])?),
    })
}

/// Bounds of floats. A NaN makes both unknown, since engines disagree on its place. Zeros are widened to both signs, so that a comparison
/// by total order and one by value prune alike.
macro_rules! float_bounds {
    ($values:expr, $t:ty) => {{
        let values = $values.as_primitive::<$t>();
        if values.iter().flatten().any(|v| v.is_nan()) {
            (Bound::Unknown, Bound::Unknown)
        } else {
            let min = compute::min(values).map(|v| if v == 0.0 { -0.0 } else { v });
            let max = compute::max(values).map(|v| if v == 0.0 { 0.0 } else { v });
            (Bound::of::<$t>(min, $values.data_type()), Bound::of::<$t>(max, $values.data_type()))
        }
    }};
}

/// The bounds of some values, each cut if it must be.
fn bounds_of(values: &ArrayRef) -> (Bound, Bound) {
    macro_rules! primitive_bounds {
        ($t:ty) => {
            primitive::<$t>(values)
        };
    }
    match values.data_type() {
        DataType::Float32 => float_bounds!(values, Float32Type),
        DataType::Float64 => float_bounds!(values, Float64Type),
        DataType::Boolean => {
            let values = values.as_boolean();
            let bound = |value: Option<bool>| {
                value.map_or(Bound::Empty, |value| Bound::Known(Arc::new(BooleanArray::from(vec![value]))))
            };
            (bound(compute::min_boolean(values)), bound(compute::max_boolean(values)))
        }
        DataType::Utf8 => {
            let values = values.as_string::<i32>();
            let bound = |text: &str| Bound::Known(Arc::new(StringArray::from(vec![text])));
            let min = compute::min_string(values).map(cut_text);
            let max = compute::max_string(values).map(text_above);
            (
                min.map_or(Bound::Empty, bound),
                max.map_or(Bound::Empty, |text| text.map_or(Bound::Unknown, |text| bound(&text))),
            )
        }
        DataType::Binary => {
            let values = values.as_binary::<i32>();
            let bound = |bytes: &[u8]| Bound::Known(Arc::new(BinaryArray::from(vec![bytes])));
            let min = compute::min_binary(values).map(|bytes| &bytes[..bytes.len().min(MAX_BOUND_BYTES)]);
            let max = compute::max_binary(values).map(bytes_above);
            (
                min.map_or(Bound::Empty, bound),
                max.map_or(Bound::Empty, |bytes| bytes.map_or(Bound::Unknown, |bytes| bound(&bytes))),
            )
        }
        other => downcast_primitive! {
            other => (primitive_bounds),
            _ => (Bound::Unknown, Bound::Unknown),
        },
    }
}

fn primitive<T: ArrowNumericType>(values: &ArrayRef) -> (Bound, Bound)
where
    T::Native: ArrowNativeTypeOp,
{
    let data_type = values.data_type();
    let values = values.as_primitive::<T>();
    (Bound::of::<T>(compute::min(values), data_type), Bound::of::<T>(compute::max(values), data_type))
}

/// The start of a text: not above it.
fn cut_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_BOUND_BYTES)]
}

/// A text that is not below any text with the same start. `None`: there is none that is short enough.
fn text_above(text: &str) -> Option<String> {
    if text.len() <= MAX_BOUND_BYTES {
        return Some(text.to_owned());
    }
    let mut above = cut_text(text).to_owned();
    while let Some(last) = above.pop() {
        if let Some(next) = next_char(last).filter(|next| above.len() + next.len_utf8() <= MAX_BOUND_BYTES) {
            above.push(next);
            return Some(above);
        }
    }
    None
}

/// The next character in the order of code points, which is that of UTF-8 bytes.
fn next_char(c: char) -> Option<char> {
    match c {
        // Surrogates, which are no characters, follow.
        '\u{D7FF}' => Some('\u{E000}'),
        c => char::from_u32(u32::from(c) + 1),
    }
}

/// As [`text_above`].
fn bytes_above(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() <= MAX_BOUND_BYTES {
        return Some(bytes.to_vec());
    }
    let cut = &bytes[..MAX_BOUND_BYTES];
    let last = cut.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut above = cut[..=last].to_vec();
    above[last] += 1;
    Some(above)
}
