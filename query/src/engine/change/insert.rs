//! How do rows get in by INSERT, or by CREATE TABLE AS? The source runs like a query; its rows are committed together.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Query, SetExpr, Statement as Sql, Value as SqlValue};
use tidewater_storage::catalog::{ColumnDef, NewTable, TableDef};
use tidewater_storage::limits::MAX_STATEMENT_ROWS_BYTES;
use tidewater_storage::{Code, Error, Result, Table};
use tokio::runtime::Handle;

use super::computed;
use super::gather::{Destination, Gathered, IfExists, Writing, too_large};
use super::tuples::in_order;
use crate::admission::Class;
use crate::engine::context::StatementContext;
use crate::engine::job::{Job, PlannedRows};
use crate::engine::params::{self, ParameterTypes, parameter_types, placeholder};
use crate::error::OrError;
use crate::limits::{MAX_COMPUTED_PARAMETER_ROWS, MAX_PLANNED_PARAMETER_ROWS};
use crate::registry::Query as Running;
use crate::statement::{Cell, Insert, Source, TableName, settle_values};

/// An INSERT, or a CREATE TABLE AS, that is ready to run.
pub(in crate::engine) struct InsertWork {
    writing: Writing,
    rows: Rows,
}

enum Rows {
    /// Batches with the bound parameters, and the memory of the constants beside them and of what is copied.
    Bound(Vec<RecordBatch>, MemoryReservation),
    /// Sources to run: one, or one for each row of parameters.
    Planned(Vec<PlannedRows>),
}

/// Finds the table and its columns, and plans the source.
pub(in crate::engine) async fn plan_insert(
    job: &Job,
    context: &StatementContext,
    mut insert: Insert,
    parameters: Option<RecordBatch>,
) -> Result<InsertWork> {
    let (table, columns) = target(context, &insert)?;
    let types = types_of(&table.def(), &columns);
    if let Source::Query(query) = &mut insert.source {
        settle_values(query, &types);
    }
    // One plan of a query; VALUES and rows of parameters came with the statement.
    let is_unlimited = match &insert.source {
        Source::Query(query) if !matches!(&*query.body, SetExpr::Values(_)) => {
            parameters.as_ref().is_none_or(|batch| batch.num_rows() == 1)
        }
        Source::Query(_) | Source::Parameters(_) => false,
    };
    let rows = match (insert.source, parameters) {
        (Source::Parameters(rows), Some(batch)) => {
            let held = hold_constants(job, &rows, batch.num_rows())?;
            let bound = rows.iter().map(|row| bound_row(row, &columns, &types, &batch));
            let bound = in_order(bound.collect::<Result<_>>()?, &columns, &held)?;
            Rows::Bound(bound, held)
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

/// Plans the source of CREATE TABLE AS, which gives the table's columns unless they are listed.
pub(in crate::engine) async fn plan_create_as(
    job: &Job,
    context: &StatementContext,
    mut new: Box<NewTable>,
    if_exists: IfExists,
    query: Query,
) -> Result<InsertWork> {
    let mut plan = context.logical(crate::statement::plain(Sql::Query(Box::new(query)))).await?;
    if !new.columns.is_empty() {
        plan = as_listed(plan, &new.columns)?;
    }
    let planned = job.physical(context, &plan).await?;
    if new.columns.is_empty() {
        let column = |(name, field): (&Arc<Field>, &Arc<Field>)| ColumnDef {
            name: name.name().clone(),
            // A column of nothing but NULL is one of text, as in PostgreSQL.
            data_type: if field.data_type().is_null() { DataType::Utf8 } else { field.data_type().clone() },
            nullable: true,
            comment: None,
            max_chars: None,
        };
        // The types of the rows: a plan that is not analyzed yet has for a UNION those of its first part.
        new.columns = plan.schema().fields().iter().zip(planned.plan.schema().fields()).map(column).collect();
    }
    new.from_data = true;
    let columns = new.columns.iter().map(|column| column.name.clone()).collect();
    let rows = Rows::Planned(vec![planned]);
    let writing = Writing {
        destination: Destination::New { storage: Arc::clone(&job.contexts.storage), new, if_exists },
        columns,
        time_zone: context.settings.timezone.clone(),
        principal: job.session.principal.name.clone(),
        is_unlimited: true,
    };
    Ok(InsertWork { writing, rows })
}

/// The columns of a source under the names and as the types that the statement lists. What becomes an instant is left to storage, which
/// knows the time zone of the session, as for INSERT.
fn as_listed(plan: LogicalPlan, listed: &[ColumnDef]) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    same_width(columns.len(), listed.len())?;
    let exprs = columns.into_iter().zip(listed).map(|(column, listed)| {
        let column = Expr::Column(column);
        match &listed.data_type {
            DataType::Timestamp(_, Some(_)) => column.alias(&listed.name),
            data_type => cast(column, data_type.clone()).alias(&listed.name),
        }
    });
    let exprs = exprs.collect::<Vec<Expr>>();
    LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build).or_error()
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
    let types = types_of(&table.def(), &columns);
    let query = match insert.source {
        Source::Parameters(rows) => {
            rows.iter().try_for_each(|row| same_width(row.len(), columns.len()))?;
            let rows = rows.iter().map(|row| row.iter().map(Cell::parameter));
            return Ok(of_columns(rows, &types, ParameterTypes::new()));
        }
        Source::Query(query) => query,
    };
    if let SetExpr::Values(values) = &*query.body {
        let rows = values.rows.iter().map(|row| row.iter().map(sql_parameter));
        let mut known = of_columns(rows, &types, ParameterTypes::new());
        // What is computed is planned once more when values are there: until then it need not make sense to the planner.
        if let Ok(plan) = context.logical(crate::statement::plain(Sql::Query(query))).await {
            for (i, data_type) in parameter_types(&plan).unwrap_or_default() {
                known.entry(i).or_insert(data_type);
            }
        }
        return Ok(known);
    }
    let plan = context.logical(crate::statement::plain(Sql::Query(query))).await?;
    same_width(plan.schema().fields().len(), columns.len())?;
    let known = parameter_types(&plan)?;
    Ok(match &plan {
        LogicalPlan::Projection(selected) => {
            let selected = selected.expr.iter().map(placeholder);
            of_columns(std::iter::once(selected), &types, known)
        }
        _ => known,
    })
}

/// What is `known`, and that a parameter which goes to a column as it is has the column's type.
fn of_columns<R: Iterator<Item = Option<usize>>>(
    rows: impl Iterator<Item = R>,
    types: &[Option<DataType>],
    mut known: ParameterTypes,
) -> ParameterTypes {
    for (parameter, data_type) in rows.flat_map(|row| row.zip(types)) {
        if let (Some(i), Some(data_type)) = (parameter, data_type) {
            known.entry(i).or_insert_with(|| data_type.clone());
        }
    }
    known
}

/// The parameter that an expression of the text is.
fn sql_parameter(expr: &SqlExpr) -> Option<usize> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            SqlValue::Placeholder(name) => params::parameter_index(name),
            _ => None,
        },
        _ => None,
    }
}

/// The types of the columns that the source gives.
fn types_of(def: &TableDef, columns: &[String]) -> Vec<Option<DataType>> {
    let data_type = |name: &String| Some(def.columns.iter().find(|column| column.name == *name)?.data_type.clone());
    columns.iter().map(data_type).collect()
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
    Err(Error::new(Code::InvalidStatement, format!("the statement names {wanted} columns, its rows have {got}"))
        .hint("give one value for each column"))
}

/// Each row of parameters has a copy of the constants beside them. Their memory is held before they are there.
fn hold_constants(job: &Job, rows: &[Vec<Cell>], n_rows: usize) -> Result<MemoryReservation> {
    let bytes = rows.iter().flatten().map(constant_bytes).sum::<usize>().saturating_mul(n_rows);
    if bytes > MAX_STATEMENT_ROWS_BYTES {
        return Err(too_large());
    }
    let pool = Arc::clone(&job.pool) as Arc<dyn MemoryPool>;
    let held = MemoryConsumer::new("insert").register(&pool);
    held.try_resize(bytes).or_error()?;
    Ok(held)
}

fn constant_bytes(cell: &Cell) -> usize {
    match cell {
        Cell::Parameter(_) | Cell::Null => 0,
        Cell::Boolean(_) => 1,
        Cell::Text(text) => size_of::<i32>() + text.len(),
        // As text, or as the widest number.
        Cell::Number(number) => size_of::<i128>() + number.text().len(),
    }
}

/// One row of VALUES over all rows of parameters.
fn bound_row(
    row: &[Cell],
    columns: &[String],
    types: &[Option<DataType>],
    parameters: &RecordBatch,
) -> Result<RecordBatch> {
    same_width(row.len(), columns.len())?;
    let n_rows = parameters.num_rows();
    let array = |(cell, data_type): (&Cell, &Option<DataType>)| -> Result<ArrayRef> {
        match cell {
            Cell::Parameter(i) => Ok(Arc::clone(parameters.column(*i))),
            constant => value_of(constant, data_type.as_ref()).to_array_of_size(n_rows).or_error(),
        }
    };
    let arrays = row.iter().zip(types).map(array).collect::<Result<Vec<_>>>()?;
    named(columns, arrays, n_rows)
}

/// A constant, as the planner reads it, for a column of this type. Storage reads text for a DECIMAL digit by digit.
fn value_of(cell: &Cell, data_type: Option<&DataType>) -> ScalarValue {
    match cell {
        Cell::Parameter(_) | Cell::Null => ScalarValue::Null,
        Cell::Boolean(truth) => ScalarValue::Boolean(Some(*truth)),
        Cell::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        Cell::Number(number) => {
            let exact = match data_type {
                Some(DataType::Decimal128(_, scale)) => number.rounded(*scale),
                _ => None,
            };
            let text = number.text();
            match (exact, text.parse::<i64>(), text.parse::<u64>()) {
                (Some(exact), ..) => ScalarValue::Utf8(Some(exact)),
                (None, Ok(whole), _) => ScalarValue::Int64(Some(whole)),
                (None, Err(_), Ok(whole)) => ScalarValue::UInt64(Some(whole)),
                (None, Err(_), Err(_)) => ScalarValue::Float64(text.parse::<f64>().ok()),
            }
        }
    }
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
        plan = params::bind(plan, batch, row, job.session.types())?;
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
            Rows::Bound(batches, held) => Ok(self.writing.collected(batches, held)),
            Rows::Planned(plans) => self.writing.gather(plans, running, runtime).await,
        }
    }
}
