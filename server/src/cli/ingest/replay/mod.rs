//! How do the batches of a dead-letter file come back? Each is sent as the Python client's `replay` sends it, under the same number or key,
//! so that whichever of the two does it, and however often, it is stored once; its line goes when the server has it.

pub(super) mod letters;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail};
use tidewater_client::{BatchResult, Error, Transport};
use tidewater_proto::ingest::v1 as pb;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tokio::time::Instant;

use self::letters::{DeadLetterFile, Letter, Letters};
use super::send::stored;
use super::waits::Waits;
use crate::cli::args::{Remote, Unsettled};
use crate::cli::terminal::{plural, print, say};

/// Taking lines out writes the file anew, so those that may go wait for each other. One that is still there when the program dies is sent
/// again, and the server knows it.
const TAKE_OUT_INTERVAL: Duration = Duration::from_secs(2);

/// Nobody can tell any more whether a batch of these is stored.
const UNSETTLED: [&str; 4] = ["PRODUCER_FENCED", "UNKNOWN_PRODUCER", "SEQUENCE_REUSED", "PRODUCER_STATE_LOST"];

/// What became of the batches.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Now, or before.
    pub(super) stored: u64,
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) rejected: u64,
    pub(super) dropped: u64,
    /// Known at the end.
    pub(super) left: u64,
}

fn batches(n: u64) -> &'static str {
    plural(n, "batch", "batches")
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, accepted, duplicate, rejected, dropped, left } = self;
        write!(
            f,
            "{stored} {} stored: {accepted} {} accepted, {duplicate} duplicate, {rejected} rejected; {dropped} {} dropped, \
             {left} left",
            batches(*stored),
            plural(*accepted, "row", "rows"),
            batches(*dropped)
        )
    }
}

struct Replay {
    ingest: IngestClient<Transport>,
    file: DeadLetterFile,
    unsettled: Unsettled,
    waits: Waits,
    totals: Totals,
    /// Batches whose lines may go, and when they do.
    done: HashSet<String>,
    take_out_at: Instant,
}

pub(super) async fn run(server: &Remote, path: &Path, unsettled: Unsettled) -> anyhow::Result<()> {
    let file = DeadLetterFile::new(path);
    let reader = file.clone();
    let Some(letters) = tokio::task::spawn_blocking(move || reader.read()).await?? else {
        say(&format!("there is no file {file}: nothing waits to be sent"));
        return Ok(());
    };
    let ingest = crate::cli::connect(server).await?.ingest_service();
    let take_out_at = Instant::now() + TAKE_OUT_INTERVAL;
    let (waits, totals, done) = (Waits::default(), Totals::default(), HashSet::new());
    let mut replay = Replay { ingest, file, unsettled, waits, totals, done, take_out_at };
    let n = letters.n();
    let sent = replay.send_all(letters).await;
    // What is stored leaves the file also when the server went away in the middle.
    let taken_out = replay.take_out().await;
    let Replay { file, mut totals, .. } = replay;
    // Those that were not even sent, too.
    totals.left = n - totals.stored - totals.dropped;
    let summary = format!("{file}: {totals}");
    if print(&format!("{summary}\n")).is_err() {
        say(&summary);
    }
    match (ended(&file, totals.left, sent), taken_out) {
        (Err(error), Err(second)) => {
            say(&format!("error: {second:#}"));
            Err(error)
        }
        (ended, taken_out) => ended.and(taken_out),
    }
}

/// What is said of batches that are left.
pub(super) fn ended(file: &DeadLetterFile, left: u64, sent: anyhow::Result<()>) -> anyhow::Result<()> {
    let what = match left {
        1 => "1 batch was not taken and is".to_owned(),
        _ => format!("{left} batches were not taken and are"),
    };
    match sent {
        Err(error) if left == 0 => Err(error),
        Err(error) => Err(error.context(format!("{what} still in {file}; run it again when this is over"))),
        Ok(()) if left > 0 => bail!("{what} still in {file}"),
        Ok(()) => Ok(()),
    }
}

impl Replay {
    async fn send_all(&mut self, mut letters: Letters) -> anyhow::Result<()> {
        loop {
            let (read, next) = tokio::task::spawn_blocking(move || {
                let next = letters.next_letter();
                (letters, next)
            })
            .await?;
            letters = read;
            let Some(letter) = next? else { return Ok(()) };
            match self.store(&letter).await {
                Ok(Some(result)) => {
                    self.totals.stored += 1;
                    self.totals.accepted += result.accepted;
                    self.totals.duplicate += result.duplicates;
                    self.totals.rejected += result.rejected;
                }
                Ok(None) => self.totals.dropped += 1,
                // The server is away, or full: it will be for the next, too.
                Err(error) if error.downcast_ref::<Error>().is_some_and(Error::is_retryable) => {
                    return Err(error.context(letter.to_string()));
                }
                Err(error) => {
                    say(&format!("left: {error:#} ({letter})"));
                    continue;
                }
            }
            self.done.insert(letter.id);
            if Instant::now() >= self.take_out_at {
                self.take_out().await?;
            }
        }
    }

    async fn take_out(&mut self) -> anyhow::Result<()> {
        self.take_out_at = Instant::now() + TAKE_OUT_INTERVAL;
        if self.done.is_empty() {
            return Ok(());
        }
        let (file, done) = (self.file.clone(), std::mem::take(&mut self.done));
        tokio::task::spawn_blocking(move || file.take_out(&done)).await?
    }

    /// The result of the batch; `None` if it was dropped.
    async fn store(&self, letter: &Letter) -> anyhow::Result<Option<BatchResult>> {
        let Some(sequence) = letter.sequence else { return self.send_keyed(letter).await.map(Some) };
        let why = match self.send_numbered(letter, sequence).await {
            Err(error) if UNSETTLED.contains(&error.reason()) => error.to_string(),
            Ok(None) => "the server has forgotten the producer, or is another".to_owned(),
            result => return Ok(result?),
        };
        match self.unsettled {
            Unsettled::Send => self.send_keyed(letter).await.map(Some),
            Unsettled::Drop => Ok(None),
            Unsettled::Keep => Err(anyhow!(
                "nobody can tell whether batch {sequence} of {} is stored, it stays in the file: {why}; --unsettled send \
                 sends it (safe for a table with a primary key), --unsettled drop drops it",
                letter.producer
            )),
        }
    }

    /// Under its number, by which the server knows whether it has it; `None` if there is no epoch to which the number belongs.
    async fn send_numbered(&self, letter: &Letter, sequence: u64) -> Result<Option<BatchResult>, Error> {
        let Some(epoch) = letter.epoch else { return Ok(None) };
        let (id, last_acked) = (letter.producer.clone(), letter.last_acked);
        let producer = Some(pb::Producer { id, epoch, last_acked, ..Default::default() });
        let request = pb::WriteRequest { producer, sequence, ..letter.request.clone() };
        stored(&self.ingest, &request, &self.waits).await.map(Some)
    }

    /// Under a key of its own, which the Python client uses, too. The server remembers it for a day.
    async fn send_keyed(&self, letter: &Letter) -> anyhow::Result<BatchResult> {
        let idempotency_key = format!("dead-letter:{}", letter.id);
        let request = pb::WriteRequest { idempotency_key, ..letter.request.clone() };
        Ok(stored(&self.ingest, &request, &self.waits).await?)
    }
}
