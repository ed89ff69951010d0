//! How does a client's value become a value of the table's type, and when does it not?
//!
//! Whole columns are cast at once with Arrow's kernels where their rules are ours. Ours: nothing is lost in silence.
//! A value that does not fit is reported, row by row; only binary fractions round (to REAL, to DOUBLE, from them to
//! DECIMAL) and times finer than µs are cut off towards −∞.

mod nested;
mod numbers;
mod range;
mod text;
mod times;
mod zone;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::refusals::shown;
use super::rows::RejectCode;
use crate::catalog::sql_type;
pub(super) use text::whole_number;
pub(super) use zone::{Zone, wall_text};

/// Called with each row whose value cannot be stored: row, reason, message. A row may be reported more than once.
pub(super) type Report<'a> = dyn FnMut(usize, RejectCode, &dyn Fn() -> String) + 'a;

/// What casting needs to know beside the types.
pub(super) struct CastContext<'a> {
    pub zone: &'a Zone,
    /// Fields of structs that the table does not have are dropped.
    pub ignore_unknown: bool,
}

/// No value of the one type can become one of the other.
#[derive(Debug)]
pub(super) struct Mismatch(pub Option<String>);

/// `array` as the canonical type `to`. Rows that are reported have any value in the result.
pub(super) fn cast(
    array: &ArrayRef,
    to: &DataType,
    context: &CastContext<'_>,
    report: &mut Report<'_>,
) -> Result<ArrayRef, Mismatch> {
    use DataType as T;
    let from = array.data_type();
    if from == to {
        range::check(array, report);
        return Ok(array.clone());
    }
    let via = match from {
        T::Null => return Ok(new_null_array(to, array.len())),
        T::Dictionary(_, values) => Some(values.as_ref().clone()),
        T::RunEndEncoded(_, values) => Some(values.data_type().clone()),
        T::LargeUtf8 | T::Utf8View => Some(T::Utf8),
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => Some(T::Binary),
        T::Float16 => Some(T::Float32),
        _ => None,
    };
    if let Some(via) = via {
        return cast(&kernel(array, &via)?, to, context, report);
    }
    let out = match (from, to) {
        (T::Utf8, _) => text::from_text(array.as_string(), to, context.zone, report)?,
        (T::Struct(_), T::Struct(fields)) => nested::cast_struct(array.as_struct(), fields, context, report)?,
        (T::List(_) | T::LargeList(_) | T::FixedSizeList(..) | T::ListView(_) | T::LargeListView(_), T::List(item)) => {
            nested::cast_list(array, item, context, report)?
        }
        // An instant is the same number in every zone.
        (T::Timestamp(unit, Some(_)), T::Timestamp(to_unit, Some(utc))) if unit == to_unit => {
            std::sync::Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone(utc.clone()))
        }
        _ if times::casts(from, to) => times::cast_times(array, to, context.zone, report)?,
        _ if numbers::casts(from, to) => numbers::cast_numbers(array, to, report)?,
        (T::Binary, T::Utf8) => {
            let out = kernel(array, to)?;
            report_lost(array, &out, RejectCode::TypeMismatch, &|_| "the bytes are not UTF-8 text".to_owned(), report);
            out
        }
        (from, T::Utf8) if has_text(from) => kernel(array, to)?,
        _ => return Err(Mismatch(None)),
    };
    range::check(&out, report);
    Ok(out)
}

/// Types whose values have one text that says all of them. Times do not: their text depends on a zone and a format.
fn has_text(data_type: &DataType) -> bool {
    data_type.is_numeric() || *data_type == DataType::Boolean
}

/// Arrow's cast; a value that it cannot cast becomes NULL.
fn kernel(array: &dyn Array, to: &DataType) -> Result<ArrayRef, Mismatch> {
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| Mismatch(Some(error.to_string())))
}

/// Reports the rows that had a value before and have none now.
fn report_lost(
    before: &dyn Array,
    after: &dyn Array,
    code: RejectCode,
    message: &dyn Fn(usize) -> String,
    report: &mut Report<'_>,
) {
    if before.null_count() == after.null_count() {
        return;
    }
    for row in (0..before.len()).filter(|&row| before.is_valid(row) && after.is_null(row)) {
        report(row, code, &|| message(row));
    }
}

/// "300 does not fit TINYINT".
fn does_not_fit(array: &dyn Array, row: usize, to: &DataType) -> String {
    format!("{} does not fit {}", value_text(array, row), sql_type(to))
}

/// One value for a message.
fn value_text(array: &dyn Array, row: usize) -> String {
    let options = FormatOptions::default();
    match ArrayFormatter::try_new(array, &options).map(|formatter| formatter.value(row).try_to_string()) {
        Ok(Ok(text)) => shown(&text),
        _ => "the value".to_owned(),
    }
}
