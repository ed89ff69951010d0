//! Which rows of a stream become rows of its files? Those that admission takes and whose key is new, in the stream and to the table.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;

use crate::admission::{AdmissionRules, IncomingRows, admit};
use crate::catalog::TableDef;
use crate::dedup::{ClosedLayer, KeyIndex};
use crate::error::{Code, Error, Result};
use crate::limits::STREAM_KEYS_DIVISOR;
use crate::memory::Share;
use crate::table::{Gate, KeysSeen, Shared};

/// What a stream knows of its rows.
pub(super) struct Intake {
    /// `None`: the table has no primary key.
    keys: Option<StreamKeys>,
    /// Rows as they were sent.
    pub(super) received: u64,
    /// Of those that admission took, decoded.
    pub(super) bytes: u64,
}

/// The keys of a stream. They are the table's only once the stream is committed.
pub(super) struct StreamKeys {
    /// Of the rows that are in files, or will be.
    own: KeyIndex,
    counted: Counted,
    /// What the table had when the stream began.
    seen: KeysSeen,
    /// Rows that were left out because the table had their keys.
    n_known: u64,
}

impl Intake {
    pub(super) fn new(shared: &Shared, seen: Option<KeysSeen>) -> Self {
        let own = shared.spec.as_ref().map(|spec| KeyIndex::new(spec, &shared.memory));
        let counted = Counted { gate: Arc::clone(&shared.gate), bytes: 0 };
        let keys = own.zip(seen).map(|(own, seen)| StreamKeys { own, counted, seen, n_known: 0 });
        Self { keys, received: 0, bytes: 0 }
    }

    /// The rows that are new, and their bytes. Any bad row is an error. Blocks while it computes, and reads files of key layers.
    pub(super) fn take(
        &mut self,
        shared: &Shared,
        def: &TableDef,
        rows: IncomingRows,
        rules: &AdmissionRules,
    ) -> Result<(RecordBatch, u64)> {
        let admitted = admit(def, rows, rules)?;
        self.received += admitted.received;
        self.bytes += admitted.bytes;
        let (rows, bytes) = (admitted.rows, admitted.bytes);
        let (Some(keys), Some(spec)) = (&mut self.keys, &shared.spec) else { return Ok((rows, bytes)) };
        let of_rows = spec.keys(&rows);
        let known = keys.seen.snapshot.probe(&of_rows)?;
        keys.make_place(shared, rows.num_rows())?;
        let claimed = keys.own.claim(&of_rows, known.as_ref());
        keys.counted.set(keys.own.bytes());
        keys.n_known += known.as_ref().map_or(0, BooleanBuffer::count_set_bits) as u64;
        let lost = match (known, claimed.losers) {
            (Some(known), Some(repeated)) => &known | &repeated,
            (Some(lost), None) | (None, Some(lost)) => lost,
            (None, None) => return Ok((rows, bytes)),
        };
        let n_rows = rows.num_rows() as u64;
        let new = filter_record_batch(&rows, &BooleanArray::new(!&lost, None))?;
        // About: rows of a batch are mostly alike.
        let bytes = bytes * new.num_rows() as u64 / n_rows.max(1);
        Ok((new, bytes))
    }

    /// The keys, when all rows are there. `None`: the table has no primary key.
    pub(super) fn into_keys(self) -> Option<StreamKeys> {
        self.keys
    }
}

impl StreamKeys {
    /// For so many keys. They cannot go to disk before they are the table's, so that those of all streams have a part of the memory: who
    /// writes batch by batch needs the rest.
    fn make_place(&mut self, shared: &Shared, n_keys: usize) -> Result<()> {
        let of_all = shared.memory.share(Share::Keys) / STREAM_KEYS_DIVISOR;
        let others = self.counted.others();
        self.own.limit(of_all.saturating_sub(others));
        self.own.has_capacity(n_keys).map_err(|e| match e.code() {
            Code::DedupBudget => {
                let own = self.own.bytes();
                let what = format!(
                    "the keys of this statement take {own} bytes and those of others that are not committed {others}, of {of_all} for all: {}",
                    e.message()
                );
                Error::new(Code::DedupBudget, what)
                    .hint("load the rows in several statements, or raise dedup.memory or memory.limit")
                    .with("used_bytes", own + others)
                    .with("budget_bytes", of_all)
                    .source(e)
            }
            _ => e,
        })
    }

    /// As layers that nobody is charged for, with what the table had by then, and how many rows were left out for that.
    pub(super) fn into_parts(self) -> (Vec<ClosedLayer>, Option<KeysSeen>, u64) {
        (self.own.into_layers(), Some(self.seen), self.n_known)
    }
}

/// What the keys of a stream take, as all streams know it.
struct Counted {
    gate: Arc<Gate>,
    bytes: u64,
}

impl Counted {
    /// What those of other streams take.
    fn others(&self) -> u64 {
        self.gate.stream_key_bytes.load(Ordering::Relaxed).saturating_sub(self.bytes)
    }

    fn set(&mut self, bytes: u64) {
        self.gate.stream_key_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.gate.stream_key_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0);
    }
}
