//! Who changes a table? One worker owns its mutable state: a closed list of requests, one file a handler.

mod request;
mod task;

mod housekeep;
mod producer;
mod reclaim;
mod rows;
mod runs;
mod truncate;

mod group;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use request::TableRequest;
pub(crate) use state::{IdempotencyKeys, RejectedRows, TableState};
pub(crate) use task::{Worker, closed};
