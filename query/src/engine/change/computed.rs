//! How does an INSERT compute with many rows of parameters? By one plan that reads them like a table.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Query, SelectItem, SetExpr, Statement as Sql, Visit, Visitor,
};
use tidewater_storage::Result;

use crate::engine::params::parameter_index;
use crate::error::OrError;
use crate::functions::with_hours;
use crate::statement::reparse;

/// The relation of the parameters.
const PARAMETERS: &str = "parameters";

/// `SELECT …` of what a single row of VALUES computes; `None` for any other source, in which every row of parameters may read something
/// else.
pub(super) fn select(query: &Query) -> Result<Option<PlannerStatement>> {
    let Some(row) = only_row(query) else { return Ok(None) };
    let mut statement = reparse("SELECT 1")?.statement;
    if let PlannerStatement::Statement(sql) = &mut statement
        && let Sql::Query(select) = &mut **sql
        && let SetExpr::Select(select) = &mut *select.body
    {
        let item = |(i, expr): (usize, &SqlExpr)| SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::new(format!("column{}", i + 1)),
        };
        select.projection = row.iter().enumerate().map(item).collect();
    }
    Ok(Some(statement))
}

fn only_row(query: &Query) -> Option<&[SqlExpr]> {
    let plain =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Values(values) = &*query.body else { return None };
    let [row] = values.rows.as_slice() else { return None };
    let subquery = row.iter().any(|expr| Visit::visit(expr, &mut FindQuery).is_break());
    (plain && !subquery).then_some(row.content.as_slice())
}

struct FindQuery;

impl Visitor for FindQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// The plan of [`select`] over all rows of `parameters`, in their order. `None` if it does more than compute with them, which VALUES may
/// not.
pub(super) fn over(plan: &LogicalPlan, parameters: &RecordBatch) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    if !matches!(&*projection.input, LogicalPlan::EmptyRelation(_)) {
        return Ok(None);
    }
    let values: Vec<Expr> = parameters.columns().iter().enumerate().map(value).collect();
    let put = |expr: Expr| match &expr {
        Expr::Placeholder(Placeholder { id, .. }) => match parameter_index(id).and_then(|i| values.get(i)) {
            Some(value) => Ok(Transformed::yes(value.clone())),
            None => Ok(Transformed::no(expr)),
        },
        _ => Ok(Transformed::no(expr)),
    };
    let computed = projection.expr.iter().map(|expr| expr.clone().transform_up(put).data());
    let computed = computed.collect::<datafusion::common::Result<Vec<_>>>().or_error()?;
    let table = provider_as_source(Arc::new(table(parameters)?));
    let plan = LogicalPlanBuilder::scan(PARAMETERS, table, None).and_then(|scan| scan.project(computed)?.build());
    plan.and_then(with_hours).or_error().map(Some)
}

/// What stands for a parameter: its column, or its value where that is the same in all rows, because some functions ask for a constant.
fn value((i, column): (usize, &ArrayRef)) -> Expr {
    match constant(column) {
        Some(value) => Expr::Literal(value, None),
        None => Expr::Column(Column::new(Some(PARAMETERS), column_name(i))),
    }
}

fn column_name(i: usize) -> String {
    (i + 1).to_string()
}

fn constant(column: &ArrayRef) -> Option<ScalarValue> {
    let first = ScalarValue::try_from_array(column, 0).ok()?;
    if column.data_type().is_null() {
        return Some(first);
    }
    // Types that cannot be compared, such as lists, stay columns.
    let same = not_distinct(column, &first.to_scalar().ok()?).ok()?;
    (same.true_count() == column.len()).then_some(first)
}

fn table(parameters: &RecordBatch) -> Result<MemTable> {
    let field = |(i, column): (usize, &ArrayRef)| Field::new(column_name(i), column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(parameters.columns().iter().enumerate().map(field).collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(Arc::clone(&schema), parameters.columns().to_vec())?;
    MemTable::try_new(schema, vec![vec![rows]]).or_error()
}
