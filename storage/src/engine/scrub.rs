//! When does an engine test its files, and whether its Delta logs are whole? All the time, one after another; and those that a reader
//! stumbled over within a second.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Engine;
use crate::publishing::test_suspects;
use crate::scrub::{ScrubOptions, Scrubber};

const TICK: Duration = Duration::from_secs(1);

/// Not at once: the engine that its tasks hold weakly is still being made.
fn ticks() -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Tests what is due. Runs until the engine has gone.
pub(super) async fn scrub(engine: Weak<Engine>, options: ScrubOptions) {
    let mut ticks = ticks();
    ticks.tick().await;
    let Some(mut scrubber) = engine.upgrade().map(|engine| Scrubber::new(options, engine.env())) else { return };
    loop {
        let next = match engine.upgrade() {
            Some(engine) => scrubber.next(&engine.tables()),
            None => return,
        };
        match next {
            Some((table, subject)) => {
                scrubber.test(&table, &subject).await;
            }
            None => {
                ticks.tick().await;
            }
        }
    }
}

/// Tests what readers stumbled over. Runs until the engine has gone.
pub(super) async fn suspects(engine: Weak<Engine>) {
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        let Some(tables) = engine.upgrade().map(|engine| engine.tables()) else { return };
        for table in tables {
            if let Err(e) = test_suspects(&table, false).await
                && !table.shared.is_closing()
            {
                tracing::warn!(table_id = %table.shared.def.id, reason = %e, "files that could not be read are not on record");
            }
        }
    }
}
