//! How do rows get in that are too many for one entry? They become files as they come, and rows of the table all together at the end.
//!
//! ```text
//! push ──► intake: cast, admission, keys ──► buffer ──► files: sorted, synced, under names that are on record
//! commit ──► key layers ──► the table's worker: one entry ◄──► lost: keys that came meanwhile are found in the files
//! ```
//! Until the entry is written no key is claimed and nobody sees a row. Files of a stream that was given up are deleted with its last
//! handle, or by their recorded names at the next start.

mod stream;

mod buffer;
mod files;
mod intake;

mod commit;
mod lost;

mod unborn;

pub use stream::{StageOptions, StagedWrite};
pub(crate) use unborn::clean_unborn;
