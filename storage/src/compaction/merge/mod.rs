//! How do several files become one? As a stream where all are sorted in the same way, else in memory. Blocks, and yields to everything.

mod inputs;
mod memory;
mod ordered;
mod planned;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::picker::Kind;
use crate::catalog::TableDef;
use crate::env::make_folder;
use crate::error::{Code, Error, Result};
use crate::limits::ZONE_ROWS;
use crate::sealed::{ReadingBytes, SegmentFile, order_of, reading_bytes};
use crate::table::{Shared, Write};

pub(super) use inputs::Input;
#[cfg(test)]
pub(super) use memory::Memory;
#[cfg(test)]
pub(super) use planned::by_hour;

/// At most so many files come out: one for each of the hours that late rows go to, and one for the rest.
pub(super) const MAX_FILES: usize = 4;

/// Files that are to be merged.
pub(super) struct Merge {
    pub(super) shared: Arc<Shared>,
    /// The table as its files will have it.
    pub(super) def: Arc<TableDef>,
    /// In the order of their times, each with rows that are not deleted.
    pub(super) inputs: Vec<Input>,
    pub(super) kind: Kind,
    /// What each hour of the table has already, in bytes.
    pub(super) hours: BTreeMap<i64, u64>,
    /// [`MAX_FILES`] names that are on record.
    pub(super) names: Vec<String>,
    /// Memory that it may take, and is charged for. Two files of one order are merged whatever they take.
    pub(super) budget: u64,
    /// Microseconds since 1970.
    pub(super) now_us: i64,
    /// Uptime when the inputs were picked.
    pub(super) since: Duration,
}

/// Files with the rows of the first inputs.
pub(super) struct Merged {
    pub(super) files: Vec<SegmentFile>,
    pub(super) n_inputs: usize,
}

impl Merge {
    /// Reads, merges and writes; the files are synced when this returns, but for their names. `None`: not even two of the inputs fit into
    /// memory together. `FILE_DAMAGED` names the input with the key `file`. What an error leaves behind is the caller's to delete.
    pub(super) fn run(&self) -> Result<Option<Merged>> {
        let folder = self.shared.folders.built();
        make_folder(&folder).map_err(|e| {
            Error::new(Code::FolderUnusable, format!("{} cannot be made: {e}", folder.display())).source(e)
        })?;
        let mut readings = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            self.check_stop(0)?;
            input.check()?;
            readings.push(reading_bytes(&input.path).map_err(|e| input.named(e))?);
        }
        let hour = self.common_hour();
        let order = order_of(hour, &self.def);
        let is_ordered = self.inputs.iter().all(|input| {
            let own = order_of(input.file.hour, &self.def);
            own == order || (input.file.hour.is_some() && order.holds_in_an_hour(&own))
        });
        let n_planned = self.n_fitting(&readings);
        let is_divided = self.kind == Kind::Late && self.def.options.time_column.is_some();
        if is_ordered && !(is_divided && n_planned == self.inputs.len()) {
            return ordered::merge(self, hour, &order, &readings).map(Some);
        }
        if n_planned < self.inputs.len().min(2) {
            return Ok(None);
        }
        planned::merge(self, n_planned).map(Some)
    }

    /// The hour of all rows, if it is one.
    fn common_hour(&self) -> Option<i64> {
        let mut hours = self.inputs.iter().map(|input| input.file.hour);
        let first = hours.next().flatten()?;
        hours.all(|hour| hour == Some(first)).then_some(first)
    }

    /// How many of the first inputs fit into memory with all their rows.
    fn n_fitting(&self, readings: &[ReadingBytes]) -> usize {
        let mut needed = 0_u64;
        let fits = |(input, reading): &(&Input, &ReadingBytes)| {
            needed = needed.saturating_add(planned::needed_bytes(input, **reading));
            needed <= self.budget
        };
        self.inputs.iter().zip(readings).take_while(fits).count()
    }

    /// Asked again and again while it reads and writes `coming` bytes more.
    fn check_stop(&self, coming: u64) -> Result<()> {
        self.shared.gate.check_age(self.since)?;
        self.shared.gate.may_grow(&self.shared.stopping, Write::Copies, coming)
    }

    fn name(&self, at: usize) -> Result<&String> {
        self.names.get(at).ok_or_else(|| Error::internal("a merge has more files than names"))
    }

    /// What is left to say of a file that was written. Without system columns no row knows its entry, and its file only the last of them.
    fn finished(&self, mut file: SegmentFile, n_inputs: usize) -> Result<SegmentFile> {
        self.shared.env.fail.hit("compact.file_written")?;
        if !self.def.options.system_columns {
            let first = self.inputs[..n_inputs].iter().map(|input| input.file.min_seq).min();
            file.min_seq = first.map_or(file.min_seq, |first| first.min(file.min_seq));
        }
        Ok(file)
    }
}

/// Rows that are read at once, at most.
const BATCH_ROWS: usize = ZONE_ROWS;
