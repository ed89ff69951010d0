//! How does a Delta table that is there become a table of this folder? Checked, its keys read, taken over by one commit, then recorded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use url::Url;

use super::alter::not_found;
use super::create::Coming;
use super::{Engine, Names, name_of, start_table, to_its_end};
use crate::attaching::{Origin, Ours, RebuiltKeys, rebuild, take_over};
use crate::catalog::{TableDef, check_name};
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, LogId, SchemaId};
use crate::limits::MAX_CLOCK_STEP_BACK_US;
use crate::log::{Family, meta_key};
use crate::publishing::{delta_table, unless_stopped};
use crate::sealed::{DeltaPlace, DeltaTable, TablesStore, check_conditional_put};
use crate::table::{
    AttachRecord, Base, NameKind, Settled, Shared, Table, Write, attach, recorded_files, recorded_names,
};

/// Somebody who commits again and again meanwhile is alive, and must be stopped by hand.
const ROUNDS: usize = 3;

/// What is to become a table.
struct Target {
    place: DeltaPlace,
    /// Schema and name; `None`: those that it has.
    name: Option<(String, String)>,
    /// The table whose log it takes the place of; `None`: it is new here.
    replaced: Option<Table>,
}

/// What is known of it when all that can be read is read.
struct Ready {
    shared: Arc<Shared>,
    delta: DeltaTable,
    ours: Ours,
    keys: RebuiltKeys,
    origin: Origin,
    at: Moment,
}

/// A Delta table that this folder has taken over.
struct Taken {
    /// Names of what is not needed any more.
    left: Vec<(String, NameKind)>,
    settled: Settled,
    name: Option<Coming>,
}

impl Engine {
    /// Makes the Delta table at `url` (a local path, `file:///folder/table` or `s3://bucket/prefix/table`), which another data folder made, a
    /// table of this one: with its rows and the keys of all rows that it ever had and that are still in its files, also deleted ones.
    /// `name`: schema and name, if it is to have others. From then on only this folder commits to it: the other one takes no changes of it
    /// from its next commit, or start, on. What that one had acknowledged and not sealed is not in the table. Producers are not known.
    ///
    /// `TABLE_NOT_FOUND`: there is none; `TABLE_EXISTS`: the name, or the table itself, is here already; `UNSUPPORTED_REQUEST`: it is not one
    /// that Tidewater made; `DELTA_CONFLICT`: somebody commits to it all the time; `DEDUP_BUDGET`: its keys do not fit. After an error nothing
    /// of it is visible here.
    pub async fn attach_table(self: &Arc<Self>, url: &str, name: Option<(String, String)>) -> Result<Table> {
        if let Some((schema, name)) = &name {
            check_name("schema", schema)?;
            check_name("table", name)?;
        }
        let (engine, url) = (Arc::clone(self), url.to_owned());
        to_its_end(async move {
            let _one = engine.attaching.lock().await;
            let stores = Arc::clone(&engine.parts.other_stores);
            let place = blocking(move || stores.find(&url)).await?;
            engine.take_in(&Target { place, name, replaced: None }).await
        })
        .await
    }

    /// Begins the log of a table anew, with what its Delta table has. The table was closed, and is quiet.
    pub(super) async fn reattach(self: &Arc<Self>, table: Table) -> Result<Table> {
        let engine = Arc::clone(self);
        to_its_end(async move {
            let _one = engine.attaching.lock().await;
            let def = table.def();
            let root = Origin::of(&engine.parts.store, def.id)?.and_then(|origin| origin.root);
            let place = DeltaPlace { root, folder: def.folder.clone() };
            engine.take_in(&Target { place, name: Some(name_of(&def)), replaced: Some(table) }).await
        })
        .await
    }

    async fn take_in(&self, target: &Target) -> Result<Table> {
        for _ in 0..ROUNDS {
            let ready = self.read(target).await?;
            if let Some(table) = self.record(target, ready).await? {
                return Ok(table);
            }
            tracing::warn!(
                folder = target.place.folder,
                "somebody committed to a Delta table while it was read: it is read again"
            );
        }
        let folder = &target.place.folder;
        Err(Error::new(
            Code::DeltaConflict,
            format!("the Delta table {folder} cannot be taken over: it is committed to all the time"),
        )
        .hint("stop the server whose table it is, and try again"))
    }

    /// Everything that takes its time; nothing but key layers is written.
    async fn read(&self, target: &Target) -> Result<Ready> {
        let origin = Origin { log_id: LogId(self.parts.env.rng.uuid()), root: target.place.root.clone() };
        let (task_origin, task_parts) = (origin.clone(), self.parts.clone());
        let parts = blocking(move || task_origin.parts(&task_parts)).await?;
        let location = location(&parts.tables, &target.place.folder);
        let folder = parts.tables.prefix.clone().join(target.place.folder.as_str());
        let delta = DeltaTable::new(Arc::clone(&parts.tables.store), folder, &location)?;
        let ours = Ours::of(delta.load().await?, &location)?;
        let def = self.definition(&ours, target);
        if target.replaced.is_none() {
            self.check_attach(&def, &ours, &location)?;
        }
        if parts.tables.local.is_none() {
            check_conditional_put(&parts.tables, &format!("{}.probe", target.place.folder)).await?;
        }
        let now = self.now();
        let at = Moment { wall_us: now.wall_us.max(ours.newest_us()), ..now };
        let shared = Shared::new(parts, Arc::new(def));
        let keys = rebuild(&shared, &ours.files, at).await?;
        Ok(Ready { delta: delta_table(&shared)?, shared, ours, keys, origin, at })
    }

    /// As the Delta table has it, in its place, under its new name, with a secret of its own.
    fn definition(&self, ours: &Ours, target: &Target) -> TableDef {
        let mut def = TableDef { folder: target.place.folder.clone(), ..ours.def.clone() };
        self.parts.env.rng.fill(&mut def.hash_key);
        if let Some(name) = target.name.as_ref().filter(|name| **name != name_of(&def)) {
            (def.schema_name, def.name) = name.clone();
            // The commit that takes the table over declares it.
            def.schema_id = SchemaId(def.schema_id.0 + 1);
        }
        def
    }

    /// Whether it may be a table here.
    fn check_attach(&self, def: &TableDef, ours: &Ours, location: &Url) -> Result<()> {
        let known = self.tables();
        if let Some(table) = known.iter().find(|table| table.shared.def.id == def.id) {
            let (schema, name) = name_of(&table.def());
            return Err(Error::new(
                Code::TableExists,
                format!("{location} is the table '{schema}.{name}' of this server already"),
            ));
        }
        let dropped = meta_key::of_table(meta_key::DROPPED, def.id);
        if self.parts.store.get(Family::Meta, &dropped)?.is_some() {
            return Err(Error::new(
                Code::TableExists,
                format!("{location} is a table of this server that was dropped"),
            )
            .hint("UNDROP TABLE brings it back for seven days"));
        }
        let ahead_us = ours.newest_us().saturating_sub(self.now().wall_us);
        if ahead_us > MAX_CLOCK_STEP_BACK_US {
            // It would be the clock of all tables here: none would take rows until then.
            let ahead_s = ahead_us / 1_000_000;
            return Err(Error::new(
                Code::ClockBehind,
                format!("{location} cannot be attached: its newest entry is {ahead_s} s ahead of the server's clock"),
            )
            .hint("set the clock; if it is right, the table was written while another's was ahead: keep its rows elsewhere"));
        }
        self.check_free(&def.schema_name, &def.name)
    }

    /// Takes the table over and makes it visible. `None`: somebody committed to it since it was read; nothing of it is left here then.
    ///
    /// The caller holds `attaching`. `changing` is taken behind it, to take the name and again for the record, and not held in between: the
    /// store may be slow, or away.
    async fn record(&self, target: &Target, ready: Ready) -> Result<Option<Table>> {
        let taken = match self.take_over_as(target, &ready).await {
            Ok(Some(taken)) => taken,
            other => {
                ready.keys.discard().await;
                return other.map(|_| None);
            }
        };
        let Taken { left, settled, name: _name } = taken;
        let _changing = self.changing.lock().await;
        if let Err(e) = self.check_wanted(target) {
            ready.keys.discard().await;
            return Err(e.hint("the other data folder commits to the table no more: attach it again, here or there"));
        }
        let Ready { shared, ours, keys, origin, at, .. } = ready;
        let def = Arc::clone(&shared.def);
        let last = ours.through.max(CommitSeq(keys.through));
        let published = ours.published(at);
        let record = AttachRecord {
            def: &def,
            origin: origin.to_disk(),
            base: Base { seq: last.next(), at },
            settled,
            published: &published,
            deleted: ours.deleted(),
            layers: &keys.layers,
            left: &left,
            used_names: keys.names(),
            replaces: target.replaced.is_some(),
        };
        self.log.commit(attach(&record)).await?;
        // It reads its records as at any start.
        drop(shared);
        self.show_attached(target, TableDef::clone(&def)).await.map(Some)
    }

    /// The last checks, then the name, then the commit.
    async fn take_over_as(&self, target: &Target, ready: &Ready) -> Result<Option<Taken>> {
        let name = self.take_name_of(target, ready).await?;
        // An end of the server does not wait for the store.
        let fenced = unless_stopped(&self.parts.gate.closing, self.fence(target, ready)).await;
        let fenced = fenced.map_err(|_| shutting_down())??;
        Ok(fenced.map(|(left, settled)| Taken { left, settled, name }))
    }

    /// Before another folder loses the table: it may be here, under its name. `None`: it has the name already.
    async fn take_name_of(&self, target: &Target, ready: &Ready) -> Result<Option<Coming>> {
        let _changing = self.changing.lock().await;
        self.check_wanted(target)?;
        self.parts.gate.check_space(Write::Small)?;
        if target.replaced.is_some() {
            return Ok(None);
        }
        // The catalog went on while the table was read.
        let shared = &ready.shared;
        self.check_attach(&shared.def, &ready.ours, &shared.folders.location())?;
        self.check_new(&shared.def)?;
        Ok(Some(self.take_name(name_of(&shared.def), shared.def.id)))
    }

    /// Whether anybody has a use for the table. The caller holds `changing`.
    fn check_wanted(&self, target: &Target) -> Result<()> {
        if self.parts.gate.closing.load(Ordering::Acquire) {
            return Err(shutting_down());
        }
        match &target.replaced {
            Some(table) if !self.tables().iter().any(|known| Arc::ptr_eq(&known.shared, &table.shared)) => {
                let (schema, name) = name_of(&table.def());
                Err(not_found(&schema, &name))
            }
            _ => Ok(()),
        }
    }

    /// The commit from which on nobody else commits. What is not needed any more then, and what is settled.
    async fn fence(&self, target: &Target, ready: &Ready) -> Result<Option<(Vec<(String, NameKind)>, Settled)>> {
        let Ready { shared, delta, ours, at, .. } = ready;
        let newest = delta.read(ours.version()).await?;
        let timestamp_ms = newest.and_then(|commit| commit.timestamp_ms).unwrap_or(0);
        let first_version = delta.oldest_commit().await?.unwrap_or(ours.version());
        let left = self.left_behind(target, ours, *at)?;
        shared.env.fail.hit("attach.before_take_over")?;
        let settled = take_over(shared, delta, ours.settled(timestamp_ms, first_version), ours.through).await?;
        shared.env.fail.hit("attach.taken_over")?;
        Ok(settled.map(|settled| (left, settled)))
    }

    /// Files that are not the table's any more, by name: those that left the Delta table, and those that a log which lost entries has on
    /// record, or in entries. What is in the Delta table goes where it was built, and nowhere else.
    fn left_behind(&self, target: &Target, ours: &Ours, at: Moment) -> Result<Vec<(String, NameKind)>> {
        let mut left = Vec::new();
        if let Some(table) = &target.replaced {
            let id = table.shared.def.id;
            left.extend(recorded_names(&self.parts.store, id)?);
            left.extend(recorded_files(&self.parts.store, id, at)?);
            let snapshot = table.snapshot();
            let built = snapshot.files().iter().filter(|file| !file.place.is_published);
            left.extend(built.map(|file| (file.file.name.clone(), NameKind::Anywhere)));
        }
        left.extend(ours.left(at));
        let names = ours.names();
        for (_, kind) in left.iter_mut().filter(|(name, _)| names.contains(name)) {
            *kind = NameKind::Built;
        }
        Ok(left)
    }

    /// The caller holds `changing`.
    async fn show_attached(&self, target: &Target, def: TableDef) -> Result<Table> {
        let parts = self.parts.clone();
        let (table, _) = blocking(move || start_table(&parts, def)).await?;
        let def = table.def();
        self.parts.gate.note_stamp(def.created_at_us);
        self.change(|names: &mut Names| {
            names.tables.retain(|_, known| known.shared.def.id != def.id);
            names.tables.insert(name_of(&def), table.clone());
        });
        let (rows, location) = (table.stats().sealed_rows, table.location());
        let is_new = target.replaced.is_none();
        tracing::info!(table_id = %def.id, schema = def.schema_name, table = def.name, rows, location, is_new, "a Delta table was attached");
        Ok(table)
    }
}

fn shutting_down() -> Error {
    Error::new(Code::ShuttingDown, "the server is shutting down").hint("attach the table again when it is back")
}

/// The folder as Delta readers name it.
fn location(tables: &TablesStore, folder: &str) -> Url {
    let mut url = tables.root.clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().push(folder);
    }
    url
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Error::internal(format!("a table could not be attached: {e}"))))
}
