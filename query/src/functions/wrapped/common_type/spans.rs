//! How long is a span of time? As many nanoseconds as it has with 24 hours a day and 30 days a month, as in PostgreSQL. DataFusion compares months
//! first, then days: a difference of two times, which has none of them, would never be longer than `INTERVAL '1 day'`.

use std::mem;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, TimeUnit,
};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};

use crate::functions::wrapped::compared::is_text;

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
        let span = if is_span(of) { span } else { cast(span, DataType::Interval(IntervalUnit::MonthDayNano)) };
        **value = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&LENGTH), vec![span]));
    }
    true
}

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

fn lengths(spans: &ArrayRef) -> Result<Decimal128Array> {
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
