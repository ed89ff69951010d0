//! Which correlated subqueries are no joins? Those in which something looks at rows together that are of one row of the query around each: an outer
//! join keeps all of one side, a window numbers them, OFFSET passes over some, an aggregate without GROUP BY has a row for none, and so has the empty
//! set of ROLLUP. DataFusion takes the condition that chooses the rows out of the subquery all the same, so that such a node sees all rows, or has no
//! row where it should, or has the columns of the condition among its keys.

use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Aggregate, Expr, Join, Limit, LogicalPlan, SkipType, Subquery};
use tidewater_storage::{Code, Error};

use super::is_asking;
use super::rows::{is_one, is_some, one_and_having, value_left};
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
        LogicalPlan::Aggregate(aggregate) if !aggregate.aggr_expr.is_empty() => check_limits(&aggregate.input),
        _ => Ok(()),
    }
}

/// EXISTS leaves out a LIMIT, which matters to what counts the rows.
fn check_limits(counted: &LogicalPlan) -> Result<()> {
    let is_limited = any_node(counted, |node| match node {
        LogicalPlan::Limit(limit) => is_correlated(&limit.input),
        _ => Ok(false),
    })?;
    if is_limited { Err(limited()) } else { Ok(()) }
}

fn check_expr(expr: &Expr) -> Result<()> {
    match expr {
        Expr::Exists(Exists { subquery, .. }) if is_some(&subquery.subquery) => Ok(()),
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
    let leaves_out = |having: &Expr| join.join_type != Type::Left || takes_columns(having) || asks(having);
    beside(&join.right).map_or(Ok(()), |subquery| check_value(&subquery.subquery, false, &leaves_out))
}

/// The subquery behind LATERAL.
pub(super) fn beside(plan: &LogicalPlan) -> Option<&Subquery> {
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
        LogicalPlan::Aggregate(aggregate) if !is_left_out && aggregate.group_expr.is_empty() => {
            check_rows(&aggregate.input)
        }
        other => check_rows(other),
    }
}

/// A subquery whose rows are asked for.
fn check_rows(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| match node {
        LogicalPlan::Subquery(_) => Ok(TreeNodeRecursion::Jump),
        LogicalPlan::Aggregate(aggregate) => check_groups(aggregate).map(|()| TreeNodeRecursion::Continue),
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(())
}

/// An aggregate without GROUP BY gives a row where the query around chooses none for it, and a key that is added to grouping sets changes which they
/// are, and what `grouping` says of them.
fn check_groups(aggregate: &Aggregate) -> Result<()> {
    let is_set = |group: &Expr| matches!(group, Expr::GroupingSet(_));
    match aggregate.group_expr.as_slice() {
        [] if is_correlated(&aggregate.input)? => Err(row_for_none()),
        groups if groups.iter().any(is_set) && is_correlated(&aggregate.input)? => Err(grouped_by_sets()),
        _ => Ok(()),
    }
}

fn skips(limit: &Limit) -> Result<bool> {
    Ok(!matches!(limit.get_skip_type()?, SkipType::Literal(0)))
}

fn takes_columns(condition: &Expr) -> bool {
    condition.contains_outer()
}

/// Whether a condition has a subquery, so that nothing is known of it before it runs.
fn asks(condition: &Expr) -> bool {
    let is_subquery = |expr: &Expr| matches!(expr, Expr::ScalarSubquery(_)) || is_asking(expr);
    condition.exists(|expr| Ok(is_subquery(expr))).is_ok_and(|found| found)
}

/// Whether a plan asks for columns of the query around it. Those of a table beside it (LATERAL) are not meant.
pub(super) fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    any_node(plan, |node| Ok(node.contains_outer_reference()))
}

/// Whether a plan has such a node. Those of a table beside it (LATERAL) are not meant.
pub(super) fn any_node(plan: &LogicalPlan, is_such: impl Fn(&LogicalPlan) -> Result<bool>) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if matches!(node, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        found = is_such(node)?;
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

fn grouped_by_sets() -> DataFusionError {
    let what = "ROLLUP, CUBE or GROUPING SETS over rows that are chosen by columns of the query around it is not supported, unless EXISTS \
                asks for rows of which there always is one";
    refused(what, "group by these columns as well in a query in FROM, and join it, or group by one set alone")
}

fn limited() -> DataFusionError {
    let what = "an aggregate over a LIMIT of rows that are chosen by columns of the query around it is not supported";
    refused(what, "number the rows of each with PARTITION BY in a query in FROM, and join those with low numbers")
}

/// What makes one row of several has equal ones at hand where they are equal in what is compared, and in no other way.
pub(super) fn compared_below() -> DataFusionError {
    let what = "what a subquery takes from the tables beside it (LATERAL), or around it, is not supported in other comparisons than = below \
                DISTINCT, GROUP BY, INTERSECT, EXCEPT or an aggregate";
    refused(what, "compare by = alone, select or group by what is compared as well, or join the tables")
}

fn refused(what: &str, hint: &str) -> DataFusionError {
    to_datafusion(Error::new(Code::UnsupportedStatement, what).hint(hint))
}
