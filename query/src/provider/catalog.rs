//! Which names does a statement see? Our catalog as DataFusion's, with every table pinned once for the statement.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableFunction, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::TableType;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidewater_storage::ids::TableId;
use tidewater_storage::{Code, Error, TableSnapshot, View};

use super::counters::ScanCounters;
use super::information::InformationSchema;
use super::table::HybridTable;
use crate::engine::TableFreshness;
use crate::error::{from_datafusion, to_datafusion};
use crate::limits::MAX_VIEW_DEPTH;
use crate::session::{Session, VisibleCatalog};
use crate::statement::CATALOG;
use crate::system::{self, SystemState};

/// The schema of system tables.
pub const SYSTEM_SCHEMA: &str = "system";

/// Plans the SELECT of a view into a table (DataFusion's `ViewTable`). It resolves names with the catalog that it is given,
/// which pins the same snapshots and knows which views are being planned. It must not hold a catalog itself: the catalog
/// holds the planner.
pub type ViewPlanner =
    Arc<dyn Fn(Arc<StatementCatalog>, String) -> BoxFuture<'static, Result<Arc<dyn TableProvider>>> + Send + Sync>;

/// What a statement needs of the catalog.
#[derive(Debug, Clone, Copy, Default)]
pub struct CatalogOptions {
    /// Tables show `_commit_seq` and `_ingested_at` behind their own columns: set when the statement names one of them.
    pub with_system_columns: bool,
}

/// The catalog of one statement, as its caller sees it: what they have no role on is not there, behind views neither. Every table that it
/// reaches is pinned at its start, all at one moment, and stays.
pub struct StatementCatalog {
    shared: Arc<Shared>,
    /// The views whose SELECT is being planned, outermost first.
    planning: Vec<(String, String)>,
}

struct Shared {
    visible: VisibleCatalog,
    system: Arc<SystemState>,
    session: Session,
    options: CatalogOptions,
    tables: Mutex<HashMap<(String, String), Arc<HybridTable>>>,
    /// The SELECTs of views as they were at the start.
    views: Mutex<HashMap<(String, String), String>>,
    view_planner: OnceLock<ViewPlanner>,
    table_functions: OnceLock<HashMap<String, Arc<TableFunction>>>,
    planned: AtomicBool,
    counters: Arc<ScanCounters>,
}

impl StatementCatalog {
    pub fn new(
        visible: VisibleCatalog,
        system: Arc<SystemState>,
        session: Session,
        options: CatalogOptions,
    ) -> Arc<Self> {
        let shared = Shared {
            visible,
            system,
            session,
            options,
            tables: Mutex::default(),
            views: Mutex::default(),
            view_planner: OnceLock::new(),
            table_functions: OnceLock::new(),
            planned: AtomicBool::new(false),
            counters: Arc::default(),
        };
        Arc::new(Self { shared: Arc::new(shared), planning: Vec::new() })
    }

    /// Pins what the statement will name: tables by schema and name, and views. Names of nothing, and of what the caller may not read, are
    /// left out.
    pub fn pin(&self, tables: &[(String, String)], views: Vec<View>) {
        let visible = &self.shared.visible;
        let tables: Vec<_> = tables.iter().filter(|(schema, name)| visible.sees(schema, name)).cloned().collect();
        // Before the snapshots are taken: they have all rows on which the watermarks stand.
        let watermarks: Vec<_> = tables.iter().map(|(schema, name)| self.watermark(schema, name)).collect();
        let snapshots = visible.storage().snapshots(&tables);
        let mut pinned = self.shared.tables.lock();
        for ((name, snapshot), watermark) in tables.into_iter().zip(snapshots).zip(watermarks) {
            if let Some(snapshot) = snapshot {
                pinned.insert(name, self.table_of(snapshot, watermark));
            }
        }
        let views = views.into_iter().map(|view| ((view.schema_name, view.name), view.sql));
        self.shared.views.lock().extend(views);
    }

    /// The watermark of a table, with its id: another one may have the name in a moment.
    fn watermark(&self, schema: &str, name: &str) -> Option<(TableId, i64)> {
        let table = self.shared.visible.table(schema, name)?;
        Some((table.def().id, table.watermark_us()?))
    }

    fn table_of(&self, snapshot: TableSnapshot, watermark: Option<(TableId, i64)>) -> Arc<HybridTable> {
        let with_system_columns = self.shared.options.with_system_columns && snapshot.def().options.system_columns;
        let id = snapshot.def().id;
        let watermark_us = watermark.filter(|(of, _)| *of == id).map(|(_, watermark_us)| watermark_us);
        Arc::new(HybridTable::new(snapshot, with_system_columns, self.metrics()).with_watermark(watermark_us))
    }

    /// Without a planner, naming a view is an error. The first one given stays.
    pub fn set_view_planner(&self, planner: ViewPlanner) {
        // A second planner would plan the same SQL: the first is as good.
        let _ = self.shared.view_planner.set(planner);
    }

    /// Table functions of the session, for `information_schema.routines`. The first ones given stay.
    pub fn set_table_functions(&self, functions: HashMap<String, Arc<TableFunction>>) {
        let _ = self.shared.table_functions.set(functions);
    }

    fn information_schema(&self) -> InformationSchema {
        let functions = self.shared.table_functions.get().cloned().unwrap_or_default();
        let inner = InformationSchemaProvider::new(self.share()).with_table_functions(functions);
        InformationSchema::new(inner, self.shared.visible.clone())
    }

    /// Planning is over: from now on only `information_schema` asks for tables, and it leaves out a view that no longer
    /// plans (its table was dropped), where a statement that names it gets the error.
    pub fn finish_planning(&self) {
        self.shared.planned.store(true, Ordering::Release);
    }

    /// How fresh the tables are that the statement scans, in the order of their names.
    pub fn freshness(&self) -> Vec<TableFreshness> {
        let mut tables: Vec<_> = self.shared.tables.lock().values().filter_map(|table| table.freshness()).collect();
        tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        tables
    }

    /// What was pinned at the start of a table that the statement names.
    pub fn snapshot(&self, schema: &str, name: &str) -> Option<TableSnapshot> {
        let tables = self.shared.tables.lock();
        tables.get(&(schema.to_owned(), name.to_owned()))?.snapshot().cloned()
    }

    /// Memory and local files that the statement's snapshots keep from being given back.
    pub fn pinned_bytes(&self) -> u64 {
        self.shared.tables.lock().values().map(|table| table.pinned_bytes()).sum()
    }

    /// Memory of rows that the tables themselves have let go.
    pub fn kept_bytes(&self) -> u64 {
        self.shared.tables.lock().values().map(|table| table.kept_bytes()).sum()
    }

    pub fn metrics(&self) -> Arc<ScanCounters> {
        Arc::clone(&self.shared.counters)
    }

    /// The SELECT of a view.
    pub fn view(&self, schema: &str, name: &str) -> Option<String> {
        let pinned = self.shared.views.lock().get(&(schema.to_owned(), name.to_owned())).cloned();
        pinned.or_else(|| self.shared.visible.view(schema, name).map(|view| view.sql))
    }

    /// The pinned table. One that was not pinned at the start is pinned now: only `information_schema` asks for such.
    fn pinned(&self, schema: &str, name: &str) -> Option<Arc<HybridTable>> {
        let mut tables = self.shared.tables.lock();
        let key = (schema.to_owned(), name.to_owned());
        if let Some(table) = tables.get(&key) {
            return Some(Arc::clone(table));
        }
        let watermark = self.watermark(schema, name);
        let table = self.table_of(self.shared.visible.table(schema, name)?.snapshot(), watermark);
        tables.insert(key, Arc::clone(&table));
        Some(table)
    }

    async fn plan_view(&self, schema: &str, name: &str, sql: String) -> Result<Option<Arc<dyn TableProvider>>> {
        let key = (schema.to_owned(), name.to_owned());
        let refuse = |problem: &str, hint: &str| {
            to_datafusion(Error::new(Code::InvalidStatement, format!("view {schema}.{name} {problem}")).hint(hint))
        };
        if self.planning.contains(&key) {
            return Err(refuse("selects from itself", "replace it by one that does not"));
        }
        if self.planning.len() == MAX_VIEW_DEPTH {
            return Err(refuse("is nested too deep", "select from the tables behind it"));
        }
        let Some(planner) = self.shared.view_planner.get() else {
            return Err(refuse("cannot be planned here", "select from the tables behind it"));
        };
        let planning = self.planning.iter().cloned().chain([key]).collect();
        let inner = Arc::new(Self { shared: Arc::clone(&self.shared), planning });
        match planner(inner, sql).await {
            Ok(table) => Ok(Some(table)),
            Err(_) if self.shared.planned.load(Ordering::Acquire) => Ok(None),
            Err(error) => Err(in_view(schema, name, from_datafusion(error))),
        }
    }

    fn share(&self) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(&self.shared), planning: self.planning.clone() })
    }
}

impl fmt::Debug for StatementCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementCatalog").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl CatalogProviderList for StatementCatalog {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| self.share() as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for StatementCatalog {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.shared.visible.schemas();
        names.push(SYSTEM_SCHEMA.to_owned());
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == SYSTEM_SCHEMA {
            return Some(Arc::new(SystemSchema { catalog: self.share() }));
        }
        if name == INFORMATION_SCHEMA {
            return Some(Arc::new(self.information_schema()));
        }
        let known = self.shared.visible.has_schema(name);
        known.then(|| Arc::new(UserSchema { catalog: self.share(), name: name.to_owned() }) as Arc<dyn SchemaProvider>)
    }
}

/// A schema of users' tables and views.
#[derive(Debug)]
struct UserSchema {
    catalog: Arc<StatementCatalog>,
    name: String,
}

#[async_trait]
impl SchemaProvider for UserSchema {
    fn table_names(&self) -> Vec<String> {
        let visible = &self.catalog.shared.visible;
        let tables = visible.tables().into_iter().map(|table| table.def());
        let tables = tables.filter(|def| def.schema_name == self.name).map(|def| def.name.clone());
        let views = visible.views().into_iter().filter(|view| view.schema_name == self.name).map(|view| view.name);
        let mut names: Vec<String> = tables.chain(views).collect();
        names.sort();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.catalog.pinned(&self.name, name) {
            return Ok(Some(table));
        }
        match self.catalog.view(&self.name, name) {
            Some(sql) => self.catalog.plan_view(&self.name, name, sql).await,
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.catalog.shared.visible.table(&self.name, name).is_some() {
            return Ok(Some(TableType::Base));
        }
        Ok(self.catalog.view(&self.name, name).map(|_| TableType::View))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.catalog.shared.visible.table(&self.name, name).is_some() || self.catalog.view(&self.name, name).is_some()
    }
}

/// What is wrong with a view's SELECT, with the view's name: the statement does not show what it means.
fn in_view(schema: &str, name: &str, error: Error) -> DataFusionError {
    let named = Error::new(error.code(), format!("view {schema}.{name} cannot be planned: {}", error.message()));
    to_datafusion(match error.hint_text() {
        Some(hint) => named.hint(hint),
        None => named,
    })
}

/// The schema of system tables.
#[derive(Debug)]
struct SystemSchema {
    catalog: Arc<StatementCatalog>,
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        system::tables_of(&self.catalog.shared.session.principal).map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Shared { system, session, .. } = &*self.catalog.shared;
        system::table(name, system, &session.principal).map_err(to_datafusion)
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        system::TABLE_NAMES.contains(&name)
    }
}
