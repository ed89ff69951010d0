//! What do two lists say of one value? What each says by itself. DataFusion makes one list of two that stand beside AND or OR, as if neither had a NULL,
//! nor the value were one: of `c IN (2, 5) AND c NOT IN (NULL, 2)` it makes `c IN (5)`, and of `c NOT IN (1, 2) OR c NOT IN (3, 4)` true.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, InList};
use datafusion::logical_expr::utils::split_binary;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;

use super::kept::apart;
use crate::rules::rewrite_plan;

/// Takes NULL out of lists of NOT IN, which are put together also where they come from two queries, and keeps lists apart that would say something else
/// together. It runs behind type coercion, and behind all that changes lists.
#[derive(Debug)]
pub(in crate::functions) struct ListsApart;

impl AnalyzerRule for ListsApart {
    fn name(&self) -> &str {
        "lists_apart"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_plan(plan, is_list, |expr, schema| expr.transform_up(|expr| Ok(in_expr(expr, schema))))
    }
}

/// Values with OR between them become a list.
fn is_list(expr: &Expr) -> bool {
    matches!(expr, Expr::InList(_) | Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }))
}

fn in_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::InList(list) if list.negated && has_null(&list) => Transformed::yes(without_null(list)),
        Expr::Not(inner) => match *inner {
            Expr::InList(list) if !list.negated && has_null(&list) => {
                Transformed::yes(without_null(InList { negated: true, ..list }))
            }
            inner => Transformed::no(Expr::Not(Box::new(inner))),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let is_apart = !Lookup::of(&right).is_some_and(|right| right.is_mixed_up(&left, op, schema));
            let right = if is_apart { right } else { Box::new(apart(*right)) };
            let expr = Expr::BinaryExpr(BinaryExpr::new(left, op, right));
            if is_apart { Transformed::no(expr) } else { Transformed::yes(expr) }
        }
        other => Transformed::no(other),
    }
}

fn has_null(list: &InList) -> bool {
    list.list.iter().any(is_null)
}

/// It is false for what is in the list, and NULL for all else.
fn without_null(mut list: InList) -> Expr {
    list.list.retain(|value| !is_null(value));
    let null = lit(ScalarValue::Boolean(None));
    if list.list.is_empty() { null } else { Expr::InList(list).and(null) }
}

/// A value that is looked for among constants.
struct Lookup<'e> {
    value: &'e Expr,
    is_negated: bool,
    has_null: bool,
}

impl<'e> Lookup<'e> {
    fn of(expr: &'e Expr) -> Option<Self> {
        match expr {
            Expr::InList(list) => Some(Self { value: &list.expr, is_negated: list.negated, has_null: has_null(list) }),
            Expr::Not(expr) => Self::of(expr).map(|found| Self { is_negated: !found.is_negated, ..found }),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                let (left, right) = (Self::of_part(left)?, Self::of_part(right)?);
                let has_null = left.has_null || right.has_null;
                (left.value == right.value).then_some(Self { has_null, ..left })
            }
            _ => None,
        }
    }

    /// What OR may make a list of together with others.
    fn of_part(expr: &'e Expr) -> Option<Self> {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = expr {
            let (value, constant) = if is_constant(right) { (&**left, &**right) } else { (&**right, &**left) };
            let is_one = matches!(value, Expr::Column(_)) && is_constant(constant);
            return is_one.then(|| Self { value, is_negated: false, has_null: is_null(constant) });
        }
        Self::of(expr).filter(|found| !found.is_negated)
    }

    /// Whether one of the conditions before it would be put together with it, and say something else then.
    fn is_mixed_up(&self, before: &Expr, op: Operator, schema: &DFSchema) -> bool {
        let mut others = split_binary(before, op).into_iter().filter_map(Lookup::of);
        others.any(|other| {
            let is_sum = self.is_negated == other.is_negated && self.is_negated == (op == Operator::And);
            let may_be_open = || self.has_null || other.has_null || self.value.nullable(schema).unwrap_or(true);
            !is_sum && self.value == other.value && may_be_open()
        })
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(Cast { expr, .. }) => is_constant(expr),
        _ => false,
    }
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(Cast { expr, .. }) => is_null(expr),
        _ => false,
    }
}
