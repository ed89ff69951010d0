//! Which types do texts have? The narrowest that holds all of them as they are written.

use std::sync::Arc;

use anyhow::bail;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Bytes of `YYYY-MM-DD`.
const DATE_BYTES: usize = 10;

/// The shape of a table for CSV columns, from a sample of their texts.
pub(in crate::cli::ingest) fn shape_of_texts(
    schema: &SchemaRef,
    sample: Option<&RecordBatch>,
) -> anyhow::Result<SchemaRef> {
    let mut fields = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        if field.name().is_empty() {
            bail!("column {} has no name in the first line", at + 1);
        }
        let data_type = sample.map_or(DataType::Utf8, |sample| type_of_texts(sample.column(at).as_string()));
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The narrowest type that holds every text of the column as it is written.
fn type_of_texts(texts: &StringArray) -> DataType {
    let values = || texts.iter().flatten();
    if values().next().is_none() {
        return DataType::Utf8;
    }
    if values().all(|text| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")) {
        return DataType::Boolean;
    }
    if values().all(is_integer) {
        // A number that is too large for BIGINT would lose digits as DOUBLE: it stays text.
        return [DataType::Int64, DataType::UInt64].into_iter().find(|t| fits(texts, t)).unwrap_or(DataType::Utf8);
    }
    let is_rounded = |text: &str| is_integer(text) && !is_whole_as_double(text);
    if values().all(is_number) && !values().any(is_rounded) && fits(texts, &DataType::Float64) {
        return DataType::Float64;
    }
    type_of_times(texts).unwrap_or(DataType::Utf8)
}

/// Digits with a sign. `007` is a code, not a number: as a number it would lose its zeros.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'))
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    !leading_zero && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
}

/// Whether an integer keeps all its digits as a DOUBLE: the shortest text of the double is the one it was read from.
pub(super) fn is_whole_as_double(integer: &str) -> bool {
    integer.parse::<f64>().is_ok_and(|double| double.to_string() == integer)
}

/// DATE, TIMESTAMP or TIMESTAMPTZ, if every text is one of them.
pub(super) fn type_of_times(texts: &StringArray) -> Option<DataType> {
    let values = || texts.iter().flatten();
    if values().next().is_none() || !values().all(looks_like_a_time) {
        return None;
    }
    if values().all(|text| text.len() == DATE_BYTES) {
        return Some(DataType::Date32).filter(|t| fits(texts, t));
    }
    let with_offset = values().filter(|text| has_offset(text)).count();
    let zone = match with_offset {
        0 => None,
        n if n == values().count() => Some(Arc::from("UTC")),
        // Some with an offset and some without: what is meant cannot be told.
        _ => return None,
    };
    Some(DataType::Timestamp(TimeUnit::Microsecond, zone)).filter(|t| fits(texts, t))
}

/// A date, and a time of day or nothing. Arrow takes more for a time than the server does (`030405`, a second 60, names of
/// zones): a column of them would have a type that rejects all its rows.
pub(super) fn looks_like_a_time(text: &str) -> bool {
    let Some((date, clock)) = text.as_bytes().split_at_checked(DATE_BYTES) else { return false };
    let is_date =
        date.iter().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { *b == b'-' } else { b.is_ascii_digit() });
    let is_clock = match clock {
        [] => true,
        [b'T' | b't' | b' ', _, _, b':', _, _, b':', b'0'..=b'5', rest @ ..] => {
            let rest = rest.strip_suffix(b"UTC").unwrap_or(rest);
            rest.iter().all(|b| b.is_ascii_digit() || b" .:+-Zz".contains(b))
        }
        _ => false,
    };
    is_date && is_clock
}

/// Of a text that looks like a time.
fn has_offset(text: &str) -> bool {
    text.ends_with(['Z', 'z']) || text.bytes().skip(DATE_BYTES).any(|b| matches!(b, b'+' | b'-'))
}

fn fits(texts: &StringArray, data_type: &DataType) -> bool {
    let options = CastOptions { safe: true, ..Default::default() };
    cast_with_options(texts, data_type, &options).is_ok_and(|cast| cast.null_count() == texts.null_count())
}
