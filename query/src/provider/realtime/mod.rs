//! How are fresh rows scanned? The parts of one snapshot, cut into zones, as a source that takes filters, limits and orders.

mod leading;
mod leftovers;
mod rows;
mod source;
mod stream;

#[cfg(test)]
pub(super) use leftovers::without_leftovers;
pub(super) use rows::{INGESTED_AT, RealtimeRows, system_fields};
pub(super) use source::RealtimeSource;
