//! How do JSON rows become columns? NDJSON or an array of objects, read row by row, without a detour over floats.

mod columns;
mod row;
mod scanner;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};

use self::columns::Column;
use self::row::{BadRow, RowReader};
use self::scanner::Scanner;
use super::payload::cut;
use super::refusals::shown;
use super::rows::{IncomingRows, RejectCode, RejectedRow};
use crate::catalog::TableDef;
use crate::error::{Code, Error, Result};
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_ROWS, MAX_REJECTED_BATCH_BYTES};

/// What decoding one payload may hold: values stand as text in here, which takes more than the 16 MiB of a batch.
const MAX_DECODED_BYTES: u64 = 4 * MAX_BATCH_BYTES as u64;

/// Decodes a JSON array of objects, or NDJSON (one object a line, empty lines do not count), for the table `def`.
///
/// Scalars come out as text that [`super::admit`] casts, so that every number keeps its digits; a whole number for a
/// TIMESTAMP[TZ] is µs since 1970. A row that cannot be read is rejected, the others go on: a line with a syntax error, a name
/// twice in one object, a name that the table does not have (unless `ignore_unknown`), a list where a number belongs.
/// Only a damaged array is an error as a whole (`MALFORMED_PAYLOAD`), because what follows the damage cannot be told apart;
/// and `BATCH_TOO_LARGE`.
pub fn decode(def: &TableDef, bytes: &[u8], ignore_unknown: bool) -> Result<IncomingRows> {
    let bytes = without_mark(bytes);
    if !bytes.trim_ascii_start().starts_with(b"[") {
        return decode_lines(def, bytes, ignore_unknown);
    }
    let mut decoder = Decoder::new(def, ignore_unknown);
    decoder.array(bytes)?;
    decoder.finish()
}

/// The same for NDJSON alone: a line that begins an array is a row that cannot be read, like any other that is no object.
pub fn decode_lines(def: &TableDef, bytes: &[u8], ignore_unknown: bool) -> Result<IncomingRows> {
    let mut decoder = Decoder::new(def, ignore_unknown);
    for line in without_mark(bytes).split(|&b| b == b'\n') {
        let line = line.trim_ascii();
        if !line.is_empty() {
            decoder.line(line)?;
        }
    }
    decoder.finish()
}

/// One row on its way into [`decode_rows`].
#[derive(Debug, Clone)]
pub enum JsonRow<'a> {
    /// The text of one object.
    Text(Cow<'a, str>),
    /// It could not be read before it came here: why, and what it was.
    Unread { message: String, payload: Cow<'a, str> },
}

/// The same for rows of which each stands by itself.
pub fn decode_rows<'a>(
    def: &TableDef,
    rows: impl IntoIterator<Item = JsonRow<'a>>,
    ignore_unknown: bool,
) -> Result<IncomingRows> {
    let mut decoder = Decoder::new(def, ignore_unknown);
    for row in rows {
        match row {
            JsonRow::Text(text) => decoder.row(&text)?,
            JsonRow::Unread { message, payload } => {
                decoder.count_row()?;
                decoder.reject(BadRow::new(None, RejectCode::Malformed, message), &payload);
            }
        }
    }
    decoder.finish()
}

/// A byte-order mark says nothing.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

struct Decoder<'d> {
    def: &'d TableDef,
    reader: RowReader<'d>,
    /// By column of the table; made when a row first has a value for it.
    columns: Vec<Option<Column>>,
    /// Rows in `columns`, and where they stood.
    row_numbers: Vec<u64>,
    n_read: u64,
    rejected: Vec<RejectedRow>,
    /// Payload bytes that may still be kept.
    payload_left: usize,
}

impl<'d> Decoder<'d> {
    fn new(def: &'d TableDef, ignore_unknown: bool) -> Self {
        Self {
            def,
            reader: RowReader::new(def, ignore_unknown, MAX_DECODED_BYTES),
            columns: (0..def.columns.len()).map(|_| None).collect(),
            row_numbers: Vec::new(),
            n_read: 0,
            rejected: Vec::new(),
            payload_left: MAX_REJECTED_BATCH_BYTES,
        }
    }

    fn array(&mut self, bytes: &[u8]) -> Result<()> {
        let malformed = |what: &str, at: usize| {
            Error::new(Code::MalformedPayload, format!("the JSON array is malformed at byte {at}: {what}"))
                .hint("send a JSON array of objects, or one object a line")
        };
        let text = std::str::from_utf8(bytes).map_err(|error| malformed("it is not UTF-8", error.valid_up_to()))?;
        let mut scanner = Scanner::new(text);
        let mut elements = || -> Result<(), scanner::Syntax> {
            scanner.open(b'[')?;
            if scanner.close_if(b']') {
                return scanner.end();
            }
            loop {
                let element = scanner.skip_value()?;
                if let Err(error) = self.row(element) {
                    return Err(scanner::Syntax::aborted(error));
                }
                if scanner.close_if(b']') {
                    return scanner.end();
                }
                scanner.open(b',')?;
            }
        };
        elements().map_err(|syntax| match syntax.into_error() {
            Ok(error) => error,
            Err((what, at)) => malformed(what, at),
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        match std::str::from_utf8(line) {
            Ok(line) => self.row(line),
            Err(_) => {
                self.count_row()?;
                let fault = BadRow::new(None, RejectCode::Malformed, "the line is not UTF-8".to_owned());
                self.reject(fault, &String::from_utf8_lossy(line));
                Ok(())
            }
        }
    }

    fn row(&mut self, text: &str) -> Result<()> {
        self.count_row()?;
        let cells = match self.reader.read(text) {
            Ok(cells) => cells,
            Err(fault) => {
                self.reject(fault, text);
                return self.check_size();
            }
        };
        let n_before = self.row_numbers.len();
        for (i, cell) in &cells {
            let column =
                self.columns[*i].get_or_insert_with(|| Column::with_nulls(&self.def.columns[*i].data_type, n_before));
            column.append(cell);
        }
        self.row_numbers.push(self.n_read - 1);
        for column in self.columns.iter_mut().flatten().filter(|column| column.len() == n_before) {
            column.append_null();
        }
        self.check_size()
    }

    fn count_row(&mut self) -> Result<()> {
        self.n_read += 1;
        if self.n_read > MAX_BATCH_ROWS as u64 {
            return Err(too_large(format!("the payload has more than {MAX_BATCH_ROWS} rows")));
        }
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        if self.reader.is_too_large() {
            return Err(too_large(format!("the payload takes more than {MAX_DECODED_BYTES} bytes when decoded")));
        }
        Ok(())
    }

    fn reject(&mut self, fault: BadRow, text: &str) {
        let payload = cut(fault.payload.as_deref().unwrap_or(text));
        let payload = if payload.len() <= self.payload_left { payload } else { "" };
        self.payload_left -= payload.len();
        self.rejected.push(RejectedRow {
            row: self.n_read - 1,
            column: fault.column,
            code: fault.code,
            message: fault.message,
            payload: payload.to_owned(),
        });
    }

    fn finish(self) -> Result<IncomingRows> {
        let n_rows = self.row_numbers.len();
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (column, def) in self.columns.into_iter().zip(&self.def.columns) {
            let array = match column {
                Some(column) => column.finish()?,
                // No row has it: admission rejects each of them by name.
                None if !def.nullable => Arc::new(NullArray::new(n_rows)),
                None => continue,
            };
            fields.push(Field::new(&def.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let batch = RecordBatch::try_new_with_options(Schema::new(fields).into(), arrays, &options)?;
        let all_read = n_rows as u64 == self.n_read;
        Ok(IncomingRows { batch, row_numbers: (!all_read).then_some(self.row_numbers), rejected: self.rejected })
    }
}

fn too_large(message: String) -> Error {
    Error::new(Code::BatchTooLarge, message).hint("send the rows in smaller batches")
}

/// A name for a message.
fn quoted(name: &str) -> String {
    format!("'{}'", shown(name))
}
