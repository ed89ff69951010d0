//! Which rows is arithmetic computed for? Those that the conditions beside it leave, as if they were asked one after the other.
//!
//! Arithmetic that does not fit is an error, and DataFusion asks all conditions of an AND or OR about all rows unless few are left; so
//! does an aggregate with its arguments and its FILTER. `v < 1000 AND v * v > 5` must not fail for a large `v`. Hence `v * v` becomes
//! `CASE WHEN v < 1000 THEN v * v END`: where it is not computed, the condition beside it has decided already.

use std::cell::Cell;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_binary_owned};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::physical_plan::ExecutionPlan;

use super::arithmetic::{computes, is_checked};
use crate::limits::MAX_PLAN_EXPRESSIONS;

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
        let plan = guarded(logical_plan.clone())?;
        self.0.create_physical_plan(&plan, session).await
    }
}

/// To be called while the state has no functions of ours: it is built anew from those that it has, under the names that they say.
pub(super) fn register(state: &mut SessionState) {
    let planner = Arc::new(InTurn(Arc::clone(state.query_planner())));
    *state = SessionStateBuilder::new_from_existing(state.clone()).with_query_planner(planner).build();
}

fn guarded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let budget = Cell::new(MAX_PLAN_EXPRESSIONS);
    plan.transform_up_with_subqueries(|node| guard_node(node, &budget)).data()
}

fn guard_node(node: LogicalPlan, budget: &Cell<usize>) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Filter(mut filter) if computes(&filter.predicate) => {
            filter.predicate = Guards { schema: None, budget }.condition(filter.predicate)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Join(mut join) if join.filter.as_ref().is_some_and(computes) => {
            let guards = Guards { schema: None, budget };
            join.filter = join.filter.map(|filter| guards.condition(filter)).transpose()?;
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
            let schema = merge_schema(&node.inputs());
            let guards = Guards { schema: Some(&schema), budget };
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                // A set of groups has no name that could be kept.
                if matches!(expr, Expr::GroupingSet(_)) || !computes(&expr) {
                    return Ok(Transformed::no(expr));
                }
                let name = names.save(&expr);
                Ok(Transformed::yes(name.restore(guards.value(expr, &[])?)))
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Arguments of an aggregate are computed for the rows that pass its FILTER. To be called before the optimizer: it would compute what
/// two aggregates share for all rows.
pub(super) fn behind_filter(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let budget = Cell::new(MAX_PLAN_EXPRESSIONS);
    let guards = Guards { schema: Some(schema), budget: &budget };
    expr.transform_up(|expr| match expr {
        Expr::AggregateFunction(mut call) => {
            let Some(given) = filter_of(call.params.filter.as_deref(), &call.params.args) else {
                return Ok(Transformed::no(Expr::AggregateFunction(call)));
            };
            call.params.args = guards.values(call.params.args, &given)?;
            Ok(Transformed::yes(Expr::AggregateFunction(call)))
        }
        Expr::WindowFunction(mut call) => {
            let Some(given) = filter_of(call.params.filter.as_deref(), &call.params.args) else {
                return Ok(Transformed::no(Expr::WindowFunction(call)));
            };
            let args = std::mem::take(&mut call.params.args);
            call.params.args = guards.values(args, &given)?;
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// The FILTER, if an argument needs it.
fn filter_of(filter: Option<&Expr>, args: &[Expr]) -> Option<[Condition; 1]> {
    let filter = filter.filter(|filter| may_copy(filter) && args.iter().any(computes))?;
    Some([Condition::new(filter.clone())])
}

/// What must hold for a row whose arithmetic is to be computed.
#[derive(Debug, Clone)]
struct Condition {
    expr: Expr,
    n_nodes: usize,
}

impl Condition {
    fn new(expr: Expr) -> Self {
        let n_nodes = n_nodes(&expr);
        Self { expr, n_nodes }
    }
}

struct Guards<'a> {
    /// Of the input, for values whose type must stay as it is, down to whether it has NULLs; `None` for conditions, which have no name.
    schema: Option<&'a DFSchema>,
    /// Expressions that may still be copied. A plan that needs more is left as it is.
    budget: &'a Cell<usize>,
}

impl Guards<'_> {
    /// A condition that keeps the rows for which it is true: where a part of it is NULL, the others do not matter.
    fn condition(&self, expr: Expr) -> Result<Expr> {
        match operator(&expr) {
            Some(Operator::And) => self.chain(expr, Operator::And, &[], Expr::clone),
            _ => self.value(expr, &[]),
        }
    }

    fn values(&self, exprs: Vec<Expr>, given: &[Condition]) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.value(expr, given)).collect()
    }

    /// An expression that is asked about all rows, but matters only where all that is `given` holds.
    fn value(&self, expr: Expr, given: &[Condition]) -> Result<Expr> {
        if !computes(&expr) {
            return Ok(expr);
        }
        match operator(&expr) {
            Some(Operator::And) => {
                return self.chain(expr, Operator::And, given, |item| Expr::IsNotFalse(Box::new(item.clone())));
            }
            Some(op) => return self.chain(expr, op, given, |item| Expr::IsNotTrue(Box::new(item.clone()))),
            None => {}
        }
        if is_checked(&expr) {
            // Its operands are computed where it is.
            let expr = expr.map_children(|operand| Ok(Transformed::yes(self.value(operand, &[])?))).data()?;
            return self.only_where(expr, given);
        }
        expr.map_children(|child| Ok(Transformed::yes(self.value(child, given)?))).data()
    }

    /// `a AND b AND …` or `a OR b OR …`. An item that computes matters where each other one `leaves_open` what comes out.
    fn chain(
        &self,
        expr: Expr,
        op: Operator,
        given: &[Condition],
        leaves_open: impl Fn(&Expr) -> Expr,
    ) -> Result<Expr> {
        let items = split_binary_owned(expr, op);
        let mut given = given.to_vec();
        let plain = items.iter().filter(|item| !computes(item) && may_copy(item));
        given.extend(plain.map(|item| Condition::new(leaves_open(item))));
        let mut guarded = Vec::with_capacity(items.len());
        for item in items {
            if !computes(&item) {
                guarded.push(item);
                continue;
            }
            let item = self.value(item, &given)?;
            if may_copy(&item) && n_nodes(&item) <= MAX_COMPUTING_CONDITION {
                given.push(Condition::new(leaves_open(&item)));
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

    fn only_where(&self, expr: Expr, given: &[Condition]) -> Result<Expr> {
        // Constants are the same for all rows, and some functions want them as such.
        if expr.column_refs().is_empty() {
            return Ok(expr);
        }
        let n_copied = given.iter().map(|condition| condition.n_nodes).sum();
        let Some(left) = self.budget.get().checked_sub(n_copied) else { return Ok(expr) };
        let Some(when) = conjunction(given.iter().map(|condition| condition.expr.clone())) else { return Ok(expr) };
        self.budget.set(left);
        let otherwise = match self.schema {
            Some(schema) => Some(Box::new(Expr::Literal(ScalarValue::new_zero(&expr.get_type(schema)?)?, None))),
            None => None,
        };
        Ok(Expr::Case(Case::new(None, vec![(Box::new(when), Box::new(expr))], otherwise)))
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

fn n_nodes(expr: &Expr) -> usize {
    let mut n = 0;
    // The closure never ends the search, and cannot fail.
    let _ = expr.exists(|_| {
        n += 1;
        Ok(false)
    });
    n
}
