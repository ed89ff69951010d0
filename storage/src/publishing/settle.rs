//! How does a commit become part of the table? It is sent until something stands at its version, and only that says what became of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::bring::unless_stopped;
use super::commit::{app_id, app_ids_of_table};
use super::log_end::{TAKEN_OVER_BY, check_before, check_log_end, stop_if_taken_over, taken_over};
use crate::error::{Code, Error, Result};
use crate::ids::SHARD_ZERO;
use crate::log::{Family, state_key, state_prefix};
use crate::sealed::{DeltaTable, Put, Winner};
use crate::table::{Intent, PublishOutcome, PublishedFile, Shared, Table, TableRequest, sync};

/// Between attempts to send a commit whose outcome is unknown.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The table's Delta table. Nothing is read.
pub(crate) fn delta_table(shared: &Shared) -> Result<DeltaTable> {
    let folders = &shared.folders;
    let delta = DeltaTable::new(Arc::clone(&folders.tables().store), folders.published(), &folders.location())?;
    Ok(delta.with_fail_points(&shared.env.fail))
}

/// The commit whose outcome is not settled yet.
pub(crate) fn recorded_intent(shared: &Shared) -> Result<Option<Intent>> {
    let key = state_prefix(state_key::INTENT, shared.def.id, SHARD_ZERO);
    shared.store.get(Family::State, &key)?.map(|record| Intent::from_disk(&record)).transpose()
}

/// What an earlier process, or attempt, left open comes before anything new; first of all, whether the log knows of all that it committed,
/// and whether that is still there. `DELTA_CONFLICT` closes the table if it is another folder's now. The caller holds `publishing`.
pub(crate) async fn settle_recorded(table: &Table, delta: &DeltaTable) -> Result<()> {
    // What closed it is said again, and not what became of that.
    if let Some(stopped) = table.shared.stopped() {
        return Err(stopped);
    }
    let outcome = settle_open(table, delta).await;
    outcome.inspect_err(|e| stop_if_taken_over(&table.shared, e))
}

async fn settle_open(table: &Table, delta: &DeltaTable) -> Result<()> {
    check_log_end(&table.shared, delta).await?;
    let next = table.shared.sealing.lock().settled.map_or(0, |settled| settled.version + 1);
    check_before(&table.shared, delta, next).await?;
    match recorded_intent(&table.shared)? {
        Some(intent) => settle_intent(table, delta, intent).await,
        None => Ok(()),
    }
}

/// Asks the worker to put a commit on record that is to be sent; `BUILD_OVERTAKEN` if it may not be. The caller holds `publishing`: nobody
/// cleans by what is on record, nor plans another commit, until the log has told whether this one is.
pub(crate) async fn decide(
    table: &Table,
    request: impl FnOnce(oneshot::Sender<Result<()>>) -> TableRequest,
) -> Result<()> {
    let decided = table.ask(request).await;
    if decided.as_ref().is_err_and(|e| e.code() != Code::BuildOvertaken) {
        // The worker failed before it answered. What it handed to the log is written before this; a log that fails is said by the worker.
        drop(table.shared.log.commit(sync()).await);
    }
    decided
}

/// Sends a recorded commit until something stands at its version, then makes it part of the table. `DELTA_CONFLICT` closes the table if it is
/// another folder's now. The caller holds `publishing`.
pub(crate) async fn settle(table: &Table, delta: &DeltaTable, intent: Intent) -> Result<()> {
    let outcome = settle_intent(table, delta, intent).await;
    outcome.inspect_err(|e| stop_if_taken_over(&table.shared, e))
}

async fn settle_intent(table: &Table, delta: &DeltaTable, mut intent: Intent) -> Result<()> {
    let shared = &table.shared;
    let mut wait = FIRST_WAIT;
    loop {
        if shared.stopping.load(Ordering::Relaxed) {
            return Err(Error::new(Code::ShuttingDown, "a commit is on its way; it is settled after the next start"));
        }
        match attempt(shared, delta, &intent).await {
            Ok(None) => break,
            Ok(Some(other)) => {
                check_other(shared, &intent, &other)?;
                intent = rebased(intent)?;
                shared.log.commit(crate::table::intent(shared.def.id, &intent)).await?;
            }
            Err(e) if matches!(e.code(), Code::DeltaDamaged | Code::DeltaConflict) => return Err(e),
            Err(e) => {
                tracing::warn!(table_id = %shared.def.id, version = intent.after.version, reason = %e, "a commit is sent again");
                shared.jobs.lock().note_store(Some(&e.to_string()));
                // What it says is said above.
                drop(unless_stopped(&shared.stopping, tokio::time::sleep(wait)).await);
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
    shared.jobs.lock().note_store(None);
    shared.env.fail.hit("publish.settled")?;
    let published = intent.published_files()?;
    let (n_files, n_removed, version) = (published.len(), intent.removed.len(), intent.after.version);
    let outcome = PublishOutcome { after: intent.after, published, removed: intent.removed };
    table.ask(|answer| TableRequest::Published { outcome, answer }).await?;
    tracing::info!(table_id = %shared.def.id, table = %table.def().name, version, n_files, n_removed, "a commit of the Delta table is settled");
    Ok(())
}

/// Sends a commit once. `None`: it stands at its version; an error: nobody knows.
pub(crate) async fn attempt(shared: &Shared, delta: &DeltaTable, intent: &Intent) -> Result<Option<Winner>> {
    let version = intent.after.version;
    shared.env.fail.hit("publish.before_send")?;
    // As long as it takes: a file system may go, or another folder take the table over, meanwhile.
    check_before(shared, delta, version).await?;
    let put = delta.put(version, intent.bytes.clone().into()).await;
    shared.env.fail.hit("publish.after_send")?;
    if matches!(put, Ok(Put::Written)) {
        return Ok(None);
    }
    // It is there, or nobody knows: what stands there decides.
    match delta.read(version).await? {
        Some(winner) if winner.commit_id.as_deref() == Some(&intent.commit_id.to_string()) => Ok(None),
        Some(winner) => Ok(Some(winner)),
        None => Err(match put {
            Err(e) => e,
            Ok(_) => Error::internal(format!("version {version} was there, and is not")),
        }),
    }
}

/// Another's commit stands where ours should be. After one that touches what is ours nothing is sealed: nothing that follows would be true.
/// One of a log of ours says that the table goes on there.
fn check_other(shared: &Shared, intent: &Intent, other: &Winner) -> Result<()> {
    let ours = app_ids_of_table(shared);
    let own = app_id(shared);
    if other.txns.iter().any(|(id, _)| *id == own) {
        return Err(Error::new(
            Code::DeltaConflict,
            format!(
                "version {} of {}: another server commits as this one",
                intent.after.version,
                shared.folders.location()
            ),
        )
        .hint(
            "two servers run over copies of one data folder: stop the one that is not wanted; rows that were acknowledged here and not \
             sealed are in this folder alone",
        )
        .with(TAKEN_OVER_BY, shared.log_id.0));
    }
    if let Some(by) = other.txns.iter().find_map(|(id, _)| id.strip_prefix(ours.as_str())) {
        return Err(taken_over(shared, by));
    }
    let conflict = if other.changes_metadata || other.changes_protocol {
        Some("somebody else changed the table's schema or protocol")
    } else if !other.removed.is_empty() {
        Some("somebody else removed files of the table")
    } else {
        None
    };
    match conflict {
        None => Ok(()),
        Some(conflict) => Err(Error::new(
            Code::DeltaConflict,
            format!("version {} of {}: {conflict}", intent.after.version, shared.folders.location()),
        )
        .hint("the rows are safe and queries go on; find out who writes to the folder before anything else is sealed")),
    }
}

/// The same commit, one version later.
fn rebased(mut intent: Intent) -> Result<Intent> {
    let before = intent.after.version;
    intent.after.version += 1;
    let mut files = intent.published_files()?;
    files.iter_mut().filter(|file| file.version == before).for_each(|file| file.version += 1);
    intent.published = files.iter().map(PublishedFile::to_disk).collect();
    Ok(intent)
}
