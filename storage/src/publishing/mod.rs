//! How does anything get into the Delta table? Files first, then one commit whose bytes are on record before they are sent.
//!
//! ```text
//! bring (files) ──► commit (what it says) ──► on record ──► settle (sent until it is known) ──► the worker notes it
//! ```
//! What is built, what was merged and what is past its retention all take this way, one commit of a table at a time: whoever makes one
//! holds the table's `publishing`. What is to be committed is chosen elsewhere.

mod accounts;
mod bring;
mod checkpoint;
mod checksum;
mod commit;
mod keys;
mod log_end;
mod quarantine;
mod settle;
mod sidecars;
mod verify;

#[cfg(test)]
mod tests;

pub(crate) use bring::{bring, download, unless_stopped, while_open};
pub(crate) use checkpoint::{checkpoint, test_log};
pub(crate) use checksum::{Tested, local_path, test_file};
pub(crate) use commit::Draft;
pub(crate) use log_end::{check_local_log_end, check_log_end, is_taken_over};
pub(crate) use quarantine::{forget_gone, look_closer, note_tested, test_suspects};
pub(crate) use settle::{attempt, decide, delta_table, recorded_intent, settle, settle_recorded};
pub(crate) use sidecars::test_sidecar;
pub use verify::Check;
#[cfg(test)]
pub(crate) use verify::check_log;
