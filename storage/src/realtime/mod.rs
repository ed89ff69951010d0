//! How are fresh rows scanned? A tail of merged batches, then sorted runs with zone maps.

mod part;
mod runs;
mod version;
mod zones;

#[cfg(test)]
mod tests;

pub use part::RealtimePart;
pub use runs::{build_runs, n_fitting, working_bytes};
pub use version::{Realtime, tail_zones};
pub use zones::{ZoneColumn, ZoneMap};
