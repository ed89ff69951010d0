//! Where does DataFusion have two zeros? In orders that more is ordered by, in windows, in what aggregates count once, in IN lists, in CASE, and
//! in what a join lets a scan look for.

use std::sync::Arc;
use std::{iter, mem};

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::utils::normalize_float_zero_scalar;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, Cast, InList, Sort, WindowFunctionParams,
};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, Join, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::calls::One;
use crate::functions::exact::may_stand_twice;
use crate::rules::{columns_of, holds, rewrite_exprs, rewrite_plan};

/// Makes one zero of those that CASE compares, and of the constants that stand in and before IN lists. It runs behind type coercion, and before
/// constants are computed: that, and what becomes of lists of the same column beside each other, compares them by their bits.
#[derive(Debug)]
pub(in crate::functions) struct OneZero;

impl AnalyzerRule for OneZero {
    fn name(&self) -> &str {
        "one_zero"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_plan(plan, may_have_two, |expr, schema| expr.transform_up(|expr| Ok(in_condition(expr, schema))))
    }
}

/// Whether it may have two zeros, for all that is known without types.
fn may_have_two(expr: &Expr) -> bool {
    match expr {
        Expr::InList(_) => true,
        Expr::Case(case) => case.expr.is_some(),
        // Several of them become a list.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            is_negative_zero(left) || is_negative_zero(right)
        }
        _ => false,
    }
}

fn in_condition(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_changed = match &mut expr {
        Expr::InList(InList { expr, list, .. }) => {
            is_float(expr, schema) && settle_all(iter::once(&mut **expr).chain(list))
        }
        Expr::Case(Case { expr: Some(operand), when_then_expr, .. }) => {
            let is_float = is_float(operand, schema);
            if is_float {
                One::Zero.around(operand);
                when_then_expr.iter_mut().for_each(|(when, _)| One::Zero.around(when));
            }
            is_float
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            settle_all([&mut **left, &mut **right].into_iter().filter(|side| is_negative_zero(side)))
        }
        _ => false,
    };
    if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Makes the constants among floats have one zero. Whether one may have been the other.
fn settle_all<'a>(values: impl Iterator<Item = &'a mut Expr>) -> bool {
    let mut is_changed = false;
    for value in values.filter(|value| may_be_negative_zero(value)) {
        match value {
            Expr::Literal(number, _) => *number = normalize_float_zero_scalar(mem::replace(number, ScalarValue::Null)),
            computed => One::Zero.around(computed),
        }
        is_changed = true;
    }
    is_changed
}

/// Whether a constant float may be that, once it is computed. Integers and DECIMALs have no such zero.
fn may_be_negative_zero(value: &Expr) -> bool {
    match value {
        Expr::Literal(..) => is_negative_zero(value),
        Expr::Cast(Cast { expr, .. }) if matches!(&**expr, Expr::Literal(number, _) if !may_have_sign(number)) => false,
        value => value.column_refs().is_empty() && may_stand_twice(value),
    }
}

fn may_have_sign(number: &ScalarValue) -> bool {
    number.data_type().is_string() || number.data_type().is_floating()
}

fn is_negative_zero(value: &Expr) -> bool {
    match value {
        Expr::Literal(ScalarValue::Float32(Some(number)), _) => *number == 0.0 && number.is_sign_negative(),
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => *number == 0.0 && number.is_sign_negative(),
        _ => false,
    }
}

/// The plan with one zero where both are compared. To be called behind the optimizer, which makes IN lists of ORs and keys of conditions. Comparisons
/// are left alone, so that they are pushed down to scans and their bounds.
pub(in crate::functions) fn with_one_zero(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(in_plan).data()
}

fn in_plan(mut plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let is_changed = match &mut plan {
        LogicalPlan::Sort(sort) => {
            let schema = Arc::clone(sort.input.schema());
            in_order(&mut sort.expr, &schema)
        }
        LogicalPlan::Join(join) => in_keys(join),
        _ => false,
    };
    let plan = in_exprs(plan)?;
    Ok(if is_changed { Transformed::yes(plan.data) } else { plan })
}

fn in_exprs(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !holds(&plan, may_compare)? {
        return Ok(Transformed::no(plan));
    }
    let schema = columns_of(&plan)?;
    rewrite_exprs(plan, |expr| expr.transform_up(|expr| Ok(in_expr(expr, &schema))))
}

/// Whether it may compare floats, for all that is known without types.
fn may_compare(expr: &Expr) -> bool {
    match expr {
        Expr::InList(_) => true,
        Expr::AggregateFunction(call) => call.params.distinct || call.params.order_by.len() > 1,
        Expr::WindowFunction(call) => {
            let params = &call.params;
            params.distinct || !params.partition_by.is_empty() || !params.order_by.is_empty()
        }
        _ => false,
    }
}

fn in_expr(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_changed = match &mut expr {
        Expr::InList(list) => in_list(list, schema),
        Expr::AggregateFunction(AggregateFunction { params, .. }) if params.distinct => in_set(params, schema),
        Expr::AggregateFunction(AggregateFunction { params, .. }) => in_order(&mut params.order_by, schema),
        Expr::WindowFunction(call) => in_window(&mut call.params, schema),
        _ => false,
    };
    if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

fn is_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_floating())
}

/// An order by floats goes on with what follows where they are one value. The last one's peers have no order, and scans take part in a short
/// `ORDER BY v LIMIT 10` by its column.
fn in_order(order: &mut [Sort], schema: &DFSchema) -> bool {
    let Some((_, first)) = order.split_last_mut() else { return false };
    all_of(first.iter_mut().map(|key| &mut key.expr), schema)
}

/// What counts once, and the order of it, which is by the same.
fn in_set(params: &mut AggregateFunctionParams, schema: &DFSchema) -> bool {
    let AggregateFunctionParams { args, order_by, .. } = params;
    all_of(args.iter_mut().chain(order_by.iter_mut().map(|key| &mut key.expr)), schema)
}

/// Partitions and peers of a window, and a set of its rows.
fn in_window(params: &mut WindowFunctionParams, schema: &DFSchema) -> bool {
    let WindowFunctionParams { args, partition_by, order_by, distinct, .. } = params;
    let of_set = args.iter_mut().filter(|_| *distinct);
    let order = order_by.iter_mut().map(|key| &mut key.expr);
    all_of(of_set.chain(partition_by).chain(order), schema)
}

/// Whether any is a float.
fn all_of<'a>(exprs: impl Iterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let mut is_changed = false;
    for expr in exprs.filter(|expr| is_float(expr, schema)) {
        One::Zero.around(expr);
        is_changed = true;
    }
    is_changed
}

/// A list of constants names both zeros, and is pushed down as it is.
fn in_list(list: &mut InList, schema: &DFSchema) -> bool {
    let InList { expr, list, .. } = list;
    if list.iter().all(|item| matches!(item, Expr::Literal(..))) {
        let others: Vec<Expr> = list.iter().filter_map(other_zero).collect();
        let is_changed = !others.is_empty();
        list.extend(others);
        return is_changed;
    }
    let is_float = is_float(expr, schema);
    if is_float {
        One::Zero.around(expr);
        list.iter_mut().for_each(|item| One::Zero.around(item));
    }
    is_float
}

/// The zero of the other sign, if it is one.
fn other_zero(expr: &Expr) -> Option<Expr> {
    let other = match expr {
        Expr::Literal(ScalarValue::Float32(Some(number)), _) if *number == 0.0 => ScalarValue::Float32(Some(-number)),
        Expr::Literal(ScalarValue::Float64(Some(number)), _) if *number == 0.0 => ScalarValue::Float64(Some(-number)),
        _ => return None,
    };
    Some(Expr::Literal(other, None))
}

/// A join of floats has no equal zeros in the list that it lets scans look for. Each key under a name of its own: both sides may have columns of one
/// name.
fn in_keys(join: &mut Join) -> bool {
    let Join { left, right, on, .. } = join;
    let mut is_changed = false;
    for (n, (of_left, of_right)) in on.iter_mut().enumerate() {
        if !is_float(of_left, left.schema()) || !is_float(of_right, right.schema()) {
            continue;
        }
        for (key, side) in [(of_left, "left"), (of_right, "right")] {
            let mut one = mem::take(key).unalias();
            One::Zero.around(&mut one);
            *key = one.alias(format!("{side} key {n}"));
        }
        is_changed = true;
    }
    is_changed
}
