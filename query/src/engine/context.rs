//! What does the planner know? One session state of DataFusion for the process, cloned and bound to a catalog for each statement.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::TableReference;
use datafusion::common::config::SpillCompression;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{Distinct, LogicalPlan};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as PlannerStatement;
use parking_lot::Mutex;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::memory::Share;
use tidewater_storage::{Code, Engine, Error, Result, Table};

use super::QueryEngineOptions;
use super::params::MovedTimes;
use super::reach::reach;
use crate::complexity::{self, PlanBounds};
use crate::error::{OrError, to_datafusion};
use crate::functions::{CallerName, ProcessLimit};
use crate::limits::BATCH_ROWS;
use crate::memory::SpillFiles;
use crate::planner::Waiter;
use crate::provider::{CatalogOptions, StatementCatalog, ViewPlanner};
use crate::session::{Session, SessionSettings, VisibleCatalog};
use crate::statement::{
    Alone, Announced, Beside, CATALOG, ColumnTypes, Named, Statement, TableName, check_expansion, check_view_expansion,
    hide_system_columns, keep_digits, reparse, sql_of_mut,
};
use crate::system::SystemState;

/// Sessions use few time zones; states of more are made anew.
const MAX_ZONES: usize = 64;

/// What all statements share.
pub(super) struct Contexts {
    base: SessionState,
    /// The base with the functions of a time zone, by its name.
    zoned: Mutex<HashMap<String, Arc<SessionState>>>,
    runtime_env: Arc<RuntimeEnv>,
    pub(super) storage: Arc<Engine>,
    system: Arc<SystemState>,
}

/// One statement's view of the world.
pub(super) struct StatementContext {
    pub(super) state: SessionState,
    pub(super) catalog: Arc<StatementCatalog>,
    pub(super) settings: SessionSettings,
    pub(super) bounds: PlanBounds,
    /// How the columns of the answer are called where the plan calls them otherwise.
    pub(super) announced: Announced,
    with_system_columns: bool,
    visible: VisibleCatalog,
}

impl Contexts {
    pub(super) fn new(storage: Arc<Engine>, system: Arc<SystemState>, options: &QueryEngineOptions) -> Result<Self> {
        let runtime_env = runtime_env(&storage, &options.spill_dir, options.max_spill_bytes)?;
        let mut base = SessionStateBuilder::new()
            .with_config(config(options.threads))
            .with_runtime_env(Arc::clone(&runtime_env))
            .with_analyzer_rules(complexity::analyzer_rules())
            .with_optimizer_rules(complexity::optimizer_rules())
            .with_physical_optimizer_rules(complexity::physical_rules())
            .with_expr_planners(expr_planners())
            .with_type_planner(Arc::new(ColumnTypes))
            .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(SessionStateDefaults::default_table_functions())
            .build();
        let limit = ProcessLimit::new(storage.memory().limit());
        base.config_mut().options_mut().extensions.insert(limit);
        crate::functions::register(&mut base).or_error()?;
        Ok(Self { base, zoned: Mutex::default(), runtime_env, storage, system })
    }

    /// The context of one statement of `session`, which `waiter` waits for. An error for one that is too large with everything in it
    /// that it names.
    pub(super) fn statement(
        &self,
        session: &Session,
        statement: &Statement,
        waiter: &Arc<Waiter>,
    ) -> Result<StatementContext> {
        let settings = session.current();
        let visible = VisibleCatalog::new(&self.storage, &session.principal);
        check_expansion(&statement.kind, &settings.schema, &|name| named(&visible, name))?;
        let reach = reach(&visible, statement, &settings.schema);
        let with_system_columns = reach.names_hidden;
        let options = CatalogOptions { with_system_columns };
        let catalog = StatementCatalog::new(visible.clone(), Arc::clone(&self.system), session.clone(), options);
        catalog.pin(&reach.tables, reach.views);
        let zoned = self.zoned(&settings.timezone)?;
        let mut state = SessionState::clone(&zoned);
        let bounds = PlanBounds::new(Arc::clone(waiter));
        let options = state.config_mut().options_mut();
        options.catalog.default_schema.clone_from(&settings.schema);
        options.extensions.insert(bounds.clone());
        options.extensions.insert(CallerName::new(&session.principal.name));
        catalog.set_table_functions(state.table_functions().clone());
        catalog.set_view_planner(view_planner(zoned, visible.clone(), with_system_columns));
        state.register_catalog_list(Arc::clone(&catalog) as _);
        state.mark_start_execution();
        // By the clock that stamps entries: what now() says, and which rows are past their retention.
        let started_us = self.storage.env().clock.now_us();
        state.execution_props_mut().query_execution_start_time = DateTime::from_timestamp_micros(started_us);
        let announced = statement.announced.clone();
        Ok(StatementContext { state, catalog, settings, bounds, announced, with_system_columns, visible })
    }

    /// The state of all statements in a time zone. One clone of it is a statement's own.
    fn zoned(&self, timezone: &str) -> Result<Arc<SessionState>> {
        if let Some(state) = self.zoned.lock().get(timezone) {
            return Ok(Arc::clone(state));
        }
        let mut state = self.base.clone();
        state.config_mut().options_mut().execution.time_zone = Some(timezone.to_owned());
        // Functions such as now() carry the zone in their type, so they are made anew for it.
        let config = Arc::clone(state.config_options());
        let zoned: Vec<_> =
            state.scalar_functions().values().filter_map(|f| f.inner().with_updated_config(&config)).collect();
        for function in zoned {
            state.register_udf(Arc::new(function)).or_error()?;
        }
        let state = Arc::new(state);
        let mut zoned = self.zoned.lock();
        if zoned.len() >= MAX_ZONES {
            zoned.clear();
        }
        zoned.insert(timezone.to_owned(), Arc::clone(&state));
        Ok(state)
    }

    /// A task context whose memory is counted by `pool`.
    pub(super) fn task(&self, state: &SessionState, pool: Arc<dyn MemoryPool>) -> Result<Arc<TaskContext>> {
        let env =
            RuntimeEnvBuilder::from_runtime_env(&self.runtime_env).with_memory_pool(pool).build_arc().or_error()?;
        Ok(Arc::new(TaskContext::from(state).with_runtime(env)))
    }
}

/// What operators and literals become, and what stands beside them.
fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let ours: Arc<dyn ExprPlanner> = Arc::new(MovedTimes);
    std::iter::once(ours).chain(crate::functions::expr_planners()).collect()
}

impl StatementContext {
    /// A table that the caller sees; `TABLE_NOT_FOUND` for anything else.
    pub(super) fn table(&self, name: &TableName) -> Result<Table> {
        find_table(&self.visible, name)
    }

    /// The definition of a table that the caller sees.
    pub(super) fn stored(&self, name: &TableName) -> Option<Arc<TableDef>> {
        self.visible.table(&name.schema, &name.name).map(|table| table.def())
    }

    /// The logical plan of a query whose rows are the answer. The planner refuses a name that `*` and another column have, and mistakes one for the
    /// other in set operations; then that column gets another one, which the client is not told.
    pub(super) async fn answer(&mut self, statement: PlannerStatement) -> Result<LogicalPlan> {
        let Some(beside) = Beside::of(&statement, &self.announced) else { return self.logical(statement).await };
        let (plan, announced) = if beside.is_of_several() {
            match self.beside(beside).await {
                Ok(planned) => planned,
                // Its errors are those of the statement as it is written.
                Err(_) => return self.logical(statement).await,
            }
        } else {
            match self.logical(statement).await {
                Err(error) if error.code() == Code::InvalidStatement => self.beside(beside).await.map_err(|_| error)?,
                planned => return planned,
            }
        };
        self.announced = announced;
        Ok(plan)
    }

    async fn beside(&self, beside: Beside) -> Result<(LogicalPlan, Announced)> {
        let mut columns: Vec<Vec<Vec<String>>> = Vec::new();
        for wildcard in beside.wildcards() {
            let plan = self.logical(wildcard).await?;
            let parts = plan.schema().iter().skip(1).map(|(table, field)| {
                let table = table.map(TableReference::to_vec).unwrap_or_default();
                table.into_iter().chain([field.name().clone()]).collect()
            });
            columns.push(parts.collect());
        }
        let (statement, announced) = beside.apart(columns);
        Ok((self.logical(statement).await?, announced))
    }

    /// The logical plan of a query.
    pub(super) async fn logical(&self, mut statement: PlannerStatement) -> Result<LogicalPlan> {
        if self.with_system_columns {
            hide(&mut statement, &self.settings.schema, &self.visible)?;
        }
        keep_digits(&mut statement);
        let alone = Alone::of(&statement);
        let plan = self.state.statement_to_plan(statement).await.and_then(with_orders_once).or_error()?;
        complexity::check(&plan)?;
        alone.check(&plan)?;
        only_reads(&plan)?;
        Ok(plan)
    }
}

/// The table of that name, if the caller sees it; an error that tells a view and a system table from nothing.
pub(super) fn find_table(visible: &VisibleCatalog, name: &TableName) -> Result<Table> {
    if let Some(table) = visible.table(&name.schema, &name.name) {
        return Ok(table);
    }
    if visible.view(&name.schema, &name.name).is_some() {
        return Err(Error::new(Code::InvalidStatement, format!("{name} is a view")).hint("name the table behind it"));
    }
    if matches!(name.schema.as_str(), "system" | "information_schema") {
        return Err(
            Error::new(Code::InvalidStatement, format!("{name} is kept by the server")).hint("it can only be read")
        );
    }
    Err(Error::new(Code::TableNotFound, format!("table '{name}' not found")).hint("SHOW TABLES lists what there is"))
}

/// What a name in FROM stands for.
fn named(visible: &VisibleCatalog, name: &TableName) -> Named {
    if let Some(table) = visible.table(&name.schema, &name.name) {
        return Named::Table { columns: table.def().columns.len() };
    }
    match visible.view(&name.schema, &name.name) {
        Some(view) => Named::View { sql: view.sql },
        None => Named::Nothing,
    }
}

/// Rewrites wildcards of a statement over tables that show their system columns.
fn hide(statement: &mut PlannerStatement, schema: &str, visible: &VisibleCatalog) -> Result<()> {
    let shows = |name: &TableName| {
        visible.table(&name.schema, &name.name).is_some_and(|table| table.def().options.system_columns)
    };
    sql_of_mut(statement).map_or(Ok(()), |sql| hide_system_columns(sql, schema, &shows))
}

/// The plan with each key once in the order of DISTINCT ON, for which DataFusion panics otherwise.
fn with_orders_once(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let once = |node| match node {
        LogicalPlan::Distinct(Distinct::On(mut on)) => {
            let mut seen = HashSet::new();
            let Some(keys) = &mut on.sort_expr else {
                return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::On(on))));
            };
            keys.retain(|key| seen.insert(key.expr.clone()));
            Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(on))))
        }
        node => Ok(Transformed::no(node)),
    };
    plan.transform_up_with_subqueries(once).data()
}

/// The front end lets nothing through that changes anything; this is the second lock.
fn only_reads(plan: &LogicalPlan) -> Result<()> {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
        .or_error()
}

/// Plans the SELECT of a view when a statement names it, with the rights of the statement's caller. Its names are fully qualified, so the
/// session's schema does not matter.
fn view_planner(zoned: Arc<SessionState>, visible: VisibleCatalog, with_system_columns: bool) -> ViewPlanner {
    Arc::new(move |catalog, sql| {
        let mut state = SessionState::clone(&zoned);
        state.register_catalog_list(catalog);
        let visible = visible.clone();
        Box::pin(async move {
            let mut statement = reparse(&sql).map_err(to_datafusion)?.statement;
            check_view_expansion(&statement, "public", &|name| named(&visible, name)).map_err(to_datafusion)?;
            if with_system_columns {
                hide(&mut statement, "public", &visible).map_err(to_datafusion)?;
            }
            keep_digits(&mut statement);
            let alone = Alone::of(&statement);
            let plan = state.statement_to_plan(statement).await.and_then(with_orders_once)?;
            complexity::check(&plan).and_then(|()| alone.check(&plan)).map_err(to_datafusion)?;
            only_reads(&plan).map_err(to_datafusion)?;
            // The columns of the view are described before anybody reads it.
            let plan = crate::functions::as_answered(plan, state.config_options())?;
            Ok(Arc::new(ViewTable::new(plan, Some(sql))) as Arc<dyn TableProvider>)
        })
    })
}

fn config(threads: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, "public")
        .with_create_default_catalog_and_schema(false)
        // Ours is in the catalog.
        .with_information_schema(false)
        .with_target_partitions(threads.max(1))
        .with_batch_size(BATCH_ROWS);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.time_zone = Some("UTC".into());
    options.execution.spill_compression = SpillCompression::Lz4Frame;
    options.execution.collect_statistics = false;
    // What `IS TRUE` becomes may be NULL by the schema of its operator, and is not by that of its plan.
    options.execution.skip_physical_aggregate_schema_check = true;
    config
}

fn runtime_env(storage: &Engine, spill_dir: &Path, max_spill_bytes: u64) -> Result<Arc<RuntimeEnv>> {
    empty_folder(spill_dir)?;
    let files = SpillFiles::new(spill_dir, max_spill_bytes, storage.min_free_bytes()).or_error()?;
    let disk = DiskManagerBuilder::default().with_temp_file_factory(files);
    let caches = usize::try_from(storage.memory().share(Share::Caches)).unwrap_or(usize::MAX);
    RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(caches / 2)
        .build_arc()
        .or_error()
}

/// Spill files of a process that ended are of no use.
fn empty_folder(folder: &Path) -> Result<()> {
    let unusable = |source: std::io::Error| {
        Error::new(
            Code::FolderUnusable,
            format!("the folder for spill files, {}, cannot be emptied: {source}", folder.display()),
        )
        .hint("check its permissions, or configure another")
        .source(source)
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    for entry in std::fs::read_dir(folder).map_err(unusable)? {
        let path = entry.map_err(unusable)?.path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(unusable)?;
    }
    Ok(())
}
