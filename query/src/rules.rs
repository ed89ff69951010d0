//! How does a rule rewrite what a plan computes? One node after the other, from the leaves up: its expressions over the columns that they may name,
//! each under the name that it has. Nodes that hold nothing of what the rule is about stay as they are, and cost it a look.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The plan, and the subqueries in it, with each node as [`rewrite_node`] has it.
pub(crate) fn rewrite_plan(
    plan: LogicalPlan,
    is_meant: impl Fn(&Expr) -> bool,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| rewrite_node(node, &is_meant, &rewrite)).data()
}

/// The node with its expressions as `rewrite` makes them over [`columns_of`] it, and with the schema that they give; none is asked about unless one
/// [`holds`] what `is_meant`.
pub(crate) fn rewrite_node(
    node: LogicalPlan,
    is_meant: impl Fn(&Expr) -> bool,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    if !holds(&node, is_meant)? {
        return Ok(Transformed::no(node));
    }
    let columns = columns_of(&node)?;
    let rewritten = rewrite_exprs(node, |expr| rewrite(expr, &columns))?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

/// Whether an expression of the node, or one within it, is meant. To be asked without types, which cost more than the look.
pub(crate) fn holds(node: &LogicalPlan, is_meant: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|expr| Ok(is_meant(expr)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// What expressions of the node may name: the columns of its inputs, and of the table that it scans.
pub(crate) fn columns_of(node: &LogicalPlan) -> Result<DFSchema> {
    let mut columns = merge_schema(&node.inputs());
    if let LogicalPlan::TableScan(scan) = node {
        columns.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    Ok(columns)
}

/// The node with other expressions under the names of those that were there. Its schema stays.
pub(crate) fn rewrite_exprs(
    node: LogicalPlan,
    rewrite: impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = rewrite(expr)?;
        Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
    })
}
