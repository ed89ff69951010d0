//! How is a file read? Parquet, CSV, NDJSON and Arrow, each as numbered rows.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::chunks::{Batches, RowChunks};
use super::identity::Original;
use super::text::{Language, TextChunks};
use super::{identity, infer};
use crate::cli::args::{CsvArgs, InputFormat};
use crate::formats::csv::CsvColumns;
use crate::formats::elements::ElementLines;
use crate::formats::records::{BYTE_ORDER_MARK, Cutter, Form, Records};

/// So much of the beginning is looked at to learn the types of CSV and NDJSON.
const SAMPLE_BYTES: u64 = 8 << 20;
const SAMPLE_ROWS: usize = 10_000;

/// The first bytes of an Arrow file; a stream begins otherwise.
const ARROW_FILE_MAGIC: &[u8] = b"ARROW1";

/// Rows that a reader decodes at once.
const READ_ROWS: usize = 8192;

/// An opened file.
pub(super) struct Source {
    chunks: Chunks,
    shape: SchemaRef,
    format: InputFormat,
    /// Of CSV.
    delimiter: u8,
    /// `None` for standard input.
    original: Option<Arc<Original>>,
    n_rows: Option<u64>,
}

/// What is in a file: rows with types, or texts that may be unreadable.
pub(super) enum Chunks {
    Rows(RowChunks),
    Text(TextChunks),
}

impl Source {
    /// Opens a file, or standard input as `-`. A file is read once for its hash. With the schema of a `table` that is there the types of CSV and
    /// NDJSON are not guessed; which row has which number does not depend on it.
    pub(super) fn open(
        path: &Path,
        format: Option<InputFormat>,
        table: Option<SchemaRef>,
        chunk_rows: usize,
        said: &CsvArgs,
    ) -> anyhow::Result<Self> {
        let is_stdin = path.as_os_str() == "-";
        if !is_stdin {
            identity::check_regular(path)?;
        }
        if !is_stdin && has_ending(path, &["gz", "zst", "bz2", "xz", "zip"]) {
            bail!(
                "a compressed file cannot be loaded by name: pipe CSV and NDJSON in, as in \
                 'zcat FILE | tidewater ingest TABLE - --format csv'"
            );
        }
        let format = match format.or_else(|| by_name(path)) {
            Some(format) => format,
            None => {
                bail!("the form of the file cannot be told by its name: say --format parquet, csv, ndjson or arrow")
            }
        };
        for (flag, is_given) in [("--delimiter", said.delimiter.is_some()), ("--null", said.null.is_some())] {
            if is_given && !matches!(format, InputFormat::Csv) {
                bail!("{flag} is for CSV: leave it out, or say --format csv");
            }
        }
        let usual = if has_ending(path, &["tsv"]) { b'\t' } else { b',' };
        let delimiter = said.delimiter.unwrap_or(usual);
        let original = if is_stdin { None } else { Some(Arc::new(Original::open(path)?)) };
        let file = original.as_deref().map(Original::reader).transpose()?;
        let opened = match (format, file) {
            (InputFormat::Csv, file) => csv(input(file), table, chunk_rows, (delimiter, said.null.as_deref()))?,
            (InputFormat::Ndjson, file) => ndjson(input(file), table, chunk_rows)?,
            (InputFormat::Parquet, Some(file)) => parquet(file, chunk_rows)?,
            (InputFormat::Arrow, Some(file)) => arrow(file, chunk_rows)?,
            (InputFormat::Parquet | InputFormat::Arrow, None) => {
                bail!("Parquet and Arrow files cannot be read from standard input: name a file")
            }
        };
        let Opened { chunks, shape, n_rows } = opened;
        Ok(Self { chunks, shape, format, delimiter, original, n_rows })
    }

    /// Names and types that a table for these rows would have.
    pub(super) fn shape(&self) -> &SchemaRef {
        &self.shape
    }

    /// Compares the file with the table it is to go into, as far as that can be done before its rows are read.
    pub(super) fn check(&mut self, table: &SchemaRef) -> anyhow::Result<()> {
        match &mut self.chunks {
            Chunks::Text(chunks) => chunks.check(table),
            // The server compares schemas, once, and refuses the first chunk.
            Chunks::Rows(_) => Ok(()),
        }
    }

    /// The name of the producer that loads this file into `table`.
    pub(super) fn producer_id(&self, table: &str) -> String {
        match &self.original {
            Some(original) => identity::producer_id(table, original.content(), self.format, self.delimiter),
            // Nobody can tell whether the next input is the same one: the name holds for this run.
            None => self.fresh_producer_id(table),
        }
    }

    /// The name of a producer that loads this file as if it had never been loaded: no other run has it.
    pub(super) fn fresh_producer_id(&self, table: &str) -> String {
        let content = self.original.as_ref().map_or("stdin", |original| original.content());
        let content = format!("{content}-{}", uuid::Uuid::new_v4().simple());
        identity::producer_id(table, &content, self.format, self.delimiter)
    }

    /// The file, to ask afterwards whether it has changed; `None` for standard input.
    pub(super) fn original(&self) -> Option<Arc<Original>> {
        self.original.clone()
    }

    /// Rows in the file, where it says so before it is read.
    pub(super) fn n_rows(&self) -> Option<u64> {
        self.n_rows
    }

    pub(super) fn into_chunks(self) -> Chunks {
        self.chunks
    }
}

struct Opened {
    chunks: Chunks,
    /// Of a table for them.
    shape: SchemaRef,
    n_rows: Option<u64>,
}

fn by_name(path: &Path) -> Option<InputFormat> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "parquet" | "pq" => Some(InputFormat::Parquet),
        "csv" | "tsv" => Some(InputFormat::Csv),
        "ndjson" | "jsonl" | "json" => Some(InputFormat::Ndjson),
        "arrow" | "arrows" | "ipc" | "feather" => Some(InputFormat::Arrow),
        _ => None,
    }
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    endings.contains(&end.as_str())
}

fn parquet(file: File, chunk_rows: usize) -> anyhow::Result<Opened> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).context("this is not a Parquet file")?;
    let n_rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
    let reader = builder.with_batch_size(READ_ROWS).build()?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches = Box::new(reader.map(|batch| batch.context("the Parquet file cannot be read to its end")));
    Ok(Opened { chunks: Chunks::Rows(RowChunks::new(batches, schema.clone(), chunk_rows)), shape: schema, n_rows })
}

fn arrow(mut file: File, chunk_rows: usize) -> anyhow::Result<Opened> {
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
    Ok(Opened {
        chunks: Chunks::Rows(RowChunks::new(batches, schema.clone(), chunk_rows)),
        shape: schema,
        n_rows: None,
    })
}

fn csv(
    mut input: Box<dyn Read + Send>,
    table: Option<SchemaRef>,
    chunk_rows: usize,
    (delimiter, null): (u8, Option<&str>),
) -> anyhow::Result<Opened> {
    let head = head(&mut input)?;
    let cutter = |input: Box<dyn Read + Send>| Cutter::new(input, Form::Csv).with_delimiter(delimiter);
    let with_null = |columns: CsvColumns| columns.with_null(null.map(str::to_owned));
    let columns = |cutter: &mut Cutter<_>| match cutter.next(1, usize::MAX)?.as_ref().and_then(|first| first.get(0)) {
        Some(header) => CsvColumns::delimited(header.bytes, delimiter).map(with_null),
        None => bail!("the file is empty: the first line must name the columns"),
    };
    let shape = match table {
        Some(table) => table,
        None => {
            let mut cutter = cutter(boxed(Cursor::new(head.clone())));
            let columns = columns(&mut cutter)?;
            let sample = sample(&mut cutter, head.len())?.map(|sample| columns.readable(&sample)).transpose()?;
            infer::shape_of_texts(columns.schema(), sample.as_ref())?
        }
    };
    let mut cutter = cutter(boxed(Cursor::new(head).chain(input)));
    let columns = columns(&mut cutter)?;
    check_separated(columns.schema())?;
    let language = Language::Csv(columns);
    Ok(Opened { chunks: Chunks::Text(TextChunks::new(cutter, language, chunk_rows)), shape, n_rows: None })
}

/// One column in whose name there is what often stands between fields is several: no column of a table can have such a name.
fn check_separated(columns: &SchemaRef) -> anyhow::Result<()> {
    let [only] = &columns.fields()[..] else { return Ok(()) };
    let Some(found) = only.name().chars().find(|&c| matches!(c, ';' | '\t')) else { return Ok(()) };
    let word = if found == '\t' { "tab" } else { "';'" };
    let shown: String = only.name().chars().take(60).collect();
    bail!("the first line names one column, '{shown}': say what stands between its fields, with --delimiter {word}")
}

fn ndjson(mut input: Box<dyn Read + Send>, table: Option<SchemaRef>, chunk_rows: usize) -> anyhow::Result<Opened> {
    let mut begin = head(&mut input)?;
    if begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&begin).trim_ascii_start().starts_with(b"[") {
        input = boxed(ElementLines::new(Cursor::new(begin).chain(input)));
        begin = head(&mut input)?;
    }
    let head = begin;
    let sample = sample(&mut Cutter::new(boxed(Cursor::new(head.clone())), Form::Lines), head.len())?;
    let shape = match table {
        Some(table) => table,
        None => infer::shape_of_objects(sample.iter().flat_map(Records::iter).map(|line| line.bytes))?,
    };
    let cutter = Cutter::new(boxed(Cursor::new(head).chain(input)), Form::Lines);
    Ok(Opened { chunks: Chunks::Text(TextChunks::new(cutter, Language::Ndjson, chunk_rows)), shape, n_rows: None })
}

/// A file, or standard input.
fn input(file: Option<File>) -> Box<dyn Read + Send> {
    match file {
        Some(file) => boxed(file),
        None => boxed(std::io::stdin()),
    }
}

fn boxed(input: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(input)
}

/// The beginning of a file.
fn head(input: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(SAMPLE_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// The first records of a beginning of `n_bytes`.
fn sample<R: Read>(cutter: &mut Cutter<R>, n_bytes: usize) -> anyhow::Result<Option<Records>> {
    let mut sample = cutter.next(SAMPLE_ROWS, usize::MAX)?;
    if let Some(sample) = &mut sample
        && n_bytes as u64 >= SAMPLE_BYTES
        && sample.len() > 1
    {
        // The beginning may end within it.
        sample.drop_last();
    }
    Ok(sample)
}
