//! Who changes a table? One worker owns its mutable state: a closed list of requests, one file a handler.

mod request;
mod task;

mod producer;
mod rows;
mod seal;
mod truncate;
mod upkeep;

mod group;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use request::TableRequest;
pub(crate) use state::{IdempotencyKeys, RejectedRows, TableState};
pub(crate) use task::{Worker, closed};
pub(crate) use upkeep::{KeyFigures, KeysHeld, load_keys, make_space_for_more, read_layer};
