//! What happened, in which order? Entries, their disk form, the one writer that makes them durable, and replay.

mod entry;
mod folder;
mod keys;
mod replay;
mod store;
mod witness;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use entry::{BatchMeta, Block, Delete, DeletedRows, Entry, EntryBody, Forget, ProducerEpoch, Segment};
pub use folder::check_data_folder;
pub(crate) use keys::{
    Family, TABLE_STATE, after_prefix, log_key, log_prefix, log_range, meta_key, state_key, state_prefix, suffix_of,
    table_of,
};
pub(crate) use replay::{entries, name_entry};
pub(crate) use store::{Record, Store};
pub(crate) use writer::{Commit, LogWriter, Op, write, written};
