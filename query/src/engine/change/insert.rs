//! How do rows get in by INSERT, or by CREATE TABLE AS? The source runs like a query; its rows are committed together.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Sql};
use tidewater_storage::catalog::{ColumnDef, NewTable, TableDef};
use tidewater_storage::{Code, Error, Result, Table};
use tokio::runtime::Handle;

use super::computed;
use super::gather::{Destination, Gathered, Writing};
use crate::admission::Class;
use crate::engine::context::{StatementContext, parameter_types};
use crate::engine::job::{Job, ParameterTypes, PlannedRows};
use crate::engine::params;
use crate::limits::{MAX_COMPUTED_PARAMETER_ROWS, MAX_PLANNED_PARAMETER_ROWS};
use crate::registry::Query as Running;
use crate::statement::{Insert, Source, TableName};

/// An INSERT, or a CREATE TABLE AS, that is ready to run.
pub(in crate::engine) struct InsertWork {
    writing: Writing,
    rows: Rows,
}

enum Rows {
    /// Batches with the bound parameters.
    Bound(Vec<RecordBatch>),
    /// Sources to run: one, or one for each row of parameters.
    Planned(Vec<PlannedRows>),
}

/// Finds the table and its columns, and plans the source.
pub(in crate::engine) async fn plan_insert(
    job: &Job,
    context: &StatementContext,
    insert: Insert,
    parameters: Option<RecordBatch>,
) -> Result<InsertWork> {
    let (table, columns) = target(context, &insert)?;
    // One plan of a query; VALUES and rows of parameters came with the statement.
    let is_unlimited = match &insert.source {
        Source::Query(query) if !matches!(&*query.body, SetExpr::Values(_)) => {
            parameters.as_ref().is_none_or(|batch| batch.num_rows() == 1)
        }
        Source::Query(_) | Source::Parameters(_) => false,
    };
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
    let writing = Writing {
        destination: Destination::Table(table),
        columns,
        time_zone: context.settings.timezone.clone(),
        principal: job.session.principal.name.clone(),
        is_unlimited,
    };
    Ok(InsertWork { writing, rows })
}

/// Plans the source of CREATE TABLE AS, which gives the table's columns.
pub(in crate::engine) async fn plan_create_as(
    job: &Job,
    context: &StatementContext,
    mut new: Box<NewTable>,
    if_not_exists: bool,
    query: Query,
) -> Result<InsertWork> {
    let plan = context.logical(crate::statement::plain(Sql::Query(Box::new(query)))).await?;
    let fields = plan.schema().fields();
    let column = |field: &Arc<Field>| ColumnDef {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        nullable: true,
        comment: None,
    };
    new.columns = fields.iter().map(column).collect();
    new.from_data = true;
    let columns = new.columns.iter().map(|column| column.name.clone()).collect();
    let rows = Rows::Planned(vec![job.physical(context, &plan).await?]);
    let writing = Writing {
        destination: Destination::New { storage: Arc::clone(&job.contexts.storage), new, if_not_exists },
        columns,
        time_zone: context.settings.timezone.clone(),
        principal: job.session.principal.name.clone(),
        is_unlimited: true,
    };
    Ok(InsertWork { writing, rows })
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
pub(in crate::engine) async fn prepare_insert(context: &StatementContext, insert: Insert) -> Result<ParameterTypes> {
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
pub(super) fn named(columns: &[String], arrays: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
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
    /// The name of the table that it makes, if it makes one.
    pub(in crate::engine) fn new_table(&self) -> Option<String> {
        match &self.writing.destination {
            Destination::New { new, .. } => Some(format!("{}.{}", new.schema_name, new.name)),
            Destination::Table(_) => None,
        }
    }

    /// What it waits for, and where its sources run.
    pub(in crate::engine) fn class(&self) -> Class {
        match &self.rows {
            Rows::Planned(plans) if plans.iter().any(|plan| plan.class == Class::Tables) => Class::Tables,
            _ => Class::Metadata,
        }
    }

    /// Runs the sources; what is left to do is the commit.
    pub(in crate::engine) async fn collect(self, running: &Arc<Running>, runtime: &Handle) -> Result<Gathered> {
        match self.rows {
            Rows::Bound(batches) => Ok(self.writing.collected(batches)),
            Rows::Planned(plans) => self.writing.gather(plans, running, runtime).await,
        }
    }
}
