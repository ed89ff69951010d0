//! What is a span of time times a number, or divided by one? As many months, days and microseconds, as in PostgreSQL; DataFusion has no such
//! operators. The fraction of a month goes to days, 30 a month, and that of a day to the time, 24 hours a day. Nothing goes back up.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::try_binary;
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use arrow::error::ArrowError;
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Code, Error};

/// Makes calls of `number * span`, `span * number` and `span / number`. Type coercion refuses the operators, and so does whatever asks for the
/// type of one before.
#[derive(Debug)]
pub(in crate::functions) struct ScaledSpans;

impl ExprPlanner for ScaledSpans {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let scales = |span: &Expr, factor: &Expr| is_span(span, schema) && is_factor(factor, schema);
        let op = match op {
            BinaryOperator::Multiply if scales(right, left) || scales(left, right) => Operator::Multiply,
            BinaryOperator::Divide if scales(left, right) => Operator::Divide,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let function = Arc::new(ScalarUDF::new_from_impl(Scaled::new(op)));
        let args = vec![expr.left, expr.right];
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
    }
}

/// Whether an expression is such a call. It may fail.
pub(super) fn is_scaled(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<Scaled>())
}

/// The same of what runs.
pub(super) fn is_scaled_physically(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| call.fun().inner().is::<Scaled>())
}

/// In a long chain the left operand is an operator of numbers, or a call of ours, and costs no walk for its type.
fn is_span(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Multiply | Operator::Divide | Operator::Modulo, .. }) => false,
        expr => is_scaled(expr) || expr.get_type(schema).is_ok_and(|of| is_of_spans(&of)),
    }
}

/// Text that is written is read as a number; of a parameter nothing is known but that it stands here.
fn is_factor(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Literal(value, _) if value.data_type().is_string() => true,
        expr => expr.get_type(schema).is_ok_and(|of| of.is_numeric() || of.is_null()),
    }
}

/// The type of what is scaled.
const SPAN: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// A difference of times is a span, too.
fn is_of_spans(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

/// Parameters may have been bound as text.
fn is_of_factors(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_null() || data_type.is_string()
}

/// As plans show it.
const NAME: &str = "scaled";

/// A span and a number, in the order in which they are written.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    /// `*` or `/`.
    op: Operator,
    signature: Signature,
}

impl Scaled {
    fn new(op: Operator) -> Self {
        Self { op, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn scale(&self, span: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano, ArrowError> {
        let is_division = self.op == Operator::Divide;
        if is_division && factor == 0.0 {
            return Err(ArrowError::DivideByZero);
        }
        let scaled = match is_division {
            _ if !factor.is_finite() => None,
            true => scaled(span, |part| part / factor),
            false => scaled(span, |part| part * factor),
        };
        scaled.ok_or_else(|| self.does_not_fit(factor))
    }

    fn does_not_fit(&self, factor: f64) -> ArrowError {
        // Written with an exponent if it is large.
        let message = format!("INTERVAL {} {factor:?} does not fit into INTERVAL", self.op);
        let hint = match factor.is_finite() {
            true => "an INTERVAL has at most 2147483647 months, as many days, and 292 years of hours",
            false => "leave out what is NaN or infinite: NULLIF(factor, 'NaN')",
        };
        ArrowError::ExternalError(Box::new(Error::new(Code::QueryFailed, message).hint(hint)))
    }
}

impl ScalarUDFImpl for Scaled {
    fn name(&self) -> &str {
        NAME
    }

    /// The name of the column, which is that of the operator.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = take_function_args(NAME, args)?;
        Ok(format!("{} {} {}", left.schema_name(), self.op, right.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = take_function_args(NAME, arg_types)?;
        if is_of_spans(left) && is_of_factors(right) {
            Ok(vec![SPAN, DataType::Float64])
        } else if self.op == Operator::Multiply && is_of_factors(left) && is_of_spans(right) {
            Ok(vec![DataType::Float64, SPAN])
        } else {
            plan_err!(
                "there is no {} {} {}: one is an INTERVAL, the other a number",
                sql_type(left),
                self.op,
                sql_type(right)
            )
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(SPAN)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let [left, right] = take_function_args(NAME, ColumnarValue::values_to_arrays(&args.args)?)?;
        let (spans, factors) = if left.data_type() == &SPAN { (left, right) } else { (right, left) };
        let scaled: PrimitiveArray<IntervalMonthDayNanoType> = try_binary(
            spans.as_primitive::<IntervalMonthDayNanoType>(),
            factors.as_primitive::<Float64Type>(),
            |span, factor| self.scale(span, factor),
        )?;
        let scaled: ArrayRef = Arc::new(scaled);
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&scaled, 0)?),
            false => ColumnarValue::Array(scaled),
        })
    }
}

const DAYS_OF_MONTH: f64 = 30.0;
const SECONDS_OF_DAY: f64 = 86_400.0;
const MICROS_OF_SECOND: f64 = 1e6;

/// The span with `scale` done to each part, in PostgreSQL's order and with its rounding, so that answers are the same to the microsecond.
/// `None`: it does not fit.
fn scaled(span: IntervalMonthDayNano, scale: impl Fn(f64) -> f64) -> Option<IntervalMonthDayNano> {
    let (months, days) = (scale(span.months.into()), scale(span.days.into()));
    let (whole_months, whole_days) = (whole(months)?, whole(days)?);
    let more_days = to_micros((months - months.trunc()) * DAYS_OF_MONTH);
    let seconds = to_micros((days - days.trunc() + more_days - more_days.trunc()) * SECONDS_OF_DAY);
    // The two fractions, or what rounding has made of them, may be a day together.
    let carried = (seconds / SECONDS_OF_DAY).trunc();
    let seconds = seconds - carried * SECONDS_OF_DAY;
    let whole_days = whole_days.checked_add(whole(carried)?)?.checked_add(whole(more_days)?)?;
    // Whole microseconds stay whole: a span of more than 104 days of nanoseconds is no exact DOUBLE.
    let micros = (span.nanoseconds / 1_000) as f64 + (span.nanoseconds % 1_000) as f64 / 1e3;
    let micros = (scale(micros) + seconds * MICROS_OF_SECOND).round_ties_even();
    // What is beyond a BIGINT becomes its end, and does not fit in nanoseconds.
    let nanoseconds = (micros as i64).checked_mul(1_000)?;
    Some(IntervalMonthDayNano::new(whole_months, whole_days, nanoseconds))
}

/// Cut off towards zero; what is beyond a BIGINT becomes its end, which does not fit either.
fn whole(n: f64) -> Option<i32> {
    i32::try_from(n as i64).ok()
}

/// Products are inexact: 0.1 of 30 days is to be 3.
fn to_micros(n: f64) -> f64 {
    (n * MICROS_OF_SECOND).round_ties_even() / MICROS_OF_SECOND
}
