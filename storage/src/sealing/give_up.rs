//! What becomes of a damaged file of which there is no copy? Somebody gives it up: its rows are deleted without being read, and all goes on.

use std::time::Duration;

use roaring::RoaringBitmap;
use tokio::sync::MutexGuard;

use crate::error::{Code, Error, Result};
use crate::publishing::{Tested, delta_table, forget_gone, note_tested, settle_recorded, test_file, test_suspects};
use crate::sealed::FileRef;
use crate::table::{Table, TableRequest};

/// How long a commit of the Delta table that is on its way is waited for.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// A damaged file, and what came of giving it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Its path in its store, as `system.segments` has it.
    pub file: String,
    /// Rows that were in the table until now and are counted as deleted. 0: the file stays as it is, and `reason` says why.
    pub rows: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Table {
    /// Deletes all rows of the files that are on record as damaged, file by file, without reading them. Those that readers could not read are
    /// tested first, and all are once more: one that is whole again goes on, and one that cannot be tested stays as it is and is told. Keys
    /// of the rows stay remembered, queries do not need the files any more, and the next publish leaves them out of the Delta table. Their
    /// records go with them. No rows if nothing is damaged. After an error the files before that one are given up. Nothing is published
    /// meanwhile. Runs to its end whether or not the caller waits.
    ///
    /// `FILE_LEAVING`: a commit is on its way, and nobody knows yet which files it leaves; `STORE_UNAVAILABLE`: the Delta table cannot be
    /// asked, or its last commit is not there, as when its file system is not mounted.
    pub async fn give_up(&self) -> Result<Vec<GivenUp>> {
        let table = self.clone();
        let task = tokio::spawn(async move { give_up_all(&table).await });
        task.await.unwrap_or_else(|e| Err(Error::ended_early("the giving up of damaged files", &e)))
    }
}

async fn give_up_all(table: &Table) -> Result<Vec<GivenUp>> {
    let shared = &table.shared;
    if shared.is_closing() {
        return Err(shared.closed());
    }
    // A query that has just failed named its file, which may not be on record yet.
    let untested = test_suspects(table, true).await?;
    if shared.is_closing() {
        return Err(shared.closed());
    }
    let told = |(path, e): (String, Error)| stays(path, &format!("it could not be tested, and stays as it is: {e}"));
    let mut all: Vec<GivenUp> = untested.into_iter().map(told).collect();
    if shared.quarantine.all().is_empty() {
        return Ok(all);
    }
    let held = tokio::time::timeout(SETTLE_WAIT, settled(table)).await;
    let _publishing = held.unwrap_or_else(|_| {
        let why = "a commit of the Delta table is on its way: nobody knows yet which files it leaves";
        Err(Error::new(Code::FileLeaving, why).hint("give damaged files up when it is settled"))
    })?;
    let is_damaged = |file: &&FileRef| file.live_rows() > 0 && shared.quarantine.has(&file.file.name);
    // Not the snapshot, which holds fresh rows as well.
    let damaged: Vec<FileRef> = table.snapshot().files().iter().filter(is_damaged).cloned().collect();
    for file in damaged {
        all.extend(give_up(table, &file).await?);
    }
    forget_gone(shared).await?;
    Ok(all)
}

/// Nothing is on its way to the Delta table, or out of it, as long as this is held. A commit may have brought a file whole to its store
/// before the built one was damaged, or have read its rows; and files that are all missing may be on a disk that is not mounted.
async fn settled(table: &Table) -> Result<MutexGuard<'_, ()>> {
    let publishing = table.shared.publishing.lock().await;
    settle_recorded(table, &delta_table(&table.shared)?).await?;
    Ok(publishing)
}

fn stays(file: String, reason: &str) -> GivenUp {
    GivenUp { file, rows: 0, reason: reason.to_owned() }
}

/// `None`: the file is whole again, or left the table meanwhile.
async fn give_up(table: &Table, file: &FileRef) -> Result<Option<GivenUp>> {
    let shared = &table.shared;
    let path = file.place.path.to_string();
    let reason = match test_file(shared, file, None).await {
        Ok(Tested::Damaged(reason)) => reason,
        Ok(Tested::Whole) => {
            note_tested(shared, file, &Tested::Whole).await?;
            return Ok(None);
        }
        Err(e) if e.code() == Code::ShuttingDown => return Err(e),
        // It may be whole.
        Err(e) => return Ok(Some(stays(path, &format!("it could not be tested again, and stays as it is: {e}")))),
    };
    let rows = vec![(file.file.name.clone(), all_rows(file))];
    let rows = match table.ask(|answer| TableRequest::Delete { rows, answer }).await {
        Ok((n_rows, _)) => n_rows,
        Err(e) if e.code() == Code::DeleteConflict => return Ok(None),
        Err(e) => return Err(e),
    };
    if rows == 0 {
        return Ok(None);
    }
    let (table_id, table) = (shared.def.id, table.def().name.clone());
    tracing::warn!(%table_id, table, path, rows, reason, "a damaged file was given up: its rows are deleted");
    // What waited for the file goes on.
    *shared.failed_publish.lock() = None;
    Ok(Some(GivenUp { file: path, rows, reason }))
}

/// Those that are deleted already among them.
fn all_rows(file: &FileRef) -> RoaringBitmap {
    let mut rows = RoaringBitmap::new();
    rows.insert_range(0..u32::try_from(file.file.rows).unwrap_or(u32::MAX));
    rows
}
