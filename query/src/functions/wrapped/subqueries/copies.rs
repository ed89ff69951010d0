//! How many subqueries may a statement become? Each that is asked more than one question is there more than once, with all that is within it: the time
//! that planning takes grows faster than their number.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;

/// Within one of which there are copies.
const MAX_WITHIN: usize = 16;

/// Written in a statement with copies.
const MAX_IN_ALL: usize = 48;

/// Copies in a statement. Each subquery is asked three questions at most, so that so many are there two times more.
const MAX_COPIES: usize = 2 * MAX_IN_ALL;

/// Refuses to copy what has too many within it.
pub(super) fn check_within(subquery: &LogicalPlan) -> Result<()> {
    if number(subquery, MAX_WITHIN)? > MAX_WITHIN { Err(to_datafusion(refused())) } else { Ok(()) }
}

/// Refuses a plan with too many copies, or with any if too many were written: it had `before`.
pub(super) fn check(before: usize, plan: &LogicalPlan) -> Result<()> {
    let max = if before > MAX_IN_ALL { before } else { before + MAX_COPIES };
    if number(plan, max)? > max { Err(to_datafusion(refused())) } else { Ok(()) }
}

/// How many subqueries are in a plan. It is counted until there are more than `max`.
pub(super) fn number(plan: &LogicalPlan, max: usize) -> Result<usize> {
    let mut found = 0;
    plan.apply_with_subqueries(|node| {
        found += usize::from(matches!(node, LogicalPlan::Subquery(_)));
        Ok(if found > max { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn refused() -> Error {
    let what = "too many subqueries that are asked by IN, ANY or ALL beside OR, under NOT, or in a SELECT list: each is read for NULL once more, \
                with all that is within it";
    Error::new(Code::StatementTooComplex, what).hint(
        "ask those that have no NULL by EXISTS, put IN and NOT IN beside AND alone, or join what a WITH selects of the subqueries",
    )
}
