//! Which rows come next? A large body read piece by piece, each of some megabytes.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::ChunkReader;
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::admission::json::{JsonRow, decode_rows};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::untrusted::{check_footer, check_row_group, guarded, no_parquet, rows_at_once};
use tidewater_storage::{Code, Error, Result};

use super::coding::unreadable_text;
use super::options::{CsvForm, Format, Options};
use crate::formats::csv::{CsvColumns, Part};
use crate::formats::records::{Cutter, Form, Records};
use crate::ingest::ipc::flat_batch_bytes;

/// A piece aims at so many bytes of text, or of decoded rows.
pub(super) const PIECE_BYTES: usize = 4 << 20;
const PIECE_ROWS: usize = 8192;

/// What the rows of a piece may take if each column has nothing but an offset.
const MAX_EMPTY_BYTES: usize = 16 << 20;

/// What a piece takes while it is decoded: as text, and as columns.
pub(super) const PIECE_DECODING_BYTES: u64 = 3 * PIECE_BYTES as u64;

/// Rows that the Parquet reader decodes at once; fewer if they are large.
const PARQUET_ROWS: usize = 4096;

/// Pieces of one body, in their order.
pub(super) trait Pieces: Send {
    /// `None` at the end. Blocks.
    fn next(&mut self) -> Result<Option<IncomingRows>>;

    /// About what the next piece takes while it is decoded.
    fn decoding_bytes(&self) -> u64 {
        PIECE_DECODING_BYTES
    }
}

/// How text becomes rows of a table.
pub(super) struct TextReader {
    def: Arc<TableDef>,
    ignores_unknown: bool,
    csv: Option<CsvColumns>,
}

impl TextReader {
    /// Takes the first line of CSV from `cutter`.
    pub fn new<R: Read>(def: &Arc<TableDef>, options: &Options, cutter: &mut Cutter<R>) -> Result<Self> {
        let ignores_unknown = options.ignores_unknown_columns();
        let csv = match options.format {
            Format::Csv => Some(csv_columns(def, &options.csv, ignores_unknown, cutter)?),
            _ => None,
        };
        Ok(Self { def: Arc::clone(def), ignores_unknown, csv })
    }

    /// How many rows may be read at once: in a table of many columns a row takes some space even if it says nothing.
    fn max_rows(&self) -> usize {
        (MAX_EMPTY_BYTES / (8 * self.def.columns.len().max(1))).clamp(1, PIECE_ROWS)
    }

    pub fn rows(&self, records: &Records) -> Result<IncomingRows> {
        match &self.csv {
            Some(columns) => decode_rows(&self.def, csv_rows(columns, records), self.ignores_unknown),
            None => decode_rows(&self.def, records.iter().map(|record| line(record.bytes)), self.ignores_unknown),
        }
    }
}

/// A cutter for the lines of a body.
pub(super) fn cutter<R: Read>(input: R, options: &Options) -> Cutter<R> {
    match options.format {
        Format::Csv => Cutter::new(input, Form::Csv).with_delimiter(options.csv.delimiter),
        _ => Cutter::new(input, Form::Lines),
    }
}

/// A line of NDJSON.
fn line(bytes: &[u8]) -> JsonRow<'_> {
    match std::str::from_utf8(bytes.trim_ascii()) {
        Ok(text) => JsonRow::Text(Cow::Borrowed(text)),
        Err(_) => {
            let message = "the line is not UTF-8".to_owned();
            JsonRow::Unread { message, payload: String::from_utf8_lossy(bytes) }
        }
    }
}

/// The columns that the first line names.
fn csv_columns<R: Read>(
    def: &TableDef,
    form: &CsvForm,
    ignores_unknown: bool,
    cutter: &mut Cutter<R>,
) -> Result<CsvColumns> {
    let first = cutter.next(1, usize::MAX).map_err(|error| unreadable_text(&error))?;
    let Some(header) = first.as_ref().and_then(|first| first.get(0)) else {
        return Err(Error::new(Code::MalformedPayload, "the body is empty: the first line must name the columns"));
    };
    let columns = CsvColumns::delimited(header.bytes, form.delimiter).map_err(|error| unreadable_text(&error))?;
    if !ignores_unknown {
        columns.check(&def.arrow_schema).map_err(|error| {
            Error::new(Code::SchemaMismatch, format!("table '{}': {error}", def.name)).hint(
                "the first line must name columns of the table; ?delimiter= says what stands between them, and \
                 ?ignore_unknown_columns=true drops those that the table does not have",
            )
        })?;
    }
    let mut columns = columns.with_null(form.null.clone());
    columns.fit(&def.arrow_schema);
    Ok(columns)
}

/// Each record as a JSON object; one that cannot be read with the reason.
fn csv_rows<'a>(columns: &'a CsvColumns, records: &'a Records) -> impl Iterator<Item = JsonRow<'a>> {
    columns.parts(records, 0..records.len()).flat_map(move |part| match part {
        Part::Rows(rows) => Objects::Rows(columns, rows, 0),
        Part::Bad(at, why) => Objects::Bad(Some(unread(records, at, &why))),
    })
}

fn unread<'a>(records: &'a Records, at: usize, why: &str) -> JsonRow<'a> {
    let Some(record) = records.get(at) else {
        return JsonRow::Unread { message: why.to_owned(), payload: Cow::Borrowed("") };
    };
    let message = match record.first_line == record.last_line {
        true => format!("line {}: {why}", record.first_line),
        false => format!("lines {} to {}: {why}", record.first_line, record.last_line),
    };
    JsonRow::Unread { message, payload: String::from_utf8_lossy(record.bytes) }
}

/// Rows of CSV on their way.
enum Objects<'a> {
    /// And the next of them.
    Rows(&'a CsvColumns, RecordBatch, usize),
    Bad(Option<JsonRow<'a>>),
}

impl<'a> Iterator for Objects<'a> {
    type Item = JsonRow<'a>;

    fn next(&mut self) -> Option<JsonRow<'a>> {
        match self {
            Objects::Rows(columns, rows, at) if *at < rows.num_rows() => {
                let object = columns.object(rows, *at);
                *at += 1;
                Some(JsonRow::Text(Cow::Owned(object)))
            }
            Objects::Rows(..) => None,
            Objects::Bad(row) => row.take(),
        }
    }
}

/// Pieces of NDJSON and CSV.
pub(super) struct TextPieces<R> {
    cutter: Cutter<R>,
    reader: TextReader,
}

impl<R: Read> TextPieces<R> {
    pub fn new(def: &Arc<TableDef>, options: &Options, input: R) -> Result<Self> {
        let mut cutter = cutter(input, options);
        let reader = TextReader::new(def, options, &mut cutter)?;
        Ok(Self { cutter, reader })
    }
}

impl<R: Read + Send> Pieces for TextPieces<R> {
    fn next(&mut self) -> Result<Option<IncomingRows>> {
        loop {
            let records = self.cutter.next(self.reader.max_rows(), PIECE_BYTES);
            let Some(records) = records.map_err(|error| unreadable_text(&error))? else { return Ok(None) };
            if records.len() > 0 {
                return self.reader.rows(&records).map(Some);
            }
        }
    }
}

/// Batches that are cut where they are too large as rows of a table.
#[derive(Default)]
pub(super) struct Slices(Vec<RecordBatch>);

impl Slices {
    pub fn add(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.0.push(batch);
        }
    }

    /// The next rows, with dictionaries and views spelled out of about [`PIECE_BYTES`].
    pub fn next(&mut self) -> Option<IncomingRows> {
        loop {
            let batch = self.0.pop()?;
            let n_rows = batch.num_rows();
            if n_rows == 1 || flat_batch_bytes(&batch) <= PIECE_BYTES as u64 {
                return Some(batch.into());
            }
            let half = n_rows / 2;
            self.0.push(batch.slice(half, n_rows - half));
            self.0.push(batch.slice(0, half));
        }
    }
}

/// Pieces of a Parquet file, row group by row group.
pub(super) struct ParquetPieces<F> {
    file: F,
    metadata: ArrowReaderMetadata,
    /// What reading a row group may take, and what reading this one does.
    max_bytes: u64,
    bytes: u64,
    next_group: usize,
    /// Rows of this row group, as far as they are not read, and how many the footer says that there are.
    batches: Option<ParquetRecordBatchReader>,
    n_left: u64,
    slices: Slices,
}

impl<F: ChunkReader + Clone + 'static> ParquetPieces<F> {
    /// `BATCH_TOO_LARGE` if reading a part of the file takes more than `max_bytes`. Blocks.
    pub fn new(file: F, max_bytes: u64) -> Result<Self> {
        let metadata = guarded(|| {
            check_footer(&file, max_bytes)?;
            let plain = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(no_parquet)?;
            let with_views = ArrowReaderOptions::new().with_schema(with_views(plain.schema()));
            ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), with_views).map_err(no_parquet)
        })?;
        let (bytes, next_group, batches, n_left, slices) = (0, 0, None, 0, Slices::default());
        let mut pieces = Self { file, metadata, max_bytes, bytes, next_group, batches, n_left, slices };
        pieces.open()?;
        Ok(pieces)
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(self.metadata.schema())
    }

    /// Opens the next row group. `false`: there is none.
    fn open(&mut self) -> Result<bool> {
        let footer = Arc::clone(self.metadata.metadata());
        let Some(group) = footer.row_groups().get(self.next_group) else { return Ok(false) };
        self.n_left = u64::try_from(group.num_rows()).map_err(no_parquet)?;
        guarded(|| {
            self.bytes = check_row_group(&self.file, group, self.max_bytes)?;
            let (file, metadata) = (self.file.clone(), self.metadata.clone());
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_row_groups(vec![self.next_group])
                .with_batch_size(rows_at_once(group, PARQUET_ROWS));
            self.batches = Some(builder.build().map_err(no_parquet)?);
            Ok(())
        })?;
        self.next_group += 1;
        Ok(true)
    }
}

impl<F: ChunkReader + Clone + 'static> Pieces for ParquetPieces<F> {
    fn next(&mut self) -> Result<Option<IncomingRows>> {
        loop {
            if let Some(rows) = self.slices.next() {
                return Ok(Some(rows));
            }
            if self.batches.is_none() && !self.open()? {
                return Ok(None);
            }
            let Some(batches) = &mut self.batches else { continue };
            let batch = guarded(|| batches.next().transpose().map_err(no_parquet))?;
            let n_rows = batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
            let miscounted = || no_parquet("a row group has another number of rows than its footer says");
            self.n_left = self.n_left.checked_sub(n_rows).ok_or_else(miscounted)?;
            match batch {
                Some(batch) => self.slices.add(batch),
                None if self.n_left > 0 => return Err(miscounted()),
                None => self.batches = None,
            }
        }
    }

    fn decoding_bytes(&self) -> u64 {
        PIECE_DECODING_BYTES + self.bytes
    }
}

/// The same with views of texts and bytes: a value of a dictionary that stands in each row is one value in memory then, and not many. Lists
/// have no fixed length, which would have a place in rows that are NULL.
fn with_views(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(viewed_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn viewed_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(viewed(field.data_type())))
}

fn viewed(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => viewed(values),
        DataType::List(item) | DataType::FixedSizeList(item, _) => DataType::List(viewed_field(item)),
        DataType::LargeList(item) => DataType::LargeList(viewed_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed_field).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(viewed_field(entries), *is_sorted),
        other => other.clone(),
    }
}
