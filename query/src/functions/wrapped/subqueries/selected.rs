//! What are EXISTS and IN of a subquery in a SELECT list? Numbers of its rows that are compared with 0: DataFusion joins EXISTS and IN in conditions
//! only, and numbers everywhere. `x IN (SELECT y …)` is true where a `y` is equal, NULL where none is and one of them, or `x`, is NULL, else false.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue, Spans};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit};
use datafusion::optimizer::AnalyzerRule;

use super::kept_sides;
use crate::rules::rewrite_node;

/// What the column of a subquery is called, so that no other has the name.
const VALUE: &str = "__selected";

/// Counts the rows of subqueries in SELECT lists.
#[derive(Debug)]
pub(crate) struct Selected;

impl AnalyzerRule for Selected {
    fn name(&self) -> &str {
        "selected"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        kept_sides::check(&plan)?;
        plan.transform_up_with_subqueries(read_plan).data()
    }
}

fn read_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(_) => {
            rewrite_node(plan, is_asking, |expr, schema| expr.transform_up(|expr| counted(expr, schema)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_asking(expr: &Expr) -> bool {
    matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

fn counted(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let counted = match &expr {
        Expr::Exists(Exists { subquery, negated }) if may_count(subquery, schema) => {
            let n_rows = n_rows(rows_of(&subquery.subquery))?;
            Some(if *negated { n_rows.eq(lit(0_i64)) } else { n_rows.gt(lit(0_i64)) })
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            is_among(expr, subquery, schema)?.map(|among| if *negated { Expr::Not(Box::new(among)) } else { among })
        }
        Expr::SetComparison(SetComparison { expr, subquery, op: Operator::Eq, quantifier: SetQuantifier::Any }) => {
            is_among(expr, subquery, schema)?
        }
        Expr::SetComparison(SetComparison { expr, subquery, op: Operator::NotEq, quantifier: SetQuantifier::All }) => {
            is_among(expr, subquery, schema)?.map(|among| Expr::Not(Box::new(among)))
        }
        _ => None,
    };
    Ok(counted.map_or_else(|| Transformed::no(expr), Transformed::yes))
}

/// Whether its rows for one row of this query are those that a join with it finds. Behind an aggregate, or a LIMIT, they are not; and columns of a
/// query around this one are in no join with it.
fn may_count(subquery: &Subquery, schema: &DFSchema) -> bool {
    let is_bound = |node: &LogicalPlan| {
        matches!(
            node,
            LogicalPlan::Aggregate(_) | LogicalPlan::Limit(_) | LogicalPlan::Window(_) | LogicalPlan::Union(_)
        )
    };
    let is_free = || subquery.subquery.exists(|node| Ok(is_bound(node))).is_ok_and(|found| !found);
    let is_here = |column: &Expr| matches!(column, Expr::OuterReferenceColumn(_, column) if schema.has_column(column));
    subquery.outer_ref_columns.iter().all(is_here) && (subquery.outer_ref_columns.is_empty() || is_free())
}

/// Whether a value can be asked about within a subquery of its own: it has none itself, and is of this query.
fn may_ask(value: &Expr) -> bool {
    let is_beyond = |expr: &Expr| {
        is_asking(expr)
            || matches!(expr, Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..))
            || expr.is_volatile_node()
    };
    value.exists(|expr| Ok(is_beyond(expr))).is_ok_and(|found| !found)
}

/// What EXISTS selects does not matter, nor in which order.
fn rows_of(plan: &LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) => rows_of(&projection.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => rows_of(&sort.input),
        plan => plan.clone(),
    }
}

/// The number of rows, as a subquery that gives it; 1 of more if they are the same for all rows of this query, so that one is enough.
fn n_rows(plan: LogicalPlan) -> Result<Expr> {
    let outer_ref_columns = plan.all_out_ref_exprs();
    let mut rows = LogicalPlanBuilder::from(plan);
    if outer_ref_columns.is_empty() {
        rows = rows.limit(0, Some(1))?;
    }
    let counted = rows.aggregate(Vec::<Expr>::new(), vec![count_all()])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery { outer_ref_columns, subquery: Arc::new(counted), spans: Spans::new() }))
}

/// Whether the value is one of those that the subquery gives. `None` where it cannot be asked so.
fn is_among(value: &Expr, subquery: &Subquery, schema: &DFSchema) -> Result<Option<Expr>> {
    if !may_ask(value) {
        return Ok(None);
    }
    let Some((rows, given)) = given_by(subquery)? else { return Ok(None) };
    let only = |condition: Expr| n_rows(LogicalPlanBuilder::from(rows.clone()).filter(condition)?.build()?);
    let is_one = only(given.clone().eq(of_outer(value.clone(), schema)?))?.gt(lit(0_i64));
    if !subquery.subquery.schema().field(0).is_nullable() && !value.nullable(schema)? {
        return Ok(Some(is_one));
    }
    let is_open = value.clone().is_null().or(only(given.is_null())?.gt(lit(0_i64)));
    let when = vec![
        (Box::new(is_one), Box::new(lit(true))),
        (Box::new(n_rows(rows)?.eq(lit(0_i64))), Box::new(lit(false))),
        (Box::new(is_open), Box::new(lit(ScalarValue::Boolean(None)))),
    ];
    Ok(Some(Expr::Case(Case::new(None, when, Some(Box::new(lit(false)))))))
}

/// The rows of a subquery, and what it gives of each. `None` if they depend on columns of this query: the comparison with the value would be one
/// SELECT around another, and DataFusion takes what depends on them out of one only.
fn given_by(subquery: &Subquery) -> Result<Option<(LogicalPlan, Expr)>> {
    if !subquery.outer_ref_columns.is_empty() {
        return Ok(None);
    }
    let plan = &subquery.subquery;
    let given = Expr::Column(Column::from(plan.schema().qualified_field(0))).alias(VALUE);
    let rows = LogicalPlanBuilder::from(LogicalPlan::clone(plan)).project([given])?.build()?;
    Ok(Some((rows, Expr::Column(Column::from_name(VALUE)))))
}

/// The value as a subquery names it.
fn of_outer(value: Expr, schema: &DFSchema) -> Result<Expr> {
    value
        .transform(|expr| match expr {
            Expr::Column(column) => {
                let field = Arc::clone(schema.qualified_field_from_column(&column)?.1);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
}
