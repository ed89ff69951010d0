//! Are these bytes Arrow data that we take, and which rows are in them? The one decoder for Arrow IPC from outside.
//!
//! Arrow's own reader trusts what a message declares: a forged length makes it allocate until the process ends, a
//! forged schema makes it panic, and a small compressed or dictionary-coded body may stand for gigabytes. Here nothing
//! that a message declares is believed before it is checked:
//!
//! - the flatbuffer is verified, the schema is read against a list of the types that we take (`schema`);
//! - what a message would take is known by its own word before it is decoded, so that the process's memory can be asked
//!   for it, and what is too much is refused (`declared`);
//! - every buffer lies inside the body, is decompressed by a bounded reader into exactly its declared length, and is
//!   paid for out of a budget before it is allocated (`body`);
//! - arrays are built with Arrow's full validation: offsets, UTF-8, dictionary indexes, counts of NULLs (`arrays`);
//! - what rows would take with dictionaries and views spelled out is known before anybody spells them out (`size`).
//!
//! Each buffer is copied into an allocation of its own: messages on the wire are not aligned anyway, and a column that
//! is kept must not keep the whole message.

mod arrays;
mod body;
mod declared;
mod decoder;
mod frame;
mod schema;
mod size;

#[cfg(test)]
pub(crate) mod tests;

use tidewater_storage::limits::MAX_STATEMENT_ROWS_BYTES;
use tidewater_storage::{Code, Error};

pub use declared::Declared;
pub use decoder::{Decoded, Decoder, declared_stream, decode_stream};
pub use size::{flat_batch_bytes, flat_bytes};

/// Flatbuffer bytes of one message: 2,000 columns with long names and what clients keep in the metadata fit many times.
pub const MAX_METADATA_BYTES: usize = 2 << 20;

/// All buffers of one payload, decompressed. Four times what one batch may hold, so that the clean `BATCH_TOO_LARGE`
/// of the batch limit comes first for everything that is merely too large.
pub const MAX_DECODED_BYTES: u64 = 64 << 20;

/// Values of all dictionaries that one stream keeps.
pub const MAX_DICTIONARY_BYTES: u64 = 16 << 20;

/// Bytes that the views of one payload refer to, each counted as often as it is referred to, as their validation looks at
/// them: more than any statement may hold.
const MAX_VIEWED_BYTES: u64 = MAX_STATEMENT_ROWS_BYTES as u64;

/// Rows of one record batch: a column of one byte a row fills the batch limit with them.
pub const MAX_ROWS: u64 = 16 << 20;

/// Lists and structs in each other.
pub const MAX_NESTING: usize = 16;

/// What a decoder may spend.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all buffers of one payload (a stream, or one message of a long-lived stream), decompressed.
    pub decoded_bytes: u64,
    /// Bytes of the dictionaries that are kept from message to message.
    pub dictionary_bytes: u64,
    /// Bytes that a decoder copies, as long as it lives, because dictionaries go on: many small continuations of a large
    /// dictionary are work without end.
    pub copied_bytes: u64,
    /// Rows of one record batch.
    pub rows: u64,
    /// Columns may be unions: no table has such, but some clients send parameters so.
    pub unions: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decoded_bytes: MAX_DECODED_BYTES,
            dictionary_bytes: MAX_DICTIONARY_BYTES,
            copied_bytes: MAX_DECODED_BYTES,
            rows: MAX_ROWS,
            unions: false,
        }
    }
}

/// The payload is not what it says it is.
fn malformed(what: impl std::fmt::Display) -> Error {
    Error::new(Code::MalformedPayload, format!("the Arrow data cannot be read: {what}"))
        .hint("send an Arrow IPC stream as an Arrow library writes it")
}

/// The payload is well formed, but of a kind that is not taken.
fn unsupported(what: impl std::fmt::Display) -> Error {
    Error::new(Code::MalformedPayload, format!("the Arrow data is not taken: {what}"))
        .hint("cast the column to one of the types in the documentation of tables")
}

/// The payload asks for more than `limit` bytes.
fn too_large(what: &str, bytes: u64, limit: u64) -> Error {
    Error::new(Code::BatchTooLarge, format!("{what} has {bytes} bytes when decoded, more than {limit}"))
        .hint("send fewer rows in one batch")
        .with("limit_bytes", limit)
        .with("bytes", bytes)
}

/// Bytes that may still be decoded. Paid before anything is allocated.
#[derive(Debug)]
struct Budget {
    /// What pays.
    what: &'static str,
    limit: u64,
    spent: u64,
    viewed: u64,
}

impl Budget {
    /// Of one payload.
    fn new(limit: u64) -> Self {
        Self { what: "the payload", limit, spent: 0, viewed: 0 }
    }

    /// For the copies of dictionaries that go on.
    fn of_copies(limit: u64) -> Self {
        Self { what: "the sum of the stream's continued dictionaries", ..Self::new(limit) }
    }

    fn pay(&mut self, bytes: u64) -> Result<(), Error> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > self.limit {
            return Err(too_large(self.what, self.spent, self.limit));
        }
        Ok(())
    }

    /// Views refer to `bytes`. Nothing is allocated for them, but each is looked at.
    fn view(&mut self, bytes: u64) -> Result<(), Error> {
        self.viewed = self.viewed.saturating_add(bytes);
        if self.viewed > MAX_VIEWED_BYTES {
            return Err(too_large(self.what, self.viewed, MAX_VIEWED_BYTES));
        }
        Ok(())
    }
}
