//! What may stand around the one row of an aggregate without GROUP BY? An order and a LIMIT, which change nothing and go; and values of no aggregate.
//! Where no row is chosen DataFusion computes what names an aggregate, and has NULL for what does not, so that these name one.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, FetchType, Limit, LogicalPlan, Projection, SkipType};

use super::optional::beside;
use super::rows::is_one;
use super::shapes::is_correlated;

/// The plan with what stands so around rows that are chosen by columns of the query around them.
pub(super) fn read(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Sort(sort) if sort.fetch != Some(0) && has_one_at_most(&sort.input)? => {
            Ok(Transformed::yes(Arc::unwrap_or_clone(sort.input)))
        }
        LogicalPlan::Limit(limit) if keeps_one(&limit)? && has_one_at_most(&limit.input)? => {
            Ok(Transformed::yes(Arc::unwrap_or_clone(limit.input)))
        }
        LogicalPlan::Projection(projection) if has_others(&projection)? => with_aggregate(projection),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// Whether it is such a row, or nothing where HAVING leaves it out.
fn has_one_at_most(plan: &LogicalPlan) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(projection) => has_one_at_most(&projection.input),
        LogicalPlan::Filter(filter) => has_one_at_most(&filter.input),
        plan => Ok(is_one(plan) && is_correlated(plan)?),
    }
}

fn keeps_one(limit: &Limit) -> Result<bool> {
    let skips_none = matches!(limit.get_skip_type()?, SkipType::Literal(0));
    Ok(skips_none && matches!(limit.get_fetch_type()?, FetchType::Literal(fetch) if fetch != Some(0)))
}

/// Whether it selects values of no aggregate beside such a row.
fn has_others(projection: &Projection) -> Result<bool> {
    let is_other = |expr: &Expr| !expr.any_column_refs();
    Ok(is_one(&projection.input) && projection.expr.iter().any(is_other) && is_correlated(&projection.input)?)
}

fn with_aggregate(projection: Projection) -> Result<Transformed<LogicalPlan>> {
    let Projection { expr: exprs, input, .. } = projection;
    let aggregate = Expr::Column(Column::from(input.schema().qualified_field(0)));
    let named = |expr: Expr| {
        if expr.any_column_refs() {
            return expr;
        }
        let (table, name) = expr.qualified_name();
        beside(expr.unalias(), aggregate.clone()).alias_qualified(table, name)
    };
    let exprs = exprs.into_iter().map(named).collect();
    Projection::try_new(exprs, input).map(|projection| Transformed::yes(LogicalPlan::Projection(projection)))
}
