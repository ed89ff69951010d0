//! What is read of a file that is merged? The rows that are not deleted, with the entries that they came with.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{filter, filter_record_batch};
use roaring::RoaringBitmap;

use crate::catalog::TableDef;
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::sealed::{SegmentFile, SourceRows, checksum_of, read_file_by, read_stamps};

/// A published file that is merged with others.
#[derive(Debug)]
pub(in crate::compaction) struct Input {
    pub(in crate::compaction) file: Arc<SegmentFile>,
    /// Itself, or a copy of it, on the local disk.
    pub(in crate::compaction) path: PathBuf,
    /// As they were when it was picked.
    pub(in crate::compaction) deleted: Option<Arc<RoaringBitmap>>,
}

impl Input {
    pub(in crate::compaction) fn live_rows(&self) -> u64 {
        self.file.rows - self.deleted.as_ref().map_or(0, |deleted| deleted.len())
    }

    /// About what its live rows take of the file.
    pub(super) fn live_bytes(&self) -> u64 {
        let bytes = u128::from(self.file.bytes) * u128::from(self.live_rows()) / u128::from(self.file.rows.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Its bytes are those that were written: damage must not get into a new file, with a checksum that fits.
    pub(super) fn check(&self) -> Result<()> {
        let found = match checksum_of(&self.path) {
            Err(e) if self.path.exists() => return Err(self.named(e)),
            found => found.ok(),
        };
        if found == Some((self.file.bytes, self.file.checksum)) {
            return Ok(());
        }
        let damaged = Error::new(
            Code::FileDamaged,
            match found {
                Some(_) => format!("{} is damaged: its bytes do not match its checksum", self.path.display()),
                None => format!("{} is damaged: it is missing", self.path.display()),
            },
        );
        Err(self.named(damaged.hint("restore the file from a backup; queries that do not need it go on")))
    }

    /// Says for programs which file an error is about.
    pub(super) fn named(&self, e: Error) -> Error {
        e.with("file", &self.file.name)
    }

    /// When its entries came: (commit_seq, stamp in microseconds).
    pub(super) fn stamps(&self) -> Result<Vec<(i64, i64)>> {
        match self.file.entry {
            Some((seq, stamp_us)) => Ok(vec![(in_arrow(seq)?, stamp_us)]),
            None => read_stamps(&self.path).map_err(|e| self.named(e)),
        }
    }

    /// Its rows in their order, without stamps, in the types of `def`.
    pub(super) fn batches(
        &self,
        def: &TableDef,
        n_rows: usize,
    ) -> Result<impl Iterator<Item = Result<SourceRows>> + use<>> {
        // Without system columns nobody asks for the entry of a row; it is one of the file's.
        let entry = self.file.entry.map(|(seq, _)| seq);
        let entry = entry.or_else(|| (!def.options.system_columns).then_some(self.file.max_seq));
        let entry = entry.map(in_arrow).transpose()?;
        let (deleted, name) = (self.deleted.clone(), self.file.name.clone());
        let read = read_file_by(&self.path, &def.arrow_schema, n_rows).map_err(|e| self.named(e))?;
        let mut start = 0;
        Ok(read.filter_map(move |batch| {
            let live = batch.and_then(|(rows, seqs)| live_rows(rows, seqs, entry, deleted.as_deref(), &mut start));
            live.map_err(|e| e.with("file", &name)).transpose()
        }))
    }
}

/// The rows of a batch that are not deleted; its first is the row `start` of its file. `None`: all are.
fn live_rows(
    rows: RecordBatch,
    seqs: Option<Int64Array>,
    entry: Option<i64>,
    deleted: Option<&RoaringBitmap>,
    start: &mut u32,
) -> Result<Option<SourceRows>> {
    let n_rows = u32::try_from(rows.num_rows()).map_err(|_| Error::internal("a batch has too many rows"))?;
    let own = *start..*start + n_rows;
    *start = own.end;
    let seqs = match (seqs, entry) {
        (Some(seqs), _) => seqs,
        (None, Some(entry)) => Int64Array::from_value(entry, rows.num_rows()),
        (None, None) => {
            return Err(Error::new(Code::FileDamaged, "a file does not say with which entries its rows came"));
        }
    };
    let n_deleted = deleted.map_or(0, |deleted| deleted.range_cardinality(own.clone()));
    if n_deleted == u64::from(n_rows) {
        return Ok(None);
    }
    let (rows, seqs) = match deleted.filter(|_| n_deleted > 0) {
        None => (rows, seqs),
        Some(deleted) => {
            let alive: BooleanArray = own.map(|row| Some(!deleted.contains(row))).collect();
            (filter_record_batch(&rows, &alive)?, filter(&seqs, &alive)?.as_primitive().clone())
        }
    };
    Ok(Some(SourceRows { rows, seqs, stamps: Arc::from([]) }))
}

fn in_arrow(seq: CommitSeq) -> Result<i64> {
    i64::try_from(seq.0).map_err(|_| Error::internal(format!("sequence {seq} is beyond 2^63")))
}
