//! May this row come in? Cast to the table's types, row by row reasons for refusal, counters.

mod rows;

mod admit;
mod cast;
mod columns;
mod footprint;
mod kept;
mod payload;
mod refusals;

pub mod json;
pub mod ledger;
pub mod rejected;

#[cfg(test)]
mod tests;

pub use admit::admit;
pub(crate) use kept::{RejectedBatch, Rejections};
pub use rows::{AdmissionRules, Admitted, IncomingRows, OnError, RejectCode, RejectedRow};
