//! How does an answer become a file that is either whole or not there? A hidden file beside it, which gets the name at the end.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::cli::Usage;
use crate::cli::args::OutputFormat;

const TEMPLATE: &str = "{spinner} {human_pos} rows, {msg}, {per_sec}";

/// The form that a file's name asks for.
pub(super) fn format_of(path: &Path) -> anyhow::Result<OutputFormat> {
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
    let usage = |message: String| -> anyhow::Result<OutputFormat> { Err(Usage(message).into()) };
    match ending.as_deref() {
        Some("csv") => Ok(OutputFormat::Csv),
        Some("json") => Ok(OutputFormat::Json),
        Some("ndjson" | "jsonl") => Ok(OutputFormat::Ndjson),
        Some("parquet") => Ok(OutputFormat::Parquet),
        Some("arrow" | "arrows") => Ok(OutputFormat::Arrow),
        Some("md") => Ok(OutputFormat::Markdown),
        Some("txt") => Ok(OutputFormat::Table),
        Some(packed @ ("gz" | "zst")) => {
            let message = "is not written; Parquet is compressed by itself, or pipe the rows through a program";
            usage(format!("{}: .{packed} {message}", path.display()))
        }
        _ => usage(format!(
            "{}: the name does not say which form; end it with .csv, .json, .ndjson, .parquet, .arrow or .md, or give \
             --format",
            path.display()
        )),
    }
}

/// A file that was written.
pub(super) struct Exported {
    pub(super) path: PathBuf,
    pub(super) n_bytes: u64,
}

/// A file that is being written. Dropped, it leaves nothing behind.
pub(super) struct ExportFile {
    path: PathBuf,
    /// Where it is until it is whole; `None` for a pipe or device, which is written at once.
    hidden: Option<PathBuf>,
    out: BufWriter<File>,
    n_bytes: u64,
    has_answer: bool,
    progress: Option<ProgressBar>,
}

impl ExportFile {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let unwritable = || format!("{} cannot be written", path.display());
        // A link stays one: what it leads to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let found = fs::metadata(&path).ok();
        ensure!(!found.as_ref().is_some_and(fs::Metadata::is_dir), "{} is a folder", path.display());
        let (hidden, file) = match &found {
            Some(found) if !found.is_file() => (None, OpenOptions::new().write(true).open(&path)),
            _ => {
                let hidden = folder_of(&path).join(format!(".tidewater-{}.part", uuid::Uuid::new_v4().simple()));
                let file = OpenOptions::new().write(true).create_new(true).open(&hidden);
                (Some(hidden), file)
            }
        };
        let out = BufWriter::with_capacity(1 << 20, file.with_context(unwritable)?);
        let file = Self { path, hidden, out, n_bytes: 0, has_answer: false, progress: progress() };
        if let (Some(_), Some(found)) = (&file.hidden, found) {
            // Who may read the file that is replaced may read the new one, and nobody else.
            file.out.get_ref().set_permissions(found.permissions()).with_context(unwritable)?;
        }
        Ok(file)
    }

    /// A file has one answer: two tables in one file are neither.
    pub(super) fn begin_answer(&mut self) -> anyhow::Result<()> {
        ensure!(
            !std::mem::replace(&mut self.has_answer, true),
            "{} takes the answer of one statement, and a second one has rows; nothing was written",
            self.path.display()
        );
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.out.write_all(bytes).with_context(|| format!("{} cannot be written", self.path.display()))?;
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn has_rows(&self, n_rows: u64) {
        if let Some(bar) = &self.progress {
            bar.set_message(HumanBytes(self.n_bytes).to_string());
            bar.set_position(n_rows);
        }
    }

    /// The bytes are brought to the disk, then the name.
    pub(super) fn commit(mut self) -> anyhow::Result<Exported> {
        let path = self.path.clone();
        let unwritable = || format!("{} cannot be written", path.display());
        ensure!(self.has_answer, "no statement answered with rows; {} was not written", path.display());
        self.out.flush().with_context(unwritable)?;
        if let Some(hidden) = &self.hidden {
            self.out.get_ref().sync_all().with_context(unwritable)?;
            fs::rename(hidden, &path).with_context(unwritable)?;
            self.hidden = None;
            File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).with_context(unwritable)?;
        }
        Ok(Exported { n_bytes: self.n_bytes, path })
    }
}

impl Drop for ExportFile {
    fn drop(&mut self) {
        if let Some(bar) = &self.progress {
            bar.finish_and_clear();
        }
        if let Some(hidden) = &self.hidden {
            let _ = fs::remove_file(hidden);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Rows and bytes, on a terminal.
fn progress() -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    Some(bar)
}
