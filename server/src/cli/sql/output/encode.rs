//! How does an answer become text or bytes? One encoder a form; each gives what it can as soon as it can.

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::text::{self, NULL};
use crate::cli::args::OutputFormat;
use crate::http::encode::{ArrowEncoder, CsvEncoder, write_objects};

/// A box needs all its rows to know its widths: after so many it is closed and another one begins.
const BOX_ROWS: usize = 10_000;

/// Rows and bytes that are held until they are a row group, whichever is reached first.
const GROUP_ROWS: usize = 1 << 20;
const GROUP_BYTES: usize = 64 << 20;

const ZSTD_LEVEL: i32 = 3;

pub(super) enum Encoder {
    Table(Boxes),
    Expanded { n_rows: u64 },
    Csv(CsvEncoder),
    Json { n_rows: u64 },
    Ndjson,
    Markdown,
    Arrow(Box<ArrowEncoder>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl Encoder {
    /// An encoder, and what stands before the first row.
    pub(super) fn begin(format: OutputFormat, schema: &SchemaRef) -> anyhow::Result<(Self, Vec<u8>)> {
        Ok(match format {
            OutputFormat::Table => (Self::Table(Boxes::new(schema)), Vec::new()),
            OutputFormat::Expanded => (Self::Expanded { n_rows: 0 }, Vec::new()),
            OutputFormat::Csv => {
                let encoder = CsvEncoder::new(schema.clone());
                let header = encoder.header()?.to_vec();
                (Self::Csv(encoder), header)
            }
            OutputFormat::Json => (Self::Json { n_rows: 0 }, b"[".to_vec()),
            OutputFormat::Ndjson => (Self::Ndjson, Vec::new()),
            OutputFormat::Markdown => (Self::Markdown, text::markdown_header(schema)),
            OutputFormat::Arrow => {
                let mut encoder = Box::new(ArrowEncoder::new(schema)?);
                let header = encoder.take().to_vec();
                (Self::Arrow(encoder), header)
            }
            OutputFormat::Parquet => (Self::Parquet(Box::new(parquet_writer(schema)?)), Vec::new()),
        })
    }

    pub(super) fn batch(&mut self, batch: RecordBatch) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Table(boxes) => boxes.push(batch),
            Self::Expanded { n_rows } => {
                let out = text::records(&batch, *n_rows)?;
                *n_rows += batch.num_rows() as u64;
                Ok(out)
            }
            Self::Csv(encoder) => Ok(encoder.batch(&batch)?.to_vec()),
            Self::Json { n_rows } => {
                let mut lines = Vec::new();
                write_objects(&batch, &mut lines)?;
                let out = elements(&lines, *n_rows == 0);
                *n_rows += batch.num_rows() as u64;
                Ok(out)
            }
            Self::Ndjson => {
                let mut lines = Vec::new();
                write_objects(&batch, &mut lines)?;
                Ok(lines)
            }
            Self::Markdown => text::markdown_rows(&batch),
            Self::Arrow(encoder) => Ok(encoder.batch(&batch)?.to_vec()),
            Self::Parquet(writer) => {
                writer.write(&batch).context("the rows do not fit into Parquet")?;
                // Only whole row groups are in there, and the writer keeps count of where it is by itself.
                Ok(std::mem::take(writer.inner_mut()))
            }
        }
    }

    /// What stands behind the last row.
    pub(super) fn end(self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Table(boxes) => boxes.end(),
            Self::Json { n_rows: 0 } => Ok(b"]\n".to_vec()),
            Self::Json { .. } => Ok(b"\n]\n".to_vec()),
            Self::Arrow(mut encoder) => Ok(encoder.end()?.to_vec()),
            Self::Parquet(writer) => writer.into_inner().context("the Parquet file cannot be closed"),
            Self::Expanded { .. } | Self::Csv(_) | Self::Ndjson | Self::Markdown => Ok(Vec::new()),
        }
    }
}

fn parquet_writer(schema: &SchemaRef) -> anyhow::Result<ArrowWriter<Vec<u8>>> {
    let properties = WriterProperties::builder()
        .set_created_by(format!("tidewater version {}", crate::version::VERSION))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .build();
    ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))
        .context("a column has a type that Parquet does not know; cast it, for example to VARCHAR")
}

/// Objects, one a line, as elements of an array; `is_first`: none stands before them.
fn elements(lines: &[u8], is_first: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + 16);
    // A JSON text has no line end of its own: they are escaped.
    for (i, line) in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        out.extend_from_slice(if is_first && i == 0 { b"\n" } else { b",\n" });
        out.extend_from_slice(line);
    }
    out
}

/// Rows that become boxes.
pub(super) struct Boxes {
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    n_waiting: usize,
    n_boxes: usize,
}

impl Boxes {
    fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone(), waiting: Vec::new(), n_waiting: 0, n_boxes: 0 }
    }

    fn push(&mut self, batch: RecordBatch) -> anyhow::Result<Vec<u8>> {
        self.n_waiting += batch.num_rows();
        self.waiting.push(batch);
        if self.n_waiting < BOX_ROWS {
            return Ok(Vec::new());
        }
        self.n_waiting = 0;
        self.n_boxes += 1;
        draw(&std::mem::take(&mut self.waiting))
    }

    /// An answer without rows is a box too: its columns are part of the answer.
    fn end(mut self) -> anyhow::Result<Vec<u8>> {
        if self.n_boxes > 0 && self.waiting.is_empty() {
            return Ok(Vec::new());
        }
        if self.waiting.is_empty() {
            self.waiting.push(RecordBatch::new_empty(self.schema));
        }
        draw(&self.waiting)
    }
}

fn draw(batches: &[RecordBatch]) -> anyhow::Result<Vec<u8>> {
    let options = FormatOptions::new().with_null(NULL).with_display_error(true);
    let table = pretty_format_batches_with_options(batches, &options)?.to_string();
    Ok(format!("{}\n", text::harmless(table)).into_bytes())
}
