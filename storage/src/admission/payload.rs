//! How does a rejected row look in `system.rejected`? As a JSON object of what was sent, cut at 64 KiB.

use std::io::{Result as IoResult, Write};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::LineDelimitedWriter;

use crate::catalog::MAX_TYPE_DEPTH;
use crate::error::Result;
use crate::limits::{MAX_COLUMNS, MAX_NAME_BYTES, MAX_REJECTED_BATCH_BYTES, MAX_REJECTED_ROW_BYTES};

/// The rows `rows` of `batch` as JSON objects, in that order. When the rejected rows of one batch are too many to be kept,
/// the payloads of the last ones are empty.
pub(super) fn payloads(batch: &RecordBatch, rows: &[usize]) -> Result<Vec<String>> {
    let picked = picked_rows(batch, rows)?;
    let mut sink = Sink { done: Vec::with_capacity(rows.len()), current: Vec::new(), left: MAX_REJECTED_BATCH_BYTES };
    // A type that has no JSON form (it can only stand in a column that the table does not have) leaves the payloads empty.
    let mut writer = LineDelimitedWriter::new(&mut sink);
    let written = writer.write(&picked).and_then(|()| writer.finish());
    if let Err(error) = written {
        tracing::debug!(%error, "rejected rows have no JSON form");
    }
    let mut done = sink.done;
    done.resize(rows.len(), String::new());
    Ok(done)
}

/// The rows without columns that a hostile client could use to blow up their text.
fn picked_rows(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    let indices = UInt64Array::from_iter_values(rows.iter().map(|&row| row as u64));
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.name().len() > MAX_NAME_BYTES || !has_text(column.data_type(), 0) || fields.len() == MAX_COLUMNS {
            continue;
        }
        fields.push(Field::new(field.name(), field.data_type().clone(), true));
        columns.push(take(column, &indices, None)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Schema::new(fields).into(), columns, &options)?)
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

/// Splits what is written at line ends and keeps the beginning of each line.
struct Sink {
    done: Vec<String>,
    current: Vec<u8>,
    /// Bytes that may still be kept.
    left: usize,
}

impl Sink {
    fn keep(&mut self, bytes: &[u8]) {
        // One byte more than the limit is kept to see where the character at the limit ends.
        let free = (MAX_REJECTED_ROW_BYTES + 1).saturating_sub(self.current.len());
        self.current.extend_from_slice(&bytes[..bytes.len().min(free)]);
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.current);
        let cut = cut(&line);
        match self.left.checked_sub(cut.len()) {
            Some(left) => {
                self.left = left;
                self.done.push(cut.to_owned());
            }
            None => {
                self.left = 0;
                self.done.push(String::new());
            }
        }
        self.current.clear();
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        let mut lines = bytes.split(|&b| b == b'\n');
        if let Some(first) = lines.next() {
            self.keep(first);
        }
        for line in lines {
            self.end_line();
            self.keep(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

/// `text` cut at 64 KiB, between characters.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_REJECTED_ROW_BYTES)]
}
