//! What is `date_trunc(unit, ts [, zone])`? The start of the unit of time that a moment is in, in the session's zone or another.

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::bucket::{Buckets, Width};
use super::times::{chosen_zone, constant, floor, time_type};
use super::zone;

/// As PostgreSQL's: an instant is truncated by the wall clock of the zone given, else of its type's zone, else of the session's;
/// plain times and dates as they are (a zone for them is an error). Units from microsecond to millennium, to hour for a TIME. A DATE
/// gives a TIMESTAMP.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    signature: Signature,
    aliases: Vec<String>,
}

impl DateTrunc {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Stable), aliases: vec!["datetrunc".into()] }
    }
}

const USAGE: &str = "use date_trunc(unit, time [, zone])";

/// As [`time_type`], and a time of day.
fn truncated_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Time32(_) | DataType::Time64(_) => Some(DataType::Time64(TimeUnit::Microsecond)),
        other => time_type(other),
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        "date_trunc"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.get(1).and_then(truncated_type) {
            Some(DataType::Date32) => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
            Some(time) => Ok(time),
            None => plan_err!("date_trunc needs a unit and a time; {USAGE}"),
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |data_type: &DataType| data_type.is_string() || data_type.is_null();
        match arg_types {
            [unit, time, rest @ ..] if is_text(unit) && rest.len() < 2 && rest.iter().all(is_text) => {
                let time = self.return_type(&[unit.clone(), time.clone()])?;
                Ok([DataType::Utf8, time].into_iter().chain(rest.iter().map(|_| DataType::Utf8)).collect())
            }
            _ => plan_err!(
                "date_trunc takes text, a TIMESTAMP, TIMESTAMPTZ, DATE or TIME, and the name of a zone; {USAGE}"
            ),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let null = || Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_field.data_type())?));
        let [unit, time, rest @ ..] = args.args.as_slice() else {
            return exec_err!("date_trunc needs a unit and a time; {USAGE}");
        };
        let Some(ScalarValue::Utf8(Some(unit))) = constant(unit, "unit of date_trunc")? else { return null() };
        let buckets = buckets(&unit)?;
        let time_type = time.data_type();
        if matches!(time_type, DataType::Time64(_)) && buckets.width.is_whole_days() {
            return exec_err!("a TIME has no {unit}; use hour, minute, second, millisecond or microsecond");
        }
        let is_instant = matches!(time_type, DataType::Timestamp(_, Some(_)));
        let given = match rest.first() {
            None => None,
            Some(given) => match constant(given, "zone of date_trunc")? {
                Some(ScalarValue::Utf8(Some(name))) if zone::parse(&name).is_some() => Some(name),
                Some(name) => return exec_err!("'{name}' is not a time zone; {USAGE}"),
                None => return null(),
            },
        };
        if given.is_some() && !is_instant {
            return exec_err!(
                "a zone needs a TIMESTAMPTZ; say which instants these are, as in date_trunc(unit, ts AT TIME ZONE 'UTC', zone)"
            );
        }
        let session = args.config_options.execution.time_zone.as_deref();
        let zone = given.as_deref().or_else(|| chosen_zone(&time_type)).or(session).filter(|_| is_instant);
        floor(time, buckets, zone)
    }

    /// Truncation in UTC keeps the order of times; clocks that go back can break it.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        match inputs {
            [unit, time] if unit.sort_properties == SortProperties::Singleton => {
                let plain = matches!(time.range.data_type(), DataType::Timestamp(_, None) | DataType::Time64(_));
                Ok(if plain { time.sort_properties } else { SortProperties::Unordered })
            }
            _ => Ok(SortProperties::Unordered),
        }
    }
}

fn buckets(unit: &str) -> Result<Buckets> {
    let interval = IntervalMonthDayNano::new;
    let interval = match unit.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" => interval(0, 0, 1_000),
        "millisecond" | "milliseconds" => interval(0, 0, 1_000_000),
        "second" | "seconds" => interval(0, 0, 1_000_000_000),
        "minute" | "minutes" => interval(0, 0, 60_000_000_000),
        "hour" | "hours" => interval(0, 0, 3_600_000_000_000),
        "day" | "days" => interval(0, 1, 0),
        "week" | "weeks" => interval(0, 7, 0),
        "month" | "months" => interval(1, 0, 0),
        "quarter" | "quarters" => interval(3, 0, 0),
        "year" | "years" => interval(12, 0, 0),
        "decade" | "decades" => interval(120, 0, 0),
        "century" | "centuries" => interval(1_200, 0, 0),
        "millennium" | "millenniums" | "millennia" => interval(12_000, 0, 0),
        other => {
            return Err(exec_datafusion_err!(
                "'{other}' is not a unit of time; use microsecond, millisecond, second, minute, hour, day, week, month, quarter, year, decade, century or millennium"
            ));
        }
    };
    let width = Width::new(interval)?;
    // Centuries and millennia are counted from the year 1: the third millennium began with 2001.
    let years_late = matches!(width, Width::Months(months) if months >= 1_200);
    let origin = width.default_origin() + if years_late { 366 * 86_400_000_000 } else { 0 };
    Ok(Buckets { width, origin })
}
