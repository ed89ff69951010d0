//! How do files leave that are past their table's retention? Whole, by one commit that removes them; what reads them keeps them until then.

use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::publishing::{Draft, checkpoint, decide, delta_table, settle, settle_recorded};
use crate::table::{PublishedFile, Shared, Table, TableRequest, event_times, past_before};

/// Files that leave with one commit; the rest leaves with the next.
const MAX_FILES: usize = 1000;

/// Removes published files whose every row is past the retention, until there are none. Returns how many went. Runs to its end whether or
/// not the caller waits.
pub(crate) async fn expire(table: &Table) -> Result<u64> {
    let table = table.clone();
    let task = tokio::spawn(async move { expire_all(&table).await });
    task.await.unwrap_or_else(|e| Err(Error::ended_early("the removal of files past their retention", &e)))
}

async fn expire_all(table: &Table) -> Result<u64> {
    let shared = Arc::clone(&table.shared);
    let _one = shared.compacting.lock().await;
    let mut n_gone = 0;
    loop {
        let Past { files: past, retention_us } = past_files(table).await?;
        if past.is_empty() {
            return Ok(n_gone);
        }
        let id = shared.jobs.lock().add("retention", "age");
        shared.jobs.lock().begin(id, shared.env.clock.now_us());
        let outcome = remove(table, &past, retention_us).await;
        let now_us = shared.env.clock.now_us();
        shared.jobs.lock().end(id, now_us, outcome.as_ref().err().map(ToString::to_string));
        match outcome {
            Ok(()) => n_gone += past.len() as u64,
            // Rows of one were deleted meanwhile, or all are kept for longer: it goes the next time, if it still does.
            Err(e) if e.code() == Code::BuildOvertaken => return Ok(n_gone),
            Err(e) => return Err(e),
        }
    }
}

/// Files whose every row is past this retention.
struct Past {
    files: Vec<PublishedFile>,
    retention_us: Option<i64>,
}

/// Files that go now, the first of them.
async fn past_files(table: &Table) -> Result<Past> {
    let shared = &table.shared;
    let snapshot = table.snapshot();
    let def = Arc::clone(snapshot.def());
    let none = Past { files: Vec::new(), retention_us: def.options.retention_us };
    let (Some(retention_us), Some(cut)) = (none.retention_us, snapshot.retention_cut(shared.env.clock.now_us())) else {
        return Ok(none);
    };
    let max_time = |file: &PublishedFile| event_times(&file.file, &def).map(|(_, last)| last);
    // By the wall clock: mostly there are none.
    let published = snapshot.files().iter().filter(|file| file.place.is_published);
    let past = published.filter(|file| snapshot.event_times(file).is_some_and(|(_, last)| last < cut));
    let names: Vec<String> = past.map(|file| file.file.name.clone()).collect();
    if names.is_empty() {
        return Ok(none);
    }
    let found = table.ask(|answer| TableRequest::LookUpPublished { names, answer }).await?;
    let now = shared.now();
    let is_past = |file: &PublishedFile| match (max_time(file), file.since) {
        (Some(last), Some(since)) => past_before(since, now, retention_us).is_some_and(|cut| last < cut),
        _ => false,
    };
    Ok(Past { files: found.into_iter().filter(is_past).take(MAX_FILES).collect(), ..none })
}

/// `retention_us` is what they are past. `BUILD_OVERTAKEN`: one was changed meanwhile, or the table keeps rows for longer now.
async fn remove(table: &Table, past: &[PublishedFile], retention_us: Option<i64>) -> Result<()> {
    let shared: &Shared = &table.shared;
    let _one = shared.publishing.lock().await;
    let delta = delta_table(shared)?;
    settle_recorded(table, &delta).await?;
    let settled = shared.sealing.lock().settled;
    let from = settled.ok_or_else(|| Error::internal("files of no version are past their retention"))?;
    let def = table.def();
    let draft = Draft {
        operation: "DELETE",
        from: Some(from),
        through: from.through(),
        def: &def,
        adds: &[],
        removes: past.iter().collect(),
        data_change: true,
    };
    let intent = draft.intent(shared)?;
    let decided = Box::new(intent.clone());
    let files = past.iter().map(|file| (file.file.name.clone(), file.n_deleted())).collect();
    decide(table, |answer| TableRequest::Leave { files, retention_us, intent: decided, answer }).await?;
    shared.env.fail.hit("retention.decided")?;
    let n_files = past.len();
    tracing::info!(table_id = %shared.def.id, table = %def.name, n_files, "files leave that are past their retention");
    settle(table, &delta, intent).await?;
    checkpoint(table, &delta).await;
    Ok(())
}
