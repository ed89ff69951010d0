//! What are the rows of a large JSON array? Its elements, cut one by one and read like lines.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use tidewater_storage::admission::IncomingRows;
use tidewater_storage::admission::json::{JsonRow, decode_rows};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::MAX_BATCH_BYTES;
use tidewater_storage::{Code, Error, Result};

use super::coding::unreadable;
use super::pieces::{PIECE_BYTES, Pieces};
use crate::formats::elements::{Scanner, Step};

const READ_BYTES: usize = 256 << 10;
const PIECE_ELEMENTS: usize = 1024;

/// Pieces of a JSON array.
pub(super) struct ElementPieces<R> {
    def: Arc<TableDef>,
    ignores_unknown: bool,
    input: R,
    scanner: Scanner,
    /// The element that is not at its end yet.
    begun: Vec<u8>,
    buffer: Vec<u8>,
    /// What of `buffer` is not looked at yet.
    at: usize,
}

impl<R: Read> ElementPieces<R> {
    pub fn new(def: &Arc<TableDef>, ignores_unknown: bool, input: R) -> Self {
        Self {
            def: Arc::clone(def),
            ignores_unknown,
            input,
            scanner: Scanner::default(),
            begun: Vec::new(),
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// The next element; `None` behind the array.
    fn element(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let Some(&byte) = self.buffer.get(self.at) else {
                if self.fill()? {
                    continue;
                }
                return match self.scanner.is_behind() {
                    true => Ok(None),
                    false => Err(self.malformed("it ends early")),
                };
            };
            self.at += 1;
            match self.scanner.take(byte) {
                Step::Keep if self.begun.len() >= MAX_BATCH_BYTES => return Err(too_long()),
                Step::Keep => self.begun.push(byte),
                Step::Skip => {}
                Step::Element if self.begun.trim_ascii().is_empty() => {
                    return Err(self.malformed("an element is missing"));
                }
                Step::Element => return Ok(Some(std::mem::take(&mut self.begun))),
                Step::Bad(what) => return Err(self.malformed(what)),
            }
        }
    }

    fn fill(&mut self) -> Result<bool> {
        self.buffer.resize(READ_BYTES, 0);
        let n = self.input.read(&mut self.buffer).map_err(unreadable)?;
        self.buffer.truncate(n);
        self.at = 0;
        Ok(n > 0)
    }

    fn malformed(&self, what: &str) -> Error {
        Error::new(
            Code::MalformedPayload,
            format!("the JSON array is malformed at byte {}: {what}", self.scanner.last()),
        )
        .hint("send a JSON array of objects, or one object a line as application/x-ndjson")
    }
}

fn too_long() -> Error {
    Error::new(Code::BatchTooLarge, format!("one element of the JSON array has more than {MAX_BATCH_BYTES} bytes"))
}

impl<R: Read + Send> Pieces for ElementPieces<R> {
    fn next(&mut self) -> Result<Option<IncomingRows>> {
        let (mut elements, mut bytes) = (Vec::new(), 0);
        while elements.len() < PIECE_ELEMENTS && bytes < PIECE_BYTES {
            let Some(element) = self.element()? else { break };
            bytes += element.len();
            elements.push(element);
        }
        if elements.is_empty() {
            return Ok(None);
        }
        let rows = elements.iter().map(|element| match std::str::from_utf8(element.trim_ascii()) {
            Ok(text) => JsonRow::Text(Cow::Borrowed(text)),
            Err(_) => JsonRow::Unread {
                message: "the element is not UTF-8".to_owned(),
                payload: String::from_utf8_lossy(element),
            },
        });
        decode_rows(&self.def, rows, self.ignores_unknown).map(Some)
    }
}
