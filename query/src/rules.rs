//! How does a rule rewrite what a plan computes? One node after the other, from the leaves up: its expressions over the columns that they may name,
//! each under the name that it has. Nodes that hold nothing of what the rule is about stay as they are, and cost it a look.

use std::mem;
use std::sync::Arc;

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
    let named = |expr: Expr| -> Result<Transformed<Expr>> {
        let name = names.save(&expr);
        let rewritten = rewrite(expr)?;
        Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
    };
    node.map_expressions(|expr| if has_keys(&expr) { expr.map_children(&named) } else { named(expr) })
}

/// Whether what is in it has names, and not the whole: ROLLUP and its kin have none that they could keep, and `grouping(key)` finds its key by what
/// the key is.
fn has_keys(expr: &Expr) -> bool {
    match expr {
        Expr::GroupingSet(_) => true,
        Expr::AggregateFunction(call) => call.func.name() == "grouping",
        _ => false,
    }
}

/// A query within another, for which the columns of the one around it are of the types that they have there.
pub(crate) fn with_outer(query: LogicalPlan, around: &DFSchema) -> Result<LogicalPlan> {
    let retyped = |expr: Expr| -> Result<Transformed<Expr>> { expr.transform(|expr| Ok(of_outer(expr, around))) };
    query
        .transform_down_with_subqueries(|node| match node {
            LogicalPlan::Subquery(mut query) => {
                let columns = mem::take(&mut query.outer_ref_columns).into_iter();
                query.outer_ref_columns = columns.map(|column| retyped(column).data()).collect::<Result<_>>()?;
                Ok(Transformed::yes(LogicalPlan::Subquery(query)))
            }
            node => node.map_expressions(&retyped),
        })
        .data()
}

fn of_outer(expr: Expr, around: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::OuterReferenceColumn(field, column) => match around.qualified_field_from_column(&column) {
            Ok((_, now)) if now.data_type() != field.data_type() => {
                Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column))
            }
            _ => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        },
        other => Transformed::no(other),
    }
}

/// Whether it is a query in FROM that names columns of what stands beside it.
pub(crate) fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(named) => is_lateral(&named.input),
        _ => false,
    }
}
