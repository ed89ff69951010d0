//! What is `time_bucket(width, ts [, origin] [, zone])`? The start of the bucket that a time falls into.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::bucket::{Buckets, Width};
use super::times::{constant, floor, microseconds, time_type};
use super::zone::{self, ZoneClock};

/// See [`super::bucket`] for what a bucket is. An instant (TIMESTAMPTZ) without a zone is bucketed in UTC, as in
/// TimescaleDB, whatever the session's zone is; a zone for a plain TIMESTAMP or a DATE is an error, since they are wall time already.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBucket {
    signature: Signature,
}

impl TimeBucket {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

const USAGE: &str = "use time_bucket(width, time [, origin] [, zone])";

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.get(1).and_then(time_type) {
            Some(time) => Ok(time),
            None => plan_err!("time_bucket needs a width and a time; {USAGE}"),
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [width, time, rest @ ..] = arg_types else {
            return plan_err!("time_bucket needs a width and a time; {USAGE}");
        };
        let width = match width {
            DataType::Interval(_) | DataType::Duration(_) | DataType::Null => {
                DataType::Interval(IntervalUnit::MonthDayNano)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            other => {
                return plan_err!(
                    "the width of a time bucket is an interval or text such as '5 minutes', not {other}; {USAGE}"
                );
            }
        };
        let Some(time) = time_type(time) else {
            return plan_err!("time_bucket takes a TIMESTAMP, TIMESTAMPTZ or DATE, not {time}; {USAGE}");
        };
        let mut types = vec![width, time];
        if rest.len() > 2 {
            return plan_err!("time_bucket has at most four arguments; {USAGE}");
        }
        for (i, extra) in rest.iter().enumerate() {
            types.push(match extra {
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
                DataType::Timestamp(_, zone) if i == 0 => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
                DataType::Date32 | DataType::Date64 if i == 0 => DataType::Date32,
                other => return plan_err!("{other} is neither an origin nor a zone; {USAGE}"),
            });
        }
        Ok(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let null = || Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_field.data_type())?));
        let [width, time, rest @ ..] = args.args.as_slice() else {
            return exec_err!("time_bucket needs a width and a time; {USAGE}");
        };
        let Some(width) = constant(width, "width of a time bucket")? else { return null() };
        let width = self.width(&width)?;
        let (mut origin, mut zone) = (None, None);
        for extra in rest {
            let Some(extra) = constant(extra, "origin and zone of a time bucket")? else { return null() };
            match extra {
                // Both are text in SQL: what names no zone is read as a time.
                ScalarValue::Utf8(Some(text)) => match zone::parse(&text) {
                    Some(_) if zone.is_none() => zone = Some(text),
                    _ if origin.is_none() && zone.is_none() => origin = Some(read_origin(&text)?),
                    _ => return exec_err!("'{text}' is not a time zone; {USAGE}"),
                },
                time if origin.is_none() => origin = Some(time),
                _ => return exec_err!("time_bucket has one origin; {USAGE}"),
            }
        }
        self.check_zone(&time.data_type(), width, zone.as_deref())?;
        let zone = zone.as_deref();
        let origin = match origin {
            Some(origin) => wall_time(&origin, zone)?,
            None => width.default_origin(),
        };
        floor(time, Buckets { width, origin }, zone)
    }

    /// Without a zone buckets keep the order of times; with one, clocks that go back can break it.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        match inputs {
            [width, time] if width.sort_properties == SortProperties::Singleton => Ok(time.sort_properties),
            _ => Ok(SortProperties::Unordered),
        }
    }
}

impl TimeBucket {
    fn width(&self, scalar: &ScalarValue) -> Result<Width> {
        let interval = match scalar {
            ScalarValue::IntervalMonthDayNano(Some(interval)) => *interval,
            ScalarValue::Utf8(Some(text)) => parse_interval_month_day_nano(text)
                .map_err(|_| exec_datafusion_err!("'{text}' is not an interval such as '5 minutes'"))?,
            other => return exec_err!("{other} is not the width of a time bucket"),
        };
        Width::new(interval)
    }

    fn check_zone(&self, time: &DataType, width: Width, zone: Option<&str>) -> Result<()> {
        match time {
            DataType::Timestamp(_, Some(_)) => Ok(()),
            _ if zone.is_some() => exec_err!(
                "a zone needs a TIMESTAMPTZ; say which instants these are, as in time_bucket(width, ts AT TIME ZONE 'UTC', zone)"
            ),
            DataType::Date32 if !width.is_whole_days() => exec_err!("buckets of a DATE are whole days or months"),
            _ => Ok(()),
        }
    }
}

fn read_origin(text: &str) -> Result<ScalarValue> {
    ScalarValue::try_from_string(text.to_owned(), &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(|_| {
        exec_datafusion_err!("'{text}' is neither a time zone nor an origin such as '2024-01-01'; {USAGE}")
    })
}

/// An origin as the wall clock of the zone shows it: an instant is converted, a plain time is that already.
fn wall_time(origin: &ScalarValue, zone: Option<&str>) -> Result<i64> {
    let us = microseconds(origin)?;
    match (origin.data_type(), zone) {
        (DataType::Timestamp(_, Some(_)), Some(zone)) => ZoneClock::new(zone)?
            .local(us)
            .ok_or_else(|| exec_datafusion_err!("the origin is outside the range of timestamps")),
        _ => Ok(us),
    }
}
