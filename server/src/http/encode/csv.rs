//! How does an answer become CSV? RFC 4180 with a header; NULL is an empty field.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use tidewater_storage::{Error, Result};

use super::json::Cell;

/// Encodes batches of one schema.
pub struct CsvEncoder {
    schema: SchemaRef,
    /// The schema as it is written: what CSV cannot hold is text.
    flat: SchemaRef,
}

impl CsvEncoder {
    pub fn new(schema: SchemaRef) -> Self {
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| match is_flat(field.data_type()) {
                true => field.as_ref().clone(),
                false => Field::new(field.name(), DataType::Utf8, true),
            })
            .collect();
        Self { schema, flat: Arc::new(Schema::new(fields)) }
    }

    /// The first line.
    pub fn header(&self) -> Result<Bytes> {
        let empty = RecordBatch::new_empty(Arc::clone(&self.flat));
        self.write(&empty, true)
    }

    pub fn batch(&self, batch: &RecordBatch) -> Result<Bytes> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| if is_flat(field.data_type()) { Ok(Arc::clone(column)) } else { as_text(column) })
            .collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let flat = RecordBatch::try_new_with_options(Arc::clone(&self.flat), columns, &options)?;
        self.write(&flat, false)
    }

    fn write(&self, batch: &RecordBatch, header: bool) -> Result<Bytes> {
        let mut out = Vec::new();
        let mut writer = WriterBuilder::new().with_header(header).build(&mut out);
        writer.write(batch)?;
        drop(writer);
        Ok(out.into())
    }
}

/// Lists and structs are written as JSON, bytes as the text that they are in a JSON answer.
fn is_flat(data_type: &DataType) -> bool {
    !data_type.is_nested()
        && !matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        )
}

fn as_text(column: &ArrayRef) -> Result<ArrayRef> {
    let cell = Cell::new(column)?;
    let mut texts = StringBuilder::new();
    let mut buffer = Vec::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        buffer.clear();
        cell.write(row, &mut buffer)?;
        let text = std::str::from_utf8(&buffer).map_err(|_| Error::internal("JSON that is not UTF-8"))?;
        if column.data_type().is_nested() {
            texts.append_value(text);
        } else {
            let bytes: String =
                serde_json::from_str(text).map_err(|e| Error::internal(format!("a text as JSON: {e}")))?;
            texts.append_value(bytes);
        }
    }
    Ok(Arc::new(texts.finish()))
}
