//! Which rows does an outer join keep in a correlated subquery? All of one side. A condition with columns of the query around it that stands on the
//! other side is about that side alone; DataFusion makes it one of the whole join, which loses rows, and looks for it at the top of the side only.

use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;

/// Refuses such conditions.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    use JoinType as Type;
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Join(join) = node else { return Ok(TreeNodeRecursion::Continue) };
        let (of_left, of_right) = match join.join_type {
            Type::Inner => (false, false),
            Type::Left | Type::LeftSemi | Type::LeftAnti | Type::LeftMark => (false, true),
            Type::Right | Type::RightSemi | Type::RightAnti | Type::RightMark => (true, false),
            Type::Full => (true, true),
        };
        if (of_left && is_correlated(&join.left)?) || (of_right && is_correlated(&join.right)?) {
            return Err(to_datafusion(refused()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn refused() -> Error {
    let what = "an outer join, INTERSECT or EXCEPT in a subquery that joins rows that are chosen by columns of the query around it \
                is not supported";
    Error::new(Code::UnsupportedStatement, what)
        .hint("take these columns in the WHERE of the subquery itself, or join the tables")
}

/// Whether a plan asks for columns of the query around it. Those of a table beside it (LATERAL) are not meant.
fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
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
