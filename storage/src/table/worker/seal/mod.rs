//! How does a table change when rows settle? Closing a prefix of the log, taking over what was built and published, DELETE, ALTER.

mod alter;
mod delete;
mod freeze;
mod record;
mod segment;

pub(crate) use freeze::Freezing;
