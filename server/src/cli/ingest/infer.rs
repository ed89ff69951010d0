//! Which types do texts have? Those that every value of a sample fits; when in doubt, text.

use std::io::BufRead;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::reader::infer_json_schema;

/// The shape of a table for CSV columns, from a sample of their texts.
pub(super) fn shape_of_texts(schema: &SchemaRef, sample: Option<&RecordBatch>) -> anyhow::Result<SchemaRef> {
    let mut fields = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        if field.name().is_empty() {
            bail!("column {} has no name in the first line", at + 1);
        }
        let data_type = sample.map_or(DataType::Utf8, |sample| type_of_texts(sample.column(at)));
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The shape of a table for JSON objects, from the first of them.
pub(super) fn shape_of_objects(lines: &[u8], max_rows: usize) -> anyhow::Result<SchemaRef> {
    let (inferred, n_rows) =
        infer_json_schema(lines, Some(max_rows)).context("the first lines cannot be read as JSON objects")?;
    if n_rows == 0 {
        bail!("there is no JSON object at the beginning of the file to take the columns from");
    }
    let end: usize = lines.lines().take(max_rows).map(|line| line.map_or(0, |line| line.len() + 1)).sum();
    let sample = arrow::json::ReaderBuilder::new(Arc::new(inferred.clone()))
        .with_batch_size(max_rows)
        .build(&lines[..end.min(lines.len())])?
        .next()
        .transpose()
        .context("the first lines cannot be read as JSON objects")?;
    let refined = inferred.fields().iter().enumerate().map(|(at, field)| {
        let data_type = match (field.data_type(), &sample) {
            // JSON says what is a number; only times hide in texts.
            (DataType::Utf8, Some(sample)) => type_of_times(sample.column(at)).unwrap_or(DataType::Utf8),
            // A field that was null in every object.
            (DataType::Null, _) => DataType::Utf8,
            (other, _) => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Ok(Arc::new(Schema::new(refined.collect::<Vec<_>>())))
}

/// The narrowest type that holds every text of the column as it is written.
fn type_of_texts(texts: &ArrayRef) -> DataType {
    let values = || texts.as_string::<i32>().iter().flatten();
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
    if values().all(is_number) && fits(texts, &DataType::Float64) {
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

/// DATE, TIMESTAMP or TIMESTAMPTZ, if every text is one of them.
fn type_of_times(texts: &ArrayRef) -> Option<DataType> {
    let values = || texts.as_string::<i32>().iter().flatten();
    let begins_like_a_date = |text: &str| {
        text.len() >= 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[..4].iter().all(u8::is_ascii_digit)
    };
    if values().next().is_none() || !values().all(begins_like_a_date) {
        return None;
    }
    if values().all(|text| text.len() == 10) {
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

fn has_offset(text: &str) -> bool {
    text.ends_with(['Z', 'z']) || text[10..].contains(['+', '-'])
}

fn fits(texts: &ArrayRef, data_type: &DataType) -> bool {
    let options = CastOptions { safe: true, ..Default::default() };
    cast_with_options(texts, data_type, &options).is_ok_and(|cast| cast.null_count() == texts.null_count())
}
