//! What do other engines need of the Delta log, and is it there? A checkpoint every hundred commits, whoever made them, and what follows it.

use super::checksum::check_is_there;
use super::commit::app_id;
use super::log_end::check_before;
use super::settle::delta_table;
use crate::error::Result;
use crate::sealed::{DeltaTable, Expected};
use crate::table::{Shared, Table};

/// Older commits and checkpoints are removed, once a checkpoint that was read back makes them needless.
const LOG_TTL_US: i64 = 30 * 24 * 3600 * 1_000_000;

/// A checkpoint every so many commits.
const CHECKPOINT_COMMITS: u64 = 100;

/// Makes one if it is time. A failure is told and tried again at the next commit: readers need none. The caller holds `publishing`.
pub(crate) async fn checkpoint(table: &Table, delta: &DeltaTable) {
    let shared = &table.shared;
    let Some(settled) = shared.sealing.lock().settled else { return };
    let last = settled.checkpoint.max(*shared.checkpointed.lock()).unwrap_or(0);
    if settled.version < last + CHECKPOINT_COMMITS {
        return;
    }
    let app_id = app_id(shared);
    let n_files = shared.sealing.lock().n_published;
    let expected = Expected { n_files, txn: (app_id, settled.through) };
    match delta.checkpoint(settled.version, &expected).await {
        Ok(()) => {
            *shared.checkpointed.lock() = Some(settled.version);
            clean_log(table, delta, settled.first_version, settled.version).await;
        }
        Err(e) => {
            tracing::warn!(table_id = %shared.def.id, version = settled.version, reason = %e, "a checkpoint could not be made");
        }
    }
}

/// Whether the log has all that readers of the last settled version need, for the scrubber. `None`: nobody could look.
pub(crate) async fn test_log(table: &Table) -> Result<Option<bool>> {
    let shared = &table.shared;
    // Who holds it may wait for the store as long as it takes.
    let Ok(_publishing) = shared.publishing.try_lock() else { return Ok(None) };
    let is_whole = note_log(shared, &delta_table(shared)?).await?;
    if is_whole {
        // A disk that has gone may still know the names.
        check_is_there(shared).await?;
    }
    Ok(Some(is_whole))
}

/// The same. What is missing is told from here on, until it is there again. `STORE_UNAVAILABLE`: even the last version is, as where a file
/// system is not mounted, and nobody deleted single files. The caller holds `publishing`: nobody removes what is old meanwhile.
pub(super) async fn note_log(shared: &Shared, delta: &DeltaTable) -> Result<bool> {
    let Some(settled) = shared.sealing.lock().settled else { return Ok(true) };
    let missing = delta.missing(settled.version).await?;
    let is_whole = missing.is_empty();
    if !is_whole {
        check_before(shared, delta, settled.version + 1).await?;
    }
    let (news, was_whole) = shared.quarantine.note_log(missing, shared.env.clock.now_us());
    let version = shared.version.load_full();
    let table = version.def.name.as_str();
    if !news.is_empty() {
        metrics::counter!("tidewater_damaged_files_total").increment(news.len() as u64);
        let files = news.join(", ");
        tracing::error!(table_id = %shared.def.id, table, files, "the Delta log lacks files: other engines fail until they are restored");
    } else if is_whole && !was_whole {
        tracing::info!(table_id = %shared.def.id, table, "the Delta log has all that other engines need again");
    }
    Ok(is_whole)
}

/// A failure is told: what stays is looked for again after the next checkpoint.
async fn clean_log(table: &Table, delta: &DeltaTable, first: u64, version: u64) {
    let shared = &table.shared;
    let first = (*shared.first_version.lock()).unwrap_or(first);
    match delta.clean_log(first, version, shared.env.clock.now_us().saturating_sub(LOG_TTL_US)).await {
        Ok(first) => *shared.first_version.lock() = Some(first),
        Err(e) => {
            tracing::warn!(table_id = %shared.def.id, first, reason = %e, "old commits stay in the Delta log");
        }
    }
}
