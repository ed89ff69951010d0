//! Does a subquery give a row? EXISTS asks so where its rows depend on the query around it; where they do not, one row is counted, once for all. And
//! an aggregate without GROUP BY gives its one row also where no row is chosen for it: what is asked about that is asked about its value.

use std::sync::Arc;

use datafusion::common::Spans;
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, lit};

/// Whether there is any.
pub(super) fn any(rows: LogicalPlan) -> Result<Expr> {
    if rows.all_out_ref_exprs().is_empty() {
        return Ok(number_of(rows)?.gt(lit(0_i64)));
    }
    Ok(Expr::Exists(Exists::new(subquery(rows), false)))
}

/// How many there are, as a subquery that gives it; 1 of more if they are the same for all rows of this query, so that one is enough.
pub(super) fn number_of(rows: LogicalPlan) -> Result<Expr> {
    let is_same_for_all = rows.all_out_ref_exprs().is_empty();
    let mut rows = LogicalPlanBuilder::from(rows);
    if is_same_for_all {
        rows = rows.limit(0, Some(1))?;
    }
    let counted = rows.aggregate(Vec::<Expr>::new(), vec![count_all()])?.build()?;
    Ok(Expr::ScalarSubquery(subquery(counted)))
}

/// EXISTS of the row of such an aggregate: whether HAVING leaves it. `None` for other rows.
pub(super) fn left_by_having(exists: &Exists) -> Result<Option<Expr>> {
    let Some((having, row)) = one_and_having(&exists.subquery) else { return Ok(None) };
    let left = match having {
        Some(having) => {
            let left = LogicalPlanBuilder::from(row.clone()).project([having.clone()])?.build()?;
            Expr::ScalarSubquery(subquery(left)).is_true()
        }
        None => lit(true),
    };
    Ok(Some(if exists.negated { Expr::Not(Box::new(left)) } else { left }))
}

/// The row of such an aggregate over what depends on the query around it, and what HAVING says of it alone.
pub(super) fn one_and_having(subquery: &Subquery) -> Option<(Option<&Expr>, &LogicalPlan)> {
    if subquery.outer_ref_columns.is_empty() {
        return None;
    }
    let mut plan = &*subquery.subquery;
    while let LogicalPlan::Projection(projection) = plan {
        plan = &projection.input;
    }
    match plan {
        LogicalPlan::Filter(filter) if !filter.predicate.contains_outer() && is_one(&filter.input) => {
            Some((Some(&filter.predicate), filter.input.as_ref()))
        }
        plan => is_one(plan).then_some((None, plan)),
    }
}

/// Whether it is always one row: that of such an aggregate.
pub(super) fn is_one(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one(&projection.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        _ => false,
    }
}

fn subquery(plan: LogicalPlan) -> Subquery {
    Subquery { outer_ref_columns: plan.all_out_ref_exprs(), subquery: Arc::new(plan), spans: Spans::new() }
}
