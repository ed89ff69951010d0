//! What do clocks in a zone show at an instant? A time, or the date of it. The inverse of which instant a wall time is: where clocks go back, they show
//! the same twice. Compared with a constant it is a plain comparison of the instant, unless the constant is shown twice.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::utils::{base_type, take_function_args};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::elements::{each_element, with_element};
use super::in_micros;
use crate::functions::zone::ZoneClock;

const DAY_US: i64 = 86_400_000_000;

/// As plans show it.
const NAME: &str = "shown";

/// A TIMESTAMP as clocks in `zone` show it at these instants.
pub(super) fn shown(zone: Arc<str>, instants: Expr) -> Expr {
    Shown { zone, is_date: false, signature: Signature::user_defined(Volatility::Immutable) }.of(instants)
}

/// The DATE there.
pub(super) fn shown_date(zone: Arc<str>, instants: Expr) -> Expr {
    Shown { zone, is_date: true, signature: Signature::user_defined(Volatility::Immutable) }.of(instants)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shown {
    zone: Arc<str>,
    is_date: bool,
    signature: Signature,
}

impl Shown {
    fn of(self, instants: Expr) -> Expr {
        let function = Arc::new(ScalarUDF::new_from_impl(self));
        Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![instants]))
    }

    fn show(&self, instants: &ArrayRef, clock: &mut ZoneClock) -> Result<ArrayRef> {
        let DataType::Timestamp(unit, Some(_)) = *instants.data_type() else {
            return internal_err!("{NAME} takes instants, not {}", instants.data_type());
        };
        let counts = cast(instants, &DataType::Int64)?;
        let beyond = || exec_datafusion_err!("a time is beyond what a TIMESTAMP holds");
        let mut local = |count| in_micros(count, unit, |micros| clock.local(micros)).ok_or_else(beyond);
        let shown = counts.as_primitive::<Int64Type>().iter().map(|count| count.map(&mut local).transpose());
        let shown: ArrayRef = Arc::new(shown.collect::<Result<Int64Array>>()?);
        let shown = cast(&shown, &DataType::Timestamp(unit, None))?;
        Ok(if self.is_date { cast(&shown, &DataType::Date32)? } else { shown })
    }

    /// The first wall time that is shown as this constant, and the first behind it.
    fn span(&self, constant: &ScalarValue) -> Option<(i64, i64)> {
        match constant {
            ScalarValue::TimestampMicrosecond(Some(local), None) if !self.is_date => {
                Some((*local, local.checked_add(1)?))
            }
            ScalarValue::Date32(Some(day)) if self.is_date => {
                let start = i64::from(*day) * DAY_US;
                Some((start, start + DAY_US))
            }
            _ => None,
        }
    }
}

impl ScalarUDFImpl for Shown {
    fn name(&self) -> &str {
        NAME
    }

    /// The name of the column, which is that of the cast.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().map_or_else(|| NAME.to_owned(), |instants| instants.schema_name().to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [instants] = arg_types else { return internal_err!("{NAME} takes instants") };
        match base_type(instants) {
            DataType::Timestamp(_, _) if self.is_date => Ok(with_element(instants, DataType::Date32)),
            DataType::Timestamp(unit, _) => Ok(with_element(instants, DataType::Timestamp(unit, None))),
            other => internal_err!("{NAME} takes instants, not {other}"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [instants] = take_function_args(NAME, args.args)?;
        let mut clock = ZoneClock::new(&self.zone)?;
        let shown = each_element(&instants.to_array(1)?, &mut |instants: &ArrayRef| self.show(instants, &mut clock))?;
        Ok(match instants {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&shown, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(shown),
        })
    }

    /// Files and zones are chosen by the instants. A constant that clocks show twice has no one span of them.
    fn preimage(&self, args: &[Expr], lit_expr: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let [instants] = take_function_args(NAME, args)?;
        let DataType::Timestamp(TimeUnit::Microsecond, zone) = info.get_data_type(instants)? else {
            return Ok(PreimageResult::None);
        };
        let Some((start, end)) = lit_expr.as_literal().and_then(|constant| self.span(constant)) else {
            return Ok(PreimageResult::None);
        };
        let mut clock = ZoneClock::new(&self.zone)?;
        let (Some(start), Some(end)) = (clock.only_instant(start), clock.only_instant(end)) else {
            return Ok(PreimageResult::None);
        };
        let bound = |micros| ScalarValue::TimestampMicrosecond(Some(micros), zone.clone());
        let interval = Box::new(Interval::try_new(bound(start), bound(end))?);
        Ok(PreimageResult::Range { expr: instants.clone(), interval })
    }
}
