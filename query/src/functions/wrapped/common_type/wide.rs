//! As what are a DECIMAL(38,30) and a BIGINT compared? As decimals of as many digits as both have together, up to 76. DataFusion has 38 for them,
//! and fails for the integers that have no place in front of 30 digits.

use std::mem;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use crate::functions::wrapped::compared::is_number;

/// Makes such decimals of the values that are no constants, if they need it. Whether any was read. Beside a written number, which is read as
/// one of them, nothing is.
pub(in crate::functions::wrapped) fn as_wide(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    if values.iter().any(|value| is_number(value)) {
        return false;
    }
    let (mut whole, mut fraction, mut has_decimals) = (0, 0, false);
    for value in values.iter().filter(|value| !matches!(***value, Expr::Literal(..))) {
        let Ok(of) = value.get_type(schema) else { return false };
        let Some((places, behind)) = digits(&of) else { return false };
        (whole, fraction) = (places.max(whole), behind.max(fraction));
        has_decimals |= of.is_decimal();
    }
    let precision = whole + fraction;
    if !has_decimals || !(DECIMAL128_MAX_PRECISION + 1..=DECIMAL256_MAX_PRECISION).contains(&precision) {
        return false;
    }
    let Ok(scale) = i8::try_from(fraction) else { return false };
    for value in values.iter_mut().filter(|value| !matches!(***value, Expr::Literal(..))) {
        let exact = mem::take(&mut **value);
        **value = cast(exact, DataType::Decimal256(precision, scale));
    }
    true
}

/// How many digits a number of that type has in front of the point and behind it at most; `None` for what is no exact number.
fn digits(data_type: &DataType) -> Option<(u8, u8)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal128(precision, scale) => {
            let behind = u8::try_from(*scale).ok()?;
            (precision.checked_sub(behind)?, behind)
        }
        _ => return None,
    })
}
