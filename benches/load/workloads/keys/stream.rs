//! Which keys are sent, and which of them were sent before? Reproducible, so that every answer is known before it comes.

use std::fmt::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringBuilder, TimestampMicrosecondArray};

use crate::rows::{mix, now_us};
use crate::workloads::BATCH_ROWS;

/// One in so many rows repeats a key.
const ROWS_PER_REPEAT: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Integers of all 64 bits.
    Numbers,
    /// UUIDs as text.
    Texts,
}

/// What becomes of the rows of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub accepted: u64,
    pub duplicates: u64,
}

impl Counts {
    pub fn add(&mut self, more: Counts) {
        self.accepted += more.accepted;
        self.duplicates += more.duplicates;
    }
}

/// Random keys, some of which come again at any age.
pub struct Keys {
    pub kind: Kind,
    /// Different keys that are to be sent.
    target: u64,
    /// Different keys that were.
    pub n_keys: u64,
    pub n_rows: u64,
    /// Over the rows that were first with their key: their places in the stream, which are stored with them.
    pub sum_places: u64,
    /// Of the different keys, where they are numbers.
    pub sum_keys: i128,
}

impl Keys {
    pub fn new(kind: Kind, target: u64) -> Self {
        Self { kind, target, n_keys: 0, n_rows: 0, sum_places: 0, sum_keys: 0 }
    }

    /// The table.
    pub fn create(&self) -> String {
        let (table, id) = (self.table(), if self.kind == Kind::Numbers { "BIGINT" } else { "VARCHAR" });
        format!(
            "CREATE TABLE {table} (id {id} NOT NULL, place INTEGER NOT NULL, sent_at TIMESTAMP NOT NULL, PRIMARY KEY (id)) \
             WITH (time_column = 'sent_at')"
        )
    }

    pub fn table(&self) -> &'static str {
        match self.kind {
            Kind::Numbers => "numbers",
            Kind::Texts => "texts",
        }
    }

    /// The next rows and what they must be answered; `None` when all keys were sent.
    pub fn batch(&mut self) -> Result<Option<(RecordBatch, Counts)>> {
        let first = self.n_rows;
        let (mut indexes, mut counts) = (Vec::with_capacity(BATCH_ROWS), Counts::default());
        while indexes.len() < BATCH_ROWS && self.n_keys < self.target {
            let draw = mix(self.n_rows ^ 4 << 40);
            if self.n_keys > 0 && draw.is_multiple_of(ROWS_PER_REPEAT) {
                indexes.push(draw / ROWS_PER_REPEAT % self.n_keys);
                counts.duplicates += 1;
            } else {
                self.sum_places += self.n_rows;
                self.sum_keys += i128::from(number(self.n_keys));
                indexes.push(self.n_keys);
                self.n_keys += 1;
                counts.accepted += 1;
            }
            self.n_rows += 1;
        }
        if indexes.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.rows(&indexes, first)?, counts)))
    }

    /// Rows whose keys were all sent before, at any time. `part` chooses them.
    pub fn old(&self, part: u64, n: usize) -> Result<RecordBatch> {
        let first = part * BATCH_ROWS as u64;
        let indexes: Vec<u64> = (0..n as u64).map(|i| mix((first + i) ^ 5 << 40) % self.n_keys).collect();
        self.rows(&indexes, 0)
    }

    fn rows(&self, indexes: &[u64], first: u64) -> Result<RecordBatch> {
        let id: ArrayRef = match self.kind {
            Kind::Numbers => Arc::new(Int64Array::from_iter_values(indexes.iter().map(|index| number(*index)))),
            Kind::Texts => {
                let mut texts = StringBuilder::new();
                for index in indexes {
                    write_uuid(&mut texts, *index)?;
                    texts.append_value("");
                }
                Arc::new(texts.finish())
            }
        };
        let places = Int32Array::from_iter_values((0..indexes.len()).map(|i| (first + i as u64) as i32));
        let times = TimestampMicrosecondArray::from_value(now_us(), indexes.len());
        let columns: [(&str, ArrayRef); 3] = [("id", id), ("place", Arc::new(places)), ("sent_at", Arc::new(times))];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

fn number(index: u64) -> i64 {
    mix(index ^ 1 << 40) as i64
}

/// A random UUID, version 4.
fn write_uuid(text: &mut impl Write, index: u64) -> std::fmt::Result {
    let (high, low) = (mix(index ^ 2 << 40), mix(index ^ 3 << 40));
    let (time_low, time_mid, time_high) = (high >> 32, (high >> 16) & 0xffff, high & 0x0fff);
    let (clock, node) = (0x8000 | ((low >> 48) & 0x3fff), low & 0xffff_ffff_ffff);
    write!(text, "{time_low:08x}-{time_mid:04x}-4{time_high:03x}-{clock:04x}-{node:012x}")
}
