//! Where do the rows of an answer go? To standard output or into a file, batch by batch, in one of the forms of [`OutputFormat`].

mod encode;
mod file;
mod text;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::Path;

use anyhow::bail;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use self::encode::Encoder;
use self::file::{ExportFile, Exported, format_of};
use crate::cli::Usage;
use crate::cli::args::OutputFormat;
use crate::cli::terminal::{plural, print_bytes, say};

/// Prints answers, one after the other; or writes one into a file.
pub struct Printer {
    format: OutputFormat,
    target: Target,
    encoder: Option<Encoder>,
    n_rows: u64,
    is_counting: bool,
}

enum Target {
    Stdout,
    File(Box<ExportFile>),
}

impl Printer {
    /// To standard output. Without a format: a box on a terminal, CSV in a pipe.
    pub fn new(format: Option<OutputFormat>) -> Self {
        let usual = if std::io::stdout().is_terminal() { OutputFormat::Table } else { OutputFormat::Csv };
        Self::of(format.unwrap_or(usual), Target::Stdout)
    }

    /// Into a file, which is there once [`Self::finish`] succeeded. Without a format: by the file's name.
    pub(super) fn to_file(path: &Path, format: Option<OutputFormat>) -> anyhow::Result<Self> {
        Ok(Self::of(form(path, format)?, Target::File(Box::new(ExportFile::create(path)?))))
    }

    fn of(format: OutputFormat, target: Target) -> Self {
        Self { format, target, encoder: None, n_rows: 0, is_counting: true }
    }

    /// Does not say how many rows there were: whoever prints says it.
    pub(super) fn without_count(mut self) -> Self {
        self.is_counting = false;
        self
    }

    pub fn begin(&mut self, schema: &SchemaRef) -> anyhow::Result<()> {
        match &mut self.target {
            Target::Stdout if is_binary(self.format) && std::io::stdout().is_terminal() => {
                let message = "these bytes are not for a terminal: write them into a file with -o FILE, or into a pipe";
                return Err(Usage(message.to_owned()).into());
            }
            Target::Stdout => {}
            Target::File(file) => file.begin_answer()?,
        }
        self.n_rows = 0;
        let (encoder, bytes) = Encoder::begin(self.format, schema)?;
        self.encoder = Some(encoder);
        self.write(&bytes)
    }

    pub fn batch(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        let Some(encoder) = &mut self.encoder else { bail!("rows came before their columns") };
        self.n_rows += batch.num_rows() as u64;
        let bytes = encoder.batch(batch)?;
        self.write(&bytes)?;
        if let Target::File(file) = &self.target {
            file.has_rows(self.n_rows);
        }
        Ok(())
    }

    pub fn end(&mut self) -> anyhow::Result<()> {
        let Some(encoder) = self.encoder.take() else { bail!("an answer ended before it began") };
        let bytes = encoder.end()?;
        self.write(&bytes)?;
        let is_for_people = matches!(self.format, OutputFormat::Table | OutputFormat::Expanded);
        if is_for_people && self.is_counting && std::io::stderr().is_terminal() {
            say(&format!("({} {})", self.n_rows, plural(self.n_rows, "row", "rows")));
        }
        Ok(())
    }

    /// Nothing more is printed. A file gets its name now; one that is dropped without this never has it.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let Target::File(file) = self.target else { return Ok(()) };
        let Exported { path, n_bytes } = file.commit()?;
        let size = indicatif::HumanBytes(n_bytes);
        say(&format!("{}: {} {}, {size}", path.display(), self.n_rows, plural(self.n_rows, "row", "rows")));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.target {
            _ if bytes.is_empty() => Ok(()),
            Target::Stdout => print_bytes(bytes),
            Target::File(file) => file.write(bytes),
        }
    }
}

/// The form of a file: the one that is asked for, or the one of its name.
pub(super) fn form(path: &Path, asked: Option<OutputFormat>) -> anyhow::Result<OutputFormat> {
    asked.map_or_else(|| format_of(path), Ok)
}

fn is_binary(format: OutputFormat) -> bool {
    matches!(format, OutputFormat::Arrow | OutputFormat::Parquet)
}
