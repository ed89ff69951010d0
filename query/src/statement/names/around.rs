//! May a name in a subquery be a column of the query around it? Not where several tables of the subquery have such a column: it is ambiguous. The
//! planner takes it for the one around it all the same, which is another column.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Query, TableFactor, Visit, Visitor};
use tidewater_storage::{Code, Error, Result};

use super::fold;
use crate::error::{OrError, to_datafusion};
use crate::statement::parse::sql_of;

/// Queries within a statement, each with the tables of its FROM and the names that stand in it without one. In the plan of a statement columns have
/// their tables, whoever wrote them.
pub(crate) struct Alone(Vec<Scope>);

#[derive(Default)]
struct Scope {
    tables: HashSet<String>,
    alone: HashSet<String>,
}

/// The tables in FROM of a query in the plan.
#[derive(Default)]
struct Level {
    tables: HashSet<String>,
    /// Columns, and whether several have them.
    columns: HashMap<String, bool>,
}

impl Alone {
    /// Of a statement whose merged columns are written out.
    pub fn of(statement: &Statement) -> Self {
        let mut scopes = Scopes::default();
        if let Some(sql) = sql_of(statement) {
            let _: ControlFlow<()> = sql.visit(&mut scopes);
        }
        Self(scopes.closed)
    }

    /// `INVALID_STATEMENT` for a name that several tables of its subquery have, and that is a column of the query around in the plan.
    pub fn check(&self, plan: &LogicalPlan) -> Result<()> {
        self.check_within(plan, &mut Vec::new()).or_error()
    }

    /// `levels` are the queries around, the innermost last.
    fn check_within(&self, plan: &LogicalPlan, levels: &mut Vec<Level>) -> datafusion::error::Result<()> {
        levels.push(Level::of(plan)?);
        plan.apply(|node| {
            match node {
                // Behind LATERAL, from where the tables beside it are seen.
                LogicalPlan::Subquery(subquery) => {
                    self.check_within(&subquery.subquery, levels)?;
                    return Ok(TreeNodeRecursion::Jump);
                }
                LogicalPlan::SubqueryAlias(alias) if !matches!(&*alias.input, LogicalPlan::Subquery(_)) => {
                    // The tables beside it are not.
                    let beside = levels.pop();
                    self.check_within(&alias.input, levels)?;
                    levels.extend(beside);
                    return Ok(TreeNodeRecursion::Jump);
                }
                _ => {}
            }
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    match expr {
                        PlanExpr::OuterReferenceColumn(_, column) => self.check_column(&column.name, levels)?,
                        PlanExpr::ScalarSubquery(subquery)
                        | PlanExpr::Exists(Exists { subquery, .. })
                        | PlanExpr::InSubquery(InSubquery { subquery, .. })
                        | PlanExpr::SetComparison(SetComparison { subquery, .. }) => {
                            self.check_within(&subquery.subquery, levels)?;
                        }
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        levels.pop();
        Ok(())
    }

    fn check_column(&self, name: &str, levels: &[Level]) -> datafusion::error::Result<()> {
        let Some(innermost) = levels.last() else { return Ok(()) };
        let is_alone = |scope: &Scope| scope.alone.contains(name) && innermost.tables.is_subset(&scope.tables);
        if !self.0.iter().any(is_alone) {
            return Ok(());
        }
        // Where one table alone has it the name alone would be that: this column was written with its table.
        match levels.iter().rev().find_map(|level| level.columns.get(name)) {
            Some(true) => {
                let what = "is in more than one table of a subquery, and in the query around it";
                let error = Error::new(Code::InvalidStatement, format!("column '{name}' {what}"));
                Err(to_datafusion(error.hint("put the table's name or alias before it")))
            }
            _ => Ok(()),
        }
    }
}

impl Level {
    /// Queries in FROM are tables.
    fn of(plan: &LogicalPlan) -> datafusion::error::Result<Self> {
        let mut level = Self::default();
        plan.apply(|node| {
            let table = match node {
                LogicalPlan::Subquery(_) => return Ok(TreeNodeRecursion::Jump),
                LogicalPlan::SubqueryAlias(alias) => Some(alias.alias.table()),
                LogicalPlan::TableScan(scan) => Some(scan.table_name.table()),
                node if node.inputs().is_empty() => None,
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            level.tables.extend(table.map(str::to_owned));
            for field in node.schema().fields() {
                level.columns.entry(field.name().clone()).and_modify(|is_shared| *is_shared = true).or_insert(false);
            }
            Ok(TreeNodeRecursion::Jump)
        })?;
        Ok(level)
    }
}

#[derive(Default)]
struct Scopes {
    open: Vec<Scope>,
    closed: Vec<Scope>,
    /// Of each query around, the innermost last, whether it is part of the one around it: a query in FROM without a name has no level in the plan.
    are_parts: Vec<bool>,
    is_part: bool,
}

impl Visitor for Scopes {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        let is_part = mem::take(&mut self.is_part) && !self.open.is_empty();
        self.are_parts.push(is_part);
        if !is_part {
            self.open.push(Scope::default());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        if self.are_parts.pop() == Some(false) {
            self.closed.extend(self.open.pop());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.is_part = matches!(factor, TableFactor::Derived { alias: None, .. });
        let name = match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. }
            | TableFactor::NestedJoin { alias: Some(alias), .. } => Some(&alias.name),
            TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()),
            _ => None,
        };
        if let (Some(name), Some(scope)) = (name, self.open.last_mut()) {
            scope.tables.insert(fold(name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let (Expr::Identifier(name), Some(scope)) = (expr, self.open.last_mut()) {
            scope.alone.insert(fold(name));
        }
        ControlFlow::Continue(())
    }
}
