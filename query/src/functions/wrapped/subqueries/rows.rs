//! Does a subquery give a row? EXISTS asks so where its rows depend on the query around it; where they do not, one row is counted, once for all. And
//! an aggregate without GROUP BY gives its one row also where no row is chosen for it: what is asked about that is asked about its value.

use std::sync::Arc;

use datafusion::common::Spans;
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count_all;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{Case, Distinct, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, Subquery, lit};

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

/// Whether there is any, or one with NULL, as `is_null` says of the other value that it is compared with. One subquery for both.
pub(super) fn any_or_null(rows: LogicalPlan, value: Expr, is_null: Expr) -> Result<Expr> {
    let which = either(value.is_null(), lit(2_i64), Some(lit(1_i64)));
    let most = LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), vec![max(which)])?.build()?;
    let asked = either(is_null, lit(1_i64), Some(lit(2_i64)));
    Ok(Expr::ScalarSubquery(subquery(most)).gt_eq(asked).is_true())
}

fn either(when: Expr, then: Expr, otherwise: Option<Expr>) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(when), Box::new(then))], otherwise.map(Box::new)))
}

/// The value of the row of such an aggregate that HAVING leaves, else NULL, as a subquery that always has a row. `None` for other subqueries.
pub(super) fn value_left(of: &Subquery) -> Result<Option<Subquery>> {
    let Some((Some(having), row)) = one_and_having(of) else { return Ok(None) };
    let LogicalPlan::Projection(projection) = of.subquery.as_ref() else { return Ok(None) };
    let ([value], LogicalPlan::Filter(_)) = (projection.expr.as_slice(), projection.input.as_ref()) else {
        return Ok(None);
    };
    let name = of.subquery.schema().field(0).name().clone();
    let left = either(having.clone(), value.clone().unalias(), None).alias(name);
    Ok(Some(subquery(LogicalPlanBuilder::from(row.clone()).project([left])?.build()?)))
}

/// EXISTS of the row of such an aggregate: whether HAVING leaves it; and of rows of which there always is one. `None` for others.
pub(super) fn left_by_having(exists: &Exists) -> Result<Option<Expr>> {
    if is_some(&exists.subquery.subquery) {
        return Ok(Some(lit(!exists.negated)));
    }
    let Some((Some(having), row)) = one_and_having(&exists.subquery) else { return Ok(None) };
    let left = LogicalPlanBuilder::from(row.clone()).project([having.clone()])?.build()?;
    let left = Expr::ScalarSubquery(subquery(left)).is_true();
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

/// Whether there always is a row: that of such an aggregate, or the one of the empty set in ROLLUP, CUBE and GROUPING SETS.
pub(super) fn is_some(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_some(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_some(&alias.input),
        LogicalPlan::Distinct(Distinct::All(input)) => is_some(input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => is_some(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.iter().all(has_empty_set),
        _ => false,
    }
}

fn has_empty_set(group: &Expr) -> bool {
    match group {
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter().any(Vec::is_empty),
        Expr::GroupingSet(GroupingSet::Rollup(_) | GroupingSet::Cube(_)) => true,
        _ => false,
    }
}

fn subquery(plan: LogicalPlan) -> Subquery {
    Subquery { outer_ref_columns: plan.all_out_ref_exprs(), subquery: Arc::new(plan), spans: Spans::new() }
}
