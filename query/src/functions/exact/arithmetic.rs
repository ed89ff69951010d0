//! What if a result does not fit? `+`, `-` and `*` of integers become functions that say so, where DataFusion's operators wrap round.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::{Interval, apply_operator};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::datum::apply;
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Code, Error};

use super::{in_turn, kept, scaled};
use crate::error::{WIDER, to_datafusion};
use crate::rules::rewrite_plan;

/// Replaces the operators of integers, and keeps what may lose something or fail. It runs behind type coercion, when both operands have one type,
/// and before anything is computed from constants.
#[derive(Debug)]
pub(in crate::functions) struct CheckIntegers;

impl AnalyzerRule for CheckIntegers {
    fn name(&self) -> &str {
        "check_integers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_plan(plan, may_fail, checked)
    }
}

/// Whether it may lose something or fail, for all that is known without types.
fn may_fail(expr: &Expr) -> bool {
    Op::of(expr).is_some() || kept::may_be_kept(expr)
}

fn checked(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let checked = expr.transform_up(|expr| {
        Ok(if Op::of(&expr).is_some() { check(expr, schema) } else { kept::keep(expr, schema) })
    })?;
    checked.transform_data(in_turn::behind_filter)
}

/// Whether an expression is one that may fail.
pub(super) fn is_checked(expr: &Expr) -> bool {
    CheckedArithmetic::called_by(expr).is_some() || kept::is_kept(expr) || scaled::is_scaled(expr)
}

/// Whether something that may fail is within an expression.
pub(super) fn computes(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(is_checked(expr))).is_ok_and(|found| found)
}

/// The same of what runs.
pub(in crate::functions) fn computes_physically(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let is_checked = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| call.fun().inner().is::<CheckedArithmetic>())
            || kept::is_kept_physically(expr)
            || scaled::is_scaled_physically(expr)
    };
    expr.exists(|expr| Ok(is_checked(expr))).is_ok_and(|found| found)
}

fn check(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Some(op) = Op::of(&expr) else { return Transformed::no(expr) };
    match expr {
        // In a long chain the left operand is a function already, and costs no walk for its type.
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) if is_integer(&right, schema) && is_integer(&left, schema) => {
            Transformed::yes(chain(*left, op, *right))
        }
        Expr::Negative(operand) if is_signed(&operand, schema) => Transformed::yes(call(Vec::new(), vec![*operand])),
        other => Transformed::no(other),
    }
}

fn is_integer(expr: &Expr, schema: &DFSchema) -> bool {
    CheckedArithmetic::called_by(expr).is_some() || expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer())
}

fn is_signed(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_signed_integer())
}

/// `left op right`. Operators of one rank become one call, which is computed from left to right: `a + b - c` is no deeper than `a + b`.
fn chain(left: Expr, op: Op, right: Expr) -> Expr {
    let longer =
        CheckedArithmetic::called_by(&left).filter(|call| call.ops.last().is_some_and(|last| last.ranks_as(op)));
    let ops: Vec<Op> = longer.iter().flat_map(|call| call.ops.iter().copied()).chain([op]).collect();
    match left {
        Expr::ScalarFunction(ScalarFunction { mut args, .. }) if ops.len() > 1 => {
            args.push(right);
            call(ops, args)
        }
        left => call(ops, vec![left, right]),
    }
}

fn call(ops: Vec<Op>, args: Vec<Expr>) -> Expr {
    let function = ScalarUDF::new_from_impl(CheckedArithmetic::new(ops));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), args))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    Plus,
    Minus,
    Multiply,
}

impl Op {
    /// The operator that an expression is made with, if it is one that may overflow.
    fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { op: Operator::Plus, .. }) => Some(Self::Plus),
            Expr::BinaryExpr(BinaryExpr { op: Operator::Minus, .. }) | Expr::Negative(_) => Some(Self::Minus),
            Expr::BinaryExpr(BinaryExpr { op: Operator::Multiply, .. }) => Some(Self::Multiply),
            _ => None,
        }
    }

    fn ranks_as(self, other: Self) -> bool {
        (self == Self::Multiply) == (other == Self::Multiply)
    }

    fn operator(self) -> Operator {
        match self {
            Self::Plus => Operator::Plus,
            Self::Minus => Operator::Minus,
            Self::Multiply => Operator::Multiply,
        }
    }

    fn compute(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Plus => numeric::add(left, right),
            Self::Minus => numeric::sub(left, right),
            Self::Multiply => numeric::mul(left, right),
        }
    }
}

/// Integers of one type with operators between them; one integer without an operator is negated.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedArithmetic {
    /// As plans show it.
    name: String,
    ops: Vec<Op>,
    signature: Signature,
}

impl CheckedArithmetic {
    fn new(ops: Vec<Op>) -> Self {
        let name = match ops.as_slice() {
            [] => "checked_negative".to_owned(),
            [Op::Plus] => "checked_add".to_owned(),
            [Op::Minus] => "checked_subtract".to_owned(),
            ops if ops.iter().all(|op| *op == Op::Multiply) => "checked_multiply".to_owned(),
            ops => format!("checked[{}]", ops.iter().map(|op| op.operator().to_string()).collect::<String>()),
        };
        Self { name, ops, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The function of a call of this kind.
    fn called_by(expr: &Expr) -> Option<&Self> {
        match expr {
            Expr::ScalarFunction(ScalarFunction { func, .. }) => func.inner().downcast_ref::<Self>(),
            _ => None,
        }
    }

    fn bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        let Some((first, rest)) = inputs.split_first() else { return internal_err!("{} has no arguments", self.name) };
        if self.ops.is_empty() {
            return first.arithmetic_negate();
        }
        let mut bounds = (*first).clone();
        for (op, next) in self.ops.iter().zip(rest) {
            bounds = apply_operator(&op.operator(), &bounds, next)?;
        }
        Ok(bounds)
    }
}

impl ScalarUDFImpl for CheckedArithmetic {
    fn name(&self) -> &str {
        &self.name
    }

    /// The name of the column, which is that of the operators.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let Some((first, rest)) = args.split_first() else { return internal_err!("{} has no arguments", self.name) };
        if self.ops.is_empty() {
            return Ok(format!("(- {})", first.schema_name()));
        }
        let mut name = first.schema_name().to_string();
        for (op, arg) in self.ops.iter().zip(rest) {
            // Writing to a String cannot fail.
            let _ = write!(name, " {} {}", op.operator(), arg.schema_name());
        }
        Ok(name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Operands have one type before this function stands for their operators.
    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first() {
            Some(data_type) => Ok(data_type.clone()),
            None => internal_err!("{} has no arguments", self.name),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some(first) = args.arg_fields.first() else { return internal_err!("{} has no arguments", self.name) };
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(&self.name, first.data_type().clone(), nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs { args, return_field, .. } = args;
        let too_large = |error| does_not_fit(error, return_field.data_type());
        let mut args = args.into_iter();
        let Some(mut result) = args.next() else { return internal_err!("{} has no arguments", self.name) };
        if self.ops.is_empty() {
            return negated(&result).map_err(too_large);
        }
        for (op, arg) in self.ops.iter().zip(args) {
            result = apply(&result, &arg, |left, right| op.compute(left, right)).map_err(too_large)?;
        }
        Ok(result)
    }

    /// What has no bounds may be anything of its type.
    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        let unbounded = |_| {
            let known = inputs.iter().map(|input| input.data_type()).find(|data_type| !data_type.is_null());
            Interval::make_unbounded(&known.unwrap_or(DataType::Null))
        };
        self.bounds(inputs).or_else(unbounded)
    }

    /// Nothing wraps round, so the order of the operands holds.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        let Some((first, rest)) = inputs.split_first() else { return Ok(SortProperties::Singleton) };
        if self.ops.is_empty() {
            return Ok(-first.sort_properties);
        }
        let mut order = first.sort_properties;
        for (op, next) in self.ops.iter().zip(rest) {
            order = match op {
                Op::Plus => order.add(&next.sort_properties),
                Op::Minus => order.sub(&next.sort_properties),
                Op::Multiply if order == SortProperties::Singleton && next.sort_properties == order => order,
                Op::Multiply => SortProperties::Unordered,
            };
        }
        Ok(order)
    }
}

fn negated(value: &ColumnarValue) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(numeric::neg(array.as_ref())?),
        ColumnarValue::Scalar(scalar) => {
            let array = numeric::neg(scalar.to_array()?.as_ref())?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        }
    })
}

/// An overflow as an error that says what overflowed; other errors as they are.
fn does_not_fit(error: DataFusionError, data_type: &DataType) -> DataFusionError {
    match error {
        DataFusionError::ArrowError(inner, backtrace) => match *inner {
            ArrowError::ArithmeticOverflow(message) => {
                let what = message.trim_start_matches("Overflow happened on: ");
                let message = format!("{what} does not fit into {}", sql_type(data_type));
                to_datafusion(Error::new(Code::QueryFailed, message).hint(WIDER))
            }
            other => DataFusionError::ArrowError(Box::new(other), backtrace),
        },
        other => other,
    }
}
