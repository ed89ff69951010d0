//! When is it a day, or a month, after an instant? When clocks of the zone show the same time there. Of a time that they show twice it is the
//! first instant, of one that they skip the next. DataFusion adds 24 hours in UTC, and fails in other zones where clocks change.

use std::sync::Arc;

use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType as Micros,
};
use chrono::{DateTime, Months};
use datafusion::common::utils::take_function_args;
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::functions::zone::ZoneClock;

const DAY_US: i64 = 86_400_000_000;

/// As plans show it.
const NAME: &str = "moved";

/// The type in which intervals are added.
pub(super) const SPAN: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Instants in microseconds, and intervals of the type [`SPAN`] that are added to them, or taken away.
pub(super) fn moved(zone: Arc<str>, is_back: bool, instants: Expr, spans: Expr) -> Expr {
    let function = Moved { zone, is_back, signature: Signature::user_defined(Volatility::Immutable) };
    let function = Arc::new(ScalarUDF::new_from_impl(function));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![instants, spans]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Moved {
    zone: Arc<str>,
    is_back: bool,
    signature: Signature,
}

impl Moved {
    /// `None` past the range of times.
    fn at(&self, clock: &mut ZoneClock, instant: i64, span: IntervalMonthDayNano) -> Option<i64> {
        let signed = |n: i64| if self.is_back { n.checked_neg() } else { Some(n) };
        let (months, days) = (signed(span.months.into())?, signed(span.days.into())?);
        let nanos = signed(span.nanoseconds)?;
        let mut at = instant;
        if months != 0 || days != 0 {
            let local = clock.local(instant)?;
            let there = plus_months(local, months)?.checked_add(days.checked_mul(DAY_US)?)?;
            if there != local {
                at = clock.first_instant(there)?;
            }
        }
        at.checked_add(nanos.div_euclid(1_000))
    }
}

/// The same day of another month, or the last one of a shorter one.
fn plus_months(local: i64, months: i64) -> Option<i64> {
    if months == 0 {
        return Some(local);
    }
    let at = DateTime::from_timestamp_micros(local)?.naive_utc();
    let by = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let at = if months < 0 { at.checked_sub_months(by) } else { at.checked_add_months(by) };
    Some(at?.and_utc().timestamp_micros())
}

impl ScalarUDFImpl for Moved {
    fn name(&self) -> &str {
        NAME
    }

    /// The name of the column, which is that of the operator.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [instants, spans] = take_function_args(NAME, args)?;
        let op = if self.is_back { '-' } else { '+' };
        Ok(format!("{} {op} {}", instants.schema_name(), spans.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [instants, _] => Ok(instants.clone()),
            _ => internal_err!("{NAME} takes instants and intervals"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs { args, number_rows, return_field, .. } = args;
        let is_scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let n_rows = if is_scalar { 1 } else { number_rows };
        let [instants, spans] = take_function_args(NAME, args)?;
        let (instants, spans) = (instants.to_array(n_rows)?, spans.to_array(n_rows)?);
        let mut clock = ZoneClock::new(&self.zone)?;
        let mut moved = Vec::with_capacity(n_rows);
        let spans = spans.as_primitive::<IntervalMonthDayNanoType>();
        for pair in instants.as_primitive::<Micros>().iter().zip(spans) {
            moved.push(match pair {
                (Some(instant), Some(span)) => Some(
                    self.at(&mut clock, instant, span)
                        .ok_or_else(|| exec_datafusion_err!("a time is beyond what a TIMESTAMPTZ holds"))?,
                ),
                _ => None,
            });
        }
        let moved = TimestampMicrosecondArray::from(moved).with_data_type(return_field.data_type().clone());
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&moved, 0)?),
            false => ColumnarValue::Array(Arc::new(moved)),
        })
    }
}
