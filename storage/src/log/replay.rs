//! What does the log of a table hold? Its entries in order, one at a time, each tested before it is believed.

use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, SHARD_ZERO, TableId};
use crate::log::entry::Entry;
use crate::log::keys::{Family, log_prefix, log_seq};
use crate::log::store::Store;

/// The entries of `table` from `base` on. Sequences are dense: a gap means that an acknowledged entry is missing, and is refused.
pub(crate) fn entries(
    store: &Store,
    table: TableId,
    base: CommitSeq,
) -> Result<impl Iterator<Item = Result<(CommitSeq, Entry)>>> {
    let mut expected = base;
    Ok(store.scan(Family::Log, &log_prefix(table, SHARD_ZERO))?.map(move |record| {
        let (key, value) = record?;
        let seq = log_seq(&key);
        if seq != expected {
            return Err(Error::new(
                Code::LogDamaged,
                format!("the log of table {table} goes on with entry {seq} where entry {expected} belongs"),
            )
            .hint("acknowledged entries are missing, so the server does not start; restore the folder from a backup"));
        }
        expected = seq.next();
        let entry = Entry::decode(&value).map_err(|e| name_entry(e, table, seq))?;
        Ok((seq, entry))
    }))
}

/// Says which entry an error is about.
pub(crate) fn name_entry(error: Error, table: TableId, seq: CommitSeq) -> Error {
    Error::new(error.code(), format!("entry {seq} of table {table} in the log {}", error.message()))
        .hint(error.hint_text().unwrap_or("restore the folder from a backup").to_owned())
        .with("table", table)
        .with("commit_seq", seq)
}
