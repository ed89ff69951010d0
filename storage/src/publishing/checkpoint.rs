//! When does the Delta log get a checkpoint? Every hundred commits, whoever made them.

use super::commit::app_id;
use crate::sealed::{DeltaTable, Expected};
use crate::table::Table;

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
