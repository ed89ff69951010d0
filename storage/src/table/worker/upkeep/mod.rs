//! What does a worker do by itself? Sorted runs, keys within their memory, records within their limits, the space of deleted entries.

mod back_off;
mod housekeep;
mod key_figures;
mod keys;
mod load_keys;
mod reclaim;
mod runs;

#[cfg(test)]
mod tests;

pub(crate) use key_figures::{KeyFigures, KeysHeld};
pub(crate) use keys::{KeyJobs, KeySlot, NewKeys, let_go_when_written};
pub(crate) use load_keys::{load_keys, make_space_for_more, read_layer};
pub(crate) use reclaim::{Reclaim, Reclaimed};
pub(crate) use runs::{RunJob, Sorted};
