//! In which type is a sum kept while it grows? One that holds more values than there can be rows, and back.

use std::fmt;

use arrow::array::{Array, ArrowNativeTypeOp, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DecimalType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Int64Type, UInt64Type, i256,
};
use datafusion::error::{DataFusionError, Result};
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;

/// A type of values that are summed.
pub(super) trait Wide: ArrowPrimitiveType + fmt::Debug {
    /// The type of a total.
    type Total: ArrowPrimitiveType;
    const TOTAL: DataType;
    /// 64 bits of a total are spare: adding cannot overflow.
    const HAS_SPARE_BITS: bool;

    fn widen(value: Self::Native) -> TotalOf<Self>;

    /// The total as a value of `sum`, the type of the result.
    fn narrow(total: TotalOf<Self>, sum: &DataType) -> Option<Self::Native>;
}

/// A total of values of `T`.
pub(super) type TotalOf<T> = <<T as Wide>::Total as ArrowPrimitiveType>::Native;

macro_rules! of_at_most_64_bits {
    ($($values:ty),*) => {
        $(impl Wide for $values {
            type Total = Decimal128Type;
            const TOTAL: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
            const HAS_SPARE_BITS: bool = true;

            fn widen(value: Self::Native) -> i128 {
                i128::from(value)
            }

            fn narrow(total: i128, sum: &DataType) -> Option<Self::Native> {
                Decimal128Type::narrow(total, sum)?.try_into().ok()
            }
        })*
    };
}

of_at_most_64_bits!(
    Decimal32Type,
    Decimal64Type,
    Int64Type,
    UInt64Type,
    DurationSecondType,
    DurationMillisecondType,
    DurationMicrosecondType,
    DurationNanosecondType
);

impl Wide for Decimal128Type {
    type Total = Self;
    const TOTAL: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
    const HAS_SPARE_BITS: bool = false;

    fn widen(value: i128) -> i128 {
        value
    }

    fn narrow(total: i128, sum: &DataType) -> Option<i128> {
        fits::<Self>(total, sum).then_some(total)
    }
}

impl Wide for Decimal256Type {
    type Total = Self;
    const TOTAL: DataType = DataType::Decimal256(DECIMAL256_MAX_PRECISION, 0);
    const HAS_SPARE_BITS: bool = false;

    fn widen(value: i256) -> i256 {
        value
    }

    fn narrow(total: i256, sum: &DataType) -> Option<i256> {
        fits::<Self>(total, sum).then_some(total)
    }
}

/// The value has no more digits than its type, where that says how many.
fn fits<T: DecimalType>(value: T::Native, sum: &DataType) -> bool {
    match sum {
        DataType::Decimal32(digits, _)
        | DataType::Decimal64(digits, _)
        | DataType::Decimal128(digits, _)
        | DataType::Decimal256(digits, _) => T::is_valid_decimal_precision(value, *digits),
        _ => true,
    }
}

pub(super) fn plus<T: Wide>(a: TotalOf<T>, b: TotalOf<T>, sum: &DataType) -> Result<TotalOf<T>> {
    if T::HAS_SPARE_BITS { Ok(a.add_wrapping(b)) } else { a.add_checked(b).map_err(|_| too_large(sum)) }
}

pub(super) fn minus<T: Wide>(a: TotalOf<T>, b: TotalOf<T>, sum: &DataType) -> Result<TotalOf<T>> {
    if T::HAS_SPARE_BITS { Ok(a.sub_wrapping(b)) } else { a.sub_checked(b).map_err(|_| too_large(sum)) }
}

/// The total of the values that are not NULL.
pub(super) fn total_of<T: Wide>(values: &PrimitiveArray<T>, sum: &DataType) -> Result<TotalOf<T>> {
    let mut total: TotalOf<T> = Default::default();
    match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            for value in values.values().iter() {
                total = plus::<T>(total, T::widen(*value), sum)?;
            }
        }
        Some(nulls) => {
            for row in nulls.valid_indices() {
                total = plus::<T>(total, T::widen(values.value(row)), sum)?;
            }
        }
    }
    Ok(total)
}

/// A total as the result of the function.
pub(super) fn narrowed<T: Wide>(total: TotalOf<T>, sum: &DataType) -> Result<T::Native> {
    T::narrow(total, sum).ok_or_else(|| too_large(sum))
}

fn too_large(sum: &DataType) -> DataFusionError {
    let message = format!("the sum does not fit into {}", sql_type(sum));
    let hint = "sum a wider type: sum(CAST(x AS DECIMAL(38, 0))) is exact, sum(CAST(x AS DOUBLE)) is not";
    to_datafusion(Error::new(Code::QueryFailed, message).hint(hint))
}
