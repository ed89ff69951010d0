//! What does the planner know? One session state of DataFusion for the process, cloned and bound to a catalog for each statement.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::config::SpillCompression;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as PlannerStatement;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::memory::Share;
use tidewater_storage::{Code, Engine, Error, Result, Table};

use super::QueryEngineOptions;
use crate::error::{OrError, to_datafusion};
use crate::limits::{BATCH_ROWS, MAX_VIEW_PLAN_NODES};
use crate::provider::{CatalogOptions, StatementCatalog, ViewPlanner};
use crate::session::{Session, SessionSettings};
use crate::statement::{CATALOG, Statement, TableName, hide_system_columns, reparse};
use crate::system::SystemState;

/// What all statements share.
pub(super) struct Contexts {
    base: SessionState,
    runtime_env: Arc<RuntimeEnv>,
    pub(super) storage: Arc<Engine>,
    system: Arc<SystemState>,
}

/// One statement's view of the world.
pub(super) struct StatementContext {
    pub(super) state: SessionState,
    pub(super) catalog: Arc<StatementCatalog>,
    pub(super) settings: SessionSettings,
    with_system_columns: bool,
    storage: Arc<Engine>,
}

impl Contexts {
    pub(super) fn new(storage: Arc<Engine>, system: Arc<SystemState>, options: &QueryEngineOptions) -> Result<Self> {
        let runtime_env = runtime_env(&storage, &options.spill_dir, options.max_spill_bytes)?;
        let mut base = SessionStateBuilder::new()
            .with_config(config(options.threads))
            .with_runtime_env(Arc::clone(&runtime_env))
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(SessionStateDefaults::default_table_functions())
            .build();
        crate::functions::register(&mut base).or_error()?;
        Ok(Self { base, runtime_env, storage, system })
    }

    /// The context of one statement of `session`.
    pub(super) fn statement(&self, session: &Session, statement: &Statement) -> Result<StatementContext> {
        let settings = session.current();
        let with_system_columns = statement.names_hidden || self.names_view_over_hidden(statement);
        let catalog = StatementCatalog::new(
            Arc::clone(&self.storage),
            Arc::clone(&self.system),
            session.clone(),
            CatalogOptions { with_system_columns },
        );
        let state = self.state(&settings)?;
        let views = view_planner(state.clone(), Arc::clone(&self.storage), with_system_columns);
        catalog.set_view_planner(views);
        let mut state = state;
        state.register_catalog_list(Arc::clone(&catalog) as _);
        state.mark_start_execution();
        Ok(StatementContext { state, catalog, settings, with_system_columns, storage: Arc::clone(&self.storage) })
    }

    fn state(&self, settings: &SessionSettings) -> Result<SessionState> {
        let mut state = self.base.clone();
        let options = state.config_mut().options_mut();
        options.execution.time_zone = Some(settings.timezone.clone());
        options.catalog.default_schema.clone_from(&settings.schema);
        // Functions such as now() carry the zone in their type, so they are made anew for it.
        let config = Arc::clone(state.config_options());
        let zoned: Vec<_> =
            state.scalar_functions().values().filter_map(|f| f.inner().with_updated_config(&config)).collect();
        for function in zoned {
            state.register_udf(Arc::new(function)).or_error()?;
        }
        Ok(state)
    }

    /// A view may read hidden columns that the statement itself does not name.
    fn names_view_over_hidden(&self, statement: &Statement) -> bool {
        let views = self.storage.views();
        let over_hidden = |sql: &str| sql.contains("_commit_seq") || sql.contains("_ingested_at");
        views.iter().any(|view| over_hidden(&view.sql))
            && views.iter().any(|view| statement.words.contains(&view.name.to_lowercase()))
    }

    /// A task context whose memory is counted by `pool`.
    pub(super) fn task(&self, state: &SessionState, pool: Arc<dyn MemoryPool>) -> Result<Arc<TaskContext>> {
        let env =
            RuntimeEnvBuilder::from_runtime_env(&self.runtime_env).with_memory_pool(pool).build_arc().or_error()?;
        Ok(Arc::new(TaskContext::from(state).with_runtime(env)))
    }
}

impl StatementContext {
    /// A table of ours; `TABLE_NOT_FOUND` for anything else.
    pub(super) fn table(&self, name: &TableName) -> Result<Table> {
        find_table(&self.storage, name)
    }

    /// The definition of a table of ours.
    pub(super) fn stored(&self, name: &TableName) -> Option<Arc<TableDef>> {
        self.storage.table(&name.schema, &name.name).map(|table| table.def())
    }

    /// The logical plan of a query.
    pub(super) async fn logical(&self, mut statement: PlannerStatement) -> Result<LogicalPlan> {
        if self.with_system_columns {
            hide(&mut statement, &self.settings.schema, &self.storage)?;
        }
        let plan = self.state.statement_to_plan(statement).await.or_error()?;
        only_reads(&plan)?;
        Ok(plan)
    }
}

/// The table of that name; an error that tells a view and a system table from nothing.
pub(super) fn find_table(storage: &Engine, name: &TableName) -> Result<Table> {
    if let Some(table) = storage.table(&name.schema, &name.name) {
        return Ok(table);
    }
    if storage.views().iter().any(|view| view.schema_name == name.schema && view.name == name.name) {
        return Err(Error::new(Code::InvalidStatement, format!("{name} is a view")).hint("name the table behind it"));
    }
    if matches!(name.schema.as_str(), "system" | "information_schema") {
        return Err(
            Error::new(Code::InvalidStatement, format!("{name} is kept by the server")).hint("it can only be read")
        );
    }
    Err(Error::new(Code::TableNotFound, format!("table '{name}' not found")).hint("SHOW TABLES lists what there is"))
}

/// Rewrites wildcards of a statement over tables that show their system columns.
fn hide(statement: &mut PlannerStatement, schema: &str, storage: &Arc<Engine>) -> Result<()> {
    let shows = |name: &TableName| {
        storage.table(&name.schema, &name.name).is_some_and(|table| table.def().options.system_columns)
    };
    match statement {
        PlannerStatement::Statement(sql) => hide_system_columns(&mut **sql, schema, &shows),
        PlannerStatement::Explain(explain) => hide(&mut explain.statement, schema, storage),
        _ => Ok(()),
    }
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

/// Plans the SELECT of a view when a statement names it. Its names are fully qualified, so the session's schema does not matter.
fn view_planner(state: SessionState, storage: Arc<Engine>, with_system_columns: bool) -> ViewPlanner {
    Arc::new(move |catalog, sql| {
        let mut state = state.clone();
        state.register_catalog_list(catalog);
        let storage = Arc::clone(&storage);
        Box::pin(async move {
            let mut statement = reparse(&sql).map_err(to_datafusion)?.statement;
            if with_system_columns {
                hide(&mut statement, "public", &storage).map_err(to_datafusion)?;
            }
            let plan = state.statement_to_plan(statement).await?;
            only_reads(&plan).map_err(to_datafusion)?;
            bounded(&plan).map_err(to_datafusion)?;
            Ok(Arc::new(ViewTable::new(plan, Some(sql))) as Arc<dyn TableProvider>)
        })
    })
}

/// Views of views can double with every level: the plan with all of them in it is bounded.
fn bounded(plan: &LogicalPlan) -> Result<()> {
    let mut waiting = vec![plan];
    let mut nodes = 0;
    while let Some(plan) = waiting.pop() {
        nodes += 1;
        if nodes > MAX_VIEW_PLAN_NODES {
            return Err(Error::new(
                Code::StatementTooComplex,
                format!("a view has more than {MAX_VIEW_PLAN_NODES} plan nodes"),
            )
            .hint("select from the tables behind it"));
        }
        waiting.extend(plan.inputs());
    }
    Ok(())
}

fn config(threads: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, "public")
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(threads.max(1))
        .with_batch_size(BATCH_ROWS);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.time_zone = Some("UTC".into());
    options.execution.spill_compression = SpillCompression::Lz4Frame;
    options.execution.collect_statistics = false;
    config
}

fn runtime_env(storage: &Engine, spill_dir: &Path, max_spill_bytes: u64) -> Result<Arc<RuntimeEnv>> {
    empty_folder(spill_dir)?;
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill_dir.to_path_buf()]))
        .with_max_temp_directory_size(max_spill_bytes);
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

/// Which parameters a plan has, by index from 0, with their types where they are known.
pub(super) fn parameter_types(plan: &LogicalPlan) -> Result<HashMap<usize, arrow::datatypes::DataType>> {
    let types = plan.get_parameter_types().or_error()?;
    let index = |name: &str| name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1);
    Ok(types.into_iter().filter_map(|(name, data_type)| Some((index(&name)?, data_type?))).collect())
}
