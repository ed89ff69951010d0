//! How are the chunks of a file sent? In order, from behind the last row that the server has.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use anyhow::{Context, anyhow, bail};
use tidewater_client::{
    Ack, BatchResult, Client, Error, OnRowError, OnWait, Producer, ProducerOptions, SequenceMode, TableName,
    WriteOptions,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Source;
use super::chunks::{Chunk, RowChunks};
use super::progress::Progress;
use super::send::JsonProducer;
use super::source::Chunks;
use super::text::TextChunks;
use super::waits::Waits;
use crate::cli::args::{IngestArgs, OnError};
use crate::cli::table::literal;
use crate::cli::terminal::{plural, say};

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
    /// Rows that an earlier run had stored.
    pub(super) repeated: u64,
    pub(super) seconds: f64,
    /// Under which name they were sent.
    pub(super) producer: String,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, accepted, duplicate, rejected, repeated, seconds, .. } = self;
        let rate = *received as f64 / seconds.max(1e-3);
        write!(
            f,
            "{received} {} received, {accepted} accepted, {duplicate} duplicate, {rejected} rejected, {repeated} repeated, \
             {seconds:.1} s, {rate:.0} rows/s",
            plural(*received, "row", "rows")
        )
    }
}

impl Totals {
    /// Earlier runs had stored all that the file has.
    pub(super) fn is_all_repeated(&self) -> bool {
        self.received > 0 && self.repeated == self.received
    }

    /// Where the rejected rows of this run can be read, if there are any.
    pub(super) fn where_rejected(&self) -> Option<String> {
        let Self { rejected, producer, .. } = self;
        (*rejected > 0).then(|| {
            let (what, them) = if *rejected == 1 { ("row is", "it") } else { ("rows are", "them") };
            format!(
                "{rejected} rejected {what} kept; read {them} with: SELECT sequence, \"row\", \"column\", code, \
                 message, payload FROM system.rejected WHERE producer = {} ORDER BY sequence, \"row\"",
                literal(producer)
            )
        })
    }
}

/// Loads an opened file.
pub(super) async fn load(
    client: &Client,
    table: TableName,
    source: Source,
    args: &IngestArgs,
) -> anyhow::Result<Totals> {
    let started = Instant::now();
    let name = format!("{}.{}", table.schema, table.table);
    let short = name.strip_prefix("public.").unwrap_or(&name);
    let id = if args.again { source.fresh_producer_id(short) } else { source.producer_id(short) };
    let on_row_error = match args.on_error {
        OnError::Keep => OnRowError::Keep,
        OnError::Abort => OnRowError::Abort,
    };
    let goes_on = source.original().is_some() && !args.again;
    let progress = Progress::start(source.n_rows());
    let mut tally = Tally {
        totals: Totals { producer: id.clone(), ..Totals::default() },
        n_shown: 0,
        chunk_rows: args.chunk_rows,
        waits: Waits::beside(progress.bar()),
        progress,
    };
    let sent = send(client, (table, &id), source.into_chunks(), on_row_error, &mut tally).await;
    sent.map_err(|error| if goes_on { name_way_on(error) } else { error })?;
    let Tally { mut totals, progress, .. } = tally;
    progress.finish();
    totals.seconds = started.elapsed().as_secs_f64();
    Ok(totals)
}

async fn send(
    client: &Client,
    (table, id): (TableName, &str),
    chunks: Chunks,
    on_row_error: OnRowError,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let waits = tally.waits.clone();
    match chunks {
        Chunks::Rows(chunks) => {
            let write = WriteOptions { on_row_error, ..Default::default() };
            let on_wait = OnWait::new(move |error, wait| waits.note(error, wait));
            let options = ProducerOptions { write, mode: SequenceMode::Monotonic, on_wait, ..Default::default() };
            send_rows(client.producer_with(table, id, options).await?, chunks, tally).await
        }
        Chunks::Text(chunks) => {
            send_text(JsonProducer::start(client, table, id, on_row_error, waits).await?, chunks, tally).await
        }
    }
}

/// The server was away, busy or full for as long as is waited.
pub(super) fn name_way_on(error: anyhow::Error) -> anyhow::Error {
    if !error.downcast_ref::<Error>().is_some_and(Error::is_retryable) {
        return error;
    }
    error.context("given up after pauses of five minutes in all; the same command goes on where this one stopped")
}

/// Reads a little ahead, on a thread that may wait for the disk.
fn read_ahead<T: Send + 'static>(
    chunks: impl Iterator<Item = anyhow::Result<Chunk<T>>> + Send + 'static,
) -> (mpsc::Receiver<anyhow::Result<Chunk<T>>>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        for chunk in chunks {
            // The other side has stopped with an error of its own.
            if sender.blocking_send(chunk).is_err() {
                break;
            }
        }
    });
    (receiver, reading)
}

/// Texts, one chunk after the other.
async fn send_text(mut producer: JsonProducer, chunks: TextChunks, tally: &mut Tally) -> anyhow::Result<()> {
    let (mut chunks, reading) = read_ahead(chunks.behind(producer.last_sequence()));
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        let (sequence, mut sent) = (chunk.sequence(), Sent::of(&chunk));
        match chunk.content {
            None => tally.is_stored(&sent),
            Some(rows) => {
                (sent.lines, sent.faults) = (rows.lines, rows.faults);
                let outcome = producer.write(sequence, rows.payload).await;
                tally.settle(&sent, outcome)?;
            }
        }
    }
    reading.await.context("reading the file panicked")
}

/// Rows with types, several chunks under way.
async fn send_rows(mut producer: Producer, chunks: RowChunks, tally: &mut Tally) -> anyhow::Result<()> {
    let (mut chunks, reading) = read_ahead(chunks.behind(producer.last_sequence()));
    let mut under_way = VecDeque::new();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        let (sequence, sent) = (chunk.sequence(), Sent::of(&chunk));
        let Some(rows) = chunk.content else {
            tally.is_stored(&sent);
            continue;
        };
        if under_way.len() >= MAX_UNDER_WAY {
            settle_first(&mut under_way, tally).await?;
        }
        match producer.send_at(sequence, rows).await {
            Ok(ack) => under_way.push_back((sent, ack)),
            Err(error) => {
                // Why the producer stopped: the first chunk that was refused says it best.
                while !under_way.is_empty() {
                    settle_first(&mut under_way, tally).await?;
                }
                return Err(tally.refused(&sent, error));
            }
        }
    }
    reading.await.context("reading the file panicked")?;
    while !under_way.is_empty() {
        settle_first(&mut under_way, tally).await?;
    }
    Ok(producer.close().await?)
}

async fn settle_first(under_way: &mut VecDeque<(Sent, Ack)>, tally: &mut Tally) -> anyhow::Result<()> {
    match under_way.pop_front() {
        Some((sent, ack)) => tally.settle(&sent, ack.await),
        None => Ok(()),
    }
}

/// A chunk that was sent.
struct Sent {
    before: u64,
    n_rows: u64,
    /// By row: where it stands in a text file.
    lines: Vec<u64>,
    /// By row: what is wrong with it in our own words.
    faults: HashMap<u64, String>,
}

impl Sent {
    fn of<T>(chunk: &Chunk<T>) -> Self {
        Self { before: chunk.before, n_rows: chunk.n_rows, lines: Vec::new(), faults: HashMap::new() }
    }

    fn name(&self) -> String {
        format!("{} {} from {} on", self.n_rows, plural(self.n_rows, "row", "rows"), self.place(0))
    }

    /// Where a row stands.
    fn place(&self, row: u64) -> String {
        match usize::try_from(row).ok().and_then(|row| self.lines.get(row)) {
            Some(line) => format!("line {line}"),
            None => format!("row {}", self.before + row + 1),
        }
    }
}

/// What is known so far.
struct Tally {
    totals: Totals,
    n_shown: usize,
    chunk_rows: u32,
    waits: Waits,
    progress: Progress,
}

impl Tally {
    /// An earlier run has stored these rows.
    fn is_stored(&mut self, sent: &Sent) {
        self.totals.received += sent.n_rows;
        self.totals.repeated += sent.n_rows;
        self.progress.advance(sent.n_rows);
    }

    fn settle(&mut self, sent: &Sent, outcome: Result<BatchResult, Error>) -> anyhow::Result<()> {
        let row_errors = match &outcome {
            Ok(result) => &result.row_errors,
            Err(error) => error.row_errors(),
        };
        for error in row_errors.iter().take(SHOWN_ROW_ERRORS.saturating_sub(self.n_shown)) {
            let line = match (sent.faults.get(&error.row), &error.column) {
                (Some(fault), _) => format!("{fault} ({})", error.code),
                (None, Some(column)) => {
                    format!("{}, column {column}: {} ({})", sent.place(error.row), error.message, error.code)
                }
                (None, None) => format!("{}: {} ({})", sent.place(error.row), error.message, error.code),
            };
            self.progress.suspend(|| say(&line));
            self.n_shown += 1;
        }
        let result = match outcome {
            Ok(result) => result,
            Err(error) => return Err(self.refused(sent, error)),
        };
        self.waits.end();
        let totals = &mut self.totals;
        totals.received += sent.n_rows;
        if result.repeated {
            totals.repeated += sent.n_rows;
        } else if result.received == sent.n_rows {
            totals.accepted += result.accepted;
            totals.duplicate += result.duplicates;
            totals.rejected += result.rejected;
        } else {
            bail!("of {}, which were sent, the server took {}", sent.name(), result.received);
        }
        self.progress.advance(sent.n_rows);
        Ok(())
    }

    fn refused(&self, sent: &Sent, error: Error) -> anyhow::Error {
        let place = sent.name();
        if error.reason() == "BATCH_TOO_LARGE" && sent.n_rows > 1 {
            let fewer = sent.n_rows.min(u64::from(self.chunk_rows));
            return anyhow!(
                "{place}: {error}; run it again with --chunk-rows below {fewer}: rows that are stored are not sent again"
            );
        }
        anyhow::Error::from(error).context(place)
    }
}
