//! Which rows of a batch are new, and where do the keys rest? The key index of one table.
//!
//! ```text
//! state      the layers, the runs and the open layer: how they come and go
//! claim      the question itself            look_up (may fail) ──► claim (cannot fail)
//! budget     may more keys be taken?        memory, and disk for what memory does not hold
//! choose     which neighbours are merged?   pure: sizes in, places out
//! merge      layers in memory become one    a job for another thread
//! upkeep     which job is due, and its result put in place
//! snapshot   the closed part, for other threads
//! stream     keys of rows that are committed as a whole
//! rows       bitmaps of rows
//! ```

mod budget;
mod choose;
mod claim;
mod merge;
mod rows;
mod snapshot;
mod state;
mod stream;
mod upkeep;

pub use claim::{Claimed, Known};
pub use merge::{MergeJob, Merged};
pub use snapshot::KeySnapshot;
pub use state::{DedupStats, KeyIndex};

#[cfg(test)]
pub(super) use choose::{Item, choose};
#[cfg(test)]
pub(super) use upkeep::{MAX_LAYERS, MAX_RUNS};
