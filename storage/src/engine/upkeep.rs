//! When does an engine merge files, let old ones go and forget keys by itself? It looks at all tables once a second, and at whether rows are taken.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use super::Engine;
use crate::compaction::compact;
use crate::error::{Code, Error};
use crate::ids::TableId;
use crate::retention::expire;
use crate::table::Table;

const TICK: Duration = Duration::from_secs(1);

/// Files of one table are looked at so often, and one group of them is merged: what was published since is a few files more.
const FILES_INTERVAL: Duration = Duration::from_secs(60);

/// A worker that could not forget keys (there was no space, or their entries are not built) is asked again so much later.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// What left a table is deleted days later, and what failed is nobody's: both can wait.
const CLEAN_INTERVAL: Duration = Duration::from_secs(3600);

/// Rows are taken again when so many looks in a row have found nothing in their way.
const OPEN_LOOKS: u32 = 10;

/// Runs until the engine has gone.
pub(super) async fn upkeep(engine: Weak<Engine>) {
    // Not at once: the engine that this holds weakly is still being made.
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut done = Done::default();
    let mut told = Told::default();
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        told.tell(engine.ingest_blocked());
        engine.upkeep_due(&mut done);
        let uptime = engine.parts.env.clock.uptime();
        // The first time was at the start.
        if uptime.saturating_sub(done.cleaned) >= CLEAN_INTERVAL {
            done.cleaned = uptime;
            tokio::spawn(super::seal::clean_files(engine.tables()));
        }
    }
}

/// Uptime when something was last begun.
#[derive(Default)]
pub(super) struct Done {
    files: HashMap<TableId, Duration>,
    forgotten: HashMap<TableId, Duration>,
    cleaned: Duration,
}

/// What was logged of rows that are not taken.
#[derive(Default)]
pub(super) struct Told {
    /// What the last look found.
    last: Option<Code>,
    /// Each reason that was told since rows were last taken.
    reasons: Vec<Code>,
    open_looks: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Stopped,
    Resumed,
}

impl Told {
    fn tell(&mut self, blocked: Option<Error>) {
        match (self.look(blocked.as_ref().map(Error::code)), blocked) {
            (Some(News::Stopped), Some(reason)) => {
                tracing::warn!(kind = "ingest.stopped", code = %reason.code(), %reason, "rows are refused until this is over");
            }
            (Some(News::Resumed), _) => tracing::info!(kind = "ingest.resumed", "rows are taken again"),
            _ => {}
        }
    }

    /// What is new at a look, of those a second apart. A reason that stands for two looks is told, once; a moment's shortage is not. That
    /// the server ends is no news.
    pub(super) fn look(&mut self, blocked: Option<Code>) -> Option<News> {
        let before = std::mem::replace(&mut self.last, blocked);
        match blocked {
            Some(Code::ShuttingDown) => None,
            Some(reason) => {
                self.open_looks = 0;
                let is_news = before == blocked && !self.reasons.contains(&reason);
                is_news.then(|| {
                    self.reasons.push(reason);
                    News::Stopped
                })
            }
            None => {
                self.open_looks += 1;
                if self.reasons.is_empty() || self.open_looks < OPEN_LOOKS {
                    return None;
                }
                self.reasons.clear();
                Some(News::Resumed)
            }
        }
    }
}

impl Engine {
    /// Begins what is due; does not wait for it.
    pub(super) fn upkeep_due(&self, done: &mut Done) {
        let uptime = self.parts.env.clock.uptime();
        let tables = self.tables();
        let is_there = |id: &TableId| tables.iter().any(|table| table.shared.def.id == *id);
        // Few are ever dropped.
        if done.files.len() > tables.len() || done.forgotten.len() > tables.len() {
            done.files.retain(|id, _| is_there(id));
            done.forgotten.retain(|id, _| is_there(id));
        }
        for table in tables {
            let id = table.shared.def.id;
            let waited =
                |last: Option<&Duration>, interval| last.is_none_or(|last| uptime.saturating_sub(*last) >= interval);
            if has_old_keys(&table) && waited(done.forgotten.get(&id), FORGET_INTERVAL) {
                done.forgotten.insert(id, uptime);
                let table = table.clone();
                tokio::spawn(async move { table.housekeep().await });
            }
            if is_at_rest(&table) && waited(done.files.get(&id), FILES_INTERVAL) {
                done.files.insert(id, uptime);
                tokio::spawn(async move { look_after_files(&table).await });
            }
        }
    }
}

/// Keys are older than the `dedup_window` by both clocks.
fn has_old_keys(table: &Table) -> bool {
    let oldest = table.shared.sealing.lock().oldest_keys;
    let window_us = table.def().options.dedup_window_us;
    let (Some(oldest), Some(window_us)) = (oldest, window_us) else { return false };
    oldest.is_older_than(window_us.unsigned_abs().div_ceil(1_000_000), table.shared.now())
}

/// Something is published, and nobody is about to change that.
fn is_at_rest(table: &Table) -> bool {
    let shared = &table.shared;
    let has_files = shared.sealing.lock().n_published > 0;
    has_files && !shared.is_closing() && !shared.is_publishing() && shared.compacting.try_lock().is_ok()
}

async fn look_after_files(table: &Table) {
    // What goes needs no merging. Merges of all tables are made one after the other: all are due at once after a start.
    let outcome = match expire(table).await {
        Ok(_) => compact(table, "interval", 1).await.map(|_| ()),
        Err(e) => Err(e),
    };
    let shared = &table.shared;
    if let Err(e) = outcome
        && !shared.is_closing()
    {
        tracing::warn!(table_id = %shared.def.id, table = %table.def().name, reason = %e, "files of the table are looked after later");
    }
}
