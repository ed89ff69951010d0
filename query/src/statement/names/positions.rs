//! Which columns are `ROLLUP (1, 2)` over? Numbers within CUBE, ROLLUP and GROUPING SETS are places in the SELECT list, as they are in a plain
//! GROUP BY; the planner counts only there, and takes these for constants. And which keys of the order of an aggregate are there already? It wants each once.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, FunctionArgumentClause, FunctionArguments, GroupByExpr, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SetExpr, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use tidewater_storage::{Code, Error, Result};

use crate::error::{OrError, or_break};
use crate::statement::measure::Copies;
use crate::statement::parse::sql_of_mut;

/// Writes the expressions of the SELECT list in the place of their numbers. `INVALID_STATEMENT` for a number that counts none of them,
/// `STATEMENT_TOO_COMPLEX` where they are written out too often.
pub(in crate::statement) fn settle_positions(statement: &mut Statement) -> Result<()> {
    let mut positions = Positions { copies: Copies::new() };
    sql_of_mut(statement).map_or(Ok(()), |sql| sql.visit(&mut positions).or_error())
}

struct Positions {
    copies: Copies,
}

impl VisitorMut for Positions {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        // The planner compares them with the keys of ON. Those that are written otherwise are told in the plan.
        if let SetExpr::Select(select) = &*query.body
            && let Some(Distinct::On(_)) = select.distinct
            && let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(keys) = &mut order_by.kind
        {
            keep_first(keys);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        if let Expr::Function(function) = expr
            && let FunctionArguments::List(list) = &mut function.args
        {
            for clause in &mut list.clauses {
                if let FunctionArgumentClause::OrderBy(keys) = clause {
                    keep_first(keys);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        let Select { group_by: GroupByExpr::Expressions(keys, _), projection, .. } = select else {
            return ControlFlow::Continue(());
        };
        keys.iter_mut().filter(|key| is_set(key)).try_for_each(|key| or_break(self.settle(key, projection)))
    }
}

impl Positions {
    fn settle(&mut self, key: &mut Expr, items: &[SelectItem]) -> Result<()> {
        match key {
            Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                sets.iter_mut().flatten().try_for_each(|key| self.settle(key, items))
            }
            Expr::Nested(inner) => self.settle(inner, items),
            Expr::Tuple(keys) => keys.iter_mut().try_for_each(|key| self.settle(key, items)),
            Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => {
                let counted = counted(number, items)?;
                self.copies.count(&counted)?;
                *key = counted;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What is ordered by already is not ordered by again, in whatever direction.
fn keep_first(keys: &mut Vec<OrderByExpr>) {
    let mut seen: Vec<Expr> = Vec::new();
    keys.retain(|key| {
        let is_new = !seen.contains(&key.expr);
        seen.push(key.expr.clone());
        is_new
    });
}

fn is_set(key: &Expr) -> bool {
    matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_))
}

/// The expression that a number stands for.
fn counted(number: &str, items: &[SelectItem]) -> Result<Expr> {
    let refuse = |problem: String, hint: &'static str| Err(Error::new(Code::InvalidStatement, problem).hint(hint));
    let before = number.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
    let Some(item) = before.and_then(|before| items.get(before)) else {
        let problem = format!("GROUP BY names the column {number} of an answer that has {}", items.len());
        return refuse(problem, "a number in ROLLUP, CUBE or GROUPING SETS counts the columns of SELECT from 1");
    };
    let is_named = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }
            if items.iter().take_while(|other| !std::ptr::eq(*other, item)).all(is_named) =>
        {
            Ok(expr.clone())
        }
        _ => refuse(
            format!("GROUP BY names the column {number} of an answer that has a * before it"),
            "name the columns in ROLLUP, CUBE or GROUPING SETS",
        ),
    }
}
