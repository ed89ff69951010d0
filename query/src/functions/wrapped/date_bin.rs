//! How fine is `date_bin`? As the time that it is asked about. DataFusion looks for it in nanoseconds, which end in 2262: NULL is what it makes
//! of a later time. And how wide? Not less than nothing: it takes a negative width for a positive one.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::functions::bucket::{Buckets, Width};
use crate::functions::delegated::of_inner;
use crate::functions::times::floor;

pub(super) const NAME: &str = "date_bin";

/// `date_bin(width, time [, origin])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateBin {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl DateBin {
    pub fn wrap(inner: Arc<ScalarUDF>) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::new_from_impl(Self { inner, signature })
    }
}

fn width_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Interval(IntervalUnit::DayTime) => Some(data_type.clone()),
        DataType::Interval(_)
        | DataType::Duration(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Null => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
        _ => None,
    }
}

/// Columns of times count microseconds, so a text and a date are read as such.
fn time_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(_, _) | DataType::Time32(_) | DataType::Time64(_) => Some(data_type.clone()),
        DataType::Date32
        | DataType::Date64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Null => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        _ => None,
    }
}

/// The origin as fine as such a time, or in the only type in which DataFusion takes it.
fn origin_type(time: &DataType) -> DataType {
    match time {
        DataType::Timestamp(TimeUnit::Microsecond, _) => time.clone(),
        other => inner_origin_type(other),
    }
}

fn inner_origin_type(time: &DataType) -> DataType {
    match time {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        other => other.clone(),
    }
}

/// Those that times in microseconds fall into. `None`: what is left to DataFusion, such as its errors.
fn buckets(args: &[ColumnarValue]) -> Option<Buckets> {
    let (width, time, origin) = match args {
        [width, time] => (width, time, None),
        [width, time, origin] => (width, time, Some(origin)),
        _ => return None,
    };
    if !matches!(time.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
        return None;
    }
    let ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(width))) = width else { return None };
    let origin = match origin {
        None => 0,
        Some(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(us), _))) => *us,
        Some(_) => return None,
    };
    Some(Buckets { width: Width::new(*width).ok()?, origin })
}

/// Whether it is less than nothing, for all that is known.
fn is_negative(width: &ColumnarValue) -> bool {
    const DAY_NS: i128 = 86_400_000_000_000;
    let (months, rest_ns) = match width {
        ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(width))) => {
            (width.months, i128::from(width.days) * DAY_NS + i128::from(width.nanoseconds))
        }
        ColumnarValue::Scalar(ScalarValue::IntervalDayTime(Some(width))) => {
            (0, i128::from(width.days) * DAY_NS + i128::from(width.milliseconds) * 1_000_000)
        }
        _ => return false,
    };
    // Months and days together are an error of DataFusion's, as is a width of nothing.
    months < 0 || (months == 0 && rest_ns < 0)
}

impl ScalarUDFImpl for DateBin {
    of_inner! {
        fn return_type(&self, arg_types: &[DataType]) -> Result<DataType>;
        fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties>;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (width, time, origin) = match arg_types {
            [width, time] => (width, time, None),
            [width, time, origin] => (width, time, Some(origin)),
            _ => return plan_err!("date_bin takes a width, a time, and an origin if there is one"),
        };
        let Some(width) = width_type(width) else {
            return plan_err!("the width of date_bin is an interval, not {width}");
        };
        let Some(time) = time_type(time) else {
            return plan_err!("date_bin takes a timestamp, a date or a time of day, not {time}");
        };
        let Some(origin) = origin else { return Ok(vec![width, time]) };
        let is_time_of_day = |data_type: &DataType| matches!(data_type, DataType::Time32(_) | DataType::Time64(_));
        if time_type(origin).is_none() || (is_time_of_day(origin) && !is_time_of_day(&time)) {
            return plan_err!("the origin of date_bin is a time as its second argument is one, not {origin}");
        }
        let origin = origin_type(&time);
        Ok(vec![width, time, origin])
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(ColumnarValue::Scalar(origin)) = args.args.get(2)
            && origin.is_null()
        {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_type())?));
        }
        if args.args.first().is_some_and(is_negative) {
            return exec_err!("the width of date_bin must be positive");
        }
        if let (Some(buckets), Some(time)) = (buckets(&args.args), args.args.get(1)) {
            return floor(time, buckets, None);
        }
        if let Some(origin) = args.args.get_mut(2) {
            *origin = origin.cast_to(&inner_origin_type(&origin.data_type()), None)?;
        }
        self.inner.invoke_with_args(args)
    }
}
