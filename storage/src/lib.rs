//! Which rows exist, where are they, are they safe? The storage half of Tidewater: catalog, log, deduplication, realtime rows.

mod access;
pub mod admission;
mod attaching;
pub mod catalog;
mod compaction;
pub mod dedup;
mod engine;
pub mod env;
pub mod error;
mod fuse;
pub mod ids;
pub mod limits;
mod log;
pub mod memory;
mod producers;
mod publishing;
pub mod realtime;
mod retention;
mod scrub;
pub mod sealed;
mod sealing;
mod table;
mod trial;
pub mod untrusted;

pub use access::{AccountChange, Accounts, SigningKey, StoredGrant, StoredSession, Token, TokenLimits, User};
pub use compaction::Compacted;
pub use engine::{Engine, EngineOptions, Recovery, StagedTable, View};
pub use error::{Code, Error, ErrorKind, Result, RowFault};
pub use log::check_data_folder;
pub use publishing::Check;
pub use scrub::ScrubOptions;
pub use sealed::StoreOptions;
pub use sealing::{GivenUp, StageOptions, StagedWrite};
pub use table::{
    DISK_FORMAT, Damage, Durability, IdempotencyKey, JobRow, LedgerPages, LedgerRow, OnError, PendingWrite,
    PreparedWrite, ProducerBatch, ProducerInfo, ProducerRow, Quarantine, RejectedPages, RejectedRecord, RowsOutcome,
    RowsRequest, Sealed, SequenceMode, Table, TableSnapshot, TableStats,
};
pub use trial::{DryRun, DryRunOutcome, ReplayOptions, ReplayOutcome};
