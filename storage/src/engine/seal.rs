//! When does an engine build and publish by itself? It looks at all tables a few times a second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Engine;
use crate::error::Code;
use crate::memory::Share;
use crate::sealing::{Cause, OpenTable, build, clean, pick_builds, pick_publishes, publish};
use crate::table::Table;

/// A table that takes a million rows a second is over its threshold by a quarter of a million then.
const TICK: Duration = Duration::from_millis(250);

/// A build or publish that failed is tried again so much later.
const RETRY: Duration = Duration::from_secs(5);
/// The same while a damaged file is in its way: it goes on at once when the file is found whole.
const RETRY_DAMAGED: Duration = Duration::from_secs(60);

/// Runs until the engine has gone.
pub(super) async fn seal(engine: Weak<Engine>) {
    // Not at once: the engine that this holds weakly is still being made.
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_clean = false;
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        if !is_clean {
            // What an earlier process left behind. Nothing waits for it: a store that is away takes its time.
            tokio::spawn(clean_files(engine.tables()));
            is_clean = true;
        }
        engine.seal_due();
    }
}

impl Engine {
    /// Deletes files that belong to nothing.
    #[cfg(test)]
    pub(super) async fn clean_files(&self) {
        clean_files(self.tables()).await;
    }

    /// Begins what is due; does not wait for it.
    pub(super) fn seal_due(&self) {
        // One that is closed is not built and published any more: its files wait for nothing, and it keeps no other from its turn.
        let tables: Vec<Table> = self.tables().into_iter().filter(|table| !table.shared.is_closing()).collect();
        let uptime = self.parts.env.clock.uptime();
        let open: Vec<OpenTable> = tables.iter().map(|table| open_table(table, uptime)).collect();
        let waits = tables.iter().map(|table| table.shared.sealing.lock().unpublished_bytes).sum();
        self.parts.gate.unpublished_bytes.store(waits, std::sync::atomic::Ordering::Relaxed);
        let memory = &self.parts.memory;
        // What readers keep beyond their own memory rows have so much less of, and a build can make up for it.
        let used = memory.used(Share::Realtime) + memory.excess(Share::Queries);
        let share = memory.share(Share::Realtime);
        for (at, cause) in pick_builds(&open, self.parts.env.clock.now_us(), used, share) {
            let table = tables[at].clone();
            tokio::spawn(async move { note(&table, "build", build(&table, cause).await.map(|_| ())) });
        }
        for at in pick_publishes(&open, uptime) {
            let table = tables[at].clone();
            tokio::spawn(async move { note(&table, "publish", publish(&table, Cause::Interval).await.map(|_| ())) });
        }
        self.keys_due();
    }
}

/// Deletes files of these tables that belong to nothing.
pub(super) async fn clean_files(tables: Vec<Table>) {
    for table in tables {
        if let Err(e) = clean(&table).await {
            tracing::warn!(table_id = %table.def().id, reason = %e, "files that belong to nothing stay");
        }
    }
}

fn note(table: &Table, what: &'static str, outcome: crate::Result<()>) {
    let shared = &table.shared;
    let Err(e) = outcome else { return };
    let failed = if what == "build" { &shared.failed_build } else { &shared.failed_publish };
    let wait = if e.code() == Code::FileDamaged { RETRY_DAMAGED } else { RETRY };
    *failed.lock() = Some(shared.env.clock.uptime() + (wait - RETRY));
    if !shared.is_closing() {
        tracing::warn!(table_id = %shared.def.id, table = %table.def().name, what, reason = %e, "it is tried again");
    }
}

fn open_table(table: &Table, uptime: Duration) -> OpenTable {
    let shared = &table.shared;
    let version = shared.version.load();
    let figures = *shared.sealing.lock();
    let waits = |failed: &parking_lot::Mutex<Option<Duration>>| {
        failed.lock().is_some_and(|last| uptime.saturating_sub(last) < RETRY)
    };
    OpenTable {
        rows: version.realtime.n_rows(),
        bytes: version.realtime.bytes(),
        oldest_us: version.realtime.oldest_stamp_us(),
        entries: version.upper.0.saturating_sub(figures.built_through.0),
        open_since_us: figures.open_since_us,
        seal: version.def.options.seal,
        dedup_window_us: version.def.options.dedup_window_us,
        wants_build: shared.wants_build(),
        is_building: shared.building.try_lock().is_err(),
        waits_to_build: waits(&shared.failed_build),
        is_publishing: waits(&shared.failed_publish) || shared.is_publishing(),
        is_unpublished: figures.is_unpublished,
        has_changes: figures.has_changes,
        last_publish: *shared.last_publish.lock(),
    }
}

/// Waits until nothing of the table is built, published or merged any more. It was closed, so that nothing begins either.
pub(super) async fn quiet(shared: &Arc<crate::table::Shared>) {
    let _merging = shared.merging.lock().await;
    let _compacting = shared.compacting.lock().await;
    let _building = shared.building.lock().await;
    let _publishing = shared.publishing.lock().await;
}
