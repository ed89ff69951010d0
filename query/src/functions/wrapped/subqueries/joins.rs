//! What is a subquery in ON? A condition like one in WHERE if the join keeps no other rows, and one about the rows of the other side alone if it does.
//! DataFusion looks for subqueries in filters, and moves them there by the columns that it sees: those that a subquery takes it does not.

use std::mem;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, JoinConstraint, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, Operator, Subquery, binary_expr};
use tidewater_storage::{Code, Error};

use super::any_of::AnyOf;
use super::shapes::beside;
use super::{conditions, is_asking};
use crate::error::to_datafusion;

pub(super) fn read(join: Join) -> Result<Transformed<LogicalPlan>> {
    let mut join = by_condition(join);
    let Some(filter) = join.filter.take_if(|filter| split_conjunction(filter).into_iter().any(is_moved)) else {
        return Ok(Transformed::yes(LogicalPlan::Join(join)));
    };
    let (asking, others): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter).into_iter().partition(is_moved);
    join.filter = conjunction(others);
    let Some(asking) = conjunction(asking) else { return Ok(Transformed::yes(LogicalPlan::Join(join))) };
    let side = match join.join_type {
        JoinType::Inner => return filtered(asking, Arc::new(LogicalPlan::Join(join))).map(Transformed::yes),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => &mut join.right,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => &mut join.left,
        JoinType::Full => return Err(to_datafusion(refused())),
    };
    if !is_about(&asking, side.schema())? {
        return Err(to_datafusion(refused()));
    }
    *side = Arc::new(filtered(asking, Arc::clone(side))?);
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

/// The same join, of which `*` and names are settled, with ON: DataFusion forgets what USING compares with a table beside it (LATERAL), and
/// the second of two merged columns in DISTINCT.
fn by_condition(mut join: Join) -> Join {
    join.join_constraint = JoinConstraint::On;
    if beside(&join.right).is_some() {
        let on = mem::take(&mut join.on).into_iter();
        let compared = on.map(|(left, right)| binary_expr(left, Operator::Eq, right));
        join.filter = conjunction(compared.chain(join.filter.take()));
    }
    join
}

fn filtered(condition: Expr, rows: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let filter = LogicalPlan::Filter(Filter::try_new(condition, rows)?);
    conditions::read(filter).map(|read| read.data)
}

/// Whether it has a subquery that is not found where it stands. A plain IN shows the columns that it is about, and is tested before the join.
fn is_moved(condition: &Expr) -> bool {
    let is_taking = |expr: &Expr| match expr {
        Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        expr => is_asking(expr),
    };
    let asks = condition.exists(|expr| Ok(is_taking(expr))).is_ok_and(|found| found);
    let is_found = matches!(condition, Expr::InSubquery(_))
        && AnyOf::of(condition).is_some_and(|any| any.is_plain() && !any.is_correlated());
    asks && !is_found
}

/// Whether all columns of a condition, and those that its subqueries take, are of these.
fn is_about(condition: &Expr, columns: &DFSchema) -> Result<bool> {
    let is_here = |expr: &Expr| match expr {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => columns.has_column(column),
        _ => true,
    };
    let is_within = |expr: &Expr| {
        is_here(expr) && subquery_of(expr).is_none_or(|subquery| subquery.outer_ref_columns.iter().all(is_here))
    };
    Ok(!condition.exists(|expr| Ok(!is_within(expr)))?)
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

fn refused() -> Error {
    let what = "a subquery in ON of an outer join is not supported, unless it asks about the table alone of which there may be no row";
    Error::new(Code::UnsupportedStatement, what)
        .hint("select what the subquery says in a WITH or a query in FROM, and join with its column")
}
