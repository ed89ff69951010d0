//! How long is a span of time? As many nanoseconds as it has with 24 hours a day and 30 days a month, as in PostgreSQL. DataFusion compares months
//! first, then days: a difference of two times, which has none of them, would never be longer than `INTERVAL '1 day'`. By their length spans are
//! compared and sorted, and the longest of several is chosen.

use std::mem;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use arrow::compute::interleave;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, TimeUnit,
};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Column, DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery, Volatility, cast,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::wrapped::compared::is_text;
use crate::rules::rewrite_node;

/// Makes numbers of spans that are compared with each other, unless all are differences of times. Whether any was read.
pub(in crate::functions::wrapped) fn as_lengths(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<_> = values.iter().map(|value| value.get_type(schema).unwrap_or(DataType::Null)).collect();
    let has_spans = types.iter().any(is_span);
    let are_spans = || types.iter().zip(&*values).all(|(of, value)| is_span(of) || of.is_null() || is_text(value));
    if !has_spans || !are_spans() || types.windows(2).all(|pair| pair[0] == pair[1] && is_difference(&pair[0])) {
        return false;
    }
    for (value, of) in values.iter_mut().zip(&types).filter(|(_, of)| !of.is_null()) {
        let span = mem::take(&mut **value);
        let span = if is_span(of) { span } else { cast(span, SPAN) };
        **value = length_of(span);
    }
    true
}

/// What the column of a subquery is called then: DataFusion takes it for the column of spans if it has its name.
const LENGTH_OF_SUBQUERY: &str = "__length";

/// The same of a value and the column of a subquery.
pub(super) fn as_lengths_of_subquery(value: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> bool {
    let Ok(of) = value.get_type(schema) else { return false };
    let inner = Arc::clone(&subquery.subquery);
    let (table, field) = inner.schema().qualified_field(0);
    let column = field.data_type();
    if !is_span(&of) || !is_span(column) || (of == *column && is_difference(&of)) {
        return false;
    }
    let span = Expr::Column(Column::from((table, field)));
    let length = length_of(span).alias(LENGTH_OF_SUBQUERY);
    let Ok(lengths) = Projection::try_new(vec![length], Arc::clone(&inner)) else { return false };
    subquery.subquery = Arc::new(LogicalPlan::Projection(lengths));
    *value = length_of(mem::take(value));
    true
}

fn length_of(span: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&LENGTH), vec![span]))
}

/// Makes a number of an INTERVAL that something is sorted by. Whether it is one.
pub(in crate::functions::wrapped) fn as_length(key: &mut Expr, schema: &DFSchema) -> bool {
    if !matches!(key.get_type(schema), Ok(DataType::Interval(_))) {
        return false;
    }
    *key = length_of(mem::take(key));
    true
}

/// Chooses the longest or the shortest of spans in the place of `greatest` or `least`, if one of them is an INTERVAL. Whether it does.
pub(in crate::functions::wrapped) fn as_extreme(function: &mut ScalarFunction, schema: &DFSchema) -> bool {
    let chooses = match function.func.name() {
        "greatest" => &LONGEST,
        "least" => &SHORTEST,
        _ => return false,
    };
    let types: Vec<_> = function.args.iter().map(|arg| arg.get_type(schema).unwrap_or(DataType::Null)).collect();
    let are_spans = || types.iter().zip(&function.args).all(|(of, arg)| is_span(of) || of.is_null() || is_text(arg));
    if !types.iter().any(|of| matches!(of, DataType::Interval(_))) || !are_spans() {
        return false;
    }
    for arg in &mut function.args {
        *arg = cast(mem::take(arg), SPAN);
    }
    function.func = Arc::clone(chooses);
    true
}

/// The type in which all spans have a place.
const SPAN: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

fn is_span(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_)) || is_difference(data_type)
}

fn is_difference(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Duration(_))
}

static LENGTH: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Length::new())));

const NAME: &str = "span_length";

/// A span in nanoseconds. No span has more than 25 digits of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length {
    signature: Signature,
}

impl Length {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [spans] = take_function_args(NAME, args.args)?;
        let lengths: ArrayRef = Arc::new(lengths(&spans.to_array(1)?)?);
        Ok(match spans {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&lengths, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(lengths),
        })
    }
}

const DAY_NS: i128 = 86_400_000_000_000;
const MONTH_NS: i128 = 30 * DAY_NS;

/// The lengths of spans in nanoseconds.
pub(in crate::functions) fn lengths(spans: &ArrayRef) -> Result<Decimal128Array> {
    Ok(match spans.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => each::<IntervalMonthDayNanoType>(spans, |span| {
            i128::from(span.months) * MONTH_NS + i128::from(span.days) * DAY_NS + i128::from(span.nanoseconds)
        })?,
        DataType::Interval(IntervalUnit::DayTime) => each::<IntervalDayTimeType>(spans, |span| {
            i128::from(span.days) * DAY_NS + i128::from(span.milliseconds) * 1_000_000
        })?,
        DataType::Interval(IntervalUnit::YearMonth) => {
            each::<IntervalYearMonthType>(spans, |months| i128::from(months) * MONTH_NS)?
        }
        DataType::Duration(TimeUnit::Second) => each::<DurationSecondType>(spans, |n| i128::from(n) * 1_000_000_000)?,
        DataType::Duration(TimeUnit::Millisecond) => {
            each::<DurationMillisecondType>(spans, |n| i128::from(n) * 1_000_000)?
        }
        DataType::Duration(TimeUnit::Microsecond) => each::<DurationMicrosecondType>(spans, |n| i128::from(n) * 1_000)?,
        DataType::Duration(TimeUnit::Nanosecond) => each::<DurationNanosecondType>(spans, i128::from)?,
        other => return internal_err!("{NAME} is asked about {other}"),
    })
}

fn each<T: ArrowPrimitiveType>(spans: &ArrayRef, length: impl Fn(T::Native) -> i128) -> Result<Decimal128Array> {
    let lengths: PrimitiveArray<Decimal128Type> = spans.as_primitive::<T>().unary(length);
    Ok(lengths.with_precision_and_scale(38, 0)?)
}

static LONGEST: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Chosen::function("greatest"));
static SHORTEST: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Chosen::function("least"));

/// One of several spans. NULLs are passed over, as in DataFusion's function of the name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chosen {
    name: &'static str,
    signature: Signature,
}

impl Chosen {
    fn function(name: &'static str) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self { name, signature: Signature::user_defined(Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for Chosen {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(SPAN)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let spans = ColumnarValue::values_to_arrays(&args.args)?;
        let lengths = spans.iter().map(lengths).collect::<Result<Vec<_>>>()?;
        let n_rows = spans.first().map_or(0, |spans| spans.len());
        let longest = self.name == "greatest";
        let choice = |row: usize| {
            let of_row = lengths.iter().enumerate().filter(|(_, lengths)| lengths.is_valid(row));
            let of_row = of_row.map(|(i, lengths)| (lengths.value(row), i));
            let chosen = if longest { of_row.max() } else { of_row.min() };
            (chosen.map_or(0, |(_, i)| i), row)
        };
        let choices: Vec<(usize, usize)> = (0..n_rows).map(choice).collect();
        let arrays: Vec<&dyn Array> = spans.iter().map(|spans| &**spans).collect();
        let chosen = interleave(&arrays, &choices)?;
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&chosen, 0)?),
            false => ColumnarValue::Array(chosen),
        })
    }
}

/// Reads a text that is written beside a span as one, and a date to which hours are added as a time: the planner must know both before the rules in
/// front of type coercion.
#[derive(Debug)]
pub(in crate::functions) struct BesideSpans;

impl ExprPlanner for BesideSpans {
    fn plan_binary_op(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as Op;
        let RawBinaryExpr { op, left, right } = &mut expr;
        match op {
            Op::Gt | Op::GtEq | Op::Lt | Op::LtEq | Op::Eq | Op::NotEq => {
                read_beside(left, right, schema);
                read_beside(right, left, schema);
            }
            Op::Plus | Op::Minus => {
                read_date((left, right), *op == Op::Plus, schema);
            }
            _ => {}
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// The same, of dates and hours alone, in a plan whose parameters are values by now: the planner did not know what they are.
pub(crate) fn with_hours(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        // What it names may have become a time.
        let read = rewrite_node(node.recompute_schema()?, is_sum, |expr, schema| {
            expr.transform_up(|expr| Ok(read_sum(expr, schema)))
        })?;
        Ok(Transformed::yes(match read.data {
            // Nothing else computes of which types these are.
            LogicalPlan::Values(rows) if read.transformed => LogicalPlanBuilder::values(rows.values)?.build()?,
            other => other,
        }))
    })
    .data()
}

fn is_sum(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(BinaryExpr { op: Operator::Plus | Operator::Minus, .. }))
}

fn read_sum(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_read = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) => {
            read_date((&mut **left, &mut **right), *op == Operator::Plus, schema)
        }
        _ => false,
    };
    Transformed::new_transformed(expr, is_read)
}

/// Reads a date as a time if hours may be added to it, or taken from it. Whether there is one.
fn read_date((left, right): (&mut Expr, &mut Expr), is_sum: bool, schema: &DFSchema) -> bool {
    // The right operand is asked first: in a long chain it is the short one.
    let date = if may_have_hours(right, schema) && is_date(left, schema) {
        left
    } else if is_sum && is_date(right, schema) && may_have_hours(left, schema) {
        right
    } else {
        return false;
    };
    *date = cast(mem::take(date), TIME);
    true
}

/// What a date and hours are. DataFusion makes a date of them, and leaves out the hours.
const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn is_date(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Date32))
}

/// Whether it is an INTERVAL, but none that is written in days and months alone.
fn may_have_hours(span: &Expr, schema: &DFSchema) -> bool {
    match span {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(span)), _) => span.nanoseconds != 0,
        span => matches!(span.get_type(schema), Ok(DataType::Interval(_))),
    }
}

fn read_beside(text: &mut Expr, span: &Expr, schema: &DFSchema) {
    if is_text(text) && span.get_type(schema).is_ok_and(|of| is_difference(&of)) {
        *text = cast(mem::take(text), SPAN);
    }
}
