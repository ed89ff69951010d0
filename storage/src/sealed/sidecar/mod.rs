//! Which rows of a file may hold a key? A small file beside the file has a filter for each block of them: a point look-up reads a few pages.
//!
//! ```text
//! key columns ──► hash ──► 64 bits a row ──► form: a filter for each block, then the directory ──► <uuid>.filters
//! ```
//!
//! Anyone who has the key columns can make it, and ask it: the hashes have no secret. A reader fetches the end of the sidecar, at most
//! [`TAIL_BYTES`], then the filters that it wants; where the whole sidecar is no longer than that, it has all of them at once.
//!
//! | file | question |
//! |---|---|
//! | `hash` | what of a key is a filter asked for? |
//! | `form` | how does a sidecar stand on disk? No I/O: bytes in, bytes out. |
//! | `name` | what is a sidecar called, and where is it? |
//! | `rebuild` | what were the bytes of one that is damaged? |

mod form;
mod hash;
mod name;
mod rebuild;
#[cfg(test)]
mod tests;

pub use form::{Block, Directory, Filter, TAIL_BYTES};
pub(super) use form::{DirectoryBuilder, encode_filter};
pub use hash::key_hashes;
pub(crate) use name::{local_sidecar_of, may_have_sidecar, sidecar_of};
pub(crate) use rebuild::Rebuild;
