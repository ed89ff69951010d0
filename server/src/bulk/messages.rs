//! Where does a message of an Arrow stream end? A large stream read message by message, each checked before it is decoded.

use std::io::Read;

use arrow::ipc::root_as_message;
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::limits::MAX_STATEMENT_ROWS_BYTES;
use tidewater_storage::{Code, Error, Result};

use super::coding::unreadable;
use super::pieces::{PIECE_DECODING_BYTES, Pieces, Slices};
use crate::ingest::ipc::{Decoded, Decoder, Limits, MAX_DECODED_BYTES, MAX_METADATA_BYTES};

const CONTINUATION: [u8; 4] = [0xff; 4];

/// Pieces of a stream of Arrow IPC.
pub(super) struct MessagePieces<R> {
    input: R,
    decoder: Decoder,
    slices: Slices,
    /// What the largest message so far took, as it came and decoded.
    largest_bytes: u64,
    is_ended: bool,
}

impl<R: Read> MessagePieces<R> {
    pub fn new(input: R) -> Self {
        let limits = Limits { copied_bytes: MAX_STATEMENT_ROWS_BYTES as u64, ..Limits::default() };
        Self { input, decoder: Decoder::new(limits), slices: Slices::default(), largest_bytes: 0, is_ended: false }
    }

    /// The flatbuffer and the body of the next message; `None` at the end of the stream, which may have no mark.
    fn message(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some(mut length) = self.length()? else { return Ok(None) };
        if length == CONTINUATION {
            length = self.length()?.ok_or_else(|| malformed("it ends within a message's length"))?;
        }
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return match self.input.read(&mut [0]).map_err(unreadable)? {
                0 => Ok(None),
                _ => Err(malformed("something follows the end of the stream")),
            };
        }
        if length > MAX_METADATA_BYTES {
            return Err(malformed(&format!("a message's metadata has {length} bytes, more than {MAX_METADATA_BYTES}")));
        }
        let metadata = self.exactly(length as u64)?;
        let declared = root_as_message(&metadata)
            .map_err(|error| malformed(&format!("the metadata is not a valid flatbuffer ({error})")))?
            .bodyLength();
        let body = match u64::try_from(declared) {
            Ok(length) if length <= MAX_DECODED_BYTES => self.exactly(length)?,
            _ => {
                let what = format!("a message has a body of {declared} bytes, more than {MAX_DECODED_BYTES}");
                return Err(Error::new(Code::BatchTooLarge, what).hint("write smaller record batches"));
            }
        };
        Ok(Some((metadata, body)))
    }

    /// Four bytes; `None` where the stream ends.
    fn length(&mut self) -> Result<Option<[u8; 4]>> {
        let mut length = [0; 4];
        let mut n = 0;
        while n < length.len() {
            match self.input.read(&mut length[n..]).map_err(unreadable)? {
                0 if n == 0 => return Ok(None),
                0 => return Err(malformed("it ends within a message's length")),
                more => n += more,
            }
        }
        Ok(Some(length))
    }

    /// Allocates no more than there is.
    fn exactly(&mut self, n: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(n).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 != n {
            let n_there = bytes.len();
            return Err(malformed(&format!("it ends within a message: {n} bytes are wanted, {n_there} are there")));
        }
        Ok(bytes)
    }
}

impl<R: Read + Send> Pieces for MessagePieces<R> {
    fn next(&mut self) -> Result<Option<IncomingRows>> {
        loop {
            if let Some(rows) = self.slices.next() {
                return Ok(Some(rows));
            }
            if self.is_ended {
                return Ok(None);
            }
            match self.message()? {
                Some((metadata, body)) => {
                    // Too much is refused before anything is decoded.
                    let declared = self.decoder.declared_parts(&metadata, &body)?;
                    self.largest_bytes = self.largest_bytes.max(declared.bytes().saturating_add(body.len() as u64));
                    if let Decoded::Rows(batch) = self.decoder.parts(&metadata, &body)? {
                        self.slices.add(batch);
                    }
                }
                None if self.decoder.schema().is_none() => return Err(malformed("the schema is missing")),
                None => self.is_ended = true,
            }
        }
    }

    fn decoding_bytes(&self) -> u64 {
        self.largest_bytes.max(PIECE_DECODING_BYTES)
    }
}

fn malformed(what: &str) -> Error {
    Error::new(Code::MalformedPayload, format!("the Arrow data cannot be read: {what}"))
        .hint("send an Arrow IPC stream as an Arrow library writes it")
}
