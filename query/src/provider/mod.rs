//! How does DataFusion see our tables? Catalog of one statement, tables over pinned snapshots, scans of fresh rows and of files.

mod catalog;
mod counters;
mod information;
mod prune;
mod realtime;
mod retention;
mod sealed;
mod statistics;
mod table;
mod trim;

#[cfg(test)]
mod tests;

pub use catalog::{CatalogOptions, StatementCatalog, ViewPlanner};
pub use table::HybridTable;

pub(crate) use counters::rows_to_pass;
pub(crate) use statistics::{max_of, min_of};
pub(crate) use trim::detached;
