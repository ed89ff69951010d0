//! Was this key here before? Layers of keys, exact, bounded, never forgetting silently.
//!
//! ```text
//! rows ──► KeySpec::keys ──► Keys ──► KeyIndex::look_up ──► KeyIndex::claim_known ──► rows that lost
//!          (connection)                (table worker)
//!
//! KeyIndex:  run │ run │ closed layer │ … │ open layer           a key is a duplicate iff any of them has it
//!            dense: roaring bitmaps over permuted bits           time-ordered ids, sequences: 0.1 to 0.5 bytes a key
//!            sparse: hot table of small sorted segments          everything else: about 8 (integers) or 16 bytes a key
//!            run: sorted pages on disk behind a filter           1.2 bytes of memory a key, about 5 or 13 on disk
//! ```
//!
//! Closed layers and runs never change; jobs on other threads make few of many, and the worker puts the result in their place. With an
//! endless `dedup_window` at most eight closed layers and eight runs are asked, however many builds there were. Runs are asked before the
//! worker's turn, on the caller's thread (`RunSet`): the worker reads no disk unless keys went to disk in between.
//!
//! What holds memory of the share for keys, whoever holds it: the open layer, closed layers, the directories and filters of runs, a merge's
//! result from before it is made, a run's filters from before it is written. Filters keep to half of it; layers go to disk past three
//! quarters; what is left takes the rows that come meanwhile. Scratch of jobs is `Share::Unassigned`.
//!
//! Integers are compared as themselves. Every other key is compared by a keyed 128-bit hash: one false duplicate is
//! expected in some 10^18 tables of 10 billion rows. Nothing in here gives a probabilistic answer beyond that.

mod canonical;
mod cold;
mod dense;
mod disk;
mod hot;
mod index;
mod layer;
mod open;
mod permutation;
#[cfg(test)]
mod tests;
mod word;

pub use canonical::{KeySpec, Keys};
pub use cold::{ColdRun, SpillJob, Spilled};
pub use disk::DiskBudget;
pub use index::{
    Claimed, DedupStats, FileSpan, FilterJob, FoundInRuns, KeyIndex, KeySnapshot, Known, MergeJob, Merged, RewriteJob,
    Rewritten, RunSet,
};
pub use layer::ClosedLayer;
