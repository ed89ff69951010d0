//! How do rejected rows become rows, each once? One page of records at a time; the commit that has the rows ends their records.
//!
//! A row stands either in its record or in the table, never in both and never in neither: the entry of the rows and the records without
//! them are one write of the log. So a replay that was broken off anywhere, or is made twice, goes on with what is left.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::aside;
use super::page::{Page, Position};
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, CommitToken};
use crate::memory::Share;
use crate::table::{PreparedRows, PreparedWrite, Table};

/// What a page may take while its rows are cast, for each byte of their payloads.
const DECODED_FACTOR: u64 = 4;

/// Which rejected rows are tried again, and how.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// Who asks.
    pub principal: String,
    /// Only rows of this producer; the empty text stands for those that came without one.
    pub producer: Option<String>,
    /// Only rows that were rejected then or later, µs since 1970.
    pub since_us: Option<i64>,
    /// IANA zone or offset in which a time without an offset is read when the column is an instant; default UTC.
    pub time_zone: Option<String>,
    /// Columns that the table does not have are dropped, as they were for rows that came that way.
    pub ignore_unknown_columns: bool,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReplayOutcome {
    /// Rows that are in the table now, and not among the rejected ones any more.
    pub replayed: u64,
    /// Rows whose keys the table had. They are not among the rejected ones any more either.
    pub duplicates: u64,
    /// Rows that still do not fit. They stay as they are.
    pub still_rejected: u64,
    /// Of the last commit; `None` when nothing was stored.
    pub token: Option<CommitToken>,
}

impl Table {
    /// Casts rejected rows anew for the table as it is, and stores those that fit now. Rows that are rejected meanwhile are left for another
    /// time. An error ends it; what was stored by then stays stored, and another call goes on with the others.
    pub async fn replay_rejected(&self, options: ReplayOptions) -> Result<ReplayOutcome> {
        let options = Arc::new(options);
        let through = self.snapshot().upper();
        let mut outcome = ReplayOutcome::default();
        let mut after = Some(Position::first(self));
        while let Some(position) = after {
            // Runs to its end whether or not the caller waits: from when it is submitted nobody can take a commit back, and nobody else may
            // read the same records before it is decided.
            let step = tokio::spawn(replay_page(self.clone(), Arc::clone(&options), position, through));
            let (of_page, next) = step.await.unwrap_or_else(|e| Err(Error::ended_early("a replay", &e)))?;
            outcome.replayed += of_page.replayed;
            outcome.duplicates += of_page.duplicates;
            outcome.still_rejected += of_page.still_rejected;
            outcome.token = of_page.token.or(outcome.token);
            after = next;
        }
        Ok(outcome)
    }
}

async fn replay_page(
    table: Table,
    options: Arc<ReplayOptions>,
    after: Position,
    through: CommitSeq,
) -> Result<(ReplayOutcome, Option<Position>)> {
    let shared = &table.shared;
    shared.gate.check(false)?;
    let _alone = shared.replaying.lock().await;
    let opened = shared.opened.load(Ordering::Acquire);
    let (store, fail, filter) = (Arc::clone(&shared.store), Arc::clone(&shared.env.fail), Arc::clone(&options));
    let (mut page, next) = aside(move || {
        let page = Page::read(&store, opened, after, through, &filter)?;
        fail.hit("replay.page_read")?;
        Ok(page)
    })
    .await?;
    let mut outcome = ReplayOutcome::default();
    let mut held = shared.memory.decoding(DECODED_FACTOR * page.bytes()).await?;
    // The rows of each part are counted by themselves.
    held.hand_over();
    let mut waiting: Vec<Range<usize>> = page.parts();
    while let Some(part) = waiting.pop() {
        let n_rows = part.len() as u64;
        let (back, tried) = try_part(&table, &options, page, part.clone()).await?;
        page = back;
        match tried {
            Ok(Some(prepared)) => {
                let n_good = prepared.received;
                let memory = shared.memory.charge(Share::Realtime, prepared.held_bytes());
                let stored = table.submit(PreparedWrite::new(prepared, memory)).await?.outcome().await?;
                outcome.replayed += stored.accepted;
                outcome.duplicates += stored.duplicates;
                outcome.still_rejected += n_rows - n_good;
                outcome.token = Some(stored.token);
            }
            Ok(None) => outcome.still_rejected += n_rows,
            Err(error) if error.code() == Code::BatchTooLarge && part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                waiting.push(middle..part.end);
                waiting.push(part.start..middle);
            }
            // One row that is too large alone.
            Err(error) if error.code() == Code::BatchTooLarge => outcome.still_rejected += n_rows,
            Err(error) => return Err(error),
        }
    }
    Ok((outcome, next))
}

/// The rows of a part that fit now, ready to be stored; `None`: there are none.
async fn try_part(
    table: &Table,
    options: &Arc<ReplayOptions>,
    mut page: Page,
    part: Range<usize>,
) -> Result<(Page, Result<Option<PreparedRows>>)> {
    let (shared, options) = (Arc::clone(&table.shared), Arc::clone(options));
    let def = table.def();
    let now_us = shared.env.clock.now_us().max(shared.gate.newest_stamp_us());
    let runs = shared.keys.runs();
    aside(move || {
        let tried = page.prepare(&def, shared.spec.as_ref(), &options, now_us, part).map(|prepared| {
            prepared.map(|mut prepared| {
                prepared.look_up(&runs);
                prepared
            })
        });
        Ok((page, tried))
    })
    .await
}
