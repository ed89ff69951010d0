//! How do rows get in by INSERT? The source runs like a query, is collected within a limit, and is committed as one request.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Sql};
use futures::StreamExt;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::MAX_STATEMENT_ROWS_BYTES;
use tidewater_storage::{Code, Error, OnError, Result, RowsRequest, Table};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::UpdateOutcome;
use super::context::{StatementContext, parameter_types};
use super::job::{Job, ParameterTypes, PlannedRows};
use super::stream::run_to_end;
use super::{computed, params};
use crate::admission::Class;
use crate::error::OrError;
use crate::limits::{MAX_COMPUTED_PARAMETER_ROWS, MAX_PLANNED_PARAMETER_ROWS};
use crate::provider::detached;
use crate::registry::Query as Running;
use crate::statement::{Insert, Source, TableName};

/// An INSERT that is ready to run.
pub(super) struct InsertWork {
    table: Table,
    /// Names of the columns that the source gives, in its order.
    columns: Vec<String>,
    time_zone: String,
    rows: Rows,
}

enum Rows {
    /// Batches with the bound parameters.
    Bound(Vec<RecordBatch>),
    /// Sources to run: one, or one for each row of parameters.
    Planned(Vec<PlannedRows>),
}

/// Finds the table and its columns, and plans the source.
pub(super) async fn plan_insert(
    job: &Job,
    context: &StatementContext,
    insert: Insert,
    parameters: Option<RecordBatch>,
) -> Result<InsertWork> {
    let (table, columns) = target(context, &insert)?;
    let rows = match (insert.source, parameters) {
        (Source::Parameters(rows), Some(batch)) => {
            Rows::Bound(rows.iter().map(|row| bound_row(row, &columns, &batch)).collect::<Result<_>>()?)
        }
        (Source::Parameters(_), None) => return Err(Error::internal("an INSERT of parameters has none")),
        (Source::Query(query), None) => Rows::Planned(vec![plan_source(job, context, *query, &columns, None).await?]),
        (Source::Query(query), Some(batch)) => {
            Rows::Planned(plan_computed(job, context, &query, &columns, &batch).await?)
        }
    };
    Ok(InsertWork { table, columns, time_zone: context.settings.timezone.clone(), rows })
}

/// Plans a source that computes with parameters: once for all rows of them if it is a row of VALUES, else once for each.
async fn plan_computed(
    job: &Job,
    context: &StatementContext,
    query: &Query,
    columns: &[String],
    batch: &RecordBatch,
) -> Result<Vec<PlannedRows>> {
    let n_rows = batch.num_rows();
    at_most(n_rows, MAX_COMPUTED_PARAMETER_ROWS)?;
    if n_rows > 1
        && let Some(statement) = computed::select(query)?
    {
        let plan = context.logical(statement).await?;
        same_width(plan.schema().fields().len(), columns.len())?;
        if let Some(plan) = computed::over(&plan, batch)? {
            return Ok(vec![job.physical(context, &plan).await?]);
        }
    }
    at_most(n_rows, MAX_PLANNED_PARAMETER_ROWS)?;
    let mut plans = Vec::with_capacity(n_rows);
    for row in 0..n_rows {
        plans.push(plan_source(job, context, query.clone(), columns, Some((batch, row))).await?);
    }
    Ok(plans)
}

fn at_most(n_rows: usize, limit: usize) -> Result<()> {
    if n_rows <= limit {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidParameter,
        format!("{n_rows} rows of parameters; an INSERT that computes with them like this takes {limit}"),
    )
    .hint("use VALUES of plain parameters, or bulk ingest"))
}

/// The types of an INSERT's parameters: of the columns that they go to, else what the source tells.
pub(super) async fn prepare_insert(context: &StatementContext, insert: Insert) -> Result<ParameterTypes> {
    let (table, columns) = target(context, &insert)?;
    let def = table.def();
    match insert.source {
        Source::Parameters(rows) => {
            let mut types = ParameterTypes::new();
            for row in &rows {
                same_width(row.len(), columns.len())?;
                for (parameter, column) in row.iter().zip(&columns) {
                    if let Some(column) = def.columns.iter().find(|c| c.name == *column) {
                        types.entry(*parameter).or_insert_with(|| column.data_type.clone());
                    }
                }
            }
            Ok(types)
        }
        // The types of parameters inside VALUES follow from what is bound: they are planned when they are there.
        Source::Query(query) if matches!(&*query.body, SetExpr::Values(_)) => Ok(ParameterTypes::new()),
        Source::Query(query) => {
            let plan = context.logical(crate::statement::plain(Sql::Query(query))).await?;
            same_width(plan.schema().fields().len(), columns.len())?;
            parameter_types(&plan)
        }
    }
}

/// The table and the columns that the source gives.
fn target(context: &StatementContext, insert: &Insert) -> Result<(Table, Vec<String>)> {
    let table = context.table(&insert.table)?;
    let def = table.def();
    if insert.columns.is_empty() {
        let all = def.columns.iter().map(|column| column.name.clone()).collect();
        return Ok((table, all));
    }
    for column in &insert.columns {
        known_column(&def, column, &insert.table)?;
    }
    Ok((table, insert.columns.clone()))
}

fn known_column(def: &TableDef, column: &str, table: &TableName) -> Result<()> {
    if def.columns.iter().any(|known| known.name == column) {
        return Ok(());
    }
    let names: Vec<&str> = def.columns.iter().map(|column| column.name.as_str()).take(20).collect();
    Err(Error::new(Code::ColumnNotFound, format!("table {table} has no column '{column}'"))
        .hint(format!("its columns are {}", names.join(", "))))
}

fn same_width(got: usize, wanted: usize) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Error::new(Code::InvalidStatement, format!("the INSERT names {wanted} columns, its rows have {got}"))
        .hint("give one value for each column"))
}

/// One row of VALUES over all rows of parameters.
fn bound_row(row: &[usize], columns: &[String], parameters: &RecordBatch) -> Result<RecordBatch> {
    same_width(row.len(), columns.len())?;
    let arrays = row.iter().map(|i| Arc::clone(parameters.column(*i))).collect();
    named(columns, arrays, parameters.num_rows())
}

/// A batch of `arrays` under the names of the columns that they go to.
fn named(columns: &[String], arrays: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields = columns.iter().zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}

async fn plan_source(
    job: &Job,
    context: &StatementContext,
    query: Query,
    columns: &[String],
    parameters: Option<(&RecordBatch, usize)>,
) -> Result<PlannedRows> {
    let statement = crate::statement::plain(Sql::Query(Box::new(query)));
    let mut plan = context.logical(statement).await?;
    same_width(plan.schema().fields().len(), columns.len())?;
    if let Some((batch, row)) = parameters {
        plan = params::bind(plan, batch, row)?;
    }
    job.physical(context, &plan).await
}

impl InsertWork {
    /// What it waits for, and where its sources run.
    pub(super) fn class(&self) -> Class {
        match &self.rows {
            Rows::Planned(plans) if plans.iter().any(|plan| plan.class == Class::Tables) => Class::Tables,
            _ => Class::Metadata,
        }
    }

    /// Runs the sources; what is left to do is the commit.
    pub(super) async fn collect(self, running: &Arc<Running>, runtime: &Handle) -> Result<Collected> {
        let Self { table, columns, time_zone, rows } = self;
        let (batches, held) = match rows {
            Rows::Bound(batches) => (batches, None),
            Rows::Planned(plans) => {
                let (batches, held) = collect(plans, &columns, running, runtime).await?;
                (batches, Some(held))
            }
        };
        let batches = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
        Ok(Collected { table, time_zone, batches, held })
    }
}

/// The rows of an INSERT.
pub(super) struct Collected {
    table: Table,
    time_zone: String,
    batches: Vec<RecordBatch>,
    /// They count for the query until storage has them.
    held: Option<MemoryReservation>,
}

/// Commits all rows together.
pub(super) async fn run_insert(
    work: Collected,
    running: &Arc<Running>,
    deadline: AbortOnDropHandle<()>,
) -> Result<UpdateOutcome> {
    let batches = work.batches;
    if batches.is_empty() {
        return Ok(UpdateOutcome { affected: 0, notices: vec!["0 rows".into()], ..UpdateOutcome::default() });
    }
    let def = work.table.def();
    let request = RowsRequest {
        rows: batches.into_iter().map(Into::into).collect(),
        producer: None,
        idempotency_key: None,
        principal: running.session().principal.name.clone(),
        on_error: OnError::Abort,
        durability: None,
        time_zone: Some(work.time_zone),
        expected_schema: Some(def.schema_id.0),
        ignore_unknown_columns: false,
        statement: true,
    };
    let prepared = work.table.prepare(request).await?;
    drop(work.held);
    // Until there is a place for the rows, the statement waits like any other.
    let begin = || {
        drop(deadline);
        running.begin_commit()
    };
    let outcome = work.table.submit_after(prepared, begin).await?.outcome().await?;
    let mut notice = count(outcome.accepted, "row");
    if outcome.duplicates > 0 {
        notice = format!("{notice}, {} dropped", count(outcome.duplicates, "duplicate key"));
    }
    Ok(UpdateOutcome {
        affected: outcome.accepted,
        notices: vec![notice],
        token: Some(outcome.token),
        ..UpdateOutcome::default()
    })
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Runs plans one after the other and keeps their rows, up to what one statement may write.
async fn collect(
    plans: Vec<PlannedRows>,
    columns: &[String],
    running: &Arc<Running>,
    runtime: &Handle,
) -> Result<(Vec<RecordBatch>, MemoryReservation)> {
    let pool = Arc::clone(&running.pool) as Arc<dyn MemoryPool>;
    let held = MemoryConsumer::new("insert").register(&pool);
    let mut out = Vec::new();
    // Batches may share buffers, such as the values of a dictionary: each counts once.
    let mut memory = RecordBatchMemoryCounter::new();
    for plan in plans {
        let mut batches = run_to_end(plan, running, runtime);
        while let Some(batch) = batches.next().await {
            // The rows outlive the snapshots that they were read from, and must not hold what they were slices of.
            let batch = detached(&batch?)?;
            memory.count_batch(&batch);
            if memory.memory_usage() > MAX_STATEMENT_ROWS_BYTES {
                return Err(Error::new(
                    Code::StatementRowsTooLarge,
                    format!("the rows of the INSERT have more than {} MiB", MAX_STATEMENT_ROWS_BYTES >> 20),
                )
                .hint("insert in parts, or use bulk ingest"));
            }
            held.try_resize(memory.memory_usage()).or_error()?;
            let rows = batch.num_rows();
            out.push(named(columns, batch.columns().to_vec(), rows)?);
        }
    }
    Ok((out, held))
}
