//! Where does a record of a text file end? The answer depends on the file's bytes alone: no table, no types, no values.
//!
//! A load that was broken off goes on after the number of the last record that was stored, so these rules say which record a
//! number means. They are frozen: whoever changes them raises [`RULE`], which makes every file another producer.

use std::io::Read;
use std::ops::Range;

use anyhow::{Context, bail};
use tidewater_storage::limits::MAX_BATCH_BYTES;

/// The version of the rules in this file.
pub(crate) const RULE: u32 = 1;

/// A longer record fits no batch; most likely it is a quote that is left open.
const MAX_RECORD_BYTES: usize = MAX_BATCH_BYTES;

const READ_BYTES: u64 = 256 << 10;

/// May stand at the beginning of a file and says nothing.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What ends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The end of a line. Lines of white space alone are no records.
    Lines,
    /// CR, LF or both, outside of quotes (RFC 4180). Empty lines are no records.
    Csv,
}

/// One record as it stands in the file, without its line break.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) bytes: &'a [u8],
    /// Lines of the file on which it stands, from 1.
    pub(crate) first_line: u64,
    pub(crate) last_line: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    first_line: u64,
    last_line: u64,
}

/// Consecutive records, with what stands between them.
#[derive(Debug)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<Record<'_>> {
        let Place { start, end, first_line, last_line } = *self.places.get(at)?;
        let mut bytes = &self.bytes[start..end];
        while let [rest @ .., b'\n' | b'\r'] = bytes {
            bytes = rest;
        }
        Some(Record { bytes, first_line, last_line })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// The text from the first of these records to the end of the last one.
    pub(crate) fn text(&self, range: Range<usize>) -> &[u8] {
        match self.places.get(range).unwrap_or_default() {
            [] => &[],
            [only] => &self.bytes[only.start..only.end],
            [first, .., last] => &self.bytes[first.start..last.end],
        }
    }

    /// Forgets the last record: of a sample it may be only half there.
    pub(crate) fn drop_last(&mut self) {
        self.places.pop();
    }

    #[cfg(test)]
    pub(crate) fn all_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Cuts a file into groups of records. All groups together are the file, byte for byte.
pub(crate) struct Cutter<R> {
    input: R,
    scanner: Scanner,
    /// Read and not given out.
    pending: Vec<u8>,
    is_begun: bool,
    is_ended: bool,
}

impl<R: Read> Cutter<R> {
    pub(crate) fn new(input: R, form: Form) -> Self {
        Self { input, scanner: Scanner::new(form), pending: Vec::new(), is_begun: false, is_ended: false }
    }

    /// With another character between the fields of CSV than the comma.
    pub(crate) fn with_delimiter(mut self, delimiter: u8) -> Self {
        self.scanner.delimiter = delimiter;
        self
    }

    /// The next records: as many as there are, but at most `max_rows` and, unless one alone is larger, `max_bytes`. A file's last group may
    /// have no record. Errors: the file cannot be read; a record has more than 16 MiB.
    pub(crate) fn next(&mut self, max_rows: usize, max_bytes: usize) -> anyhow::Result<Option<Records>> {
        let mut places = Vec::new();
        let mut at = self.begin()?;
        let (mut start, mut first_line) = (at, self.scanner.line);
        // Behind the last record: the place, and the scanner as it was there.
        let mut behind = (at, self.scanner);
        let end = loop {
            let last_line = self.scanner.line;
            let step = if at < self.pending.len() {
                at += 1;
                self.scanner.take(self.pending[at - 1])
            } else if self.more()? {
                continue;
            } else {
                self.scanner.at_end()
            };
            match step {
                Step::Inside if at - start > MAX_RECORD_BYTES => return self.too_long(first_line),
                Step::Inside => continue,
                Step::Record if !places.is_empty() && at > max_bytes => {
                    // It begins the next group, where it is looked at again.
                    self.scanner = behind.1;
                    break behind.0;
                }
                Step::Record => {
                    places.push(Place { start, end: at, first_line, last_line });
                    behind = (at, self.scanner);
                    if places.len() >= max_rows {
                        break at;
                    }
                }
                // A file of nothing but empty lines is not kept in memory.
                Step::Blank if at > max_bytes => break at,
                Step::Blank => {}
                Step::End => break at,
            }
            (start, first_line) = (at, self.scanner.line);
        };
        let rest = self.pending.split_off(end);
        let bytes = std::mem::replace(&mut self.pending, rest);
        Ok((!bytes.is_empty()).then_some(Records { bytes, places }))
    }

    /// Where the records begin.
    fn begin(&mut self) -> anyhow::Result<usize> {
        if std::mem::replace(&mut self.is_begun, true) {
            return Ok(0);
        }
        self.more()?;
        Ok(if self.pending.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 })
    }

    /// Reads on; false at the end of the file, which a terminal says once only.
    fn more(&mut self) -> anyhow::Result<bool> {
        if !self.is_ended {
            let read = self.input.by_ref().take(READ_BYTES).read_to_end(&mut self.pending);
            self.is_ended = read.context("the file cannot be read to its end")? == 0;
        }
        Ok(!self.is_ended)
    }

    fn too_long<T>(&self, first_line: u64) -> anyhow::Result<T> {
        let why = match self.scanner.form {
            Form::Csv => "; is a quote left open?",
            Form::Lines => "",
        };
        bail!("line {first_line}: a row of more than {MAX_RECORD_BYTES} bytes fits no batch{why}")
    }
}

/// What a byte means.
enum Step {
    Inside,
    /// It ends a line that is no record.
    Blank,
    /// It ends a record.
    Record,
    /// There is nothing more.
    End,
}

/// Where in a field the scanner stands; the states are those of RFC 4180 as the CSV reader takes them.
#[derive(Debug, Clone, Copy)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote within quotes: it ends them, or it is the first of two.
    QuoteSeen,
}

#[derive(Debug, Clone, Copy)]
struct Scanner {
    form: Form,
    /// Of CSV.
    delimiter: u8,
    state: State,
    /// Nothing but white space (CSV: nothing at all) since the last line break.
    is_blank: bool,
    /// Of CR LF only the first counts as a line.
    after_cr: bool,
    line: u64,
}

impl Scanner {
    fn new(form: Form) -> Self {
        Self { form, delimiter: b',', state: State::FieldStart, is_blank: true, after_cr: false, line: 1 }
    }

    fn take(&mut self, byte: u8) -> Step {
        let is_csv = self.form == Form::Csv;
        let is_break = byte == b'\n' || (is_csv && byte == b'\r');
        self.line += u64::from(is_break && !(byte == b'\n' && self.after_cr));
        self.after_cr = is_csv && byte == b'\r';
        if is_break && !matches!(self.state, State::Quoted) {
            self.state = State::FieldStart;
            return if std::mem::replace(&mut self.is_blank, true) { Step::Blank } else { Step::Record };
        }
        self.is_blank &= !is_csv && byte.is_ascii_whitespace();
        if is_csv {
            self.state = match (self.state, byte) {
                (State::Quoted, b'"') => State::QuoteSeen,
                (State::Quoted, _) | (State::FieldStart | State::QuoteSeen, b'"') => State::Quoted,
                (_, byte) if byte == self.delimiter => State::FieldStart,
                _ => State::Plain,
            };
        }
        Step::Inside
    }

    /// The end of the file ends a record, even within quotes.
    fn at_end(&mut self) -> Step {
        if std::mem::replace(&mut self.is_blank, true) { Step::End } else { Step::Record }
    }
}
