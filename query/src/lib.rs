//! What is the answer? SQL over one snapshot of every table that a statement names.

mod admission;
mod carried;
mod complexity;
mod engine;
mod error;
mod functions;
mod limits;
mod memory;
mod metrics;
mod planner;
mod provider;
mod registry;
mod rules;
mod runtime;
mod session;
mod slow_log;
mod statement;
mod system;
pub mod wire_types;

pub use engine::{
    Canceled, EventRow, Parameters, PendingQuery, Planned, PlannedKind, Prepared, QueryEngine, QueryEngineOptions,
    QueryInfo, QueryState, QueryStream, QueryThreads, QueryWatch, RunOptions, RunSummary, SettingRow, SystemSources,
    TableFreshness, UpdateOutcome,
};
pub use functions::instant_us;
pub use registry::CONSOLE_MARK;
pub use session::{Grant, Interface, Principal, Role, Session, SessionSettings, TablePattern, VisibleCatalog};
pub use system::is_admin_table;
pub use tidewater_storage::{Code, Error, ErrorKind, Result};
