//! Do rows that settle stay the same rows, whatever happens meanwhile?

mod alters;
mod builds;
mod deletes;
mod drops;
mod interleavings;
mod model;
mod publishes;
mod staged;
mod staged_meanwhile;
mod truncates;

use crate::table::Table;

/// Rows by where they are: realtime, built, published.
fn spread(table: &Table) -> (u64, u64, u64) {
    let stats = table.stats();
    (stats.realtime_rows, stats.built_rows, stats.sealed_rows)
}
