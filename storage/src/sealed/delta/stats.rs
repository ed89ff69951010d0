//! Which values does a file hold, as `add.stats` says it? Written from the bounds of its columns, and read back to bounds.
//!
//! Source: the Delta protocol, section "Per-file Statistics". The text is put together by hand: a DECIMAL is a number with all its digits
//! there, and the JSON library would make a float of it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DecimalType, Field, Fields, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Schema, SchemaRef, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use crate::catalog::TableDef;
use crate::error::Result;
use crate::sealed::types::COMMIT_SEQ;
use crate::sealed::{ColumnBounds, SegmentFile};

/// Delta's default for the columns that have statistics, counted by leaf: a struct counts as many as it has fields.
const MAX_LEAVES: usize = 32;

/// Characters of a text that stand in statistics.
const MAX_CHARS: usize = 32;

/// Appended to a text that was cut, it is above every text with the same beginning but those that go on with itself.
const LAST_CHAR: char = char::MAX;

const MIN_VALUES: &str = "minValues";
const MAX_VALUES: &str = "maxValues";

/// The statistics of `file`, a file of the table `def`. `is_tight`: none of its rows is deleted, so that the bounds are of live rows.
pub(super) fn stats(file: &SegmentFile, def: &TableDef, is_tight: bool) -> String {
    let (mut min, mut max, mut nulls) = (Object::default(), Object::default(), Object::default());
    let mut n_leaves = 0;
    for (column, bounds) in def.columns.iter().zip(&file.columns) {
        n_leaves += leaves(&column.data_type);
        if n_leaves > MAX_LEAVES {
            break;
        }
        // Of a struct Delta counts the NULLs of each field, which are not known.
        if !matches!(column.data_type, DataType::Struct(_)) {
            nulls.put(&column.name, &bounds.nulls.to_string());
        }
        min.put_some(&column.name, bounds.min.as_ref().and_then(|value| text_of(value, End::Min)));
        max.put_some(&column.name, bounds.max.as_ref().and_then(|value| text_of(value, End::Max)));
    }
    if def.options.system_columns && n_leaves < MAX_LEAVES {
        // Other engines read NULL where a file does not have the column.
        let is_stored = file.entry.is_none();
        min.put_some(COMMIT_SEQ, is_stored.then(|| file.min_seq.to_string()));
        max.put_some(COMMIT_SEQ, is_stored.then(|| file.max_seq.to_string()));
        nulls.put(COMMIT_SEQ, &if is_stored { 0 } else { file.rows }.to_string());
    }
    let mut stats = Object::default();
    stats.put("numRecords", &file.rows.to_string());
    stats.put(MIN_VALUES, &min.finish());
    stats.put(MAX_VALUES, &max.finish());
    stats.put("nullCount", &nulls.finish());
    stats.put("tightBounds", if is_tight { "true" } else { "false" });
    stats.finish()
}

/// Columns that Delta counts.
fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

/// The one value of `bound` as JSON. `None`: it has no form there, so that this end stays open.
fn text_of(bound: &ArrayRef, end: End) -> Option<String> {
    use DataType as T;
    if bound.len() != 1 || bound.is_null(0) {
        return None;
    }
    match bound.data_type() {
        T::Int8 => Some(integer::<Int8Type>(bound)),
        T::Int16 => Some(integer::<Int16Type>(bound)),
        T::Int32 => Some(integer::<Int32Type>(bound)),
        T::Int64 => Some(integer::<Int64Type>(bound)),
        T::UInt8 => Some(integer::<UInt8Type>(bound)),
        T::UInt16 => Some(integer::<UInt16Type>(bound)),
        T::UInt32 => Some(integer::<UInt32Type>(bound)),
        T::UInt64 => Some(integer::<UInt64Type>(bound)),
        T::Time64(TimeUnit::Microsecond) => Some(integer::<Time64MicrosecondType>(bound)),
        T::Float32 => {
            // The shortest text that reads back as the same value, with an exponent where that is shorter.
            let value = bound.as_primitive::<Float32Type>().value(0);
            value.is_finite().then(|| format!("{value:?}"))
        }
        T::Float64 => {
            let value = bound.as_primitive::<Float64Type>().value(0);
            value.is_finite().then(|| format!("{value:?}"))
        }
        T::Decimal128(precision, scale) => {
            let value = bound.as_primitive::<Decimal128Type>().value(0);
            Some(Decimal128Type::format_decimal(value, *precision, *scale))
        }
        T::Utf8 => cut(bound.as_string::<i32>().value(0), end).map(|text| quoted(&text)),
        T::Date32 => {
            let days = bound.as_primitive::<Date32Type>().value(0);
            let at = DateTime::from_timestamp(i64::from(days) * 24 * 3600, 0).filter(has_plain_year)?;
            Some(quoted(&at.format("%Y-%m-%d").to_string()))
        }
        T::Timestamp(TimeUnit::Microsecond, zone) => {
            let us = bound.as_primitive::<TimestampMicrosecondType>().value(0);
            let at = DateTime::from_timestamp_micros(us).filter(has_plain_year)?;
            let suffix = if zone.is_some() { "Z" } else { "" };
            Some(quoted(&format!("{}{suffix}", at.format("%Y-%m-%dT%H:%M:%S%.6f"))))
        }
        // BOOLEAN and VARBINARY have no bounds in Delta, lists and structs none anywhere.
        _ => None,
    }
}

fn integer<T: ArrowPrimitiveType>(bound: &ArrayRef) -> String
where
    T::Native: std::fmt::Display,
{
    bound.as_primitive::<T>().value(0).to_string()
}

/// A year that every reader can parse: four digits, no sign.
fn has_plain_year(at: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}

/// At most [`MAX_CHARS`] characters of `text`, and for a maximum one more that makes it larger again.
fn cut(text: &str, end: End) -> Option<String> {
    let Some((at, next)) = text.char_indices().nth(MAX_CHARS) else { return Some(text.to_owned()) };
    let mut cut = text[..at].to_owned();
    if end == End::Max {
        if next == LAST_CHAR {
            return None;
        }
        cut.push(LAST_CHAR);
    }
    Some(cut)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A JSON object whose values are JSON already.
#[derive(Default)]
struct Object {
    text: String,
}

impl Object {
    fn put(&mut self, name: &str, value: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        self.text.push_str(&quoted(name));
        self.text.push(':');
        self.text.push_str(value);
    }

    fn put_some(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.put(name, &value);
        }
    }

    fn finish(mut self) -> String {
        if self.text.is_empty() {
            self.text.push('{');
        }
        self.text.push('}');
        self.text
    }
}

/// Reads the bounds of files of one table from their statistics.
pub(super) struct StatsReader {
    /// `None`: no column of the table has bounds in statistics.
    decoder: Option<Decoder>,
    /// By column of the table: where it is among those that have bounds.
    at: Vec<Option<usize>>,
}

impl StatsReader {
    pub(super) fn new(def: &TableDef) -> Result<Self> {
        let mut fields: Vec<Field> = Vec::new();
        let mut at = Vec::with_capacity(def.columns.len());
        for column in &def.columns {
            let is_bounded = has_bounds(&column.data_type);
            at.push(is_bounded.then_some(fields.len()));
            if is_bounded {
                fields.push(Field::new(&column.name, column.data_type.clone(), true));
            }
        }
        let decoder = if fields.is_empty() { None } else { Some(decoder(fields.into())?) };
        Ok(Self { decoder, at })
    }

    /// The bounds of a file whose columns have `nulls` NULLs each: one for each of `nulls`.
    pub(super) fn read(&mut self, stats: &str, nulls: &[u64]) -> Result<Vec<ColumnBounds>> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(nulls.iter().map(|&nulls| ColumnBounds::unknown(nulls)).collect());
        };
        decoder.decode(stats.as_bytes())?;
        let batch = decoder.flush()?;
        let bounds = nulls.iter().zip(&self.at).map(|(&nulls, at)| ColumnBounds {
            min: at.and_then(|at| value_of(batch.as_ref(), MIN_VALUES, at)),
            max: at.and_then(|at| value_of(batch.as_ref(), MAX_VALUES, at)),
            nulls,
        });
        Ok(bounds.collect())
    }
}

/// Whether statistics have bounds of such a column.
fn has_bounds(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Boolean | DataType::Binary | DataType::List(_) | DataType::Struct(_))
}

fn decoder(fields: Fields) -> Result<Decoder> {
    let values = |name: &str| Field::new(name, DataType::Struct(fields.clone()), true);
    let schema: SchemaRef = Arc::new(Schema::new(vec![values(MIN_VALUES), values(MAX_VALUES)]));
    Ok(ReaderBuilder::new(schema).with_batch_size(1).build_decoder()?)
}

/// The value of the `at`-th column under `end` of a batch of one row.
fn value_of(batch: Option<&RecordBatch>, end: &str, at: usize) -> Option<ArrayRef> {
    let values = batch?.column_by_name(end)?.as_struct_opt()?;
    if values.is_null(0) {
        return None;
    }
    Some(Arc::clone(values.column(at))).filter(|value| value.is_valid(0))
}
