//! How are rows printed? A box for people, CSV, JSON lines or Arrow for programs.

use std::io::IsTerminal;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;

use crate::cli::args::OutputFormat;
use crate::cli::terminal::{print, print_bytes, say};
use crate::http::encode::{ArrowEncoder, CsvEncoder, write_objects};

/// A box needs all its rows to know its widths: after so many it is closed and another one begins.
const BOX_ROWS: usize = 10_000;

/// Prints answers, one after the other.
pub struct Printer {
    format: OutputFormat,
    state: State,
    n_rows: usize,
}

enum State {
    Idle,
    Table { schema: SchemaRef, batches: Vec<RecordBatch>, n_rows: usize, n_boxes: usize },
    Csv(CsvEncoder),
    Json,
    Arrow(Box<ArrowEncoder>),
}

impl Printer {
    /// Without a format: a box on a terminal, CSV in a pipe.
    pub fn new(format: Option<OutputFormat>) -> Self {
        let usual = if std::io::stdout().is_terminal() { OutputFormat::Table } else { OutputFormat::Csv };
        Self { format: format.unwrap_or(usual), state: State::Idle, n_rows: 0 }
    }

    pub fn begin(&mut self, schema: &SchemaRef) -> anyhow::Result<()> {
        self.n_rows = 0;
        self.state = match self.format {
            OutputFormat::Table => State::Table { schema: schema.clone(), batches: Vec::new(), n_rows: 0, n_boxes: 0 },
            OutputFormat::Csv => {
                let encoder = CsvEncoder::new(schema.clone());
                print_bytes(&encoder.header()?)?;
                State::Csv(encoder)
            }
            OutputFormat::Json => State::Json,
            OutputFormat::Arrow => {
                let mut encoder = Box::new(ArrowEncoder::new(schema)?);
                print_bytes(&encoder.take())?;
                State::Arrow(encoder)
            }
        };
        Ok(())
    }

    pub fn batch(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        self.n_rows += batch.num_rows();
        match &mut self.state {
            State::Idle => Ok(()),
            State::Table { schema, batches, n_rows, n_boxes } => {
                *n_rows += batch.num_rows();
                batches.push(batch);
                if *n_rows < BOX_ROWS {
                    return Ok(());
                }
                *n_boxes += 1;
                *n_rows = 0;
                print_box(schema, &std::mem::take(batches))
            }
            State::Csv(encoder) => print_bytes(&encoder.batch(&batch)?),
            State::Json => {
                let mut lines = Vec::new();
                write_objects(&batch, &mut lines)?;
                print_bytes(&lines)
            }
            State::Arrow(encoder) => print_bytes(&encoder.batch(&batch)?),
        }
    }

    pub fn end(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Table { schema, batches, n_boxes, .. } => {
                // An answer without rows is a box too: its columns are part of the answer.
                if n_boxes == 0 || !batches.is_empty() {
                    print_box(&schema, &batches)?;
                }
                if std::io::stderr().is_terminal() {
                    say(&format!("({} rows)", self.n_rows));
                }
                Ok(())
            }
            State::Arrow(mut encoder) => print_bytes(&encoder.end()?),
            State::Idle | State::Csv(_) | State::Json => Ok(()),
        }
    }
}

fn print_box(schema: &SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<()> {
    let options = FormatOptions::new().with_null("NULL").with_display_error(true);
    let empty = [RecordBatch::new_empty(schema.clone())];
    let batches = if batches.is_empty() { &empty } else { batches };
    print(&format!("{}\n", pretty_format_batches_with_options(batches, &options)?))
}
