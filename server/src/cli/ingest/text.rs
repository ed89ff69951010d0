//! How does a text file become chunks? Cut by its bytes alone, then read: a line that cannot be read is a rejected row, not
//! the end of the load.
//!
//! Rows travel as JSON, because that is the form in which the protocol takes rows that may be unreadable: the server reads
//! them one by one, casts their texts to the table's types, and keeps what it cannot take in `system.rejected`.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::ops::Range;

use anyhow::bail;
use arrow::datatypes::Schema;
use tidewater_storage::limits::{MAX_BATCH_BYTES, MAX_REJECTED_ROW_BYTES};

use super::chunks::Chunk;
use crate::formats::csv::{CsvColumns, Part};
use crate::formats::records::{Cutter, Record, Records};

/// Bytes of a chunk as they stand in the file: names and quotes, which JSON repeats in each row, may triple them before
/// they come near to what a batch may have.
const CHUNK_BYTES: usize = 4 << 20;

/// How records are read.
pub(super) enum Language {
    Csv(CsvColumns),
    Ndjson,
}

/// Rows of a chunk as they are sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct JsonRows {
    /// One object a line.
    pub(super) payload: Vec<u8>,
    /// By row: the line of the file on which it begins.
    pub(super) lines: Vec<u64>,
    /// By row: why it could not be read here.
    pub(super) faults: HashMap<u64, String>,
}

impl JsonRows {
    /// Adds a record that cannot be read: an object whose only name is the reason, which is no column's name because it has spaces. The
    /// server rejects it as malformed, because unknown names are never ignored here; it knows a reason by the place before it, and keeps
    /// it as the message, and the record as the payload.
    pub(super) fn reject(&mut self, records: &Records, at: usize, why: &str) -> anyhow::Result<()> {
        let Some(Record { bytes, first_line, last_line }) = records.get(at) else { return Ok(()) };
        let why = match first_line == last_line {
            true => format!("line {first_line}: {why}"),
            false => format!("lines {first_line} to {last_line}: {why}"),
        };
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_REJECTED_ROW_BYTES)]);
        serde_json::to_writer(&mut self.payload, &HashMap::from([(&why, text)]))?;
        self.payload.push(b'\n');
        self.faults.insert(at as u64, why);
        Ok(())
    }
}

/// The chunks of a text file.
pub(super) struct TextChunks {
    cutter: Cutter<Box<dyn Read + Send>>,
    language: Language,
    chunk_rows: usize,
    ready: VecDeque<Chunk<JsonRows>>,
    /// Rows of the file that are in chunks.
    n_cut: u64,
    stored: u64,
    ended: bool,
}

impl TextChunks {
    /// Chunks of what is left of a file: the first line of CSV is gone.
    pub(super) fn new(cutter: Cutter<Box<dyn Read + Send>>, language: Language, chunk_rows: usize) -> Self {
        let chunk_rows = chunk_rows.max(1);
        Self { cutter, language, chunk_rows, ready: VecDeque::new(), n_cut: 0, stored: 0, ended: false }
    }

    /// The first `stored` rows need not be sent.
    pub(super) fn behind(self, stored: u64) -> Self {
        Self { stored, ..self }
    }

    /// Whether these rows can go into a table of this shape at all. They are read as such a table has them from then on.
    pub(super) fn check(&mut self, table: &Schema) -> anyhow::Result<()> {
        match &mut self.language {
            Language::Csv(columns) => {
                columns.check(table)?;
                columns.fit(table);
                Ok(())
            }
            // Each object has names of its own.
            Language::Ndjson => Ok(()),
        }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let Some(records) = self.cutter.next(self.chunk_rows, CHUNK_BYTES)? else {
            self.ended = true;
            return Ok(());
        };
        let n_rows = records.len() as u64;
        let stored = Chunk::stored(self.n_cut, n_rows, self.stored);
        let n_stored = stored.as_ref().map_or(0, |chunk| chunk.n_rows as usize);
        self.ready.extend(stored);
        self.encode(&records, n_stored..records.len())?;
        self.n_cut += n_rows;
        Ok(())
    }

    /// Adds the records as a chunk, or as several where they are too large as JSON.
    fn encode(&mut self, records: &Records, range: Range<usize>) -> anyhow::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut rows = JsonRows::default();
        match &self.language {
            Language::Csv(columns) => texts(columns, records, range.clone(), &mut rows)?,
            Language::Ndjson => objects(records, range.clone(), &mut rows)?,
        }
        if rows.payload.len() > MAX_BATCH_BYTES {
            if range.len() == 1 {
                let line = records.get(range.start).map_or(0, |record| record.first_line);
                let n_bytes = rows.payload.len();
                bail!("line {line}: the row has {n_bytes} bytes as JSON, a batch has at most {MAX_BATCH_BYTES}");
            }
            let middle = range.start + range.len() / 2;
            self.encode(records, range.start..middle)?;
            return self.encode(records, middle..range.end);
        }
        // Rows are counted from the beginning of what is sent.
        rows.faults = rows.faults.into_iter().map(|(at, why)| (at - range.start as u64, why)).collect();
        rows.lines = range.clone().filter_map(|at| Some(records.get(at)?.first_line)).collect();
        let before = self.n_cut + range.start as u64;
        self.ready.push_back(Chunk { before, n_rows: range.len() as u64, content: Some(rows) });
        Ok(())
    }
}

impl Iterator for TextChunks {
    type Item = anyhow::Result<Chunk<JsonRows>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.ended {
            if let Err(error) = self.fill() {
                self.ended = true;
                // What comes before a broken place is not sent without it.
                self.ready.clear();
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Each record of CSV as a JSON object. One that cannot be read becomes an object that the server rejects with the reason.
fn texts(columns: &CsvColumns, records: &Records, range: Range<usize>, out: &mut JsonRows) -> anyhow::Result<()> {
    for part in columns.parts(records, range) {
        match part {
            Part::Rows(rows) => {
                for row in 0..rows.num_rows() {
                    out.payload.extend_from_slice(columns.object(&rows, row).as_bytes());
                    out.payload.push(b'\n');
                }
            }
            Part::Bad(at, why) => out.reject(records, at, &why)?,
        }
    }
    Ok(())
}

/// Lines of NDJSON as they are; whether they are objects is for the server to say, who reads them anyway. Only a line that does not even
/// begin like one is told apart here: the server would take an array at the beginning of a payload for the form of all of it.
fn objects(records: &Records, range: Range<usize>, out: &mut JsonRows) -> anyhow::Result<()> {
    for at in range {
        let line = records.get(at).map_or(&[][..], |record| record.bytes.trim_ascii());
        if line.starts_with(b"{") {
            out.payload.extend_from_slice(line);
            out.payload.push(b'\n');
        } else {
            out.reject(records, at, "it is not a JSON object")?;
        }
    }
    Ok(())
}
