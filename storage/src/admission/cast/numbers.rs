//! How are numbers cast? Exactly, but for binary fractions, which round to the nearest.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::kernels::cmp::neq;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::{Mismatch, Report, does_not_fit, kernel, report_lost, value_text};
use crate::admission::rows::RejectCode;
use crate::catalog::sql_type;

/// Whether [`cast_numbers`] does this cast.
pub(super) fn casts(from: &DataType, to: &DataType) -> bool {
    from.is_numeric() && (to.is_numeric() || (from.is_integer() && *to == DataType::Boolean))
}

/// Numbers as another type of numbers, and integers 0 and 1 as BOOLEAN.
pub(super) fn cast_numbers(array: &ArrayRef, to: &DataType, report: &mut Report<'_>) -> Result<ArrayRef, Mismatch> {
    let from = array.data_type();
    let out = kernel(array, to)?;
    report_lost(array, &out, RejectCode::OutOfRange, &|row| does_not_fit(array, row, to), report);
    if *to == DataType::Float32 {
        report_infinite(array, &out, report);
    } else if from.is_floating() && to.is_integer() {
        report_fractions(array, to, report);
    } else if (from.is_decimal() && !to.is_floating()) || *to == DataType::Boolean {
        report_changed(array, &out, report)?;
    }
    Ok(out)
}

/// Floats that have digits after the point.
fn report_fractions(array: &ArrayRef, to: &DataType, report: &mut Report<'_>) {
    let values: Box<dyn Iterator<Item = Option<f64>>> = match array.as_primitive_opt::<Float32Type>() {
        Some(values) => Box::new(values.iter().map(|value| value.map(f64::from))),
        None => Box::new(array.as_primitive::<Float64Type>().iter()),
    };
    for (row, _) in
        values.enumerate().filter(|(_, value)| value.is_some_and(|value| value.is_finite() && value.fract() != 0.0))
    {
        report(row, RejectCode::OutOfRange, &|| {
            format!("{} has digits after the point, {} has none", value_text(array, row), sql_type(to))
        });
    }
}

/// Finite numbers that are past the largest REAL.
fn report_infinite(before: &ArrayRef, after: &ArrayRef, report: &mut Report<'_>) {
    let narrow = after.as_primitive::<Float32Type>();
    let doubles = before.as_primitive_opt::<Float64Type>();
    let was_infinite = |row: usize| doubles.is_some_and(|doubles| doubles.value(row).is_infinite());
    for row in
        (0..narrow.len()).filter(|&row| narrow.is_valid(row) && narrow.value(row).is_infinite() && !was_infinite(row))
    {
        report(row, RejectCode::OutOfRange, &|| does_not_fit(before, row, after.data_type()));
    }
}

/// Values that are others when cast back: decimals that lost digits, integers that are no truth value.
fn report_changed(before: &ArrayRef, after: &ArrayRef, report: &mut Report<'_>) -> Result<(), Mismatch> {
    let back = kernel(after, before.data_type())?;
    let changed: BooleanArray = neq(&back, before).map_err(|error| Mismatch(Some(error.to_string())))?;
    let is_changed =
        |row: usize| before.is_valid(row) && after.is_valid(row) && (changed.is_null(row) || changed.value(row));
    if changed.true_count() == 0 && back.null_count() == after.null_count() {
        return Ok(());
    }
    for row in (0..before.len()).filter(|&row| is_changed(row)) {
        report(row, RejectCode::OutOfRange, &|| does_not_fit(before, row, after.data_type()));
    }
    Ok(())
}
