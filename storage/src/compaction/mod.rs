//! Which files of a Delta table are better as one, and how do they become it? Many small ones make queries slow; deleted rows cost space.
//!
//! ```text
//! picker (pure) ──► job: names on record ──► merge ──► bring ──► the worker's leave ──► one commit that changes no row
//! ```
//! The table goes on meanwhile. What a DELETE or TRUNCATE did to the files since they were read is found by the worker before the commit is
//! sent, and the work is dropped then.

mod job;
mod merge;
mod picker;

pub use job::Compacted;
pub(crate) use job::compact;

#[cfg(test)]
mod tests;
