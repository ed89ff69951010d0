//! What does a worker do by itself? Sorted runs, records within their limits, the space of deleted entries.

mod housekeep;
mod keys;
mod reclaim;
mod runs;

pub(crate) use keys::{KeysJob, NewKeys};
pub(crate) use reclaim::{Reclaim, Reclaimed};
pub(crate) use runs::{RunJob, Sorted};
