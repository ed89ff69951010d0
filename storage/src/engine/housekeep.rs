//! What does an engine do by itself? Soon after the start and then hourly it rolls ledgers up, lets what was dropped long ago go, and
//! gives back the space that it held. What somebody wants to be gone goes at once, by the same steps.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;

use super::alter::not_found;
use super::{Engine, to_its_end};
use crate::attaching::parts_of;
use crate::catalog::{TableDef, dropped_from_disk};
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{SHARD_ZERO, TableId, array};
use crate::limits::DROPPED_TABLE_TTL_S;
use crate::log::{Family, TABLE_STATE, after_prefix, log_prefix, meta_key, state_prefix};
use crate::publishing::{delta_table, is_taken_over};
use crate::sealed::store_error;
use crate::table::{Quarantine, Shared, Table, Write, drop_table, purge_table, reclaimed, uptime};

/// How often ledgers are rolled up and rejected rows forgotten.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The first time is soon after the start: a server may be started often and never run for an hour.
const FIRST: Duration = Duration::from_secs(10);

/// How often it is looked whether the last who reads a table that is to go has ended.
const READERS_INTERVAL: Duration = Duration::from_millis(50);

/// When a table was dropped that is not to come back: its files go as soon as nobody reads them, in the next process too. Releases that do
/// not know it take it for a drop of long ago.
pub(super) const PURGED: Moment = Moment { wall_us: i64::MIN, uptime_us: 0 };

/// Who may read the files of a table that was dropped. Each of its versions, and each scan, holds what is known of its damaged files.
pub(super) struct Readers {
    table: TableId,
    shared: Weak<Shared>,
    held: Weak<Quarantine>,
}

impl Readers {
    fn are_there(&self) -> bool {
        let Some(shared) = self.shared.upgrade() else { return self.held.strong_count() > 0 };
        let works = *shared.running.borrow()
            || shared.is_publishing()
            || shared.building.try_lock().is_err()
            || shared.compacting.try_lock().is_err();
        let last = shared.version.load_full();
        // Its last version is held here and by the table, what is damaged by both of them: whoever holds only the table reads nothing.
        works || Arc::strong_count(&last) > 2 || self.held.strong_count() > 2
    }
}

/// Runs until the engine has gone.
pub(super) async fn housekeep(engine: Weak<Engine>) {
    // Not at once: the engine that this holds weakly is still being made.
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST, INTERVAL);
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        for table in engine.tables() {
            table.housekeep().await;
        }
        if let Err(e) = engine.purge_dropped().await {
            tracing::warn!(reason = %e, "dropped tables stay on disk");
        }
        metrics::counter!("tidewater_housekeeping_runs_total").increment(1);
    }
}

impl Engine {
    /// Free bytes on the data folder's file system; `None` if it does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        self.parts.gate.free_bytes().ok()
    }

    /// Bytes that files may take that are built and not published, of all tables.
    pub fn max_unpublished_bytes(&self) -> u64 {
        self.parts.gate.max_unpublished_bytes
    }

    /// Removes what was dropped long ago by both clocks, and notes the uptime that this is measured by.
    pub(super) async fn purge_dropped(&self) -> Result<()> {
        let now = self.now();
        if self.parts.gate.has_space(Write::Small) {
            self.log.commit(uptime(now.uptime_us)).await?;
        }
        let dropped: Vec<_> = self.parts.store.scan(Family::Meta, &[meta_key::DROPPED])?.collect::<Result<_>>()?;
        for (_, record) in dropped {
            let (def, dropped_at) = match dropped_from_disk(&record) {
                Ok(dropped) => dropped,
                Err(e) => {
                    tracing::warn!(reason = %e, "a dropped table stays on disk");
                    continue;
                }
            };
            let is_due = match dropped_at {
                PURGED => !self.is_read(def.id),
                _ => dropped_at.is_older_than(DROPPED_TABLE_TTL_S, now),
            };
            // Its records stay with its files.
            if is_due && let Err(e) = self.purge(&def).await {
                tracing::warn!(table_id = %def.id, table = def.name, reason = %e, "files of a dropped table stay");
            }
        }
        self.give_space_back().await
    }

    /// Removes all that was dropped under this name, because of DROP or because another took its place, before its seven days are over.
    /// Returns their ids. From the beginning on nothing of it comes back; its files go when the last who reads them has ended, which is
    /// waited for. What is left when the caller goes, or the process ends, housekeeping removes. `TABLE_NOT_FOUND` if there is nothing.
    pub async fn purge_table(self: &Arc<Self>, schema: &str, name: &str) -> Result<Vec<TableId>> {
        let mut purged = Vec::new();
        for def in self.doom(schema, name).await? {
            let id = def.id;
            while self.is_read(id) {
                tokio::time::sleep(READERS_INTERVAL).await;
            }
            let engine = Arc::clone(self);
            to_its_end(async move { engine.purge(&def).await }).await?;
            purged.push(id);
        }
        let engine = Arc::clone(self);
        to_its_end(async move { engine.give_space_back().await }).await?;
        Ok(purged)
    }

    /// Notes that what was dropped under a name is not to come back.
    async fn doom(self: &Arc<Self>, schema: &str, name: &str) -> Result<Vec<TableDef>> {
        let (engine, schema, name) = (Arc::clone(self), schema.to_owned(), name.to_owned());
        to_its_end(async move {
            let _changing = engine.changing.lock().await;
            let mut dropped = engine.dropped_as(&schema, &name)?;
            dropped.retain(|(_, def)| !engine.is_coming(def.id));
            if dropped.is_empty() {
                return Err(not_found(&schema, &name));
            }
            engine.parts.gate.check_space(Write::Freeing)?;
            let mut doomed = Vec::with_capacity(dropped.len());
            for (_, def) in dropped {
                engine.log.commit(drop_table(&def, PURGED)).await?;
                doomed.push(def);
            }
            Ok(doomed)
        })
        .await
    }

    /// Removes a dropped table for good, unless somebody brought it back meanwhile, or removed it.
    async fn purge(&self, def: &TableDef) -> Result<()> {
        self.parts.gate.check_space(Write::Freeing)?;
        if !self.is_to_go(def).await? {
            return Ok(());
        }
        // The catalog goes on: nobody brings it back from here on, and a store elsewhere may take minutes.
        let _removing = self.removing.lock().await;
        if self.parts.store.get(Family::Meta, &meta_key::of_table(meta_key::DROPPED, def.id))?.is_none() {
            return Ok(());
        }
        self.remove_files(def).await?;
        // Who dooms it looks whether it is there, and writes that it is: not around this.
        let _changing = self.changing.lock().await;
        self.log.commit(purge_table(def.id)).await?;
        tracing::info!(table_id = %def.id, table = def.name, "a dropped table is gone for good");
        Ok(())
    }

    /// Whether a dropped table is still there, and may go. From then on it does not come back.
    async fn is_to_go(&self, def: &TableDef) -> Result<bool> {
        // Somebody may bring it back at this very moment, and may need some time for that.
        let _changing = self.changing.lock().await;
        if self.is_coming(def.id) {
            return Ok(false);
        }
        let key = meta_key::of_table(meta_key::DROPPED, def.id);
        let Some(record) = self.parts.store.get(Family::Meta, &key)? else { return Ok(false) };
        let (_, dropped_at) = dropped_from_disk(&record)?;
        if dropped_at != PURGED {
            // Back, and dropped again.
            if !dropped_at.is_older_than(DROPPED_TABLE_TTL_S, self.now()) {
                return Ok(false);
            }
            // With some of its files gone it must not come back, whatever ends this early.
            self.log.commit(drop_table(def, PURGED)).await?;
        }
        Ok(true)
    }

    /// A table is dropped: who reads it goes on, and is waited for if its files are to go.
    pub(super) fn note_readers(&self, table: &Table) {
        let shared = &table.shared;
        let mut readers = self.readers.lock();
        readers.retain(|readers| readers.held.strong_count() > 0);
        let held = Arc::downgrade(&shared.quarantine);
        readers.push(Readers { table: shared.def.id, shared: Arc::downgrade(shared), held });
    }

    fn is_read(&self, table: TableId) -> bool {
        self.readers.lock().iter().any(|readers| readers.table == table && readers.are_there())
    }

    /// Removes the folders of a table that was dropped long ago. Both are named by its id, so that nothing of another table is in there; a
    /// Delta folder that was attached under a name of somebody else's choice stays.
    async fn remove_files(&self, def: &TableDef) -> Result<()> {
        let parts = parts_of(&self.parts, def.id)?;
        let shared = Shared::new(parts, Arc::new(def.clone()));
        let (folders, tables) = (&shared.folders, shared.folders.tables());
        let mut local = vec![folders.built()];
        let is_anothers = is_taken_over(&shared, &delta_table(&shared)?).await?;
        match &tables.local {
            _ if is_anothers => {
                tracing::warn!(table_id = %def.id, location = %folders.location(), "another data folder has taken the Delta table over: its files stay");
            }
            _ if !def.folder.ends_with(&def.id.to_string()) => {
                tracing::warn!(table_id = %def.id, location = %folders.location(), "the Delta folder of a dropped table is not named by its id: what is in there stays");
            }
            Some(store) => local.push(store.root().join(folders.published().to_string())),
            None => {
                let names = tables.store.list(Some(&folders.published())).map_ok(|found| found.location).boxed();
                let deleted: Vec<_> = tables
                    .store
                    .delete_stream(names)
                    .try_collect()
                    .await
                    .map_err(|e| store_error(&format!("the folder {} cannot be deleted", folders.location()), e))?;
                tracing::info!(table_id = %def.id, n_objects = deleted.len(), "the folder of a dropped table is deleted");
            }
        }
        let remove = move || {
            local.iter().try_for_each(|folder| match std::fs::remove_dir_all(folder) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::new(Code::FolderUnusable, format!("{} cannot be deleted: {e}", folder.display())))
                }
                _ => Ok(()),
            })
        };
        tokio::task::spawn_blocking(remove)
            .await
            .map_err(|e| Error::internal(format!("files of a dropped table were not deleted: {e}")))?
    }

    /// Gives back the space of tables that are gone, also of those that were gone when an earlier process ended. A table that is there
    /// has a worker for that.
    async fn give_space_back(&self) -> Result<()> {
        let owed: Vec<_> = self.parts.store.scan(Family::Meta, &[meta_key::RECLAIM])?.collect::<Result<_>>()?;
        for (key, _) in owed {
            let id = TableId(Uuid::from_bytes(array(key.get(1..).unwrap_or_default())));
            if self.tables().iter().any(|table| table.def().id == id) {
                continue;
            }
            // What is in memory is written out first.
            self.parts.gate.check_space(Write::Freeing)?;
            let store = Arc::clone(&self.parts.store);
            let mut ranges = vec![(Family::Log, log_prefix(id, SHARD_ZERO))];
            ranges.extend(TABLE_STATE.map(|kind| (Family::State, state_prefix(kind, id, SHARD_ZERO))));
            let reclaim = move || {
                ranges.iter().try_for_each(|(family, prefix)| store.reclaim(*family, prefix, &after_prefix(prefix)))
            };
            tokio::task::spawn_blocking(reclaim)
                .await
                .map_err(|e| Error::internal(format!("the space of a dropped table was not given back: {e}")))??;
            self.parts.gate.given_back.send_replace(());
            self.log.commit(reclaimed(id)).await?;
        }
        Ok(())
    }
}
