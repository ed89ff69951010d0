//! What may be another NaN than that of tables? Arithmetic, functions that compute floats, text that is read as one, and constants.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::calls::{One, one_nan_in};
use crate::functions::exact::kept::is_kept;
use crate::rules::rewrite_plan;
use crate::statement::CHOICES;

/// Functions that give one of their arguments, or a part of it, beside those that choose.
const PARTS: [&str; 4] = ["array_element", "array_max", "array_min", "get_field"];

/// Makes every NaN that is computed the one of tables. It runs behind type coercion, when both operands have one type, and before anything is
/// computed from constants. Aggregates see to theirs themselves.
#[derive(Debug)]
pub(in crate::functions) struct OneNan;

impl AnalyzerRule for OneNan {
    fn name(&self) -> &str {
        "one_nan"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_plan(plan, may_be_other, |expr, schema| expr.transform_up(|expr| in_expr(expr, schema)))
    }
}

/// Whether it may be, for all that is known without types.
fn may_be_other(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => match value {
            ScalarValue::Float32(number) => number.is_some_and(f32::is_nan),
            ScalarValue::Float64(number) => number.is_some_and(f64::is_nan),
            ScalarValue::List(_) | ScalarValue::Struct(_) => true,
            _ => false,
        },
        Expr::BinaryExpr(BinaryExpr { op, .. }) => is_arithmetic(*op),
        Expr::Negative(_) | Expr::TryCast(_) => true,
        // The cast of what is no constant is kept, which sees to it.
        Expr::Cast(Cast { expr, .. }) => matches!(**expr, Expr::Literal(..)),
        Expr::ScalarFunction(call) => may_compute(call) && !is_kept(expr) && !One::Nan.is_around(expr),
        _ => false,
    }
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

fn may_compute(call: &ScalarFunction) -> bool {
    let name = call.func.name();
    !CHOICES.contains(&name) && !PARTS.contains(&name)
}

fn in_expr(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !may_be_other(&expr) {
        return Ok(Transformed::no(expr));
    }
    if let Expr::Literal(value, metadata) = expr {
        let one = one_nan_in(value.clone())?;
        // They differ by their bits.
        let is_other = one != value;
        let literal = Expr::Literal(one, metadata);
        return Ok(if is_other { Transformed::yes(literal) } else { Transformed::no(literal) });
    }
    let is_made = match matches!(expr, Expr::ScalarFunction(_)) {
        true => is_float(&expr, schema),
        false => makes_floats(&mut expr, schema),
    };
    if !is_made {
        return Ok(Transformed::no(expr));
    }
    One::Nan.around(&mut expr);
    Ok(Transformed::yes(expr))
}

/// Whether an operator or a cast makes floats. Its operands lose the function, which is to stand further out: arithmetic takes no notice of which NaN
/// it is given.
fn makes_floats(expr: &mut Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
            let is_made = have_floats(left, right, schema);
            bare(left);
            bare(right);
            is_made
        }
        Expr::Negative(operand) => {
            let is_made = One::Nan.is_around(operand) || is_float(operand, schema);
            bare(operand);
            is_made
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            field.data_type().is_floating() && expr.get_type(schema).is_ok_and(|of| of.is_string())
        }
        _ => false,
    }
}

fn is_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_floating())
}

/// Whether operands are floats; they have one type. In a long chain the left one is a call already, or the right one has a type, and there is no walk
/// for that of the left.
fn have_floats(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    One::Nan.is_around(left)
        || One::Nan.is_around(right)
        || match right.get_type(schema) {
            Ok(data_type) => data_type.is_floating(),
            Err(_) => is_float(left, schema),
        }
}

fn bare(operand: &mut Expr) {
    if !One::Nan.is_around(operand) {
        return;
    }
    if let Expr::ScalarFunction(call) = operand
        && let Some(arg) = call.args.pop()
    {
        *operand = arg;
    }
}
