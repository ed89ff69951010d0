//! What do the lines of a CSV file say? Texts under the names of its first line; the table's types are the server's business.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::de::IgnoredAny;
use tidewater_storage::catalog::nearest;

use super::records::Records;

/// The columns of a file. An empty field is NULL, with and without quotes: the reader does not tell them apart. Where another text stands
/// for NULL, an empty field is an empty text.
pub(crate) struct CsvColumns {
    schema: SchemaRef,
    delimiter: u8,
    null: Option<String>,
    /// By column: its name as JSON, and whether its values are JSON themselves.
    names: Vec<(String, bool)>,
}

/// Records that were read, in their order.
pub(crate) enum Part {
    Rows(RecordBatch),
    /// A record that cannot be read, and why.
    Bad(usize, String),
}

/// The character between fields that somebody says: one of ASCII, but no quote and no line break, or the word `tab`. `None` for all else.
pub(crate) fn delimiter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        b"tab" => Some(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Some(*byte),
        _ => None,
    }
}

impl CsvColumns {
    /// The columns that the first record of a file names, with this character between fields.
    pub(crate) fn delimited(header: &[u8], delimiter: u8) -> anyhow::Result<Self> {
        let names = names(header, delimiter).context("the first line cannot be read as CSV")?;
        let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let names = names.into_iter().map(|name| (serde_json::Value::from(name).to_string(), false)).collect();
        Ok(Self { schema: Arc::new(Schema::new(fields)), delimiter, null: None, names })
    }

    /// The same, with the text that stands for NULL.
    pub(crate) fn with_null(self, null: Option<String>) -> Self {
        Self { null, ..self }
    }

    /// Lists and structs of the table are JSON in their fields.
    pub(crate) fn fit(&mut self, table: &Schema) {
        let nested = table.fields().iter().filter(|field| field.data_type().is_nested());
        let nested: HashSet<String> = nested.map(|field| field.name().to_lowercase()).collect();
        for (field, (_, is_nested)) in self.schema.fields().iter().zip(&mut self.names) {
            *is_nested = nested.contains(&field.name().to_lowercase());
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Compares the names with a table's before anything is sent: a name that the table does not have would reject every row of the
    /// file, one by one.
    pub(crate) fn check(&self, table: &Schema) -> anyhow::Result<()> {
        let folded = |name: &str| name.to_lowercase();
        let mut missing: HashMap<String, &Field> =
            table.fields().iter().map(|field| (folded(field.name()), field.as_ref())).collect();
        for name in self.schema.fields().iter().map(|field| field.name()) {
            if missing.remove(&folded(name)).is_some() {
                continue;
            }
            let known = || table.fields().iter().map(|field| field.name().as_str());
            if known().any(|known| folded(known) == folded(name)) {
                bail!("the first line names the column '{name}' twice");
            }
            match nearest(name, known(), 1).first() {
                Some(near) => bail!("the table has no column '{name}'; did you mean '{near}'?"),
                None => bail!("the table has no column '{name}'; 'tidewater table show' lists those that it has"),
            }
        }
        match missing.values().find(|field| !field.is_nullable()) {
            Some(field) => bail!("the file has no column '{}', which may not be NULL", field.name()),
            None => Ok(()),
        }
    }

    /// The rows that can be read, as texts.
    pub(crate) fn readable(&self, records: &Records) -> anyhow::Result<RecordBatch> {
        let rows: Vec<RecordBatch> = self
            .parts(records, 0..records.len())
            .filter_map(|part| match part {
                Part::Rows(rows) => Some(rows),
                Part::Bad(..) => None,
            })
            .collect();
        let rows = concat_batches(&self.schema, &rows)?;
        if self.null.is_none() {
            return Ok(rows);
        }
        let with_nulls = rows.columns().iter().map(|column| {
            let texts = column.as_string::<i32>();
            let texts: StringArray = (0..texts.len()).map(|row| self.value(texts, row)).collect();
            Arc::new(texts) as ArrayRef
        });
        Ok(RecordBatch::try_new(self.schema.clone(), with_nulls.collect())?)
    }

    /// A row of texts as a JSON object, on one line. What is NULL is left out.
    pub(crate) fn object(&self, rows: &RecordBatch, row: usize) -> String {
        let mut text = String::from("{");
        for (column, (name, is_nested)) in rows.columns().iter().zip(&self.names) {
            let Some(value) = column.as_string_opt::<i32>().and_then(|texts| self.value(texts, row)) else { continue };
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(name);
            text.push(':');
            // Nothing but one whole value may stand in a field that is JSON. Its line breaks are white space: within texts they are escaped.
            match *is_nested && serde_json::from_str::<IgnoredAny>(value).is_ok() {
                true => text.push_str(&value.replace(['\n', '\r'], " ")),
                false => text.push_str(&serde_json::Value::from(value).to_string()),
            }
        }
        text.push('}');
        text
    }

    /// `None` for NULL. The reader takes every empty field for one.
    fn value<'t>(&self, texts: &'t StringArray, row: usize) -> Option<&'t str> {
        let value = texts.is_valid(row).then(|| texts.value(row));
        match &self.null {
            None => value,
            Some(null) => Some(value.unwrap_or_default()).filter(|value| *value != null.as_str()),
        }
    }

    /// The records as rows of texts, those that cannot be read between them. Reads all records at once, and where that fails each half:
    /// the reader stops at the first bad record of a text. One part is in memory at a time: many that are small take far more than their
    /// text.
    pub(crate) fn parts<'a>(&'a self, records: &'a Records, range: Range<usize>) -> impl Iterator<Item = Part> + 'a {
        let mut ranges = vec![range];
        std::iter::from_fn(move || {
            loop {
                let range = ranges.pop()?;
                if range.is_empty() {
                    continue;
                }
                let text = records.text(range.clone());
                match self.fields(text, range.len()) {
                    Ok(rows) => return Some(Part::Rows(rows)),
                    Err(error) if range.len() == 1 => return Some(Part::Bad(range.start, self.fault(text, &error))),
                    Err(_) => {
                        let middle = range.start + range.len() / 2;
                        ranges.extend([middle..range.end, range.start..middle]);
                    }
                }
            }
        })
    }

    /// Exactly `n_rows` rows, or an error.
    fn fields(&self, text: &[u8], n_rows: usize) -> anyhow::Result<RecordBatch> {
        // Before the reader takes the separators out: two broken characters may look like a whole one then.
        std::str::from_utf8(text).context("the text is not UTF-8")?;
        // A line break first, else a byte-order mark before a value would count as that of a file.
        let mut reader = ReaderBuilder::new(self.schema.clone())
            .with_batch_size(n_rows + 1)
            .with_delimiter(self.delimiter)
            .build_buffered(b"\n".as_slice().chain(text))?;
        match reader.next().transpose()? {
            Some(rows) if rows.num_rows() == n_rows => Ok(rows),
            _ => bail!("it is not CSV"),
        }
    }

    /// What is wrong with a record. Short: the server shows 60 characters of it.
    fn fault(&self, text: &[u8], error: &anyhow::Error) -> String {
        let n_named = self.schema.fields().len();
        match names(text, self.delimiter) {
            Ok(fields) if fields.len() == 1 && n_named > 1 => format!("1 field, not {n_named}"),
            Ok(fields) if fields.len() != n_named => format!("{} fields, not {n_named}", fields.len()),
            _ => error.to_string(),
        }
    }
}

/// The fields of one record.
fn names(record: &[u8], delimiter: u8) -> anyhow::Result<Vec<String>> {
    std::str::from_utf8(record).context("the text is not UTF-8")?;
    let (schema, _) = Format::default().with_header(true).with_delimiter(delimiter).infer_schema(record, Some(0))?;
    Ok(schema.fields().iter().map(|field| field.name().clone()).collect())
}
