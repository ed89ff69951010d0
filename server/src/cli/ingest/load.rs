//! How are the chunks of a file sent? In order, several under way; what the server has already is not sent again.

use std::collections::VecDeque;
use std::fmt;

use anyhow::Context;
use arrow::array::RecordBatch;
use tidewater_client::{Ack, Client, OnRowError, Producer, ProducerOptions, TableName, WriteOptions};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::progress::Progress;
use super::{Source, producer_id};
use crate::cli::args::{IngestArgs, OnError};
use crate::cli::terminal::say;

/// Chunks that are read ahead, and acknowledgements that are waited for at most. The server has its own window.
const READ_AHEAD: usize = 2;
const MAX_UNDER_WAY: usize = 16;

/// Bad rows that are printed; all of them are in `system.rejected`.
const SHOWN_ROW_ERRORS: usize = 10;

/// What became of the rows of a file. `received` = `accepted` + `duplicate` + `rejected` + `repeated`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) received: u64,
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) rejected: u64,
    /// Rows of chunks that an earlier run had stored.
    pub(super) repeated: u64,
    pub(super) seconds: f64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, accepted, duplicate, rejected, repeated, seconds } = self;
        let rate = *received as f64 / seconds.max(1e-3);
        write!(
            f,
            "{received} rows received, {accepted} accepted, {duplicate} duplicate, {rejected} rejected, {repeated} repeated, \
             {seconds:.1} s, {rate:.0} rows/s"
        )
    }
}

/// A chunk that was sent: how many rows it has, and the row of the file before its first.
struct Sent {
    ack: Ack,
    n_rows: u64,
    before: u64,
}

pub(super) async fn load(
    client: &Client,
    table: TableName,
    source: Source,
    args: &IngestArgs,
) -> anyhow::Result<Totals> {
    let started = Instant::now();
    let name = format!("{}.{}", table.schema, table.table);
    let name = name.strip_prefix("public.").unwrap_or(&name);
    let id = match source.content() {
        Some(content) => producer_id(name, content, args.chunk_rows),
        // Nobody can tell whether the next input is the same one: the name holds for this run.
        None => producer_id(name, &format!("stdin-{}", uuid::Uuid::new_v4()), args.chunk_rows),
    };
    let on_row_error = match args.on_error {
        OnError::Keep => OnRowError::Keep,
        OnError::Abort => OnRowError::Abort,
    };
    let write = WriteOptions { on_row_error, ..Default::default() };
    let producer = client.producer_with(table, &id, ProducerOptions { write, ..Default::default() }).await?;
    let progress = Progress::start(source.n_rows());
    let mut load = Load {
        stored_before: producer.last_sequence(),
        producer,
        under_way: VecDeque::new(),
        totals: Totals::default(),
        n_shown: 0,
        progress,
    };
    load.run(source).await?;
    let Load { producer, mut totals, progress, .. } = load;
    producer.close().await?;
    progress.finish();
    totals.seconds = started.elapsed().as_secs_f64();
    Ok(totals)
}

struct Load {
    producer: Producer,
    /// The last chunk that an earlier run had stored.
    stored_before: u64,
    under_way: VecDeque<Sent>,
    totals: Totals,
    n_shown: usize,
    progress: Progress,
}

impl Load {
    async fn run(&mut self, source: Source) -> anyhow::Result<()> {
        let (sender, mut chunks) = mpsc::channel(READ_AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            for chunk in source.into_chunks() {
                // The other side has stopped with an error of its own.
                if sender.blocking_send(chunk).is_err() {
                    break;
                }
            }
        });
        let mut sequence = 0;
        while let Some(chunk) = chunks.recv().await {
            sequence += 1;
            self.chunk(sequence, chunk?).await.with_context(|| format!("chunk {sequence}"))?;
        }
        reading.await.context("reading the file panicked")?;
        while let Some(sent) = self.under_way.pop_front() {
            self.answer(sent).await?;
        }
        Ok(())
    }

    async fn chunk(&mut self, sequence: u64, rows: RecordBatch) -> anyhow::Result<()> {
        let n_rows = rows.num_rows() as u64;
        let before = self.totals.received;
        self.totals.received += n_rows;
        if sequence <= self.stored_before {
            self.totals.repeated += n_rows;
            self.progress.advance(n_rows);
            return Ok(());
        }
        while self.under_way.len() >= MAX_UNDER_WAY
            && let Some(sent) = self.under_way.pop_front()
        {
            self.answer(sent).await?;
        }
        let ack = match self.producer.send(rows).await {
            Ok(ack) => ack,
            Err(error) => return Err(self.first_error().await.unwrap_or_else(|| error.into())),
        };
        self.under_way.push_back(Sent { ack, n_rows, before });
        Ok(())
    }

    /// Why the producer stopped: the first chunk that was refused says it best.
    async fn first_error(&mut self) -> Option<anyhow::Error> {
        while let Some(sent) = self.under_way.pop_front() {
            if let Err(error) = self.answer(sent).await {
                return Some(error);
            }
        }
        None
    }

    async fn answer(&mut self, sent: Sent) -> anyhow::Result<()> {
        let sequence = sent.ack.sequence();
        let outcome = sent.ack.await;
        let row_errors = match &outcome {
            Ok(result) => &result.row_errors,
            Err(error) => error.row_errors(),
        };
        for error in row_errors.iter().take(SHOWN_ROW_ERRORS.saturating_sub(self.n_shown)) {
            let column = error.column.as_deref().map_or_else(String::new, |column| format!(", column {column}"));
            let line = format!("row {}{column}: {} ({})", sent.before + error.row + 1, error.message, error.code);
            self.progress.suspend(|| say(&line));
            self.n_shown += 1;
        }
        let result = outcome.with_context(|| format!("chunk {sequence}, rows from {} on", sent.before + 1))?;
        if result.repeated {
            self.totals.repeated += sent.n_rows;
        } else {
            self.totals.accepted += result.accepted;
            self.totals.duplicate += result.duplicates;
            self.totals.rejected += result.rejected;
        }
        self.progress.advance(sent.n_rows);
        Ok(())
    }
}
