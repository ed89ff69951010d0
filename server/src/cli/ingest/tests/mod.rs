//! Are a file's rows numbered the same way every time, read as documented, and stored once?

mod cutting;
mod reading;
mod replay;
mod resume;
mod shapes;
mod waits;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use clap::Parser;
use tempfile::TempDir;

use super::chunks::{Chunk, RowChunks};
use super::source::{Chunks, Source};
use super::text::{JsonRows, TextChunks};
use crate::cli::args::{Cli, Command, CsvArgs, IngestArgs, InputFormat};

fn numbers(values: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(content).unwrap();
    (folder, path)
}

fn parquet(rows: &RecordBatch) -> Vec<u8> {
    let mut content = Vec::new();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(&mut content, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    content
}

fn open(path: &Path, format: Option<InputFormat>) -> Source {
    Source::open(path, format, None, 10_000, &CsvArgs::default()).unwrap()
}

/// Why a file is not opened.
fn refusal(path: &Path, format: Option<InputFormat>, csv: &CsvArgs) -> String {
    Source::open(path, format, None, 10, csv).err().map(|error| format!("{error:#}")).expect("refused")
}

fn row_chunks(source: Source) -> RowChunks {
    match source.into_chunks() {
        Chunks::Rows(chunks) => chunks,
        Chunks::Text(_) => panic!("rows with types were expected"),
    }
}

fn text_chunks(source: Source) -> TextChunks {
    match source.into_chunks() {
        Chunks::Text(chunks) => chunks,
        Chunks::Rows(_) => panic!("texts were expected"),
    }
}

/// The chunks of a text, behind its first `stored` rows.
fn chunks_of(name: &str, content: &[u8], chunk_rows: usize, stored: u64) -> Vec<Chunk<JsonRows>> {
    csv_chunks_of(name, content, chunk_rows, stored, &CsvArgs::default())
}

fn csv_chunks_of(name: &str, content: &[u8], chunk_rows: usize, stored: u64, csv: &CsvArgs) -> Vec<Chunk<JsonRows>> {
    let (_folder, path) = file(name, content);
    let table = Arc::new(arrow::datatypes::Schema::empty());
    let source = Source::open(&path, None, Some(table), chunk_rows, csv).unwrap();
    text_chunks(source).behind(stored).map(Result::unwrap).collect()
}

/// What is sent, as lines.
fn sent_lines(chunks: &[Chunk<JsonRows>]) -> Vec<String> {
    let texts = chunks.iter().filter_map(|chunk| Some(String::from_utf8(chunk.content.clone()?.payload).unwrap()));
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn ingest_args(words: &[&str]) -> IngestArgs {
    match Cli::parse_from([&["tidewater", "ingest"], words].concat()).command {
        Command::Ingest(args) => args,
        other => panic!("{other:?}"),
    }
}
