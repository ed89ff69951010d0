//! One stream of rows, all of them or none: how do they come in, and how much of it is in memory? Never more than the next file needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;

use super::buffer::Buffer;
use super::commit::ReadyWrite;
use super::files::{Written, write_layers, write_rows};
use super::intake::Intake;
use crate::admission::{AdmissionRules, IncomingRows};
use crate::catalog::TableDef;
use crate::env::in_background;
use crate::error::{Code, Error, Result};
use crate::limits::STAGED_FILE_ROWS;
use crate::memory::{Collecting, Share};
use crate::table::{
    IdempotencyKey, OnError, PreparedRows, RowsOutcome, Staged, Table, TableRequest, check_key, check_schema,
};

/// How long rows wait for memory that others hold, with memory of their own and without.
const BRIEF_MEMORY_WAIT: Duration = Duration::from_secs(1);
const MAX_MEMORY_WAIT: Duration = Duration::from_secs(30);

/// So many rows of a piece are prepared below what acknowledges the rows of others: a bulk stream takes all that a machine has left.
const YIELDING_ROWS: usize = 4_096;

/// Who brings the rows of a stream, and how they are read.
#[derive(Debug, Clone, Default)]
pub struct StageOptions {
    pub principal: String,
    pub idempotency_key: Option<IdempotencyKey>,
    /// IANA zone or offset in which a time without an offset is read when the column is an instant; default UTC.
    pub time_zone: Option<String>,
    /// Refuse unless the table's schema id is this.
    pub expected_schema: Option<u32>,
    /// Input columns that the table does not have are dropped instead of refused.
    pub ignore_unknown_columns: bool,
}

/// Rows that become rows of a table all at once, however many they are: they are written into files as they come. One that is dropped, or
/// of which anything failed, stored nothing and claimed no key.
pub struct StagedWrite {
    table: Table,
    /// As it was at the beginning.
    def: Arc<TableDef>,
    options: StageOptions,
    /// `None` before the first rows.
    intake: Option<Intake>,
    buffer: Buffer,
    /// For the rows in `buffer`, and those in hand.
    held: Collecting,
    written: Written,
    stop: StopOnDrop,
    /// Nothing failed, and nobody stopped waiting for what was being done.
    is_whole: bool,
}

/// Ends what is being written when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Table {
    /// Begins a stream of rows. `DISK_FULL`, `CLOCK_BEHIND`, `TABLE_CLOSED`, `SCHEMA_VERSION_MISMATCH` and `INVALID_IDEMPOTENCY_KEY` refuse it
    /// before the first row. That there is no memory does not: its rows wait for that, and writing them gives some back.
    pub fn stage(&self, options: StageOptions) -> Result<StagedWrite> {
        let shared = &self.shared;
        shared.gate.check(true)?;
        if shared.is_closing() {
            return Err(shared.closed());
        }
        if let Some(key) = &options.idempotency_key {
            check_key(key)?;
        }
        let def = self.def();
        check_schema(&def, options.expected_schema)?;
        Ok(StagedWrite {
            table: self.clone(),
            def,
            options,
            intake: None,
            buffer: Buffer::default(),
            held: shared.memory.collecting(),
            written: Written::default(),
            stop: StopOnDrop(Arc::new(AtomicBool::new(false))),
            is_whole: true,
        })
    }
}

impl StagedWrite {
    /// The table's definition when the stream began: what its rows are cast to.
    pub fn def(&self) -> &Arc<TableDef> {
        &self.def
    }

    /// Takes rows. Returns when they are in memory or in files: until then the caller reads no more of them. `BAD_ROWS` names rows by their
    /// place in the stream, from 0. After an error, and after a call that was given up, nothing more is taken.
    pub async fn push(&mut self, rows: IncomingRows) -> Result<()> {
        self.begin()?;
        let bytes = rows.batch.get_array_memory_size() as u64;
        self.hold(bytes).await?;
        self.take(rows, bytes).await
    }

    /// The same for rows whose memory the caller holds already: it goes on to the stream.
    pub async fn push_held(&mut self, rows: IncomingRows, held: Collecting) -> Result<()> {
        self.begin()?;
        let bytes = held.bytes();
        self.held.merge(held);
        self.take(rows, bytes).await
    }

    /// Writes what is in memory if somebody waits for that, as `is_wanted` says or as little of it is left. For a caller who waits for its
    /// next rows: it holds memory for as long as they take.
    pub async fn give_way(&mut self, is_wanted: bool) -> Result<()> {
        if self.buffer.is_empty() || !(is_wanted || self.table.shared.memory.is_collecting_scarce()) {
            return Ok(());
        }
        self.begin()?;
        self.flush().await?;
        self.is_whole = true;
        Ok(())
    }

    /// Makes all rows rows of the table: durable, visible and their keys claimed when this returns. `STREAM_OVERTAKEN` when others changed
    /// the table meanwhile in a way that only another attempt can take into account; it is safe to make one.
    pub async fn commit(self) -> Result<RowsOutcome> {
        self.commit_after(|| Ok(())).await
    }

    /// The same; `begin` is asked when all files are written, and its error is the last that takes the rows back.
    pub async fn commit_after(self, begin: impl FnOnce() -> Result<()>) -> Result<RowsOutcome> {
        let ready = self.finish().await?;
        begin()?;
        ready.commit().await
    }

    /// Writes what is left. Only the commit itself is missing then.
    pub(crate) async fn finish(mut self) -> Result<ReadyWrite> {
        self.begin()?;
        self.flush().await?;
        let shared = &self.table.shared;
        let (received, bytes) = self.intake.as_ref().map_or((0, 0), |intake| (intake.received, intake.bytes));
        let (layers, seen, n_known) = match self.intake.take().and_then(Intake::into_keys) {
            Some(keys) => keys.into_parts(),
            None => (Vec::new(), None, 0),
        };
        // Until the table is charged for them.
        let layer_bytes = layers.iter().map(|layer| layer.bytes() as u64).sum();
        let memory = shared.memory.charge(Share::Keys, layer_bytes);
        let of_layers = write_layers(shared, layers, &self.stop.0).await?;
        self.written.add(of_layers);
        let Written { files, layers, names, unowned } = self.written;
        let StageOptions { principal, idempotency_key, .. } = self.options;
        let rows = PreparedRows::of_files(self.def.schema_id, &principal, idempotency_key, received, bytes);
        let schema = Arc::clone(&self.def.arrow_schema);
        let staged = Box::new(Staged { rows, schema, files, layers, seen, names });
        Ok(ReadyWrite::new(self.table.clone(), self.def, staged, unowned, n_known, memory))
    }

    /// Waits for memory. Not for long with some in hand, so that nobody waits for each other, but a moment: every file costs its readers.
    async fn hold(&mut self, bytes: u64) -> Result<()> {
        if self.held.try_grow(bytes) {
            return Ok(());
        }
        if !self.buffer.is_empty() {
            match tokio::time::timeout(BRIEF_MEMORY_WAIT, self.held.grow(bytes)).await {
                Ok(Ok(())) => return Ok(()),
                // Or it can never be held beside what is in hand.
                Ok(Err(_)) | Err(_) => self.flush().await?,
            }
        }
        let grown = tokio::time::timeout(MAX_MEMORY_WAIT, self.held.grow(bytes)).await;
        grown.unwrap_or_else(|_| Err(no_memory()))
    }

    /// Whatever begins must end before anything else may.
    fn begin(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.is_whole, false) {
            return Err(Error::internal("the rows of a statement go on after an error"));
        }
        self.table.shared.gate.check_again(0)
    }

    /// Takes rows for which `bytes` are held.
    async fn take(&mut self, rows: IncomingRows, bytes: u64) -> Result<()> {
        self.see_keys().await?;
        let n_rows = rows.batch.num_rows();
        let first_row = self.intake.as_ref().map_or(0, |intake| intake.received);
        let mut done = 0;
        for (piece, at) in pieces(rows) {
            done += piece.batch.num_rows();
            let new = self.admit(piece, first_row + at, bytes).await?;
            // What of the rows is still in hand.
            let in_hand = bytes / n_rows.max(1) as u64 * (n_rows - done) as u64;
            self.put(new, in_hand).await?;
        }
        self.is_whole = true;
        Ok(())
    }

    /// Before the first rows: what keys the table has.
    async fn see_keys(&mut self) -> Result<()> {
        if self.intake.is_some() {
            return Ok(());
        }
        let seen = match &self.table.shared.spec {
            Some(_) => Some(self.table.ask(|answer| TableRequest::SeeKeys { answer }).await?),
            None => None,
        };
        self.intake = Some(Intake::new(&self.table.shared, seen));
        Ok(())
    }

    /// The new rows of a piece, cast, and their bytes. `first_row` is its place in the stream.
    async fn admit(&mut self, rows: IncomingRows, first_row: u64, bytes: u64) -> Result<(RecordBatch, u64)> {
        let lost = || Error::internal("the rows of a statement go on after an error");
        let n_rows = rows.batch.num_rows();
        let mut intake = self.intake.take().ok_or_else(lost)?;
        let shared = Arc::clone(&self.table.shared);
        let rules = AdmissionRules {
            first_row,
            time_zone: self.options.time_zone.clone(),
            now_us: shared.env.clock.now_us().max(shared.gate.newest_stamp_us()),
            on_error: OnError::Abort,
            ignore_unknown_columns: self.options.ignore_unknown_columns,
        };
        let def = Arc::clone(&self.def);
        // The rows once more: cast to the table's types.
        let memory = shared.memory.charge(Share::Realtime, bytes);
        let work = move || {
            let taken = intake.take(&shared, &def, rows, &rules);
            drop(memory);
            (intake, taken)
        };
        // A thread of its own costs more than few rows do.
        let (intake, taken) = if n_rows < YIELDING_ROWS {
            let prepared = tokio::task::spawn_blocking(work).await;
            prepared.map_err(|e| Error::internal(format!("rows could not be prepared: {e}")))?
        } else {
            in_background("stage", work).await?
        };
        self.intake = Some(intake);
        taken
    }

    /// Puts new rows behind the others; `in_hand` are the bytes of those that follow at once.
    async fn put(&mut self, (rows, bytes): (RecordBatch, u64), in_hand: u64) -> Result<()> {
        if rows.num_rows() > 0 {
            if !self.buffer.is_empty() && self.buffer.overflows_with(rows.num_rows(), bytes) {
                self.flush().await?;
            }
            self.buffer.add(rows, bytes)?;
        }
        // A cast may have made them larger.
        let (held, needed) = (self.held.bytes(), self.buffer.bytes().saturating_add(in_hand));
        let has_memory = match needed.checked_sub(held) {
            Some(more) => self.held.try_grow(more),
            None => {
                self.held.shrink(held - needed);
                true
            }
        };
        if !has_memory || self.buffer.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Writes what is in memory.
    async fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let shared = &self.table.shared;
        let bytes = self.buffer.bytes();
        shared.gate.check_again(bytes)?;
        let batches = std::mem::take(&mut self.buffer).into_batches()?;
        let written = write_rows(shared, &self.def, batches, &self.stop.0).await?;
        self.written.add(written);
        self.held.shrink(bytes);
        Ok(())
    }
}

/// The rows in pieces of which none is too large for a file, each with the place of its first row among those that have no number of their
/// own.
fn pieces(rows: IncomingRows) -> Vec<(IncomingRows, u64)> {
    let IncomingRows { batch, row_numbers, mut rejected } = rows;
    let n_rows = batch.num_rows();
    let starts = (0..n_rows.max(1)).step_by(STAGED_FILE_ROWS);
    starts
        .map(|start| {
            let n = STAGED_FILE_ROWS.min(n_rows - start);
            let numbers = row_numbers.as_ref().map(|numbers| numbers[start..start + n].to_vec());
            let at = if numbers.is_some() { 0 } else { start as u64 };
            let rejected = std::mem::take(&mut rejected);
            (IncomingRows { batch: batch.slice(start, n), row_numbers: numbers, rejected }, at)
        })
        .collect()
}

fn no_memory() -> Error {
    Error::new(Code::MemoryPressure, "memory for fresh rows is full")
        .hint("try again later, or raise memory.limit")
        .retry_after(Duration::from_secs(5))
}

impl std::fmt::Debug for StagedWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedWrite").field("table", &self.table).finish_non_exhaustive()
    }
}
