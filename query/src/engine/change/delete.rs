//! How do rows go by DELETE? What is open is built first, unless no open row can match; the condition is evaluated over files of one
//! snapshot, and the rows that it is true for are named in one commit.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{Query as SqlQuery, Statement as Sql};
use futures::StreamExt;
use roaring::RoaringBitmap;
use tidewater_storage::ids::CommitToken;
use tidewater_storage::{Code, Error, Result, Table, TableSnapshot};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::addresses::Addresses;
use super::gather::count;
use super::locator::WithLocator;
use crate::admission::Class;
use crate::engine::context::StatementContext;
use crate::engine::job::{Job, PlannedRows};
use crate::engine::params::{ParameterTypes, parameter_types};
use crate::engine::stream::run_to_end;
use crate::engine::{QueryEngine, QueryState, UpdateOutcome, params};
use crate::error::with_message;
use crate::limits::{MAX_DELETE_ATTEMPTS, MAX_PLANNED_PARAMETER_ROWS};
use crate::planner::Waiter;
use crate::provider::{HybridTable, StatementCatalog};
use crate::registry::Query;
use crate::runtime::DropOnQueryThread;
use crate::statement::{ADDRESS_COLUMNS, Delete, Kind, LOCATOR, TableName, plain};
use crate::wire_types::Profile;

/// Where tests hold a DELETE, between what it has seen and what it does about it. No durable step is here.
const EVALUATED: &str = "delete.evaluated";

/// A DELETE that was checked. It is planned again for each attempt, because each sees another snapshot.
pub(in crate::engine) struct DeleteWork {
    table: Table,
    job: Job,
    rows: Option<RecordBatch>,
}

/// Finds the table, and plans as far as names and types tell what is wrong.
pub(in crate::engine) async fn check_delete(
    job: &Job,
    context: &mut StatementContext,
    delete: Delete,
    rows: Option<RecordBatch>,
) -> Result<DeleteWork> {
    let Located { table, .. } = locate(context, &delete.table, Open::Ignored)?;
    let plan = logical(context, delete).await?;
    if let Some(batch) = &rows {
        at_most(batch.num_rows())?;
        params::bind(plan, batch, 0, job.session.types())?;
    }
    Ok(DeleteWork { table, job: job.clone(), rows })
}

/// The types of a DELETE's parameters.
pub(in crate::engine) async fn prepare_delete(
    context: &mut StatementContext,
    delete: Delete,
) -> Result<ParameterTypes> {
    locate(context, &delete.table, Open::Ignored)?;
    parameter_types(&logical(context, delete).await?)
}

/// The plan of the query for addresses. What is wrong with it is said of the table as the statement knows it.
async fn logical(context: &StatementContext, delete: Delete) -> Result<LogicalPlan> {
    let Delete { table, addresses } = delete;
    context.logical(query_of(addresses)).await.map_err(|error| {
        let (located, named) = (format!("{LOCATOR}.{}.", table.schema), format!("{}.", table.schema));
        with_message(&error, error.message().replace(&located, &named))
    })
}

fn query_of(addresses: Box<SqlQuery>) -> PlannerStatement {
    plain(Sql::Query(addresses))
}

fn at_most(n_rows: usize) -> Result<()> {
    if n_rows <= MAX_PLANNED_PARAMETER_ROWS {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidParameter,
        format!("{n_rows} rows of parameters; a DELETE takes {MAX_PLANNED_PARAMETER_ROWS}"),
    )
    .hint("use WHERE … IN (…), or delete in parts"))
}

/// What becomes of rows that are in no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// The plan says whether one of them may match.
    Asked,
    /// They came after the statement, or nothing is run.
    Ignored,
}

/// The table of a DELETE.
struct Located {
    table: Table,
    snapshot: TableSnapshot,
    rows: Arc<HybridTable>,
}

/// Lets the statement see the addresses of the rows of its table. The snapshot is that of all its tables.
fn locate(context: &mut StatementContext, name: &TableName, open: Open) -> Result<Located> {
    let table = context.table(name)?;
    let pinned = context.catalog.snapshot(&name.schema, &name.name);
    // Another table may have got the name meanwhile.
    let Some(snapshot) = pinned.filter(|snapshot| snapshot.def().id == table.def().id) else {
        return Err(dropped(name));
    };
    if let Some(column) = snapshot.def().columns.iter().find(|column| ADDRESS_COLUMNS.contains(&column.name.as_str())) {
        let message = format!("DELETE from {name}, which has a column '{}', is not supported", column.name);
        return Err(Error::new(Code::UnsupportedStatement, message).hint("filter the rows in a view"));
    }
    let rows = HybridTable::locating(snapshot.clone(), context.catalog.metrics(), open == Open::Asked);
    let rows = Arc::new(rows);
    let shown = Arc::clone(&rows) as Arc<dyn TableProvider>;
    context.state.register_catalog_list(WithLocator::new(Arc::clone(&context.catalog), name.clone(), shown));
    Ok(Located { table, snapshot, rows })
}

fn dropped(name: &TableName) -> Error {
    Error::new(Code::TableNotFound, format!("table '{name}' was dropped meanwhile"))
        .hint("SHOW TABLES lists what there is")
}

/// One attempt: where the rows are looked for.
struct Attempt {
    table: Table,
    snapshot: TableSnapshot,
    catalog: Arc<StatementCatalog>,
    /// One for each row of parameters.
    plans: DropOnQueryThread<Vec<PlannedRows>>,
    /// Rows of the snapshot that are in no file may match.
    may_match_open: bool,
}

/// On a planner thread: the statement once more, over what its table and those of its subqueries are now.
fn plan(job: &Job, of: &Table, rows: Option<&RecordBatch>, open: Open, waiter: &Arc<Waiter>) -> Result<Attempt> {
    let (statement, mut context) = job.read(waiter)?;
    let Kind::Delete(delete) = statement.kind else {
        return Err(Error::internal("a DELETE became another statement"));
    };
    let handle = job.handle.clone();
    handle.block_on(async {
        let Located { table, snapshot, rows: located } = locate(&mut context, &delete.table, open)?;
        if table.def().id != of.def().id {
            return Err(dropped(&delete.table));
        }
        let logical = logical(&context, delete).await?;
        let mut plans = Vec::new();
        for bound in bound_plans(logical, rows, job.session.types())? {
            plans.push(job.physical(&context, &bound).await?);
        }
        let plans = DropOnQueryThread::new(plans, handle.clone());
        let may_match_open = located.may_match_open();
        Ok(Attempt { table, snapshot, catalog: Arc::clone(&context.catalog), plans, may_match_open })
    })
}

/// The plan with each row in place of its parameters.
fn bound_plans(plan: LogicalPlan, rows: Option<&RecordBatch>, profile: Profile) -> Result<Vec<LogicalPlan>> {
    match rows {
        None => Ok(vec![plan]),
        Some(batch) => (0..batch.num_rows()).map(|row| params::bind(plan.clone(), batch, row, profile)).collect(),
    }
}

impl Attempt {
    /// Runs the plans; what is left to do is the commit.
    async fn find(self, running: &Arc<Query>, runtime: &Handle) -> Result<Found> {
        let Self { table, snapshot, plans, .. } = self;
        let mut addresses = Addresses::new(&running.pool);
        for plan in plans.take().unwrap_or_default() {
            let mut batches = run_to_end(plan, running, runtime);
            while let Some(batch) = batches.next().await {
                addresses.add(&batch?)?;
            }
        }
        let (rows, held) = addresses.finish()?;
        Ok(Found { table, snapshot, rows, held })
    }
}

/// The rows of a DELETE.
struct Found {
    table: Table,
    snapshot: TableSnapshot,
    /// By the place of their file in the snapshot.
    rows: Vec<(usize, RoaringBitmap)>,
    /// They count for the query until storage has them.
    held: MemoryReservation,
}

impl Found {
    async fn commit(self, running: &Query) -> Result<UpdateOutcome> {
        if self.rows.is_empty() {
            return Ok(outcome(0, self.snapshot.token()));
        }
        running.begin_commit()?;
        let (affected, token) = self.table.delete(&self.snapshot, self.rows).await?;
        drop(self.held);
        Ok(outcome(affected, token))
    }
}

fn outcome(affected: u64, token: CommitToken) -> UpdateOutcome {
    UpdateOutcome { affected, notices: vec![count(affected, "row")], token: Some(token), ..UpdateOutcome::default() }
}

impl QueryEngine {
    /// Builds if that may matter, waits for a slot like a query, evaluates, commits. Where a file went between the last two, TRUNCATE or
    /// compaction took it: then the statement begins anew, as if it had come only now. Its deadline holds until a commit, which is waited
    /// for.
    pub(in crate::engine) async fn delete(
        &self,
        work: DeleteWork,
        query: &Arc<Query>,
        timeout: Duration,
    ) -> Result<UpdateOutcome> {
        let until = Instant::now() + timeout;
        let mut attempts = 1;
        let outcome = loop {
            match self.try_delete(&work, query, until, timeout).await {
                Err(error) if error.code() == Code::DeleteConflict && attempts < MAX_DELETE_ATTEMPTS => {
                    attempts += 1;
                    query.give_commit_up();
                }
                outcome => break outcome,
            }
        };
        // What its sources still do is for nobody.
        query.pool.stop();
        outcome
    }

    async fn try_delete(
        &self,
        work: &DeleteWork,
        query: &Arc<Query>,
        until: Instant,
        timeout: Duration,
    ) -> Result<UpdateOutcome> {
        let _deadline = self.stop_at(until, timeout, query);
        query.set_state(QueryState::Running);
        let mut attempt = self.attempt(work, Open::Asked).await?;
        if attempt.may_match_open {
            drop(attempt);
            work.table.build().await?;
            // Rows that are in no file now came after the statement.
            attempt = self.attempt(work, Open::Ignored).await?;
        }
        query.set_catalog(Arc::clone(&attempt.catalog));
        query.set_state(QueryState::Waiting);
        let slot = self.admission.admit(Class::Tables).await?;
        query.set_state(QueryState::Running);
        let found = attempt.find(query, self.runtime.of(Class::Tables)).await?;
        drop(slot);
        self.storage.env().fail.hit(EVALUATED)?;
        found.commit(query).await
    }

    async fn attempt(&self, work: &DeleteWork, open: Open) -> Result<Attempt> {
        let (job, table, rows) = (work.job.clone(), work.table.clone(), work.rows.clone());
        self.planner.run(move |waiter| plan(&job, &table, rows.as_ref(), open, waiter)).await
    }
}
