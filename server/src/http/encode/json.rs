//! How does a value become JSON without losing anything? Integers that a JavaScript number cannot hold, decimals and
//! NaN are text.

use std::collections::HashSet;
use std::io::Write;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, GenericListArray, OffsetSizeTrait, RecordBatch,
    StructArray,
};
use arrow::datatypes::{
    DataType, Fields, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use serde_json::{Value, json};
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Code, Error, Result};

/// JavaScript's `Number.MAX_SAFE_INTEGER`, 2^53 − 1: every integer up to here is itself as a double.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Encodes one answer as an object: what it is, its columns, its rows as arrays, and what it took.
pub struct JsonEncoder {
    schema: SchemaRef,
    n_rows: u64,
}

impl JsonEncoder {
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, n_rows: 0 }
    }

    /// Everything before the first row.
    pub fn begin(&self, query_id: &str) -> Result<Bytes> {
        let columns: Vec<Value> = self
            .schema
            .fields()
            .iter()
            .map(|field| json!({ "name": field.name(), "type": sql_type(field.data_type()) }))
            .collect();
        let mut out = Vec::new();
        write!(out, "{{\"query_id\":{},\"schema\":{},\"rows\":[", json!(query_id), Value::Array(columns))
            .map_err(broken)?;
        Ok(out.into())
    }

    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        let cells = cells(batch)?;
        let mut out = Vec::with_capacity(batch.num_rows() * cells.len() * 16);
        for row in 0..batch.num_rows() {
            if self.n_rows > 0 {
                out.push(b',');
            }
            self.n_rows += 1;
            out.extend_from_slice(b"\n[");
            for (column, cell) in cells.iter().enumerate() {
                if column > 0 {
                    out.push(b',');
                }
                cell.write(row, &mut out)?;
            }
            out.push(b']');
        }
        Ok(out.into())
    }

    /// Everything behind the last row: without it the answer is not JSON, so that nobody takes a broken one for whole.
    pub fn end(&self, statistics: &Value) -> Bytes {
        format!("\n],\"row_count\":{},\"statistics\":{statistics}}}\n", self.n_rows).into()
    }
}

/// Writes the rows of a batch as objects, one a line. `INVALID_REQUEST` if two columns have one name.
pub fn write_objects(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    refuse_repeated("column", batch.schema_ref().fields())?;
    let cells = cells(batch)?;
    let names: Vec<String> = batch.schema_ref().fields().iter().map(|field| json!(field.name()).to_string()).collect();
    for row in 0..batch.num_rows() {
        for (column, (name, cell)) in names.iter().zip(&cells).enumerate() {
            out.push(if column == 0 { b'{' } else { b',' });
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            cell.write(row, out)?;
        }
        out.extend_from_slice(if cells.is_empty() { b"{}\n" } else { b"}\n" });
    }
    Ok(())
}

/// An object has each name once: who reads it would keep one of the values, and never know of the others.
fn refuse_repeated(what: &str, fields: &Fields) -> Result<()> {
    let mut seen = HashSet::with_capacity(fields.len());
    match fields.iter().find(|field| !seen.insert(field.name())) {
        None => Ok(()),
        Some(field) => {
            let message =
                format!("two {what}s of the result are named '{}', and a JSON object has a name once", field.name());
            Err(Error::new(Code::InvalidRequest, message)
                .hint("give one of them an alias, or ask for another format (on gRPC: ARROW_IPC)")
                .with("column", field.name()))
        }
    }
}

fn cells(batch: &RecordBatch) -> Result<Vec<Cell<'_>>> {
    batch.columns().iter().map(Cell::new).collect()
}

type WriteValue<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<()> + 'a>;

/// Writes the values of one column.
pub(super) struct Cell<'a> {
    array: &'a dyn Array,
    write: WriteValue<'a>,
}

impl<'a> Cell<'a> {
    pub(super) fn new(array: &'a ArrayRef) -> Result<Self> {
        Ok(Self { array: array.as_ref(), write: writer(array)? })
    }

    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        (self.write)(row, out)
    }
}

fn broken(reason: impl std::fmt::Display) -> Error {
    Error::internal(format!("a value cannot be written as JSON: {reason}"))
}

/// How a value that is not NULL is written.
fn writer(array: &ArrayRef) -> Result<WriteValue<'_>> {
    macro_rules! small_integer {
        ($t:ty) => {{
            let values = array.as_primitive::<$t>();
            Box::new(move |row, out| write!(out, "{}", values.value(row)).map_err(broken))
        }};
    }
    macro_rules! text {
        ($values:expr) => {{
            let values = $values;
            Box::new(move |row, out| serde_json::to_writer(out, values.value(row)).map_err(broken))
        }};
    }
    macro_rules! bytes {
        ($values:expr) => {{
            let values = $values;
            Box::new(move |row, out| write_bytes(values.value(row), out))
        }};
    }
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, out| out.write_all(b"null").map_err(broken)),
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |row, out| write!(out, "{}", values.value(row)).map_err(broken))
        }
        DataType::Int8 => small_integer!(Int8Type),
        DataType::Int16 => small_integer!(Int16Type),
        DataType::Int32 => small_integer!(Int32Type),
        DataType::UInt8 => small_integer!(UInt8Type),
        DataType::UInt16 => small_integer!(UInt16Type),
        DataType::UInt32 => small_integer!(UInt32Type),
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            Box::new(move |row, out| write_integer(values.value(row), values.value(row).unsigned_abs(), out))
        }
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>();
            Box::new(move |row, out| write_integer(values.value(row), values.value(row), out))
        }
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            Box::new(move |row, out| {
                write_float(values.value(row).to_f64(), out, |v, out| serde_json::to_writer(out, &v))
            })
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| {
                let value = values.value(row);
                write_float(f64::from(value), out, |_, out| serde_json::to_writer(out, &value))
            })
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Box::new(move |row, out| write_float(values.value(row), out, |v, out| serde_json::to_writer(out, &v)))
        }
        DataType::Utf8 => text!(array.as_string::<i32>()),
        DataType::LargeUtf8 => text!(array.as_string::<i64>()),
        DataType::Utf8View => text!(array.as_string_view()),
        DataType::Binary => bytes!(array.as_binary::<i32>() as &BinaryArray),
        DataType::LargeBinary => bytes!(array.as_binary::<i64>()),
        DataType::BinaryView => bytes!(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes!(array.as_fixed_size_binary() as &FixedSizeBinaryArray),
        DataType::List(_) => list(array.as_list::<i32>())?,
        DataType::LargeList(_) => list(array.as_list::<i64>())?,
        DataType::FixedSizeList(_, size) => {
            let items = Cell::new(array.as_fixed_size_list().values())?;
            let size = usize::try_from(*size).map_err(broken)?;
            Box::new(move |row, out| write_items(&items, row * size..(row + 1) * size, out))
        }
        DataType::Struct(_) => structure(array.as_struct())?,
        DataType::Map(..) => {
            let map = array.as_map();
            let entries = structure(map.entries())?;
            Box::new(move |row, out| {
                let offsets = map.value_offsets();
                write_separated(offsets[row] as usize..offsets[row + 1] as usize, out, &entries)
            })
        }
        _ => formatted(array)?,
    })
}

/// Decimals, dates, times and intervals: text, times in ISO 8601.
fn formatted(array: &ArrayRef) -> Result<WriteValue<'_>> {
    static OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array.as_ref(), &OPTIONS)?;
    Ok(Box::new(move |row, out| {
        let text = formatter.value(row).try_to_string().map_err(|reason| {
            Error::new(Code::QueryFailed, format!("a value cannot be written as text: {reason}"))
                .hint("ask for the answer as an Arrow stream, or convert the value in the statement")
        })?;
        serde_json::to_writer(out, &text).map_err(broken)
    }))
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> Result<WriteValue<'_>> {
    let items = Cell::new(array.values())?;
    Ok(Box::new(move |row, out| {
        let offsets = array.value_offsets();
        write_items(&items, offsets[row].as_usize()..offsets[row + 1].as_usize(), out)
    }))
}

fn structure(array: &StructArray) -> Result<WriteValue<'_>> {
    refuse_repeated("field", array.fields())?;
    let fields = array
        .fields()
        .iter()
        .zip(array.columns())
        .map(|(field, column)| Ok((json!(field.name()).to_string(), Cell::new(column)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |row, out| {
        out.push(b'{');
        for (at, (name, cell)) in fields.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            cell.write(row, out)?;
        }
        out.push(b'}');
        Ok(())
    }))
}

fn write_items(items: &Cell<'_>, range: std::ops::Range<usize>, out: &mut Vec<u8>) -> Result<()> {
    let write: WriteValue<'_> = Box::new(|item, out| items.write(item, out));
    write_separated(range, out, &write)
}

fn write_separated(range: std::ops::Range<usize>, out: &mut Vec<u8>, write: &WriteValue<'_>) -> Result<()> {
    out.push(b'[');
    for item in range.clone() {
        if item > range.start {
            out.push(b',');
        }
        write(item, out)?;
    }
    out.push(b']');
    Ok(())
}

fn write_integer(value: impl std::fmt::Display, magnitude: u64, out: &mut Vec<u8>) -> Result<()> {
    let written = if magnitude <= MAX_SAFE_INTEGER { write!(out, "{value}") } else { write!(out, "\"{value}\"") };
    written.map_err(broken)
}

/// JSON has neither NaN nor infinity.
fn write_float(
    value: f64,
    out: &mut Vec<u8>,
    finite: impl FnOnce(f64, &mut Vec<u8>) -> serde_json::Result<()>,
) -> Result<()> {
    let name: &[u8] = match value {
        value if value.is_finite() => return finite(value, out).map_err(broken),
        value if value.is_nan() => b"\"NaN\"",
        f64::INFINITY => b"\"Infinity\"",
        _ => b"\"-Infinity\"",
    };
    out.extend_from_slice(name);
    Ok(())
}

/// `\x00ff`, the form in which texts of bytes are read, too.
fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(br#""\\x"#);
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests;
