//! What does a message ask for? By its own word, read from its numbers: nothing is decoded, and nothing allocated.

use arrow::ipc;
use tidewater_storage::Result;

use super::body::{Stored, stored};
use super::frame::{self, Message};
use super::{Limits, too_large};

/// What a buffer takes beside its bytes: an allocation, and who owns it.
const BUFFER_BYTES: u64 = 128;

/// What decoding a payload takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Declared {
    /// Bytes of all buffers, decompressed.
    buffers: u64,
    /// What stands beside them: owners of buffers, copies of dictionaries that go on.
    beside: u64,
    /// Bytes that are looked at.
    work: u64,
}

impl Declared {
    /// Of a payload that is not Arrow.
    pub fn new(bytes: u64) -> Self {
        Self { buffers: bytes, beside: 0, work: bytes }
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> u64 {
        self.buffers.saturating_add(self.beside)
    }

    /// Bytes that are looked at: views may refer to the same bytes many times.
    pub fn work(&self) -> u64 {
        self.work.max(self.bytes())
    }

    /// The same payload, of which `bytes` were sent: they are all looked at.
    #[must_use]
    pub fn with_sent(self, bytes: u64) -> Self {
        Self { work: self.work.max(bytes), ..self }
    }

    /// A dictionary that goes on is copied, to so many bytes.
    pub(super) fn with_copies(self, bytes: u64) -> Self {
        Self { beside: self.beside.saturating_add(bytes), ..self }
    }

    pub(super) fn buffers(&self) -> u64 {
        self.buffers
    }

    fn plus(self, other: Self) -> Self {
        Self {
            buffers: self.buffers.saturating_add(other.buffers),
            beside: self.beside.saturating_add(other.beside),
            work: self.work.saturating_add(other.work),
        }
    }

    /// `BATCH_TOO_LARGE` for what the decoder would refuse when it is at work.
    pub(super) fn within(self, limits: &Limits) -> Result<Self> {
        if self.buffers > limits.decoded_bytes {
            return Err(too_large("the payload", self.buffers, limits.decoded_bytes));
        }
        Ok(self)
    }
}

/// The buffers of one message: rows, or a dictionary.
pub(super) fn of_message(message: &Message<'_>) -> Result<Declared> {
    let Message { header, body } = message;
    let dictionary = header.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    match header.header_as_record_batch().or(dictionary) {
        Some(batch) => of_batch(batch, body),
        None => Ok(Declared::default()),
    }
}

fn of_batch(batch: ipc::RecordBatch<'_>, body: &[u8]) -> Result<Declared> {
    let is_compressed = batch.compression().is_some();
    let mut declared = Declared::default();
    for at in batch.buffers().into_iter().flatten() {
        let bytes = match stored(body, is_compressed, *at)? {
            Stored::Plain(bytes) => bytes.len() as u64,
            Stored::Compressed { length, .. } => length as u64,
        };
        declared = declared.plus(Declared { buffers: bytes, beside: BUFFER_BYTES, work: 0 });
    }
    if batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
        // Most is looked at when half of the bytes are views of 16 bytes, and each refers to all of the other half.
        declared.work = declared.buffers.saturating_mul(declared.buffers / 64);
    }
    Ok(declared)
}

/// All messages of a complete stream.
pub(super) fn of_stream(bytes: &[u8], limits: &Limits) -> Result<Declared> {
    let (mut rest, mut total) = (bytes, Declared::default());
    let (mut dictionaries, mut copies) = (0_u64, 0_u64);
    while let Some(message) = frame::next(&mut rest)? {
        let declared = of_message(&message)?;
        if let Some(dictionary) = message.header.header_as_dictionary_batch() {
            dictionaries = dictionaries.saturating_add(declared.buffers);
            if dictionary.isDelta() {
                copies = copies.saturating_add(dictionaries);
            }
        }
        total = total.plus(declared);
    }
    // More copies than that are refused when it comes to them.
    total.with_copies(copies.min(limits.copied_bytes)).within(limits)
}
