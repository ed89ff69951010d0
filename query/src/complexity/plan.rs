//! How large is a logical plan? Its nodes and expressions as a tree, and what its expressions become once the rules have copied them.
//!
//! A WITH that is named twice, and a view, stand in the plan as one shared node; whatever walks or rewrites the plan meets it twice. So
//! plans are counted as the trees that they are walked as, and no further than up to a limit.

use std::collections::HashMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::too_large;
use crate::error::{OrError, to_datafusion};
use crate::limits::{MAX_PLAN_EXPRESSIONS, MAX_PLAN_NODES};

/// `STATEMENT_TOO_COMPLEX` for a plan that has too many nodes or expressions, or will have them.
pub(crate) fn check(plan: &LogicalPlan) -> tidewater_storage::Result<()> {
    if !is_within(plan, MAX_PLAN_NODES, MAX_PLAN_EXPRESSIONS).or_error()? {
        return Err(too_large());
    }
    Unfolding { expressions: 0 }.columns(plan).or_error().map(drop)
}

/// Whether the plan, with the plans of its subqueries, has at most so many nodes and expressions. Stops at the limit.
pub(super) fn is_within(plan: &LogicalPlan, max_nodes: usize, max_expressions: usize) -> Result<bool> {
    let (mut nodes, mut expressions) = (0, 0);
    plan.apply_with_subqueries(|node| {
        nodes += 1;
        if nodes <= max_nodes {
            expressions += expressions_of(node, max_expressions)?;
        }
        Ok(match nodes > max_nodes || expressions > max_expressions {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(nodes <= max_nodes && expressions <= max_expressions)
}

/// Expressions of one node; stops behind `limit`.
pub(super) fn expressions_of(node: &LogicalPlan, limit: usize) -> Result<usize> {
    let mut expressions = 0;
    node.apply_expressions(|expr| {
        expr.apply(|_| {
            expressions += 1;
            Ok(if expressions > limit { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(expressions)
}

/// How large the columns of a plan are, by name, when what they are computed from stands in their place; without those of size 1.
type Columns = HashMap<String, u64>;

/// Adds up what the rules may make of a plan's expressions: they put what a column is computed from in its place when they push a
/// filter down, and write some operands more than once.
struct Unfolding {
    expressions: u64,
}

impl Unfolding {
    fn columns(&mut self, plan: &LogicalPlan) -> Result<Columns> {
        plan.apply_subqueries(|subquery| {
            self.columns(subquery)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        let inputs = plan.inputs().into_iter().map(|input| self.columns(input)).collect::<Result<Vec<Columns>>>()?;
        let mut columns = Columns::new();
        match plan {
            LogicalPlan::Projection(projection) => {
                let below = merged(inputs);
                for (expr, field) in projection.expr.iter().zip(projection.schema.fields().iter()) {
                    // Projections are not put into each other when that copies anything.
                    self.add(size(expr, &Columns::new()))?;
                    note(&mut columns, field.name(), size(expr, &below));
                }
            }
            LogicalPlan::Aggregate(aggregate) => {
                let below = merged(inputs);
                self.add_expressions(plan, &below)?;
                for (expr, field) in aggregate.group_expr.iter().zip(aggregate.schema.fields().iter()) {
                    note(&mut columns, field.name(), size(expr, &below));
                }
            }
            LogicalPlan::Union(union) => {
                for (input, sizes) in union.inputs.iter().zip(&inputs) {
                    for (from, to) in input.schema().fields().iter().zip(union.schema.fields().iter()) {
                        note(&mut columns, to.name(), sizes.get(from.name()).copied().unwrap_or(1));
                    }
                }
            }
            LogicalPlan::Window(_) => {
                // Nothing moves a window function below what its arguments are computed by.
                self.add_expressions(plan, &Columns::new())?;
                columns = merged(inputs);
            }
            _ => {
                columns = merged(inputs);
                self.add_expressions(plan, &columns)?;
            }
        }
        Ok(columns)
    }

    /// The expressions of a node whose inputs have such columns.
    fn add_expressions(&mut self, node: &LogicalPlan, below: &Columns) -> Result<()> {
        node.apply_expressions(|expr| {
            self.add(size(expr, below))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn add(&mut self, expressions: u64) -> Result<()> {
        self.expressions = self.expressions.saturating_add(expressions);
        match self.expressions > MAX_PLAN_EXPRESSIONS as u64 {
            true => Err(to_datafusion(too_large())),
            false => Ok(()),
        }
    }
}

/// Columns of one name count as the largest of them.
fn note(columns: &mut Columns, name: &str, size: u64) {
    if size > 1 {
        let known = columns.entry(name.to_owned()).or_default();
        *known = size.max(*known);
    }
}

fn merged(inputs: Vec<Columns>) -> Columns {
    let mut inputs = inputs.into_iter();
    let mut all = inputs.next().unwrap_or_default();
    for columns in inputs {
        for (name, size) in columns {
            note(&mut all, &name, size);
        }
    }
    all
}

/// Expressions that `expr` becomes: with its columns written out, and with the copies that simplifying makes of `x BETWEEN …`, of the
/// conditions of CASE and of what COALESCE and its kin choose from. Nested, each of these doubles with every level.
fn size(expr: &Expr, columns: &Columns) -> u64 {
    let of = |expr: &Expr| size(expr, columns);
    let all = |exprs: &[Expr]| exprs.iter().map(of).fold(0, u64::saturating_add);
    match expr {
        Expr::Column(column) => columns.get(&column.name).copied().unwrap_or(1),
        Expr::Between(between) => {
            let sides = of(&between.low).saturating_add(of(&between.high));
            of(&between.expr).saturating_mul(2).saturating_add(sides).saturating_add(3)
        }
        Expr::Case(case) if case.expr.is_none() => {
            let branches =
                case.when_then_expr.iter().map(|(when, then)| of(when).saturating_mul(3).saturating_add(of(then)));
            let branches = branches.fold(1, u64::saturating_add);
            branches.saturating_add(case.else_expr.as_deref().map_or(0, of))
        }
        Expr::ScalarFunction(call) if matches!(call.func.name(), "coalesce" | "nvl") => {
            all(&call.args).saturating_mul(2).saturating_add(1)
        }
        other => {
            let mut total: u64 = 1;
            // The closure does not fail, and nothing else can.
            let _ = other.apply_children(|child| {
                total = total.saturating_add(of(child));
                Ok(TreeNodeRecursion::Continue)
            });
            total
        }
    }
}
