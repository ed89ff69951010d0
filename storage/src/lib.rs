//! Which rows exist, where are they, are they safe? The storage half of Tidewater: catalog, log, deduplication, realtime rows.

pub mod admission;
pub mod catalog;
pub mod dedup;
mod engine;
pub mod env;
pub mod error;
pub mod ids;
pub mod limits;
mod log;
pub mod memory;
mod producers;
pub mod realtime;
mod table;

pub use engine::{Engine, EngineOptions, Recovery, View};
pub use error::{Code, Error, ErrorKind, Result, RowFault};
pub use table::{
    Durability, IdempotencyKey, JobRow, LedgerPages, LedgerRow, OnError, PendingWrite, PreparedWrite, ProducerBatch,
    ProducerInfo, ProducerRow, RejectedPages, RejectedRecord, RowsOutcome, RowsRequest, SequenceMode, Table,
    TableSnapshot, TableStats,
};
