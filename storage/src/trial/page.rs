//! Which records of rejected rows are at hand, which of their rows fit by now, and what is left of them?

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::replay::ReplayOptions;
use crate::admission::json::{JsonRow, decode_rows};
use crate::admission::rejected::{RejectedBlock, RejectedRecord};
use crate::admission::{AdmissionRules, RejectCode, RejectedRow, admit};
use crate::catalog::TableDef;
use crate::dedup::KeySpec;
use crate::env::Moment;
use crate::error::{Error, Result};
use crate::ids::{CommitSeq, SHARD_ZERO};
use crate::limits::MAX_REJECTED_BATCH_ROWS;
use crate::log::{Family, Store, state_key, state_prefix, suffix_of};
use crate::table::{OnError, PreparedRows, ReplayedRecord, Table};

/// A page ends with the record that passes one of these. Each page is one synced commit, or a few.
const PAGE_BYTES: u64 = 1 << 20;
const PAGE_ROWS: usize = 8192;

/// Behind which record a page begins.
pub(super) struct Position {
    /// Of all records of the table.
    prefix: Vec<u8>,
    after: Vec<u8>,
}

impl Position {
    /// Before the first.
    pub(super) fn first(table: &Table) -> Self {
        let prefix = state_prefix(state_key::REJECTED, table.shared.def.id, SHARD_ZERO);
        Self { after: prefix.clone(), prefix }
    }
}

/// Records that are replayed together.
pub(super) struct Page {
    records: Vec<Record>,
    /// Their rows, by record and place in it. What only says how many rows were not kept is none.
    rows: Vec<(usize, usize)>,
    bytes: u64,
    /// How often the table had been opened before they were read.
    opened: u64,
}

struct Record {
    seq: CommitSeq,
    key: Vec<u8>,
    /// Of key and value, as they stand in the store.
    bytes: u64,
    rows: Vec<RejectedRecord>,
    /// By row: it is in the table, or on its way.
    is_gone: Vec<bool>,
}

impl Page {
    /// The next records that the options ask for, and where to go on; `None` at the end. Records that came after the entry `through` are left
    /// out. `opened` was asked for before.
    pub(super) fn read(
        store: &Store,
        opened: u64,
        position: Position,
        through: CommitSeq,
        options: &ReplayOptions,
    ) -> Result<(Self, Option<Position>)> {
        let Position { prefix, after } = position;
        let mut page = Self { records: Vec::new(), rows: Vec::new(), bytes: 0, opened };
        // Read, whether or not it is asked for.
        let mut read_bytes = 0;
        for found in store.scan_after(Family::State, &prefix, &after)? {
            let (key, value) = found?;
            let seq = suffix_of(&key).first_chunk::<8>().map(|seq| CommitSeq(u64::from_be_bytes(*seq)));
            let Some(seq) = seq.filter(|seq| *seq <= through) else { break };
            read_bytes += value.len() as u64;
            match RejectedRecord::decode(&value) {
                Ok(rows) if is_asked_for(&rows, options) => {
                    page.add(Record {
                        seq,
                        bytes: (key.len() + value.len()) as u64,
                        key: key.to_vec(),
                        is_gone: vec![false; rows.len()],
                        rows,
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, seq = seq.0, "rejected rows cannot be read, so they stay as they are")
                }
            }
            if page.bytes.max(read_bytes) >= PAGE_BYTES || page.rows.len() >= PAGE_ROWS {
                let next = Position { prefix, after: key.to_vec() };
                return Ok((page, Some(next)));
            }
        }
        Ok((page, None))
    }

    fn add(&mut self, record: Record) {
        let at = self.records.len();
        for (i, row) in record.rows.iter().enumerate().filter(|(_, row)| row.code != RejectCode::NotKept) {
            self.bytes += row.payload.len() as u64;
            self.rows.push((at, i));
        }
        self.records.push(record);
    }

    /// Of all payloads.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All rows in parts, the first one last: of each part all bad rows are told one by one.
    pub(super) fn parts(&self) -> Vec<Range<usize>> {
        let n_rows = self.rows.len();
        let starts = (0..n_rows).step_by(MAX_REJECTED_BATCH_ROWS);
        let mut parts: Vec<_> = starts.map(|start| start..n_rows.min(start + MAX_REJECTED_BATCH_ROWS)).collect();
        parts.reverse();
        parts
    }

    /// The rows of a part that fit the table now, with what their records are without them. `None`: no row fits.
    pub(super) fn prepare(
        &mut self,
        def: &TableDef,
        spec: Option<&KeySpec>,
        options: &ReplayOptions,
        now_us: i64,
        part: Range<usize>,
    ) -> Result<Option<PreparedRows>> {
        let rows = &self.rows[part];
        let texts = rows.iter().map(|&(record, row)| &self.records[record].rows[row].payload);
        let texts = texts.map(|text| JsonRow::Text(Cow::Borrowed(text)));
        let incoming = decode_rows(def, texts, options.ignore_unknown_columns)?;
        let rules = AdmissionRules {
            time_zone: options.time_zone.clone(),
            now_us,
            on_error: OnError::Keep,
            ignore_unknown_columns: options.ignore_unknown_columns,
            ..AdmissionRules::default()
        };
        let admitted = admit(def, incoming, &rules)?;
        if admitted.n_rejected != admitted.rejected.len() as u64 {
            return Err(Error::internal("not all rows that are rejected again are told"));
        }
        if admitted.rows.num_rows() == 0 {
            return Ok(None);
        }
        let bad: HashSet<u64> = admitted.rejected.iter().map(|row| row.row).collect();
        let good: Vec<(usize, usize)> =
            (0..).zip(rows).filter(|(at, _)| !bad.contains(at)).map(|(_, place)| *place).collect();
        if good.len() != admitted.rows.num_rows() {
            return Err(Error::internal("rows that are tried again are miscounted"));
        }
        let mut prepared = PreparedRows::of_admitted(admitted, def.schema_id, spec, &options.principal)?;
        prepared.replayed = self.without(&good)?;
        Ok(Some(prepared))
    }

    /// The records of these rows without them. From here on the rows count as gone, so what follows must store them or end the page.
    fn without(&mut self, rows: &[(usize, usize)]) -> Result<Vec<ReplayedRecord>> {
        let mut changed = Vec::new();
        for &(record, row) in rows {
            self.records[record].is_gone[row] = true;
            // Rows of a record are neighbours.
            if changed.last() != Some(&record) {
                changed.push(record);
            }
        }
        changed.into_iter().map(|at| self.records[at].replayed(self.opened)).collect()
    }
}

impl Record {
    fn replayed(&mut self, opened: u64) -> Result<ReplayedRecord> {
        let rest = self.rest()?;
        let bytes = rest.as_ref().map_or(0, |rest| (self.key.len() + rest.len()) as u64);
        // The next part finds it as this one leaves it.
        let before = std::mem::replace(&mut self.bytes, bytes);
        Ok(ReplayedRecord { seq: self.seq, key: self.key.clone(), bytes: before, rest, opened })
    }

    /// The rows that stay, as a record of the same moment.
    fn rest(&self) -> Result<Option<Vec<u8>>> {
        let left = self.rows.iter().zip(&self.is_gone).filter(|(_, is_gone)| !**is_gone).map(|(row, _)| RejectedRow {
            row: row.row,
            column: row.column.clone(),
            code: row.code,
            message: row.message.clone(),
            payload: row.payload.clone(),
        });
        let Some(first) = self.rows.first() else { return Ok(None) };
        let at = Moment { wall_us: first.received_at_us, uptime_us: first.received_uptime_us };
        match RejectedBlock::encode(&first.producer, first.sequence, left.collect())?.as_slice() {
            [] => Ok(None),
            [block] => Ok(Some(block.record(at))),
            // A part of a record is never larger than all of it.
            blocks => Err(Error::internal(format!("what is left of rejected rows takes {} records", blocks.len()))),
        }
    }
}

/// All rows of a record came in one batch.
fn is_asked_for(rows: &[RejectedRecord], options: &ReplayOptions) -> bool {
    let Some(first) = rows.first() else { return false };
    options.producer.as_ref().is_none_or(|producer| *producer == first.producer)
        && options.since_us.is_none_or(|since_us| first.received_at_us >= since_us)
}
