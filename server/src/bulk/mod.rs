//! How do many rows come in over HTTP? `POST /api/v1/ingest/{table}` in five formats, and rejected rows once more. `docs/http.md` is the
//! contract.
//!
//! ```text
//! service ── options (what is asked) ── body (memory, or spool: a file without a name) ── coding (gzip, zstd)
//!    └── store ── whole (all rows at once: one batch of the table)
//!          │  └── pieces ── elements, messages (row by row from a file: a statement, all rows or none)
//!          └── answer
//! ```

mod answer;
mod body;
mod coding;
mod elements;
mod messages;
mod options;
mod pieces;
mod service;
mod spool;
mod store;
mod whole;

#[cfg(test)]
mod tests;

pub(crate) use service::{ingest, replay};
pub(crate) use spool::Spool;
