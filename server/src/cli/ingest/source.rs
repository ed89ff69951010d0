//! How is a file read? Parquet, CSV, NDJSON and Arrow, each as a stream of batches with one schema.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::csv::reader::Format as CsvFormat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::chunks::{Batches, Chunks};
use super::{identity, infer};
use crate::cli::args::InputFormat;

/// So much of the beginning is looked at to learn names and types of CSV and NDJSON.
const SAMPLE_BYTES: u64 = 8 << 20;
const SAMPLE_ROWS: usize = 10_000;

/// The first bytes of an Arrow file; a stream begins otherwise.
const ARROW_FILE_MAGIC: &[u8] = b"ARROW1";

/// Rows that a reader decodes at once.
const READ_ROWS: usize = 8192;

/// An opened file.
pub struct Source {
    chunks: Chunks,
    shape: SchemaRef,
    content: Option<String>,
    n_rows: Option<u64>,
}

impl Source {
    /// Opens a file, or standard input as `-`. `table` is the table's schema, if there is a table: it says what the fields
    /// of NDJSON objects are. A file is read once for its hash.
    pub fn open(
        path: &Path,
        format: Option<InputFormat>,
        table: Option<SchemaRef>,
        chunk_rows: usize,
    ) -> anyhow::Result<Self> {
        let is_stdin = path.as_os_str() == "-";
        let format = match format.or_else(|| by_name(path)) {
            Some(format) => format,
            None => {
                bail!("the form of the file cannot be told by its name: say --format parquet, csv, ndjson or arrow")
            }
        };
        let content = if is_stdin { None } else { Some(identity::content_hash(path)?) };
        let opened = match (format, is_stdin) {
            (InputFormat::Csv, true) => csv(std::io::stdin())?,
            (InputFormat::Csv, false) => csv(File::open(path)?)?,
            (InputFormat::Ndjson, true) => ndjson(std::io::stdin(), table)?,
            (InputFormat::Ndjson, false) => ndjson(File::open(path)?, table)?,
            (InputFormat::Parquet | InputFormat::Arrow, true) => {
                bail!("Parquet and Arrow files cannot be read from standard input: name a file")
            }
            (InputFormat::Parquet, false) => parquet(File::open(path)?)?,
            (InputFormat::Arrow, false) => arrow(File::open(path)?)?,
        };
        let Opened { batches, schema, shape, n_rows } = opened;
        Ok(Self { chunks: Chunks::new(batches, schema, chunk_rows), shape, content, n_rows })
    }

    /// Names and types that a table for these rows would have.
    pub fn shape(&self) -> &SchemaRef {
        &self.shape
    }

    /// The SHA-256 of the content; `None` for standard input.
    pub fn content(&self) -> Option<&str> {
        self.content.as_deref()
    }

    /// Rows in the file, where it says so before it is read.
    pub fn n_rows(&self) -> Option<u64> {
        self.n_rows
    }

    pub fn into_chunks(self) -> Chunks {
        self.chunks
    }
}

struct Opened {
    batches: Batches,
    /// Of the batches: fields of text files are texts, which the server casts, so that a bad value is one bad row.
    schema: SchemaRef,
    /// Of a table for them.
    shape: SchemaRef,
    n_rows: Option<u64>,
}

fn by_name(path: &Path) -> Option<InputFormat> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "parquet" | "pq" => Some(InputFormat::Parquet),
        "csv" => Some(InputFormat::Csv),
        "ndjson" | "jsonl" | "json" => Some(InputFormat::Ndjson),
        "arrow" | "arrows" | "ipc" | "feather" => Some(InputFormat::Arrow),
        _ => None,
    }
}

fn parquet(file: File) -> anyhow::Result<Opened> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).context("this is not a Parquet file")?;
    let n_rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
    let reader = builder.with_batch_size(READ_ROWS).build()?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches = Box::new(reader.map(|batch| batch.context("the Parquet file cannot be read to its end")));
    Ok(Opened { batches, shape: schema.clone(), schema, n_rows })
}

fn arrow(mut file: File) -> anyhow::Result<Opened> {
    let mut magic = Vec::new();
    (&mut file).take(ARROW_FILE_MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.rewind()?;
    let file = BufReader::new(file);
    let broken = "the Arrow data cannot be read to its end";
    let (schema, batches): (SchemaRef, Batches) = if magic == ARROW_FILE_MAGIC {
        let reader = FileReader::try_new(file, None).context("this is not an Arrow file")?;
        (reader.schema(), Box::new(reader.map(move |batch| batch.context(broken))))
    } else {
        let reader = StreamReader::try_new(file, None).context("this is not an Arrow stream")?;
        (reader.schema(), Box::new(reader.map(move |batch| batch.context(broken))))
    };
    Ok(Opened { batches, shape: schema.clone(), schema, n_rows: None })
}

/// The beginning of `input`, and all of it: the beginning again and the rest.
fn sample(mut input: impl Read + Send + 'static) -> std::io::Result<(Vec<u8>, bool, impl BufRead + Send + 'static)> {
    let mut head = Vec::new();
    (&mut input).take(SAMPLE_BYTES).read_to_end(&mut head)?;
    let is_whole = (head.len() as u64) < SAMPLE_BYTES;
    let whole = BufReader::new(Cursor::new(head.clone()).chain(input));
    Ok((head, is_whole, whole))
}

fn csv(input: impl Read + Send + 'static) -> anyhow::Result<Opened> {
    let (mut head, is_whole, whole) = sample(input)?;
    let (names, _) = CsvFormat::default()
        .with_header(true)
        .infer_schema(head.as_slice(), Some(0))
        .context("the first line cannot be read as CSV")?;
    if names.fields().is_empty() {
        bail!("the file is empty: the first line must name the columns");
    }
    let fields: Vec<Field> = names.fields().iter().map(|f| Field::new(f.name(), DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    if !is_whole {
        // The last line is cut off; a line break within quotes at this place costs the sample its last rows.
        head.truncate(head.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
    }
    let reader =
        |batch_rows| arrow::csv::ReaderBuilder::new(schema.clone()).with_header(true).with_batch_size(batch_rows);
    let sampled = reader(SAMPLE_ROWS).build(head.as_slice())?.next().and_then(Result::ok);
    let shape = infer::shape_of_texts(&schema, sampled.as_ref())?;
    let batches = reader(READ_ROWS).build_buffered(whole)?;
    let batches = Box::new(batches.map(|batch| batch.context("a line cannot be read as CSV")));
    Ok(Opened { batches, schema, shape, n_rows: None })
}

fn ndjson(input: impl Read + Send + 'static, table: Option<SchemaRef>) -> anyhow::Result<Opened> {
    let (mut head, is_whole, whole) = sample(input)?;
    if !is_whole {
        head.truncate(head.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
    }
    let shape = match table {
        Some(table) => table,
        None => infer::shape_of_objects(&head, SAMPLE_ROWS)?,
    };
    let fields: Vec<Field> = shape
        .fields()
        .iter()
        .map(|field| match field.data_type().is_nested() {
            true => field.as_ref().clone().with_nullable(true),
            false => Field::new(field.name(), DataType::Utf8, true),
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let reader = arrow::json::ReaderBuilder::new(schema.clone())
        .with_coerce_primitive(true)
        .with_strict_mode(true)
        .with_batch_size(READ_ROWS)
        .build(whole)?;
    let batches = Box::new(reader.map(|batch| batch.context("a line cannot be read as JSON")));
    Ok(Opened { batches, schema, shape, n_rows: None })
}
