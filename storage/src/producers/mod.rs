//! Was this batch here before? A producer's epoch and sequence, and what it was answered.
//!
//! A batch is identified by (table, producer id, epoch, sequence), never by content. Its number is consumed if and only if it is
//! acknowledged; the content's hash only finds a client that gives one number to two batches.

mod activity;
mod batch;
mod content;
mod rules;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use activity::Activity;
pub use batch::{ProducerBatch, SequenceMode};
pub(crate) use content::ContentHash;
pub(crate) use rules::{Decision, decide, next_epoch};
pub(crate) use state::{BatchCounts, ProducerState};
