//! Which values have the right type and still cannot be stored?
//!
//! A message may carry decimals with more digits than its schema says, times past midnight and years that no reader
//! can show. They came from a client, so they are checked even when no cast is needed.

use arrow::array::{Array, ArrayRef, ArrowNumericType, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{max, min};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DecimalType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::{Report, nested, value_text};
use crate::admission::rows::RejectCode;
use crate::catalog::sql_type;

/// 0001-01-01 and 9999-12-31 in days since 1970: what SQL, RFC 3339 and readers of the published tables can write.
pub(super) const DAYS: (i32, i32) = (-719_162, 2_932_896);

/// The same in µs: from the first instant of the first day to the last of the last.
pub(super) const TIMES_US: (i64, i64) = (DAYS.0 as i64 * DAY_US, (DAYS.1 as i64 + 1) * DAY_US - 1);

pub(super) const DAY_US: i64 = 86_400_000_000;

/// Reports the rows of `array`, which has a canonical type, whose value is out of its type's range.
pub(super) fn check(array: &ArrayRef, report: &mut Report<'_>) {
    match array.data_type() {
        DataType::Date32 => check_between::<Date32Type>(array, DAYS, report),
        DataType::Timestamp(_, _) => check_between::<TimestampMicrosecondType>(array, TIMES_US, report),
        DataType::Time64(_) => check_between::<Time64MicrosecondType>(array, (0, DAY_US - 1), report),
        DataType::Decimal128(precision, _) => check_decimals(array, *precision, report),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            check(list.values(), &mut nested::list_report(list, report));
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                check(column, &mut nested::struct_report(array, report));
            }
        }
        _ => {}
    }
}

fn check_between<T: ArrowNumericType>(array: &ArrayRef, (low, high): (T::Native, T::Native), report: &mut Report<'_>) {
    let values: &PrimitiveArray<T> = array.as_primitive();
    let fits = min(values).is_none_or(|least| least >= low) && max(values).is_none_or(|most| most <= high);
    if !fits {
        report_where(values, |value| value < low || value > high, report);
    }
}

fn check_decimals(array: &ArrayRef, precision: u8, report: &mut Report<'_>) {
    let values = array.as_primitive::<Decimal128Type>();
    if values.validate_decimal_precision(precision).is_err() {
        report_where(values, |value| Decimal128Type::validate_decimal_precision(value, precision, 0).is_err(), report);
    }
}

fn report_where<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    is_bad: impl Fn(T::Native) -> bool,
    report: &mut Report<'_>,
) {
    for row in (0..values.len()).filter(|&row| values.is_valid(row) && is_bad(values.value(row))) {
        report(row, RejectCode::OutOfRange, &|| {
            // Arrow's own text fails for most of these; the number behind it always has one.
            match values.data_type() {
                DataType::Decimal128(..) => {
                    format!("{} does not fit {}", value_text(values, row), sql_type(values.data_type()))
                }
                _ => format!("the value {:?} is out of range for {}", values.value(row), sql_type(values.data_type())),
            }
        });
    }
}
