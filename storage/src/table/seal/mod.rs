//! What does a table know of its settled rows? Built ranges, published files, deleted rows, what Delta was told; and its records on disk.

mod epoch;
mod files;
mod folders;
mod load;
mod plan;
mod quarantine;
mod records;
mod request;
mod staged;
mod state;
mod times;

#[cfg(test)]
mod tests;

pub(crate) use epoch::{EPOCHS_A_WINDOW, KeyEpoch, forgettable};
pub(crate) use files::Files;
pub(crate) use folders::Folders;
pub(crate) use load::{LoadedSeal, built_file, load_base, load_seal, recorded_files, recorded_names};
pub(crate) use plan::{PublishPlan, plan_publish};
pub use quarantine::{Damage, Quarantine};
pub(crate) use records::{
    Base, BuiltRange, Gone, Intent, LayerFile, NameKind, PublishedFile, Settled, deleted_to_disk,
};
pub use request::Sealed;
pub(crate) use request::{Books, Built, Frozen, OpenLayer, PublishOutcome, RowCounts};
pub(crate) use staged::{KeysSeen, OpenSegment, SegmentAnswer, Staged, StagedFile, StagedLayer};
pub(crate) use state::{FrozenMark, SealFigures, SealState};
pub(crate) use times::{event_times, past_before};
