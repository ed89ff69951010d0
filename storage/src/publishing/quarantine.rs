//! What becomes of a file that is found damaged, or whole again? Readers are told at once, the folder right after, and people as well.

use std::collections::HashSet;
use std::sync::Arc;

use super::checksum::{Tested, test_file};
use crate::error::{Error, Result};
use crate::sealed::FileRef;
use crate::table::{Damage, Shared, Table, Write, damaged, not_damaged};

/// Puts a file of the table on record as damaged. One that is not in the table any more needs none. `reason` is for people.
async fn quarantine(shared: &Shared, name: &str, reason: &str) -> Result<()> {
    let _recording = shared.quarantine.recording.lock().await;
    let version = shared.version.load_full();
    let Some(file) = version.files.refs().iter().find(|file| file.file.name == name) else { return Ok(()) };
    let damage = Damage { reason: reason.to_owned(), found_at_us: shared.env.clock.now_us() };
    let is_news = shared.quarantine.add(name, damage);
    let (table, rows) = (version.def.name.as_str(), file.live_rows());
    let path: &str = file.place.path.as_ref();
    if is_news {
        metrics::counter!("tidewater_damaged_files_total").increment(1);
        tracing::error!(table_id = %shared.def.id, table, path, rows, reason, "a file is damaged: queries that need it fail until it is restored");
    }
    let Some(damage) = shared.quarantine.unrecorded(name) else { return Ok(()) };
    if !shared.gate.has_space(Write::Freeing) {
        if is_news {
            // It goes on record when it is found again.
            tracing::warn!(table_id = %shared.def.id, table, path, "there is no space to put a damaged file on record");
        }
        return Ok(());
    }
    shared.log.commit(damaged(shared.def.id, name, &damage)).await?;
    shared.quarantine.note_recorded(name);
    Ok(())
}

/// Tests that of `files` which an error names with the key `file`: what was read may have been a copy of it, or more may be wrong than its
/// bytes. `None`: the error is about none of them.
pub(crate) async fn look_closer(shared: &Arc<Shared>, files: &[FileRef], error: &Error) -> Result<Option<Tested>> {
    let Some((_, name)) = error.metadata().iter().find(|(key, _)| *key == "file") else { return Ok(None) };
    let Some(file) = files.iter().find(|file| file.file.name == *name) else { return Ok(None) };
    let tested = test_file(shared, file, None).await?;
    note_tested(shared, file, &tested).await?;
    Ok(Some(tested))
}

/// Notes what came of a test: the file is damaged, or it is not, whatever was on record. An error: the log cannot be written, and the server
/// ends.
pub(crate) async fn note_tested(shared: &Shared, file: &FileRef, tested: &Tested) -> Result<()> {
    let name = &file.file.name;
    match tested {
        Tested::Damaged(reason) => quarantine(shared, name, reason).await,
        Tested::Whole => {
            let _recording = shared.quarantine.recording.lock().await;
            if shared.quarantine.has(name) {
                // Readers get it back when the folder knows: it stays damaged here as long as it is on record.
                shared.log.commit(not_damaged(shared.def.id, std::slice::from_ref(name))).await?;
            }
            if shared.quarantine.lift(name) {
                // What waited for it goes on.
                *shared.failed_publish.lock() = None;
                let version = shared.version.load_full();
                let path: &str = file.place.path.as_ref();
                tracing::info!(table_id = %shared.def.id, table = version.def.name, path, "a damaged file is whole again");
            }
            Ok(())
        }
    }
}

/// A suspect that could not be tested: the path in its store, and why.
pub(crate) type Untested = (String, Error);

/// Tests what readers of the table stumbled over, and forgets what is not in it any more. As fast as possible: somebody's query failed. One
/// that is being tested already is waited for: what readers met before the call is on record when this returns.
///
/// Those that cannot be tested stay suspects, and are tested again when somebody stumbles over them, or asks for it: `again`. An error: what was
/// found could not be put on record.
pub(crate) async fn test_suspects(table: &Table, again: bool) -> Result<Vec<Untested>> {
    let shared = &table.shared;
    let _testing = shared.quarantine.testing.lock().await;
    let suspects = shared.quarantine.take_suspects(again);
    let mut untested = Vec::new();
    if !suspects.is_empty() {
        let is_suspect = |file: &&FileRef| suspects.contains(&file.file.name);
        // Not the snapshot, which holds fresh rows as well.
        let files: Vec<FileRef> = table.snapshot().files().iter().filter(is_suspect).cloned().collect();
        for file in files {
            match test_file(shared, &file, None).await {
                Ok(tested) => note_tested(shared, &file, &tested).await?,
                Err(e) => {
                    let path = file.place.path.to_string();
                    if shared.quarantine.note_untested(&file.file.name, e.code()) && !shared.is_closing() {
                        tracing::warn!(table_id = %shared.def.id, path, reason = %e, "a file that could not be read is not tested");
                    }
                    untested.push((path, e));
                }
            }
        }
    }
    forget_gone(shared).await?;
    Ok(untested)
}

/// Forgets damaged files that are not in the table any more.
pub(crate) async fn forget_gone(shared: &Shared) -> Result<()> {
    if shared.quarantine.is_empty() {
        return Ok(());
    }
    let _recording = shared.quarantine.recording.lock().await;
    let version = shared.version.load_full();
    let there: HashSet<&str> = version.files.refs().iter().map(|file| file.file.name.as_str()).collect();
    let gone = shared.quarantine.retain(|name| there.contains(name));
    if gone.is_empty() {
        return Ok(());
    }
    shared.log.commit(not_damaged(shared.def.id, &gone)).await
}
