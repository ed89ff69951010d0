//! How does bulk append work? The whole stream is one statement: all of it or nothing.
//!
//! A table that the command creates is made only when every row has arrived, so that a client that goes away leaves
//! nothing behind. From there on the work belongs to a task of its own: it ends whether or not the client still waits.

mod append;
mod target;

pub(super) use append::{adbc_status, ingest};
pub(super) use target::Target;
