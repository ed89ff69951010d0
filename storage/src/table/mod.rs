//! How do both halves make one table? Requests, the worker that alone changes a table, the write orders, versions and snapshots.

mod request;

mod gate;
mod handle;
mod places;
mod prepare;

mod commit;
mod worker;

mod recover;
mod snapshot;
mod system;

pub use crate::admission::OnError;
pub use crate::catalog::Durability;
pub(crate) use commit::{
    FORMAT, create_table, create_view, drop_table, drop_view, first_start, purge_table, reclaimed, uptime,
};
pub(crate) use gate::{Gate, Write};
pub use handle::{PendingWrite, PreparedWrite, Table};
pub(crate) use handle::{Shared, SharedParts};
pub(crate) use recover::{Replayed, supervise};
pub use request::{IdempotencyKey, ProducerBatch, ProducerInfo, RowsOutcome, RowsRequest, SequenceMode, TableStats};
pub use snapshot::TableSnapshot;
pub use system::{JobRow, LedgerPages, LedgerRow, ProducerRow, RejectedPages, RejectedRecord};
