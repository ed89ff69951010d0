//! Where does an element of a JSON array end? By its bytes alone; what is in it is read later, like a line.

use std::io::{self, Read};

const READ_BYTES: usize = 64 << 10;

/// Between which characters of an array it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before the array.
    #[default]
    Before,
    /// Behind its first bracket.
    First,
    /// In an element, or where one is to begin.
    Within,
    Behind,
}

/// Walks over the bytes of an array.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    place: Place,
    /// Brackets that are open in the element.
    depth: u64,
    is_text: bool,
    is_escaped: bool,
    bytes: u64,
}

/// What a byte is.
pub(crate) enum Step {
    /// It belongs to the element.
    Keep,
    Skip,
    /// The element is at its end.
    Element,
    Bad(&'static str),
}

impl Scanner {
    /// The array is at its end.
    pub(crate) fn is_behind(&self) -> bool {
        self.place == Place::Behind
    }

    /// Where the last byte stands, from 0.
    pub(crate) fn last(&self) -> u64 {
        self.bytes.saturating_sub(1)
    }

    pub(crate) fn take(&mut self, byte: u8) -> Step {
        self.bytes += 1;
        match self.place {
            Place::Before if byte == b'[' => {
                self.place = Place::First;
                Step::Skip
            }
            // A byte-order mark says nothing.
            Place::Before if self.bytes <= 3 && matches!(byte, 0xef | 0xbb | 0xbf) => Step::Skip,
            Place::Before if byte.is_ascii_whitespace() => Step::Skip,
            Place::Before => Step::Bad("it does not begin with ["),
            Place::Behind if byte.is_ascii_whitespace() => Step::Skip,
            Place::Behind => Step::Bad("something follows the array"),
            Place::First if byte.is_ascii_whitespace() => Step::Skip,
            Place::First if byte == b']' => {
                self.place = Place::Behind;
                Step::Skip
            }
            Place::First | Place::Within => {
                self.place = Place::Within;
                self.within(byte)
            }
        }
    }

    fn within(&mut self, byte: u8) -> Step {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.is_text => self.is_escaped = true,
            b'"' => self.is_text = !self.is_text,
            _ if self.is_text => {}
            b'[' | b'{' => self.depth += 1,
            b',' if self.depth == 0 => return Step::Element,
            b']' if self.depth == 0 => {
                self.place = Place::Behind;
                return Step::Element;
            }
            b'}' if self.depth == 0 => return Step::Bad("a bracket closes that was never opened"),
            b']' | b'}' => self.depth -= 1,
            _ => {}
        }
        Step::Keep
    }
}

/// A JSON array as lines: each element on one of its own, so that whoever reads NDJSON reads it.
pub(crate) struct ElementLines<R> {
    input: R,
    scanner: Scanner,
    /// The element has something beside spaces.
    is_begun: bool,
    buffer: Vec<u8>,
    /// What of the lines was not taken yet.
    lines: Vec<u8>,
    at: usize,
}

impl<R: Read> ElementLines<R> {
    pub(crate) fn new(input: R) -> Self {
        let scanner = Scanner::default();
        Self { input, scanner, is_begun: false, buffer: vec![0; READ_BYTES], lines: Vec::new(), at: 0 }
    }

    /// Reads more lines. `false`: there are none.
    fn fill(&mut self) -> io::Result<bool> {
        self.lines.clear();
        self.at = 0;
        while self.lines.is_empty() {
            let n = self.input.read(&mut self.buffer)?;
            if n == 0 && !self.scanner.is_behind() {
                return Err(self.malformed("it ends early"));
            }
            if n == 0 {
                return Ok(false);
            }
            for at in 0..n {
                self.take(self.buffer[at])?;
            }
        }
        Ok(true)
    }

    fn take(&mut self, byte: u8) -> io::Result<()> {
        match self.scanner.take(byte) {
            Step::Keep => {
                self.is_begun |= !byte.is_ascii_whitespace();
                self.lines.push(match byte {
                    // An element is one line. In a text there is none in JSON, and no other such character: it stays wrong.
                    b'\n' | b'\r' if self.scanner.is_text => 0x01,
                    b'\n' | b'\r' => b' ',
                    other => other,
                });
            }
            Step::Skip => {}
            Step::Element if !self.is_begun => return Err(self.malformed("an element is missing")),
            Step::Element => {
                self.is_begun = false;
                self.lines.push(b'\n');
            }
            Step::Bad(what) => return Err(self.malformed(what)),
        }
        Ok(())
    }

    fn malformed(&self, what: &str) -> io::Error {
        let what = format!("the JSON array is malformed at byte {}: {what}", self.scanner.last());
        io::Error::new(io::ErrorKind::InvalidData, what)
    }
}

impl<R: Read> Read for ElementLines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.lines.len() && !self.fill()? {
            return Ok(0);
        }
        let n = out.len().min(self.lines.len() - self.at);
        out[..n].copy_from_slice(&self.lines[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
