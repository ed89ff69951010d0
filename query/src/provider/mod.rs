//! How does DataFusion see our tables? Catalog of one statement, tables over pinned snapshots, scans of realtime rows.

mod catalog;
mod counters;
mod leading;
mod leftovers;
mod prune;
mod rows;
mod source;
mod statistics;
mod stream;
mod table;
mod trim;

#[cfg(test)]
mod tests;

pub use catalog::{CatalogOptions, StatementCatalog, ViewPlanner};

pub(crate) use statistics::{max_of, min_of};
pub(crate) use trim::detached;
