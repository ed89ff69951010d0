//! When is a range of the log built and published, and how? Fresh rows become files on the local disk, these become part of the Delta table.
//!
//! ```text
//! open ──(build: local disk only)──► built ──(publish: one Delta commit)──► published
//! ```
//! Everything here reads what the table's worker closed for it and proposes what it made; only the worker changes the table.

mod build;
mod clean;
mod delete;
mod expired;
mod give_up;
mod picker;
mod publish;
mod staged;

pub(crate) use build::build;
pub(crate) use clean::clean;
pub use give_up::GivenUp;
pub(crate) use picker::{Cause, OpenTable, pick_builds, pick_publishes};
pub(crate) use publish::publish;
pub(crate) use staged::clean_unborn;
pub use staged::{StageOptions, StagedWrite};

#[cfg(test)]
mod tests;
