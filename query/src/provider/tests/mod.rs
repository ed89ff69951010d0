//! Are scans exact? Realtime parts beside the same rows in DataFusion's own memory table.

mod counters;
mod exactness;
mod memory;
mod plans;
pub(super) mod support;
