//! What happens on a planner thread? Text becomes a statement, a query becomes a physical plan, the rest a description of work.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, Statement as Sql, VisitMut, VisitorMut};
use tidewater_storage::catalog::NewTable;
use tidewater_storage::{Code, Error, Result, View};
use tokio::runtime::Handle;

use super::change::{
    DeleteWork, IfExists, InsertWork, attach_schema, call_schema, check_delete, plan_create_as, plan_insert,
    prepare_delete, prepare_insert,
};
use super::context::{Contexts, StatementContext};
use super::params::{EachRow, ParameterTypes, Rest, parameter_types, settle_frames};
use super::{Parameters, Prepared, access, params, show};
use crate::admission::{Class, class_of};
use crate::error::OrError;
use crate::functions::check_constants;
use crate::memory::QueryPool;
use crate::planner::{Planner, Waiter};
use crate::provider::{StatementCatalog, rows_to_pass};
use crate::runtime::stoppable;
use crate::session::Session;
use crate::statement::{
    Alter, Attach, CATALOG, Call, Kind, Scope, Statement, TableName, classify, fold, read_text, reparse,
};
use crate::wire_types::wire_schema;

/// A query that is ready to run.
pub(super) struct PlannedRows {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) task: Arc<TaskContext>,
    pub(super) catalog: Arc<StatementCatalog>,
    /// As the client sees it.
    pub(super) schema: SchemaRef,
    pub(super) class: Class,
    /// The same query for further rows of parameters.
    pub(super) rest: Option<Box<Rest>>,
}

/// What a statement comes down to.
pub(super) enum Work {
    Rows(PlannedRows),
    Batch(RecordBatch),
    Set { name: String, value: Option<String> },
    CreateTable { new: Box<NewTable>, if_not_exists: bool, or_replace: bool },
    DropTables { names: Vec<TableName>, if_exists: bool },
    Truncate { names: Vec<TableName>, if_exists: bool },
    CreateView { view: View, or_replace: bool, if_not_exists: bool },
    DropViews { names: Vec<TableName>, if_exists: bool },
    Insert(InsertWork),
    Delete(DeleteWork),
    AlterTable(Alter),
    UndropTable(TableName),
    Call(Call),
    Attach(Attach),
}

impl Work {
    /// Whether storage runs it to its end once it has begun.
    pub(super) fn is_change(&self) -> bool {
        match self {
            Work::CreateTable { .. }
            | Work::DropTables { .. }
            | Work::Truncate { .. }
            | Work::CreateView { .. }
            | Work::DropViews { .. }
            | Work::AlterTable(_)
            | Work::UndropTable(_) => true,
            Work::Rows(_)
            | Work::Batch(_)
            | Work::Set { .. }
            | Work::Insert(_)
            | Work::Delete(_)
            | Work::Call(_)
            | Work::Attach(_) => false,
        }
    }
}

/// Everything that a planner thread needs.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) contexts: Arc<Contexts>,
    pub(super) handle: Handle,
    pub(super) session: Session,
    pub(super) sql: String,
    pub(super) pool: Arc<QueryPool>,
    pub(super) planner: Planner,
    /// See [`super::RunOptions::only_updates`].
    pub(super) only_updates: bool,
}

impl Job {
    /// Plans the statement as far as it goes without changing anything.
    pub(super) fn plan(self, parameters: Option<Parameters>, waiter: &Arc<Waiter>) -> Result<Work> {
        let (mut statement, mut context) = self.read(waiter)?;
        let rows = params::rows(parameters, statement.n_parameters)?;
        settle_frames(&mut statement.kind, rows.as_ref())?;
        let handle = self.handle.clone();
        handle.block_on(async {
            Ok(match statement.kind {
                Kind::Query(query) => Work::Rows(self.plan_query(context, *query, rows).await?),
                Kind::Show(what) => Work::Batch(show::answer(&what, &context).await?),
                Kind::Insert(insert) => Work::Insert(plan_insert(&self, &context, insert, rows).await?),
                Kind::Delete(delete) => Work::Delete(check_delete(&self, &mut context, delete, rows).await?),
                Kind::CreateView { name, query, or_replace, if_not_exists } => {
                    let view = self.plan_view(&context, name, query).await?;
                    Work::CreateView { view, or_replace, if_not_exists }
                }
                Kind::Set { name, value } => Work::Set { name, value },
                Kind::CreateTable { new, if_not_exists, or_replace } => {
                    Work::CreateTable { new, if_not_exists, or_replace }
                }
                Kind::CreateTableAs { new, if_not_exists, or_replace, query } => {
                    let if_exists = IfExists::of(if_not_exists, or_replace);
                    Work::Insert(plan_create_as(&self, &context, new, if_exists, *query).await?)
                }
                Kind::DropTables { names, if_exists } => Work::DropTables { names, if_exists },
                Kind::Truncate { names, if_exists } => Work::Truncate { names, if_exists },
                Kind::DropViews { names, if_exists } => Work::DropViews { names, if_exists },
                Kind::AlterTable(alter) => Work::AlterTable(alter),
                Kind::UndropTable { name } => Work::UndropTable(name),
                Kind::Call(call) => Work::Call(call),
                Kind::Attach(attach) => Work::Attach(attach),
            })
        })
    }

    /// Plans for the shape of the answer only.
    pub(super) fn prepare(self, waiter: &Arc<Waiter>) -> Result<Prepared> {
        let (mut statement, mut context) = self.read(waiter)?;
        let n = statement.n_parameters;
        let in_frames = settle_frames(&mut statement.kind, None)?;
        let (is_update, runs_when_planned) = (statement.kind.is_update(), statement.kind.runs_when_planned());
        let handle = self.handle.clone();
        let (dataset_schema, mut known) = handle.block_on(async {
            let nothing = || (Arc::new(Schema::empty()), ParameterTypes::new());
            Ok::<_, Error>(match statement.kind {
                Kind::Query(query) => {
                    let plan = context.answer(*query).await?;
                    let known = parameter_types(&plan)?;
                    let plan = if n == 0 { plan } else { params::bind_nulls(plan, &params::types(&known, n))? };
                    (self.physical(&context, &plan).await?.schema, known)
                }
                Kind::Show(what) => {
                    (wire_schema(&show::answer(&what, &context).await?.schema()), ParameterTypes::new())
                }
                Kind::Insert(insert) => (Arc::new(Schema::empty()), prepare_insert(&context, insert).await?),
                Kind::Delete(delete) => (Arc::new(Schema::empty()), prepare_delete(&mut context, delete).await?),
                Kind::Call(call) => (wire_schema(&call_schema(call.procedure)), ParameterTypes::new()),
                Kind::Attach(_) => (wire_schema(&attach_schema()), ParameterTypes::new()),
                _ => nothing(),
            })
        })?;
        for (i, data_type) in in_frames {
            known.entry(i).or_insert(data_type);
        }
        let parameter_schema = params::schema(&params::types(&known, n), self.session.types());
        Ok(Prepared { dataset_schema, parameter_schema, is_update, runs_when_planned })
    }

    /// The statement, if its caller may run it, and what it sees.
    pub(super) fn read(&self, waiter: &Arc<Waiter>) -> Result<(Statement, StatementContext)> {
        let schema = self.session.current().schema;
        let statement = classify(read_text(&self.sql, &schema)?, &schema)?;
        access::check(&statement.kind, &self.session.principal)?;
        if self.only_updates && !statement.kind.is_update() {
            return Err(Error::new(Code::InvalidStatement, "the statement returns rows: it is not an update")
                .hint("run it as a query"));
        }
        let context = self.contexts.statement(&self.session, &statement, waiter)?;
        Ok((statement, context))
    }

    async fn plan_query(
        &self,
        mut context: StatementContext,
        query: PlannerStatement,
        parameters: Option<RecordBatch>,
    ) -> Result<PlannedRows> {
        let plan = context.answer(query).await?;
        match parameters {
            Some(rows) => EachRow { job: self.clone(), context, plan, rows }.begin().await,
            None => self.physical(&context, &plan).await,
        }
    }

    /// Optimises and plans physically; pins what the plan scans.
    pub(super) async fn physical(&self, context: &StatementContext, plan: &LogicalPlan) -> Result<PlannedRows> {
        let plan = context.state.create_physical_plan(plan).await.or_error()?;
        check_constants(&plan).or_error()?;
        context.catalog.metrics().add_rows_to_pass(rows_to_pass(&plan));
        let plan = stoppable(plan, &self.pool).or_error()?;
        context.bounds.verdict()?;
        context.catalog.finish_planning();
        let pool = Arc::clone(&self.pool) as Arc<dyn MemoryPool>;
        let class = if context.catalog.freshness().is_empty() { class_of(&plan) } else { Class::Tables };
        Ok(PlannedRows {
            schema: self.session.types().schema(&context.announced.of(plan.schema())),
            task: self.contexts.task(&context.state, pool)?,
            catalog: Arc::clone(&context.catalog),
            plan,
            class,
            rest: None,
        })
    }

    /// The view as it is stored: names fully qualified, so that it means the same in every session. It must plan from that text.
    async fn plan_view(&self, context: &StatementContext, name: TableName, mut query: Box<Query>) -> Result<View> {
        if qualify(&mut query, &context.settings.schema, &name) {
            return Err(Error::new(Code::InvalidDefinition, format!("view {name} selects from itself"))
                .hint("select from the tables behind it"));
        }
        let sql = Sql::Query(query).to_string();
        let text = reparse(&sql)?;
        if text.n_parameters > 0 {
            return Err(Error::new(Code::InvalidStatement, "a view takes no parameters").hint("write the values out"));
        }
        let plan = context.logical(text.statement).await?;
        context.state.optimize(&plan).or_error()?;
        context.bounds.verdict()?;
        Ok(View { schema_name: name.schema, name: name.name, sql })
    }
}

/// Puts catalog and schema before every table name, and returns whether one of them is the view's `own`.
fn qualify(query: &mut Query, schema: &str, own: &TableName) -> bool {
    let mut qualify = Qualify { schema, scope: Scope::default(), own, names_itself: false };
    let _: ControlFlow<()> = VisitMut::visit(query, &mut qualify);
    qualify.names_itself
}

struct Qualify<'a> {
    schema: &'a str,
    scope: Scope,
    own: &'a TableName,
    names_itself: bool,
}

impl VisitorMut for Qualify<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.scope.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.scope.leave(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if self.scope.has(relation) {
            return ControlFlow::Continue(());
        }
        let parts: Option<Vec<String>> = relation.0.iter().map(|part| part.as_ident().map(fold)).collect();
        let full = match parts.as_deref() {
            Some([name]) if is_table_function(name) => return ControlFlow::Continue(()),
            Some([name]) => [CATALOG, self.schema, name],
            Some([schema, name]) => [CATALOG, schema, name],
            _ => return ControlFlow::Continue(()),
        };
        self.names_itself |= full[1] == self.own.schema && full[2] == self.own.name;
        *relation = ObjectName::from(full.map(|part| Ident::with_quote('"', part)).to_vec());
        ControlFlow::Continue(())
    }
}

/// `FROM generate_series(…)` looks like a table to the visitor.
fn is_table_function(name: &str) -> bool {
    matches!(name, "generate_series" | "range" | "unnest")
}
