//! How does a table come to be? Empty, or with its first rows, however many they are, and in the place of another or not: table, rows and the
//! end of the other are one commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Engine, name_of, start_table, to_its_end};
use crate::admission::IncomingRows;
use crate::catalog::{NewTable, TableDef, define};
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::TableId;
use crate::limits::MAX_TABLES;
use crate::log::{Commit, Family, meta_key};
use crate::memory::Collecting;
use crate::sealed::check_conditional_put;
use crate::sealing::{StageOptions, StagedWrite};
use crate::table::{PreparedWrite, RowsOutcome, RowsRequest, Table, Write, create_table, drop_table, sync};

/// What becomes of a table that has the name of one that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfExists {
    Refuse,
    Replace,
}

/// Names that are taken although nothing has them yet, and the tables that are to have them.
pub(super) type ComingNames = parking_lot::Mutex<BTreeMap<(String, String), TableId>>;

/// A name that nobody else takes until this is dropped: by then the table has it, or will never have it.
pub(super) struct Coming {
    all: Arc<ComingNames>,
    name: (String, String),
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.all.lock().remove(&self.name);
    }
}

/// Why such a name is refused.
pub(super) fn coming(schema: &str, name: &str) -> Error {
    Error::new(Code::TableExists, format!("the table '{schema}.{name}' is being attached or brought back"))
        .hint("wait until that has ended, or choose another name")
}

/// The table whose place another takes, and when.
struct Replaced {
    table: Table,
    at: Moment,
}

impl Engine {
    /// Creates a table and returns it with notices for the user. `TABLE_EXISTS` if the name (of a table or view) is taken.
    pub async fn create_table(self: &Arc<Self>, new: NewTable) -> Result<(Table, Vec<String>)> {
        let (table, notices, _) = self.create(new, None, IfExists::Refuse).await?;
        Ok((table, notices))
    }

    /// Creates a table, with its first rows if there are any, in the place of one that has its name, if there is one: that is dropped in the
    /// same commit, as [`Engine::drop_table`] does it. Whoever looks the name up finds the one table or the other, also after a crash.
    /// `TABLE_EXISTS` if a view has the name.
    pub async fn replace_table(
        self: &Arc<Self>,
        new: NewTable,
        rows: Option<RowsRequest>,
    ) -> Result<(Table, Vec<String>, Option<RowsOutcome>)> {
        self.create(new, rows, IfExists::Replace).await
    }

    /// Creates a table that has rows from its first moment. Both are one commit: a crash leaves the table with its rows or neither, and
    /// rows that are refused leave no table.
    pub async fn create_table_with(
        self: &Arc<Self>,
        new: NewTable,
        rows: RowsRequest,
    ) -> Result<(Table, Vec<String>, RowsOutcome)> {
        let (table, notices, outcome) = self.create(new, Some(rows), IfExists::Refuse).await?;
        let outcome = outcome.ok_or_else(|| Error::internal("the rows of a new table have no outcome"))?;
        Ok((table, notices, outcome))
    }

    /// Begins a table whose first rows are too many for one entry. Nobody sees it until [`StagedTable::commit`], and it is gone without a
    /// trace if that never comes. `TABLE_EXISTS` if the name is taken, also at the end.
    pub async fn stage_table(self: &Arc<Self>, new: NewTable, options: StageOptions) -> Result<StagedTable> {
        self.stage_new(new, options, IfExists::Refuse).await
    }

    /// The same for a table that takes the place of one that has its name at the end, if there is one; see [`Engine::replace_table`].
    pub async fn stage_replacement(self: &Arc<Self>, new: NewTable, options: StageOptions) -> Result<StagedTable> {
        self.stage_new(new, options, IfExists::Replace).await
    }

    async fn stage_new(
        self: &Arc<Self>,
        new: NewTable,
        options: StageOptions,
        if_exists: IfExists,
    ) -> Result<StagedTable> {
        let (def, notices) = define(new, &self.parts.env)?;
        self.replaced(&def, if_exists)?;
        let (table, record) = self.start(def).await?;
        let unmade = Unmade(Some(table));
        let write = unmade.table()?.stage(options)?;
        Ok(StagedTable { engine: Arc::clone(self), unmade, notices, record, write, if_exists })
    }

    async fn create(
        self: &Arc<Self>,
        new: NewTable,
        rows: Option<RowsRequest>,
        if_exists: IfExists,
    ) -> Result<(Table, Vec<String>, Option<RowsOutcome>)> {
        let (def, notices) = define(new, &self.parts.env)?;
        self.replaced(&def, if_exists)?;
        let engine = Arc::clone(self);
        to_its_end(async move {
            // Started, and its rows prepared, before the catalog is locked.
            let (table, record) = engine.start(def).await?;
            let mut unmade = Unmade(Some(table.clone()));
            let outcome = engine.commit_table(&mut unmade, record, rows, if_exists).await?;
            Ok((table, notices, outcome))
        })
        .await
    }

    /// A table that nobody sees, and the commit that makes it durable.
    async fn start(&self, def: TableDef) -> Result<(Table, Commit)> {
        self.check_store(&def).await?;
        let (parts, record) = (self.parts.clone(), create_table(&def));
        let (table, _) = tokio::task::spawn_blocking(move || start_table(&parts, def))
            .await
            .map_err(|e| Error::internal(format!("the table could not be started: {e}")))??;
        Ok((table, record))
    }

    /// A store elsewhere must keep what commits rest on. It is asked until it has answered well once; one that is away refuses no table's
    /// rows later, but a table is not begun on hope.
    async fn check_store(&self, def: &TableDef) -> Result<()> {
        let tables = &self.parts.tables;
        if tables.local.is_some() || self.store_is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        check_conditional_put(tables, &def.folder).await?;
        self.store_is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a started table durable, with its first rows if there are any, and visible.
    async fn commit_table(
        &self,
        unmade: &mut Unmade,
        record: Commit,
        rows: Option<RowsRequest>,
        if_exists: IfExists,
    ) -> Result<Option<RowsOutcome>> {
        let table = unmade.table()?.clone();
        let prepared = match rows {
            Some(rows) => Some(table.prepare(rows).await?),
            None => None,
        };
        let _changing = self.changing.lock().await;
        let replaced = self.replaced(&table.def(), if_exists)?;
        let record = with_drop(record, replaced.as_ref());
        let written = match prepared {
            Some(prepared) => write_rows(&table, prepared.with_records(record.ops)).await.map(Some),
            None => self.write_record(record).await.map(|()| None),
        };
        self.settle(unmade, replaced, written).await
    }

    async fn write_record(&self, record: Commit) -> Result<()> {
        self.parts.gate.check_space(Write::Small)?;
        self.log.commit(record).await
    }

    /// The end of the commit of a table, good or bad. The caller holds `changing`, since before it looked who is `replaced`.
    async fn settle<T>(&self, unmade: &mut Unmade, replaced: Option<Replaced>, written: Result<T>) -> Result<T> {
        let table = unmade.table()?.clone();
        if written.is_ok() || self.is_recorded(&table).await {
            self.add_table(&table, replaced.as_ref());
            unmade.0 = None;
        }
        written
    }

    /// A worker that failed may have written the table before: then it is there, whatever its maker was told, and its name is taken. Without
    /// this a second table of the name would be written beside it.
    async fn is_recorded(&self, table: &Table) -> bool {
        let key = meta_key::of_table(meta_key::TABLE, table.def().id);
        // What was handed over is written.
        let is_written = self.log.commit(sync()).await.is_ok();
        is_written && matches!(self.parts.store.get(Family::Meta, &key), Ok(Some(_)))
    }

    /// The table whose place a new one takes, if it may be made. The caller who goes on to make it holds `changing`.
    fn replaced(&self, def: &TableDef, if_exists: IfExists) -> Result<Option<Replaced>> {
        if if_exists == IfExists::Replace
            && let Some(table) = self.table(&def.schema_name, &def.name)
        {
            return Ok(Some(Replaced { table, at: self.now() }));
        }
        self.check_new(def)?;
        Ok(None)
    }

    /// Takes a free name for a table that is to come. The caller holds `changing`, since before it looked whether the name is free.
    pub(super) fn take_name(&self, name: (String, String), table: TableId) -> Coming {
        self.coming.lock().insert(name.clone(), table);
        Coming { all: Arc::clone(&self.coming), name }
    }

    /// Whether somebody brings the table back. The caller holds `changing`.
    pub(super) fn is_coming(&self, table: TableId) -> bool {
        self.coming.lock().values().any(|coming| *coming == table)
    }

    /// Whether the table may still be made. The caller holds `changing`.
    pub(super) fn check_new(&self, def: &TableDef) -> Result<()> {
        self.check_free(&def.schema_name, &def.name)?;
        self.check_count()
    }

    /// Whether there may be one table more. Those that are to come are there. The caller holds `changing`.
    pub(super) fn check_count(&self) -> Result<()> {
        let names = self.names.load();
        // One that has just come may have its name twice.
        let n_coming = self.coming.lock().keys().filter(|name| !names.tables.contains_key(*name)).count();
        if names.tables.len() + n_coming < MAX_TABLES {
            return Ok(());
        }
        Err(Error::new(Code::TooManyTables, format!("there are {MAX_TABLES} tables already"))
            .hint("drop tables that are not needed"))
    }

    /// A table that is durable becomes visible, at the moment at which the one before it, if there is one, goes. The caller holds `changing`.
    fn add_table(&self, table: &Table, replaced: Option<&Replaced>) {
        let def = table.def();
        if let Some(Replaced { table: before, at }) = replaced {
            self.parts.gate.note_stamp(at.wall_us);
            // First: whoever has seen the new one can write into this no more, and be told that the rows are there.
            before.close("it was replaced");
            self.note_dropped(before);
        }
        // Not before: the clock of a table that was never made says nothing of the folder's.
        self.parts.gate.note_stamp(def.created_at_us);
        self.change(|names| {
            names.tables.insert(name_of(&def), table.clone());
        });
        tracing::info!(table_id = %def.id, schema = def.schema_name, table = def.name, "a table was created");
        if let Some(Replaced { table: before, .. }) = replaced {
            let id = before.def().id;
            tracing::info!(table_id = %id, schema = def.schema_name, table = def.name, "a table was replaced");
        }
    }

    /// A table is closed, and its drop is durable: one that comes back under its id waits for its worker to end.
    pub(super) fn note_dropped(&self, table: &Table) {
        let mut dropped = self.dropped.lock();
        // Nothing of the others is at work any more.
        dropped.retain(|_, table| table.strong_count() > 0);
        dropped.insert(table.def().id, Arc::downgrade(&table.shared));
        self.note_readers(table);
    }
}

/// The commit of a table, and with it the drop of the one whose place it takes.
fn with_drop(record: Commit, replaced: Option<&Replaced>) -> Commit {
    let Commit { kind, mut ops, sync } = record;
    if let Some(Replaced { table, at }) = replaced {
        ops.extend(drop_table(&table.def(), *at).ops);
    }
    Commit { kind, ops, sync }
}

async fn write_rows(table: &Table, prepared: PreparedWrite) -> Result<RowsOutcome> {
    table.submit(prepared).await?.outcome().await
}

/// A table that is made with its rows: neither is there before the other.
#[derive(Debug)]
pub struct StagedTable {
    engine: Arc<Engine>,
    /// Behind `write`, which goes first.
    write: StagedWrite,
    notices: Vec<String>,
    record: Commit,
    unmade: Unmade,
    if_exists: IfExists,
}

impl StagedTable {
    /// The table's definition as it will be.
    pub fn def(&self) -> &Arc<TableDef> {
        self.write.def()
    }

    /// See [`StagedWrite::push`].
    pub async fn push(&mut self, rows: IncomingRows) -> Result<()> {
        self.write.push(rows).await
    }

    /// See [`StagedWrite::push_held`].
    pub async fn push_held(&mut self, rows: IncomingRows, held: Collecting) -> Result<()> {
        self.write.push_held(rows, held).await
    }

    /// See [`StagedWrite::give_way`].
    pub async fn give_way(&mut self, is_wanted: bool) -> Result<()> {
        self.write.give_way(is_wanted).await
    }

    /// Makes the table, with all rows, durable and visible. Returns it with notices for the user.
    pub async fn commit(self) -> Result<(Table, Vec<String>, RowsOutcome)> {
        self.commit_after(|| Ok(())).await
    }

    /// The same; `begin` is asked when all files are written, and its error is the last that takes table and rows back.
    pub async fn commit_after(self, begin: impl FnOnce() -> Result<()>) -> Result<(Table, Vec<String>, RowsOutcome)> {
        let Self { engine, write, notices, record, mut unmade, if_exists } = self;
        // Before the catalog is locked.
        let ready = write.finish().await?;
        begin()?;
        to_its_end(async move {
            let table = unmade.table()?.clone();
            let _changing = engine.changing.lock().await;
            let replaced = engine.replaced(&table.def(), if_exists)?;
            let record = with_drop(record, replaced.as_ref());
            let written = ready.with_records(record.ops).commit().await;
            let outcome = engine.settle(&mut unmade, replaced, written).await?;
            Ok((table, notices, outcome))
        })
        .await
    }
}

/// A table that is closed unless somebody makes it.
#[derive(Debug)]
struct Unmade(Option<Table>);

impl Unmade {
    fn table(&self) -> Result<&Table> {
        self.0.as_ref().ok_or_else(|| Error::internal("a table was made twice"))
    }
}

impl Drop for Unmade {
    fn drop(&mut self) {
        if let Some(table) = &self.0 {
            table.close("it was not created");
        }
    }
}
