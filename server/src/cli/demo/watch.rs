//! What do readers see meanwhile? Dashboards that refresh, rows that are waited for, a table that is sealed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tidewater_client::Client;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;

use super::ask::{busiest, counts, one_row, rows, top_items};
use super::feed::{Shared, WATCH_INTERVAL, Watched};
use super::figures::{Busy, Halves};
use super::oracle::Window;
use super::table::{KEY, TABLE};

pub const SEAL_INTERVAL: Duration = Duration::from_secs(30);
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
const HALVES_INTERVAL: Duration = Duration::from_millis(500);

/// What dashboards show: so many items of so many locations, of the last minute.
const N_BUSIEST: usize = 3;
const N_ITEMS: usize = 5;
const MINUTE_S: i64 = 60;

/// Refreshes a dashboard: the busiest locations of the last minute, and what was seen there.
pub(super) async fn refresh(client: Client, shared: Arc<Shared>, stop: CancellationToken) -> Result<()> {
    let mut ticks = interval(REFRESH_INTERVAL);
    // A refresh that takes longer than its interval is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let to_s = shared.now_us().div_euclid(1_000_000) + 1;
        let window = Window { from_s: to_s - MINUTE_S, to_s };
        let mut shown = Vec::new();
        for (location, n_rows) in timed(&client, &shared, &busiest(window, N_BUSIEST)?).await? {
            let items = timed(&client, &shared, &top_items(&location, window, N_ITEMS)?).await?;
            shown.push(Busy { location, n_rows, items });
        }
        shared.figures.lock().busiest = shown;
    }
    Ok(())
}

async fn timed(client: &Client, shared: &Shared, sql: &str) -> Result<Vec<(String, u64)>> {
    let asked = Instant::now();
    let answer = counts(client, sql).await?;
    shared.figures.lock().queries.record(asked.elapsed());
    Ok(answer)
}

/// Asks for one row after the other until it is there.
pub(super) async fn wait_for_rows(
    client: Client,
    shared: Arc<Shared>,
    mut watched: mpsc::Receiver<Watched>,
    stop: CancellationToken,
) -> Result<()> {
    while let Some(Some((key, due))) = stop.run_until_cancelled(watched.recv()).await {
        let sql = format!("SELECT count(*) FROM {TABLE} WHERE {KEY} = {key}");
        // What is not there when all was answered is found missing by the checks that follow.
        while one_row(&client, &sql).await? != [Some(1)] && !stop.is_cancelled() {}
        if !stop.is_cancelled() {
            shared.figures.lock().freshness.record_at_pace(due.elapsed(), WATCH_INTERVAL);
        }
        // A row that waited for this one to be seen would seem to have come late.
        while watched.try_recv().is_ok() {}
    }
    Ok(())
}

/// Looks where the rows are, and how much memory this process has.
pub(super) async fn look(client: Client, shared: Arc<Shared>, stop: CancellationToken) -> Result<()> {
    let mut ticks = interval(HALVES_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let halves = halves(&client).await?;
        let mut figures = shared.figures.lock();
        figures.halves = halves;
        figures.memory_bytes = resident_bytes();
    }
    Ok(())
}

pub(super) async fn halves(client: &Client) -> Result<Halves> {
    let sql = format!(
        "SELECT realtime_rows, built_rows, sealed_rows, delta_version FROM system.tables \
         WHERE schema = 'public' AND name = '{TABLE}'"
    );
    let row = one_row(client, &sql).await?;
    let [realtime, built, sealed, delta_version] = row[..] else { anyhow::bail!("four columns were expected: {sql}") };
    let rows = |n: Option<i64>| n.unwrap_or_default().unsigned_abs();
    Ok(Halves { realtime: rows(realtime), built: rows(built), sealed: rows(sealed), delta_version })
}

/// Seals the table again and again. A seal that has begun when the end comes is waited for.
pub(super) async fn seal_often(client: Client, every: Duration, stop: CancellationToken) -> Result<()> {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        seal(&client).await?;
    }
    Ok(())
}

/// Returns when all acknowledged rows are in the Delta table.
pub(super) async fn seal(client: &Client) -> Result<()> {
    rows(client, &format!("CALL seal('{TABLE}')")).await.context("the table cannot be sealed")?;
    Ok(())
}

/// Of this process, from `/proc`; 0 where there is no such file.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}
