//! What is the value of an aggregate without GROUP BY of which HAVING leaves out the row? NULL, for the rows of the query around of which that is so.
//! DataFusion forgets such a HAVING where it is true of no rows, so that it is written into the value.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::rows;
use crate::rules::{holds, rewrite_exprs};

/// The plan with such values.
pub(super) fn read(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut is_found = false;
    plan.apply_with_subqueries(|node| {
        is_found |= holds(node, is_left_by_having)?;
        Ok(if is_found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !is_found {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let node = rewrite_exprs(node, |expr| expr.transform_down(with_having))?.data;
        node.recompute_schema().map(Transformed::yes)
    })
    .data()
}

fn is_left_by_having(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(subquery) if matches!(rows::one_and_having(subquery), Some((Some(_), _))))
}

fn with_having(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarSubquery(subquery) => Ok(match rows::value_left(&subquery)? {
            Some(value) => Transformed::yes(Expr::ScalarSubquery(value)),
            None => Transformed::no(Expr::ScalarSubquery(subquery)),
        }),
        // `x IN ((SELECT …))` asks about the rows: without one it is false, and not NULL.
        Expr::InList(InList { expr, list, negated }) => Ok(match list.as_slice() {
            [Expr::ScalarSubquery(subquery)] => {
                Transformed::yes(Expr::InSubquery(InSubquery::new(expr, subquery.clone(), negated)))
            }
            _ => Transformed::no(Expr::InList(InList { expr, list, negated })),
        }),
        other => Ok(Transformed::no(other)),
    }
}
