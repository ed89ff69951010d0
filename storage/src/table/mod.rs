//! How do both halves make one table? Requests, the worker that alone changes a table, the write orders, versions and snapshots.

mod request;

mod gate;
mod handle;
mod places;
mod prepare;

mod commit;
mod seal;
mod worker;

mod recover;
mod snapshot;
mod system;

pub use crate::admission::OnError;
pub use crate::catalog::Durability;
pub use commit::DISK_FORMAT;
pub(crate) use commit::{
    AttachRecord, FORMAT, account, attach, cleaned, create_table, create_view, damaged, drop_table, drop_view,
    first_start, intent, names, names_anywhere, not_damaged, purge_table, reclaimed, sync, undrop_table, uptime,
};
pub(crate) use gate::{Gate, GateLimits, Write};
pub use handle::{PendingWrite, PreparedWrite, Table};
pub(crate) use handle::{Shared, SharedParts};
pub(crate) use places::BringPlaces;
pub(crate) use prepare::{PreparedRows, ReplayedRecord, check_key, check_schema};
pub(crate) use recover::{Replayed, supervise};
pub use request::{IdempotencyKey, ProducerBatch, ProducerInfo, RowsOutcome, RowsRequest, SequenceMode, TableStats};
pub(crate) use seal::{
    Base, Books, Built, EPOCHS_A_WINDOW, Folders, Frozen, Intent, KeysSeen, LayerFile, NameKind, PublishOutcome,
    PublishPlan, PublishedFile, SealFigures, SegmentAnswer, Settled, Staged, StagedFile, StagedLayer, event_times,
    past_before, recorded_files, recorded_names,
};
pub use seal::{Damage, Quarantine, Sealed};
pub use snapshot::TableSnapshot;
pub use system::{JobRow, LedgerPages, LedgerRow, ProducerRow, RejectedPages, RejectedRecord};
pub(crate) use worker::{KeysHeld, TableRequest};
