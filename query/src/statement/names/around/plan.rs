//! Of which tables may a column in a plan be? Of those of the FROM below it, in ON of both sides of the join, and in a subquery also of
//! those that the expression sees in which it is.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use super::{Alone, Tables, unnamed};

/// The tables that a name may be of, and their columns as the planner looks for them.
pub(super) struct Level {
    pub(super) tables: Tables,
    schema: DFSchemaRef,
}

impl Alone {
    /// `around` is what is seen around a plan, the innermost last; `beside` are the tables before it in FROM, which LATERAL sees.
    pub(super) fn check_within(
        &self,
        plan: &LogicalPlan,
        around: &mut Vec<Level>,
        beside: &[&LogicalPlan],
    ) -> Result<()> {
        self.check_expressions(plan, around)?;
        match plan {
            LogicalPlan::Join(join) => {
                self.check_within(&join.left, around, beside)?;
                let mut beside = beside.to_vec();
                beside.push(&join.left);
                self.check_within(&join.right, around, &beside)
            }
            LogicalPlan::SubqueryAlias(alias) => self.check_within(&alias.input, around, beside),
            // Behind LATERAL.
            LogicalPlan::Subquery(subquery) => {
                let level = Level::beside(beside, around.last())?;
                around.push(level);
                self.check_within(&subquery.subquery, around, &[])?;
                around.pop();
                Ok(())
            }
            _ => plan.inputs().into_iter().try_for_each(|input| self.check_within(input, around, &[])),
        }
    }

    fn check_expressions(&self, node: &LogicalPlan, around: &mut Vec<Level>) -> Result<()> {
        let (mut names, mut queries) = (Vec::new(), Vec::new());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::OuterReferenceColumn(_, column) => names.push(column.name.clone()),
                    Expr::ScalarSubquery(subquery)
                    | Expr::Exists(Exists { subquery, .. })
                    | Expr::InSubquery(InSubquery { subquery, .. })
                    | Expr::SetComparison(SetComparison { subquery, .. }) => {
                        queries.push(Arc::clone(&subquery.subquery));
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        if names.is_empty() && queries.is_empty() {
            return Ok(());
        }
        let n_around = around.len();
        around.extend(Level::of(node)?);
        names.iter().try_for_each(|name| self.check_column(name, around))?;
        queries.iter().try_for_each(|query| self.check_within(query, around, &[]))?;
        around.truncate(n_around);
        Ok(())
    }
}

impl Level {
    /// What the expressions of a node see. VALUES see nothing of their own.
    fn of(node: &LogicalPlan) -> Result<Option<Self>> {
        let mut tables = Tables::new();
        if let LogicalPlan::Join(join) = node {
            add_tables(&join.left, &mut tables)?;
            add_tables(&join.right, &mut tables)?;
            let schema = join.left.schema().join(join.right.schema())?;
            return Ok(Some(Self { tables, schema: Arc::new(schema) }));
        }
        let Some(from) = from_of(node) else { return Ok(None) };
        add_tables(from, &mut tables)?;
        Ok(Some(Self { tables, schema: Arc::clone(from.schema()) }))
    }

    /// The planner takes these tables and those of the query around for one.
    fn beside(beside: &[&LogicalPlan], around: Option<&Self>) -> Result<Self> {
        let (mut tables, mut schema) = (Tables::new(), DFSchema::empty());
        for plan in beside {
            add_tables(plan, &mut tables)?;
            schema.merge(plan.schema());
        }
        if let Some(around) = around {
            schema.merge(&around.schema);
        }
        Ok(Self { tables, schema: Arc::new(schema) })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.schema.has_column_with_unqualified_name(name)
    }

    pub(super) fn is_ambiguous(&self, name: &str) -> bool {
        self.schema.qualified_field_with_unqualified_name(name).is_err()
    }
}

/// The FROM of the SELECT that a node is a part of. One SELECT is, from the top: its order and what it leaves out, its list, QUALIFY,
/// window functions, HAVING, aggregates, and WHERE.
fn from_of(node: &LogicalPlan) -> Option<&LogicalPlan> {
    let mut plan = node;
    while matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Distinct(Distinct::All(_))) {
        plan = input_of(plan)?;
    }
    if matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Distinct(Distinct::On(_))) {
        plan = input_of(plan)?;
    }
    // unnest() in the list is a list of its own.
    if let LogicalPlan::Unnest(unnest) = plan
        && let LogicalPlan::Projection(list) = &*unnest.input
    {
        plan = &list.input;
    }
    while matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Window(_) | LogicalPlan::Aggregate(_)) {
        let input = input_of(plan)?;
        let is_where = matches!(plan, LogicalPlan::Filter(_))
            && !matches!(input, LogicalPlan::Window(_) | LogicalPlan::Aggregate(_));
        plan = input;
        if is_where {
            break;
        }
    }
    // What has no input is no FROM of itself.
    (!std::ptr::eq(plan, node)).then_some(plan)
}

fn input_of(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    plan.inputs().first().copied()
}

fn add_tables(from: &LogicalPlan, tables: &mut Tables) -> Result<()> {
    from.apply(|node| {
        let called = match node {
            LogicalPlan::SubqueryAlias(alias) => (written(&alias.alias), named(&alias.input)),
            LogicalPlan::TableScan(scan) => (written(&scan.table_name), String::new()),
            LogicalPlan::Projection(_) | LogicalPlan::Values(_) => {
                tables.insert(unnamed());
                return Ok(TreeNodeRecursion::Continue);
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        tables.insert(Arc::new(called));
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(())
}

/// The name of what has another one in FROM. A query there has none.
fn named(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => written(&alias.alias),
        LogicalPlan::TableScan(scan) => written(&scan.table_name),
        LogicalPlan::Subquery(subquery) => named(&subquery.subquery),
        _ => String::new(),
    }
}

fn written(name: &TableReference) -> String {
    name.to_vec().join(".")
}
