//! How does a rejected row look in `system.rejected`? As a JSON object of what was sent, cut at 64 KiB.
//!
//! Objects are written value by value into a text that ends at its limit, and the first row past the batch's limit ends the work: a row
//! that is small as it came may be gigabytes as JSON, and costs no more than what is kept of it.

use std::fmt::{Error as Full, Result as Written, Write};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, downcast_dictionary_array, downcast_run_array};
use arrow::datatypes::{ArrowNativeType, DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::catalog::MAX_TYPE_DEPTH;
use crate::limits::{MAX_COLUMNS, MAX_NAME_BYTES, MAX_REJECTED_BATCH_BYTES, MAX_REJECTED_ROW_BYTES};

/// The rows `rows` of `batch` as JSON objects, in that order. When they are too many to be kept, the payloads of the last ones are empty.
pub(super) fn payloads(batch: &RecordBatch, rows: &[usize]) -> Vec<String> {
    let columns = shown_columns(batch);
    let mut left = MAX_REJECTED_BATCH_BYTES;
    let mut payload = |row: usize| {
        if left == 0 {
            return String::new();
        }
        let mut text = Text(String::new());
        // An error says that the text is full: it is cut there.
        let _ = object(columns.iter().copied(), row, &mut text);
        if text.0.len() > left {
            left = 0;
            return String::new();
        }
        left -= text.0.len();
        text.0.shrink_to_fit();
        text.0
    };
    rows.iter().map(|&row| payload(row)).collect()
}

/// Without columns that a hostile client could use to blow up the text, and without types that have no JSON form (they can only stand in
/// columns that the table does not have).
fn shown_columns(batch: &RecordBatch) -> Vec<(&FieldRef, &ArrayRef)> {
    let fields = batch.schema_ref().fields().iter();
    let shown = |(field, column): &(&FieldRef, &ArrayRef)| {
        field.name().len() <= MAX_NAME_BYTES && has_text(column.data_type(), 0)
    };
    fields.zip(batch.columns()).filter(shown).take(MAX_COLUMNS).collect()
}

fn has_text(data_type: &DataType, depth: usize) -> bool {
    use DataType as T;
    if depth > MAX_TYPE_DEPTH {
        return false;
    }
    match data_type {
        T::Map(..) | T::Union(..) | T::Interval(_) | T::Duration(_) => false,
        T::Dictionary(_, values) => has_text(values, depth + 1),
        T::RunEndEncoded(_, values) => has_text(values.data_type(), depth + 1),
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            has_text(item.data_type(), depth + 1)
        }
        T::Struct(fields) => fields.iter().all(|field| has_text(field.data_type(), depth + 1)),
        _ => true,
    }
}

/// A text of at most [`MAX_REJECTED_ROW_BYTES`]: what does not fit is cut between characters, and is an error that ends the writing.
struct Text(String);

impl Write for Text {
    fn write_str(&mut self, part: &str) -> Written {
        let free = MAX_REJECTED_ROW_BYTES - self.0.len();
        if part.len() <= free {
            self.0.push_str(part);
            return Ok(());
        }
        self.0.push_str(&part[..part.floor_char_boundary(free)]);
        Err(Full)
    }
}

/// `{"name":value,…}` without NULLs.
fn object<'a>(columns: impl Iterator<Item = (&'a FieldRef, &'a ArrayRef)>, row: usize, out: &mut Text) -> Written {
    let mut before = '{';
    for (field, column) in columns {
        if column.is_null(row) || column.data_type() == &DataType::Null {
            continue;
        }
        out.write_char(before)?;
        before = ',';
        string(field.name(), out)?;
        out.write_char(':')?;
        value(column.as_ref(), row, out)?;
    }
    out.write_str(if before == '{' { "{}" } else { "}" })
}

/// A value whose type [`has_text`].
fn value(array: &dyn Array, row: usize, out: &mut Text) -> Written {
    use DataType as T;
    if array.is_null(row) {
        return out.write_str("null");
    }
    match array.data_type() {
        T::Null => out.write_str("null"),
        T::Utf8 => string(array.as_string::<i32>().value(row), out),
        T::LargeUtf8 => string(array.as_string::<i64>().value(row), out),
        T::Utf8View => string(array.as_string_view().value(row), out),
        T::Binary => hex(array.as_binary::<i32>().value(row), out),
        T::LargeBinary => hex(array.as_binary::<i64>().value(row), out),
        T::BinaryView => hex(array.as_binary_view().value(row), out),
        T::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row), out),
        T::List(_) => {
            let list = array.as_list::<i32>();
            items(list.values(), list.value_offsets()[row].as_usize()..list.value_offsets()[row + 1].as_usize(), out)
        }
        T::LargeList(_) => {
            let list = array.as_list::<i64>();
            items(list.values(), list.value_offsets()[row].as_usize()..list.value_offsets()[row + 1].as_usize(), out)
        }
        T::ListView(_) => {
            let list = array.as_list_view::<i32>();
            items(list.values(), from(list.value_offset(row).as_usize(), list.value_size(row).as_usize()), out)
        }
        T::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            items(list.values(), from(list.value_offset(row).as_usize(), list.value_size(row).as_usize()), out)
        }
        T::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            items(list.values(), from(list.value_offset(row).as_usize(), list.value_length().as_usize()), out)
        }
        T::Struct(fields) => object(fields.iter().zip(array.as_struct().columns()), row, out),
        T::Dictionary(_, _) => downcast_dictionary_array! {
            array => value(array.values().as_ref(), array.keys().value(row).as_usize(), out),
            _ => out.write_str("null"),
        },
        T::RunEndEncoded(_, _) => downcast_run_array! {
            array => value(array.values().as_ref(), array.get_physical_index(row), out),
            _ => out.write_str("null"),
        },
        other => plain(array, row, other.is_temporal(), out),
    }
}

fn from(start: usize, n: usize) -> Range<usize> {
    start..start + n
}

/// `[value,…]`
fn items(values: &ArrayRef, range: Range<usize>, out: &mut Text) -> Written {
    out.write_char('[')?;
    for item in range.clone() {
        if item > range.start {
            out.write_char(',')?;
        }
        value(values.as_ref(), item, out)?;
    }
    out.write_char(']')
}

/// Numbers, truth values and, in quotes, times and what JSON has no number for: NaN and infinities, which are read as such again.
fn plain(array: &dyn Array, row: usize, in_quotes: bool, out: &mut Text) -> Written {
    const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(true);
    let is_number = match array.data_type() {
        DataType::Float16 => array.as_primitive::<Float16Type>().value(row).is_finite(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_finite(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_finite(),
        _ => true,
    };
    match ArrayFormatter::try_new(array, &OPTIONS) {
        Ok(formatter) if in_quotes || !is_number => write!(out, "\"{}\"", formatter.value(row)),
        Ok(formatter) => write!(out, "{}", formatter.value(row)),
        Err(_) => out.write_str("null"),
    }
}

fn string(text: &str, out: &mut Text) -> Written {
    // What is longer does not fit, and need not be escaped to find that out.
    let start = &text[..text.floor_char_boundary(MAX_REJECTED_ROW_BYTES)];
    out.write_str(&serde_json::to_string(start).map_err(|_| Full)?)
}

/// Two digits a byte, in quotes.
fn hex(bytes: &[u8], out: &mut Text) -> Written {
    out.write_char('"')?;
    for byte in bytes {
        write!(out, "{byte:02x}")?;
    }
    out.write_char('"')
}

/// `text` cut at 64 KiB, between characters.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_REJECTED_ROW_BYTES)]
}
