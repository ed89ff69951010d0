//! What is `time AT TIME ZONE zone`? Of an instant what clocks there show, a TIMESTAMP; of a TIMESTAMP the instant at which they show it. It is the
//! function `timezone(zone, time)`, as in PostgreSQL. DataFusion's is always an instant, in nanoseconds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::utils::take_function_args;
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast as cast_expr,
};

use super::in_micros;
use super::shown::shown;
use crate::functions::exact::instants_of;
use crate::functions::zone::{ZoneClock, parse};
use crate::statement::AT_TIME_ZONE as NAME;

const USAGE: &str = "use time AT TIME ZONE 'Europe/Berlin'";

/// Instants that it gives are of the session's zone, as those of a CAST. What has no zone and is no TIMESTAMP, such as text and a DATE, is read
/// as an instant in that one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AtTimeZone {
    session: Arc<str>,
    signature: Signature,
}

impl AtTimeZone {
    pub fn new(config: &ConfigOptions) -> Self {
        let session = Arc::from(config.execution.time_zone.as_deref().unwrap_or("UTC"));
        Self { session, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn instant_type(&self) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&self.session)))
    }

    /// `times` of one type as the other.
    fn convert(&self, zones: &ArrayRef, times: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let DataType::Timestamp(unit, from_zone) = times.data_type() else {
            return exec_err!("{} has no time zone; {USAGE}", times.data_type());
        };
        let zones = zones.as_string::<i32>();
        let counts = cast(times, &DataType::Int64)?;
        let (mut known, mut clock) = (None, ZoneClock::new("UTC")?);
        let mut converted = Vec::with_capacity(times.len());
        for (count, name) in counts.as_primitive::<Int64Type>().iter().zip(zones) {
            let (Some(count), Some(name)) = (count, name) else {
                converted.push(None);
                continue;
            };
            // Mostly all rows have the same.
            if known != Some(name) {
                clock = ZoneClock::new(name)?;
                known = Some(name);
            }
            let time = in_micros(count, *unit, |micros| match from_zone {
                Some(_) => clock.local(micros),
                None => clock.first_instant(micros),
            });
            let beyond = || exec_datafusion_err!("a time is beyond what a TIMESTAMP holds");
            converted.push(Some(time.ok_or_else(beyond)?));
        }
        let converted: ArrayRef = Arc::new(Int64Array::from(converted));
        Ok(cast(&converted, to)?)
    }
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        Some(ScalarUDF::new_from_impl(Self::new(config)))
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [_, DataType::Timestamp(unit, Some(_))] => Ok(DataType::Timestamp(*unit, None)),
            [_, DataType::Timestamp(_, None)] => Ok(self.instant_type()),
            _ => plan_err!("AT TIME ZONE takes a time and the name of a zone; {USAGE}"),
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [zone, time] if zone.is_string() || zone.is_null() => {
                let time = match time {
                    DataType::Timestamp(_, Some(_)) => time.clone(),
                    DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
                    time if time.is_string() || time.is_null() => self.instant_type(),
                    DataType::Date32 | DataType::Date64 => self.instant_type(),
                    other => return plan_err!("{other} has no time zone; {USAGE}"),
                };
                Ok(vec![DataType::Utf8, time])
            }
            _ => plan_err!("AT TIME ZONE takes a time and the name of a zone; {USAGE}"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    /// In a zone that is known the function for that one, by which files are chosen.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [zone, time] = args.as_slice() else { return Ok(ExprSimplifyResult::Original(args)) };
        let name: Arc<str> = match zone.as_literal().and_then(ScalarValue::try_as_str).flatten() {
            Some(name) if parse(name).is_some() => Arc::from(name.trim()),
            // An error, when there are rows.
            _ => return Ok(ExprSimplifyResult::Original(args)),
        };
        Ok(ExprSimplifyResult::Simplified(match info.get_data_type(time)? {
            DataType::Timestamp(_, Some(_)) => shown(name, time.clone()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                cast_expr(instants_of(name, time.clone()), self.instant_type())
            }
            _ => return Ok(ExprSimplifyResult::Original(args)),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs { args, number_rows, return_field, .. } = args;
        let is_scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let n_rows = if is_scalar { 1 } else { number_rows };
        let [zones, times] = take_function_args(NAME, args)?;
        let converted = self.convert(&zones.to_array(n_rows)?, &times.to_array(n_rows)?, return_field.data_type())?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?),
            false => ColumnarValue::Array(converted),
        })
    }
}
