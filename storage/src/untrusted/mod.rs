//! May this Parquet file be read? What it claims is checked before, and what it stands for is bounded: files of strangers, and files of
//! tables that another server wrote, or that are damaged.
//!
//! The Parquet reader takes the word of a file for how much to allocate and how deep to go: a few bytes could end the process, and no error
//! is made of that. So the footer is walked through before it is read, and the pages of a column before they are decoded.
//!
//! ```text
//! a file that is ingested:   check_footer ──► check_row_group, within a budget
//! a file of a table:         read_sealed_footer ──► check_index, check_locations ──► check_sealed_columns (of files)
//!                                                                                    check_sealed_part (of bytes)
//!                        Sums: are these the bytes that were written?
//! ```

mod footer;
mod pages;
mod sums;

mod forms;
mod thrift;

#[cfg(test)]
mod tests;

pub use footer::{
    TAIL_BYTES, check_footer, check_index, check_locations, index_place, read_sealed_footer, sealed_footer_bytes,
};
pub use pages::{check_row_group, check_sealed_columns, check_sealed_part, rows_at_once};
pub(crate) use sums::SumsWriter;
pub use sums::{SUMS, Sums};

use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::file::reader::ChunkReader;

use crate::error::{Code, Error, Result};

/// A whole Parquet file that is not one of a table: footer and pages, of which a row group may take `max_bytes`.
pub fn check_file(file: &impl ChunkReader, max_bytes: u64) -> Result<()> {
    check_footer(file, max_bytes)?;
    let footer = read_sealed_footer(file, file.len())?;
    footer.row_groups().iter().try_for_each(|group| check_row_group(file, group, max_bytes).map(drop))
}

/// The Parquet reader was not written for files of strangers: where it panics the file is the matter, not the server.
pub fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        tracing::warn!("reading a Parquet file panicked");
        Err(no_parquet("its parts contradict each other"))
    })
}

/// The file is not what it says it is.
pub fn no_parquet(reason: impl std::fmt::Display) -> Error {
    Error::new(Code::MalformedPayload, format!("the Parquet file cannot be read: {reason}"))
        .hint("send the file whole, as a Parquet library writes it")
}

fn too_large(what: &str, hint: &str) -> Error {
    Error::new(Code::BatchTooLarge, format!("the Parquet file takes too much memory to be read: {what}")).hint(hint)
}
