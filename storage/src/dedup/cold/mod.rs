//! Where do keys rest that memory cannot hold? Sorted runs on disk, each behind a filter, read a page at a time.
//!
//! ```text
//! layers ─┐                       ┌─ header page
//! runs   ─┴─► stream ──► write ──►│  for each part (one order of keys): sections of key pages, each with its filter's pages
//!             merged      (job)   └─ directory: parts, sections, the first key of every page
//!
//! probe   filter in memory (1.2 bytes a key) ──► the one page that can hold the key ──► exact compare
//! ```
//!
//! | file | question |
//! |---|---|
//! | `kind`, `blocks` | in which order do keys stand, and how do they lie in a page? |
//! | `pages`, `header`, `directory` | what stands in the file? Every page proves itself. |
//! | `write`, `stream`, `job` | how is a run made of layers and runs, in bounded memory? |
//! | `run`, `probe` | what is kept of a run in memory, and how is it asked? |

mod blocks;
mod directory;
mod header;
mod job;
mod kind;
mod pages;
mod probe;
mod run;
mod stream;
#[cfg(test)]
mod tests;
mod write;

pub(super) use job::Means;
pub use job::{SpillJob, Spilled};
pub(super) use kind::Kind;
pub use run::ColdRun;
