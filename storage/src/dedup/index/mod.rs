//! Which rows of a batch are new, and where do the keys rest? The key index of one table.
//!
//! ```text
//! state      the layers, the runs and the open layer: how they come and go
//! claim      the question itself            look_up (may fail) ──► claim (cannot fail)
//! budget     may more keys be taken?        memory, and disk for what memory does not hold
//! choose     which neighbours are merged?   pure: sizes in, places out
//! runs       the runs, for those who ask    before the worker's turn
//! rewrite    files of layers become fewer   when they are many
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
mod rewrite;
mod rows;
mod runs;
mod snapshot;
mod state;
mod stream;
mod upkeep;

pub use choose::FileSpan;
pub use claim::{Claimed, Known};
pub use merge::{MergeJob, Merged};
pub use rewrite::{RewriteJob, Rewritten};
pub use runs::{FoundInRuns, RunSet};
pub use snapshot::KeySnapshot;
pub use state::{DedupStats, KeyIndex};
pub use upkeep::FilterJob;

#[cfg(test)]
pub(super) use choose::{Item, choose, choose_rewrite};
#[cfg(test)]
pub(super) use rewrite::MAX_LAYER_FILES;
#[cfg(test)]
pub(super) use upkeep::{MAX_LAYERS, MAX_RUNS};
