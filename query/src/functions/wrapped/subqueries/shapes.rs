//! Which correlated subqueries are no joins? Those in which something looks at rows together that are of one row of the query around each: an outer
//! join keeps all of one side, a window numbers them, OFFSET passes over some, an aggregate without GROUP BY has a row for none. DataFusion takes the
//! condition that chooses the rows out of the subquery all the same, so that such a node sees all rows, or has no row where it should.

use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Aggregate, Expr, Join, Limit, LogicalPlan, SkipType, Subquery};
use tidewater_storage::{Code, Error};

use super::rows::{is_one, one_and_having, value_left};
use crate::error::to_datafusion;

/// Refuses them.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        check_node(node)?;
        node.apply_expressions(|expr| expr.apply(|expr| check_expr(expr).map(|()| TreeNodeRecursion::Continue)))
    })?;
    Ok(())
}

fn check_node(node: &LogicalPlan) -> Result<()> {
    match node {
        LogicalPlan::Join(join) => check_join(join),
        LogicalPlan::Window(window) if is_correlated(&window.input)? => Err(numbered()),
        LogicalPlan::Limit(limit) if skips(limit)? && is_correlated(&limit.input)? => Err(numbered()),
        _ => Ok(()),
    }
}

fn check_expr(expr: &Expr) -> Result<()> {
    match expr {
        Expr::Exists(Exists { subquery, .. }) => match one_and_having(subquery) {
            Some((_, row)) => check_value(row, false, &takes_columns),
            None => check_rows(&subquery.subquery),
        },
        Expr::InSubquery(InSubquery { subquery, .. }) | Expr::SetComparison(SetComparison { subquery, .. }) => {
            let plan = &subquery.subquery;
            let is_of_one = is_one(plan) || value_left(subquery)?.is_some();
            if is_of_one { check_value(plan, false, &takes_columns) } else { check_rows(plan) }
        }
        // A HAVING that is still there is not in the value.
        Expr::ScalarSubquery(subquery) => check_value(&subquery.subquery, false, &|_: &Expr| true),
        _ => Ok(()),
    }
}

fn check_join(join: &Join) -> Result<()> {
    use JoinType as Type;
    let (of_left, of_right) = match join.join_type {
        Type::Inner => (false, false),
        Type::Left | Type::LeftSemi | Type::LeftAnti | Type::LeftMark => (false, true),
        Type::Right | Type::RightSemi | Type::RightAnti | Type::RightMark => (true, false),
        Type::Full => (true, true),
    };
    if (of_left && is_correlated(&join.left)?) || (of_right && is_correlated(&join.right)?) {
        return Err(kept_sides());
    }
    // A row that HAVING leaves out comes back where rows of the other table are kept for it.
    let leaves_out = |having: &Expr| join.join_type != Type::Left || takes_columns(having);
    beside(&join.right).map_or(Ok(()), |subquery| check_value(&subquery.subquery, false, &leaves_out))
}

/// The subquery behind LATERAL.
fn beside(plan: &LogicalPlan) -> Option<&Subquery> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some(subquery),
        LogicalPlan::SubqueryAlias(alias) => beside(&alias.input),
        _ => None,
    }
}

/// A subquery whose value is asked for. It may be an aggregate of the rows that are chosen, and nothing above may leave out its row so that it matters:
/// `is_left_out` if something has.
fn check_value(plan: &LogicalPlan, is_left_out: bool, leaves_out: &impl Fn(&Expr) -> bool) -> Result<()> {
    match plan {
        LogicalPlan::Projection(projection) => check_value(&projection.input, is_left_out, leaves_out),
        LogicalPlan::Filter(filter) => {
            check_value(&filter.input, is_left_out || leaves_out(&filter.predicate), leaves_out)
        }
        LogicalPlan::Aggregate(aggregate) if is_left_out && has_row_for_none(aggregate)? => Err(row_for_none()),
        LogicalPlan::Aggregate(aggregate) => check_rows(&aggregate.input),
        other => check_rows(other),
    }
}

/// A subquery whose rows are asked for.
fn check_rows(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| match node {
        LogicalPlan::Subquery(_) => Ok(TreeNodeRecursion::Jump),
        LogicalPlan::Aggregate(aggregate) if has_row_for_none(aggregate)? => Err(row_for_none()),
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(())
}

/// Whether an aggregate gives a row where the query around chooses none for it.
fn has_row_for_none(aggregate: &Aggregate) -> Result<bool> {
    Ok(aggregate.group_expr.is_empty() && is_correlated(&aggregate.input)?)
}

fn skips(limit: &Limit) -> Result<bool> {
    Ok(!matches!(limit.get_skip_type()?, SkipType::Literal(0)))
}

fn takes_columns(condition: &Expr) -> bool {
    condition.contains_outer()
}

/// Whether a plan asks for columns of the query around it. Those of a table beside it (LATERAL) are not meant.
pub(super) fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if matches!(node, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        found |= node.contains_outer_reference();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn kept_sides() -> DataFusionError {
    let what = "an outer join, INTERSECT or EXCEPT in a subquery that joins rows that are chosen by columns of the query around it \
                is not supported";
    refused(what, "take these columns in the WHERE of the subquery itself, or join the tables")
}

fn numbered() -> DataFusionError {
    let what =
        "a window function, or OFFSET, over rows that are chosen by columns of the query around it is not supported";
    refused(what, "number the rows of each with PARTITION BY in a query in FROM, and join it")
}

fn row_for_none() -> DataFusionError {
    let what = "an aggregate without GROUP BY of rows that are chosen by columns of the query around it is not supported within another \
                one, beside other tables, or with HAVING on such columns";
    refused(what, "select the value of the aggregate alone, or join the tables and group them")
}

fn refused(what: &str, hint: &str) -> DataFusionError {
    to_datafusion(Error::new(Code::UnsupportedStatement, what).hint(hint))
}
