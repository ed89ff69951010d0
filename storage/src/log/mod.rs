//! What happened, in which order? Entries, their disk form, the one writer that makes them durable, and replay.

mod entry;
mod keys;
mod replay;
mod store;
mod witness;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use entry::{BatchMeta, Block, Entry, EntryBody, ProducerEpoch, ipc_bytes};
pub(crate) use keys::{Family, log_key, log_range, meta_key, state_key, state_prefix, suffix_of};
pub(crate) use replay::{entries, name_entry};
pub(crate) use store::Store;
pub(crate) use writer::{Commit, LogWriter, Op, written};
