//! Of which type is `lag(d, 1, 1.005)`? Of one that holds the values of `d`, and what stands in for them, with all its digits. DataFusion makes of the
//! latter a value of the type of `d`: 1.00 of 1.005, and a day of a time.

use std::mem;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use super::values::as_times;
use crate::functions::wrapped::compared::{is_integer, is_number, is_text, text_of};
use crate::statement::beside_decimal;

/// Digits of an integer at most.
const INTEGER: (u8, i8) = (20, 0);

/// Gives the first and the third argument of `lag` and `lead` one type, unless the third has a place in that of the first. Whether any was
/// changed.
pub(in crate::functions::wrapped) fn as_shifted(args: &mut [Expr], schema: &DFSchema) -> bool {
    let [value, _, default] = args else { return false };
    let (Ok(of), Ok(other)) = (value.get_type(schema), default.get_type(schema)) else { return false };
    if of.is_null() || other.is_null() || is_text(default) {
        return false;
    }
    if is_number(default) || is_integer(default) {
        return match &of {
            DataType::Decimal128(precision, scale) => beside_number(value, default, (*precision, *scale)),
            of if of.is_integer() && is_number(default) => beside_number(value, default, INTEGER),
            DataType::Float32 | DataType::Float64 if is_number(default) => as_double(default),
            _ => false,
        };
    }
    if of == other {
        return false;
    }
    if as_times(&mut [&mut *value, &mut *default], schema) {
        return true;
    }
    match type_union_coercion(&of, &other) {
        Some(common) if common != of && of.is_numeric() && other.is_numeric() => {
            *value = cast(mem::take(value), common);
            true
        }
        _ => false,
    }
}

/// Makes the number one of so many digits, and of so many behind the point. If it has more, the values become DECIMALs that have a place for it;
/// if there are none, all are DOUBLEs.
fn beside_number(value: &mut Expr, default: &mut Expr, (precision, scale): (u8, i8)) -> bool {
    let number = text_of(default).and_then(|text| beside_decimal(&text, precision, scale));
    let wider = match number {
        Some(ScalarValue::Decimal128(units, own_precision, own_scale)) => {
            *default = Expr::Literal(ScalarValue::Decimal128(units, own_precision, own_scale), None);
            if (own_precision, own_scale) == (precision, scale) {
                return true;
            }
            common(precision, scale, own_precision, own_scale)
        }
        _ => None,
    };
    match wider {
        Some(wider) => *value = cast(mem::take(value), wider),
        None => {
            as_double(default);
            *value = cast(mem::take(value), DataType::Float64);
        }
    }
    true
}

/// The type in which both have all their digits.
fn common(precision: u8, scale: i8, own_precision: u8, own_scale: i8) -> Option<DataType> {
    let scale_of_both = scale.max(own_scale);
    let whole = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
    let whole_of_both = whole(precision, scale).max(whole(own_precision, own_scale));
    let precision = u8::try_from(whole_of_both + i16::from(scale_of_both)).ok()?;
    (precision <= DECIMAL128_MAX_PRECISION).then_some(DataType::Decimal128(precision, scale_of_both))
}

/// Makes a DOUBLE of a number. Whether it is another expression now.
fn as_double(number: &mut Expr) -> bool {
    let double = match &*number {
        Expr::Literal(ScalarValue::Float64(_), _) => return false,
        Expr::Literal(value, _) => value.cast_to(&DataType::Float64).ok(),
        written => text_of(written).map(|text| ScalarValue::Float64(text.parse().ok())),
    };
    let Some(double) = double else { return false };
    *number = Expr::Literal(double, None);
    true
}
