//! What does the Delta log say, and how is a commit written? The parts of a thin committer; only here deltalake and its kernel are named.
//!
//! ```text
//! schema, stats, tags ──► actions ──► log (put, read, clean)
//!                          lines ◄──┘   └── checkpoint, load, deletes ──► kernel
//! ```
//! Nothing here decides: which version is next, what a winner means and when something is removed is the caller's.

mod actions;
mod checkpoint;
mod deletes;
mod kernel;
mod lines;
mod load;
mod log;
mod schema;
mod stats;
mod tags;

#[cfg(test)]
mod tests;

pub use actions::{Add, Change, Remove};
pub use checkpoint::Expected;
pub use deletes::DeletionVector;
pub use lines::Winner;
pub use load::Loaded;
pub use log::{
    DeltaTable, Put, has_local_commit, last_local_checkpoint, local_checkpoint_txns, read_local, read_local_from_disk,
};
pub use schema::Features;
