//! How does anything get into the Delta table? Files first, then one commit whose bytes are on record before they are sent.
//!
//! ```text
//! bring (files) ──► commit (what it says) ──► on record ──► settle (sent until it is known) ──► the worker notes it
//! ```
//! What is built, what was merged and what is past its retention all take this way, one commit of a table at a time: whoever makes one
//! holds the table's `publishing`. What is to be committed is chosen elsewhere.

mod bring;
mod checkpoint;
mod commit;
mod settle;
mod verify;

pub(crate) use bring::{bring, download};
pub(crate) use checkpoint::checkpoint;
pub(crate) use commit::Draft;
pub(crate) use settle::{delta_table, recorded_intent, settle, settle_recorded};
pub use verify::Check;
