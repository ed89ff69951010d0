//! How does a value look in a sqllogictest file? By the rules of DataFusion's own runner (its `normalize.rs` and `conversion.rs`).

use std::str::FromStr;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type,
    Float64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use bigdecimal::BigDecimal;

const NULL: &str = "NULL";

/// Digits behind the point of a floating-point number.
const DIGITS: i64 = 12;

const DATE_AND_TIME: Option<&str> = Some("%Y-%m-%dT%H:%M:%S%.f");
const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_display_error(true)
    .with_null(NULL)
    .with_date_format(Some("%Y-%m-%d"))
    .with_datetime_format(DATE_AND_TIME)
    .with_timestamp_format(DATE_AND_TIME)
    .with_timestamp_tz_format(None)
    .with_time_format(Some("%H:%M:%S%.f"))
    .with_duration_format(DurationFormat::Pretty);

/// The rows as a file shows them. A last cell of several lines is followed by a row for each of them.
pub(crate) fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, ArrowError> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| cell(column, row)).collect::<Result<Vec<_>, _>>()?;
            expand(cells, &mut rows);
        }
    }
    Ok(rows)
}

fn expand(mut cells: Vec<String>, rows: &mut Vec<Vec<String>>) {
    match cells.pop() {
        Some(last) if last.contains('\n') => {
            rows.push(cells);
            rows.extend(last.split('\n').enumerate().map(|(i, line)| vec![numbered(i, line)]));
        }
        last => {
            cells.extend(last);
            rows.push(cells);
        }
    }
}

/// `02)--text`: the number of the line, and a dash for each space in front of it.
fn numbered(i: usize, line: &str) -> String {
    let text = line.trim_start();
    format!("{:02}){}{text}", i + 1, "-".repeat(line.len() - text.len()))
}

fn cell(column: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    if column.is_null(row) {
        return Ok(NULL.into());
    }
    Ok(match column.data_type() {
        DataType::Null => NULL.into(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Float16 => {
            let value = column.as_primitive::<Float16Type>().value(row);
            float(f64::from(value), &value.to_string())?
        }
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            float(f64::from(value), &value.to_string())?
        }
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            float(value, &value.to_string())?
        }
        DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(column, row, *scale)?,
        DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(column, row, *scale)?,
        DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(column, row, *scale)?,
        DataType::Decimal256(_, scale) => decimal::<Decimal256Type>(column, row, *scale)?,
        DataType::Utf8 => text(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(column.as_string::<i64>().value(row)),
        DataType::Utf8View => text(column.as_string_view().value(row)),
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            cell(dictionary.values(), dictionary.normalized_keys()[row])?
        }
        _ => ArrayFormatter::try_new(column.as_ref(), &FORMAT)?.value(row).to_string(),
    })
}

fn text(value: &str) -> String {
    match value {
        "" => "(empty)".into(),
        value => value.trim_end_matches('\n').replace('\0', "\\0"),
    }
}

/// `shortest` are the fewest digits that name the number, by its own type.
fn float(value: f64, shortest: &str) -> Result<String, ArrowError> {
    Ok(if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        plain(shortest, DIGITS)?
    })
}

fn decimal<T: DecimalType>(column: &ArrayRef, row: usize, scale: i8) -> Result<String, ArrowError> {
    let value = column.as_primitive::<T>().value(row);
    plain(&T::format_decimal(value, T::MAX_PRECISION, scale), i64::from(scale))
}

/// Without an exponent and without zeros at the end.
fn plain(number: &str, digits: i64) -> Result<String, ArrowError> {
    let number = BigDecimal::from_str(number).map_err(|e| ArrowError::ParseError(format!("{number}: {e}")))?;
    Ok(number.round(digits).normalized().to_plain_string())
}
