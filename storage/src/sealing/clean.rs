//! Which files belong to nothing? Those whose names are on record: of builds that did not end, of what left the table. No folder is listed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use object_store::ObjectStoreExt;

use crate::error::{Error, Result};
use crate::ids::SHARD_ZERO;
use crate::limits::REMOVED_FILE_TTL_S;
use crate::log::{Family, state_key, state_prefix};
use crate::publishing::recorded_intent;
use crate::sealed::{may_have_sidecar, remove_local, sidecar_of, store_error};
use crate::table::{NameKind, Shared, Table, cleaned, recorded_names};

/// Deletes what nobody can need any more, and its record. Waits for no commit that is on its way: while the store is away, built files
/// are cleaned all the same, and builds go on.
pub(crate) async fn clean(table: &Table) -> Result<()> {
    let shared = Arc::clone(&table.shared);
    if shared.is_closing() {
        return Ok(());
    }
    let mut gone = Vec::new();
    {
        // No build is about to take over one of these names. Streams and key jobs may: they hold their files until theirs are gone.
        let _building = shared.building.lock().await;
        for (name, kind) in recorded_names(&shared.store, shared.def.id)? {
            if kind == NameKind::Built && remove_built(&shared, &name)? {
                gone.push(name);
            }
        }
    }
    // A folder that is an older copy may know a name as nothing's that is in its Delta table since.
    if shared.log_is_checked.load(Ordering::Acquire)
        && let Ok(_publishing) = shared.publishing.try_lock()
    {
        gone.extend(clean_published(&shared).await?);
    }
    if gone.is_empty() {
        return Ok(());
    }
    shared.log.commit(cleaned(shared.def.id, &gone)).await
}

/// Files that may be in the Delta folder. The caller holds `publishing`. Ends with the first that the store does not delete.
async fn clean_published(shared: &Arc<Shared>) -> Result<Vec<String>> {
    // What it brings may be in the table already, and nobody knows.
    let is_sent = recorded_intent(shared)?.is_some();
    let mut gone = Vec::new();
    for (name, kind) in recorded_names(&shared.store, shared.def.id)? {
        let is_due = match kind {
            NameKind::Built => false,
            NameKind::Anywhere => !is_sent && remove_built(shared, &name)?,
            NameKind::Removed(at) => at.is_older_than(REMOVED_FILE_TTL_S, shared.now()),
        };
        if !is_due {
            continue;
        }
        if !remove_published(shared, &name).await? {
            break;
        }
        gone.push(name);
    }
    Ok(gone)
}

/// Whether the file is not there any more. A reader that is slower keeps it: it goes with the reader.
fn remove_built(shared: &Shared, name: &str) -> Result<bool> {
    if shared.is_built_file_held(name) {
        return Ok(false);
    }
    // Whoever held it let it go when its name's record was gone: it belongs to the table since the names were read.
    let mut key = state_prefix(state_key::NAME, shared.def.id, SHARD_ZERO);
    key.extend(name.as_bytes());
    if shared.store.get(Family::State, &key)?.is_none() {
        return Ok(false);
    }
    let path = shared.folders.built_path(name);
    match remove_local(&path) {
        Err(e) => {
            tracing::warn!(path = %path.display(), reason = %e, "a file that belongs to nothing stays on disk");
            Ok(false)
        }
        Ok(()) => Ok(true),
    }
}

/// Whether the object is not there any more, nor its sidecar. One that is in the table stays, and needs no record.
async fn remove_published(shared: &Shared, name: &str) -> Result<bool> {
    let mut key = state_prefix(state_key::PUBLISHED, shared.def.id, SHARD_ZERO);
    key.extend(name.as_bytes());
    if shared.store.get(Family::State, &key)?.is_some() {
        return Ok(true);
    }
    let sidecar = (shared.spec.is_some() && may_have_sidecar(name)).then(|| sidecar_of(name));
    for object in sidecar.as_deref().into_iter().chain([name]) {
        match shared.folders.tables().store.delete(&shared.folders.published_path(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => {
                let e: Error = store_error("a file that left the table cannot be deleted", e);
                tracing::warn!(name = object, reason = %e, "it is tried again later");
                return Ok(false);
            }
        }
    }
    Ok(true)
}
