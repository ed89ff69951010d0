//! What do several tables hold at one moment? Their versions, read twice.

use std::sync::Arc;

use super::Engine;
use crate::table::{Table, TableSnapshot};

impl Engine {
    /// Snapshots of the tables with these names (schema and table), all of one moment: what was acknowledged before a row of one of them
    /// is in the others. `None` where there is no such table.
    ///
    /// Without a lock, because a reader that is put to sleep must not hold up tables that publish. A version is immutable and is held
    /// here, so versions that are found unchanged by a second reading were all current between the two. When one was published
    /// meanwhile, both readings are repeated: somebody else got on.
    pub fn snapshots(&self, names: &[(String, String)]) -> Vec<Option<TableSnapshot>> {
        loop {
            let known = self.names.load_full();
            let tables: Vec<Option<&Table>> = names.iter().map(|name| known.tables.get(name)).collect();
            let read = |table: &Option<&Table>| table.map(Table::snapshot);
            let first: Vec<Option<TableSnapshot>> = tables.iter().map(read).collect();
            let unchanged = tables.iter().map(read).zip(&first).all(|pair| match pair {
                (Some(second), Some(first)) => second.is(first),
                _ => true,
            });
            if unchanged && Arc::ptr_eq(&known, &self.names.load_full()) {
                return first;
            }
        }
    }
}
