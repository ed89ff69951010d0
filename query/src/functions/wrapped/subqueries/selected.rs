//! What are EXISTS and IN of a subquery in a SELECT list? Numbers of its rows that are compared with 0: DataFusion joins EXISTS and IN in conditions
//! only, and numbers everywhere.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery, lit};

use super::shapes::is_correlated;
use super::{conditions, is_asking, rows};
use crate::rules::rewrite_node;

pub(super) fn read(projection: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    rewrite_node(projection, is_asking, |expr, schema| {
        expr.transform_up(|expr| conditions::exact(expr, schema))?
            .transform_data(|expr| expr.transform_up(|expr| counted(expr, schema)))
    })
}

fn counted(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &expr {
        Expr::Exists(Exists { subquery, negated }) if may_count(subquery, schema)? => {
            let number = rows::number_of(rows_of(&subquery.subquery))?;
            Ok(Transformed::yes(if *negated { number.eq(lit(0_i64)) } else { number.gt(lit(0_i64)) }))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

/// Whether its rows for one row of this query are those that a join with it finds. Behind an aggregate, or a LIMIT, of what it takes from this query they
/// are not; and columns of a query around this one are in no join with it.
fn may_count(subquery: &Subquery, schema: &DFSchema) -> Result<bool> {
    let is_here = |column: &Expr| matches!(column, Expr::OuterReferenceColumn(_, column) if schema.has_column(column));
    let is_bound = subquery.subquery.exists(|node| match node {
        LogicalPlan::Aggregate(_) | LogicalPlan::Limit(_) | LogicalPlan::Window(_) | LogicalPlan::Union(_) => {
            is_correlated(node)
        }
        _ => Ok(false),
    })?;
    Ok(!is_bound && subquery.outer_ref_columns.iter().all(is_here))
}

/// What EXISTS selects does not matter, nor in which order.
fn rows_of(plan: &LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) => rows_of(&projection.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => rows_of(&sort.input),
        plan => plan.clone(),
    }
}
