//! Which rows is arithmetic of a condition computed for? Those that the conditions beside it leave, as if they were asked in turn.
//!
//! Arithmetic that does not fit is an error, and DataFusion asks all conditions of an AND or OR about all rows unless few are left; so
//! does an aggregate with its arguments and its FILTER. `v < 1000 AND v * v > 5` must not fail for a large `v`. Hence the second becomes
//! `CASE WHEN (v < 1000) IS NOT FALSE THEN v * v > 5 ELSE false END`: where it is not asked, the first has decided already.

use std::cell::Cell;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_binary_owned};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Join, LogicalPlan, Operator};
use datafusion::physical_plan::ExecutionPlan;

use super::arithmetic::computes;
use super::floats::with_one_zero;
use super::kept;
use super::partitions::with_key_columns;
use super::varying::with_varying_keys;
use crate::limits::MAX_PLAN_EXPRESSIONS;
use crate::rules::rewrite_exprs;

/// Conditions that compute are copied with what guards them: many in a row would double each time.
const MAX_COMPUTING_CONDITION: usize = 64;

/// Plans queries whose conditions are asked in turn. It looks at the plan behind the optimizer: filters stand where they stay, keys of
/// joins and bounds for scans were taken from conditions as they were written, and no rule makes something else of a CASE.
#[derive(Debug)]
struct InTurn(Arc<dyn QueryPlanner + Send + Sync>);

#[async_trait]
impl QueryPlanner for InTurn {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = with_varying_keys(with_one_zero(guarded(logical_plan.clone())?)?)?;
        let plan = with_key_columns(plan)?;
        self.0.create_physical_plan(&plan, session).await
    }
}

/// To be called while the state has no functions of ours: it is built anew from those that it has, under the names that they say.
pub(in crate::functions) fn register(state: &mut SessionState) {
    let planner = Arc::new(InTurn(Arc::clone(state.query_planner())));
    *state = SessionStateBuilder::new_from_existing(state.clone()).with_query_planner(planner).build();
}

fn guarded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let budget = Cell::new(MAX_PLAN_EXPRESSIONS);
    plan.transform_up_with_subqueries(|node| guard_node(node, &budget)).data()
}

fn guard_node(node: LogicalPlan, budget: &Cell<usize>) -> Result<Transformed<LogicalPlan>> {
    let guards = Guards { budget };
    match node {
        LogicalPlan::Filter(mut filter) if computes(&filter.predicate) => {
            filter.predicate = guards.condition(filter.predicate)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        // Not those of a join: what they compute of one side is computed below it, for all rows of that side.
        // The optimizer makes AND and OR of a CASE with two truth values, which somebody wrote so that it is asked in turn.
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_) => guards.values(node),
        LogicalPlan::Window(window) if window.window_expr.iter().any(computes) => {
            let guarded = guards.values(LogicalPlan::Window(window.clone()))?;
            // Its functions have one order, which is written alike in all of them.
            Ok(if budget.get() > 0 { guarded } else { Transformed::no(LogicalPlan::Window(window)) })
        }
        LogicalPlan::Join(mut join) => Ok(match settle_keys(&mut join) {
            true => Transformed::yes(LogicalPlan::Join(join)),
            false => Transformed::no(LogicalPlan::Join(join)),
        }),
        other => Ok(Transformed::no(other)),
    }
}

/// Keys that are calls under names of their own: what stands for a cast is called like its column, and both are columns of what is joined. A cast
/// of a correlated query has lost its function, and is kept again: scans ask of what they are told to look for whether it may fail. Whether any was
/// settled.
fn settle_keys(join: &mut Join) -> bool {
    let (left, right) = (Arc::clone(&join.left), Arc::clone(&join.right));
    let mut is_settled = false;
    for (of_left, of_right) in &mut join.on {
        for (key, input) in [(of_left, &left), (of_right, &right)] {
            *key = kept::keep(mem::take(key), input.schema()).data;
            if matches!(key, Expr::ScalarFunction(_)) {
                let name = key.to_string();
                *key = mem::take(key).alias(name);
                is_settled = true;
            }
        }
    }
    is_settled
}

/// Aggregates that take no notice of what an argument would be where their FILTER is not true.
const PLAIN_AGGREGATES: [&str; 5] = ["avg", "count", "max", "min", "sum"];

/// Arguments of a plain aggregate, also over a window, are computed for the rows that pass its FILTER. To be called before the optimizer: it would
/// compute what two aggregates share for all rows.
pub(super) fn behind_filter(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|mut expr| {
        let is_guarded = match &mut expr {
            Expr::AggregateFunction(AggregateFunction { func, params }) => {
                PLAIN_AGGREGATES.contains(&func.name())
                    && !params.distinct
                    && params.order_by.is_empty()
                    && where_it_counts(&mut params.args, params.filter.as_deref())
            }
            Expr::WindowFunction(function) => {
                let WindowFunction { fun, params } = &mut **function;
                PLAIN_AGGREGATES.contains(&fun.name())
                    && !params.distinct
                    && where_it_counts(&mut params.args, params.filter.as_deref())
            }
            _ => false,
        };
        Ok(if is_guarded { Transformed::yes(expr) } else { Transformed::no(expr) })
    })
}

/// Whether any was guarded.
fn where_it_counts(args: &mut [Expr], filter: Option<&Expr>) -> bool {
    let Some(filter) = filter.filter(|filter| may_copy(filter)) else { return false };
    let mut is_guarded = false;
    for arg in args.iter_mut().filter(|arg| computes(arg)) {
        // The whole of it: what stands around the arithmetic is not asked about a made-up value either.
        let asked = Box::new(mem::take(arg));
        *arg = Expr::Case(Case::new(None, vec![(Box::new(filter.clone()), asked)], None));
        is_guarded = true;
    }
    is_guarded
}

struct Guards<'a> {
    /// Expressions that may still be copied, 0 where one was not: a plan that needs more is left as it is.
    budget: &'a Cell<usize>,
}

impl Guards<'_> {
    /// All values of a node, under the names that they have.
    fn values(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        rewrite_exprs(node, |expr| {
            if !computes(&expr) {
                return Ok(Transformed::no(expr));
            }
            Ok(Transformed::yes(self.value(expr)?))
        })
    }

    /// A condition that keeps the rows for which it is true: where a part of it is NULL, the others do not matter.
    fn condition(&self, expr: Expr) -> Result<Expr> {
        match operator(&expr) {
            Some(Operator::And) => self.chain(expr, Operator::And, Expr::clone),
            _ => self.value(expr),
        }
    }

    /// The same value, with every AND and OR within asked in turn.
    fn value(&self, expr: Expr) -> Result<Expr> {
        if !computes(&expr) {
            return Ok(expr);
        }
        match operator(&expr) {
            Some(Operator::And) => self.chain(expr, Operator::And, |item| Expr::IsNotFalse(Box::new(item.clone()))),
            Some(op) => self.chain(expr, op, |item| Expr::IsNotTrue(Box::new(item.clone()))),
            None => expr.map_children(|child| Ok(Transformed::yes(self.value(child)?))).data(),
        }
    }

    /// `a AND b AND …` or `a OR b OR …`. An item that computes is asked only where all others leave it open: elsewhere it is false, which
    /// changes nothing. The whole item, so that nothing in it is asked about a made-up value either.
    fn chain(&self, expr: Expr, op: Operator, leaves_open: impl Fn(&Expr) -> Expr) -> Result<Expr> {
        let items = split_binary_owned(expr, op);
        let mut given: Vec<Expr> =
            items.iter().filter(|item| !computes(item) && may_copy(item)).map(&leaves_open).collect();
        let mut guarded = Vec::with_capacity(items.len());
        for item in items {
            if !computes(&item) {
                guarded.push(item);
                continue;
            }
            let item = self.only_where(self.value(item)?, &given);
            if may_copy(&item) && n_nodes(&item) <= MAX_COMPUTING_CONDITION {
                given.push(leaves_open(&item));
            }
            guarded.push(item);
        }
        let joined = guarded
            .into_iter()
            .reduce(|left, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))));
        match joined {
            Some(joined) => Ok(joined),
            None => internal_err!("{op} without operands"),
        }
    }

    fn only_where(&self, item: Expr, given: &[Expr]) -> Expr {
        // Constants are the same for all rows.
        if item.column_refs().is_empty() {
            return item;
        }
        let n_copied = given.iter().map(n_nodes).sum();
        let Some(when) = conjunction(given.iter().cloned()) else { return item };
        let left = self.budget.get().saturating_sub(n_copied);
        self.budget.set(left);
        if left == 0 {
            return item;
        }
        let otherwise = Expr::Literal(ScalarValue::Boolean(Some(false)), None);
        Expr::Case(Case::new(None, vec![(Box::new(when), Box::new(item))], Some(Box::new(otherwise))))
    }
}

fn operator(expr: &Expr) -> Option<Operator> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => Some(*op),
        _ => None,
    }
}

/// Whether a second copy says the same as the first, wherever it stands.
fn may_copy(expr: &Expr) -> bool {
    let is_bound = |expr: &Expr| {
        expr.is_volatile_node()
            || matches!(
                expr,
                Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::AggregateFunction(_)
                    | Expr::WindowFunction(_)
                    | Expr::Unnest(_)
            )
    };
    expr.exists(|expr| Ok(is_bound(expr))).is_ok_and(|found| !found)
}

/// Whether an expression is small, and says the same wherever it stands.
pub(in crate::functions) fn may_stand_twice(expr: &Expr) -> bool {
    may_copy(expr) && n_nodes(expr) <= MAX_COMPUTING_CONDITION
}

fn n_nodes(expr: &Expr) -> usize {
    let mut n = 0;
    // The closure never ends the search, and cannot fail.
    let _ = expr.exists(|_| {
        n += 1;
        Ok(false)
    });
    n
}
