//! Which instant is a wall time in a zone? The first at which its clocks show it, or have passed it where they skip it. DataFusion has none there,
//! and fails; and beside a constant it takes wall time for time in UTC.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType as Micros};
use datafusion::common::tree_node::Transformed;
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};

use crate::functions::zone::{ZoneClock, each_element, with_element};

/// A cast of wall time to instants in a zone other than UTC as a call of such a function.
pub(super) fn of_wall_time(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let (Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field })) = &expr else {
        return Transformed::no(expr);
    };
    let to = field.data_type().clone();
    let DataType::Timestamp(unit, Some(zone)) = &to else { return Transformed::no(expr) };
    let is_wall_time = matches!(inner.get_type(schema), Ok(DataType::Timestamp(TimeUnit::Microsecond, None)));
    if !is_wall_time || matches!(&**zone, "UTC" | "+00:00" | "Z") {
        return Transformed::no(expr);
    }
    let zone = Arc::clone(zone);
    let instants = match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => instants_of(zone, *expr),
        other => return Transformed::no(other),
    };
    let is_as_fine = *unit == TimeUnit::Microsecond;
    Transformed::yes(if is_as_fine { instants } else { cast(instants, to) })
}

/// The instants, in microseconds, at which clocks in `zone` show these wall times, which are in microseconds, too.
pub(in crate::functions) fn instants_of(zone: Arc<str>, wall_times: Expr) -> Expr {
    let function = Arc::new(ScalarUDF::new_from_impl(Instants::new(zone)));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![wall_times]))
}

const NAME: &str = "instants";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Instants {
    zone: Arc<str>,
    signature: Signature,
}

impl Instants {
    fn new(zone: Arc<str>) -> Self {
        Self { zone, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn data_type(&self) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&self.zone)))
    }

    fn read(&self, wall_times: &ArrayRef, clock: &mut ZoneClock) -> Result<ArrayRef> {
        let mut instants = Vec::with_capacity(wall_times.len());
        for wall_time in wall_times.as_primitive::<Micros>() {
            let beyond = || exec_datafusion_err!("a time is beyond what a TIMESTAMPTZ holds");
            let instant = |local| clock.first_instant(local).ok_or_else(beyond);
            instants.push(wall_time.map(instant).transpose()?);
        }
        Ok(Arc::new(TimestampMicrosecondArray::from(instants).with_timezone(Arc::clone(&self.zone))))
    }
}

impl ScalarUDFImpl for Instants {
    fn name(&self) -> &str {
        NAME
    }

    /// The name of the column, which is that of the cast.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().map_or_else(|| NAME.to_owned(), |wall_time| wall_time.schema_name().to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Two times may be one instant, behind which lists are in the order of what follows.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        let times = inputs.first().filter(|input| !matches!(input.range.data_type(), DataType::List(_)));
        Ok(times.map_or(SortProperties::Unordered, |input| input.sort_properties))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [wall_times] => Ok(with_element(wall_times, self.data_type())),
            _ => internal_err!("{NAME} takes wall times"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [wall_times] = take_function_args(NAME, args.args)?;
        let mut clock = ZoneClock::new(&self.zone)?;
        let mut read = |wall_times: &ArrayRef| self.read(wall_times, &mut clock);
        let instants = each_element(&wall_times.to_array(1)?, &mut read)?;
        Ok(match wall_times {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&instants, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(instants),
        })
    }

    /// Files and zones are chosen by the wall times. Later ones are never earlier instants, so those up to an instant are what clocks have shown
    /// until then; none becomes an instant at which they show again what they have shown, and many the one at which they skip.
    fn preimage(&self, args: &[Expr], lit_expr: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let [wall_times] = take_function_args(NAME, args)?;
        let Some(ScalarValue::TimestampMicrosecond(Some(instant), Some(_))) = lit_expr.as_literal() else {
            return Ok(PreimageResult::None);
        };
        if !matches!(info.get_data_type(wall_times)?, DataType::Timestamp(TimeUnit::Microsecond, None)) {
            return Ok(PreimageResult::None);
        }
        let mut clock = ZoneClock::new(&self.zone)?;
        // The first wall time that is later than all that clocks have shown.
        let mut after = |instant| clock.latest_shown(instant)?.checked_add(1);
        let (Some(start), Some(end)) = (instant.checked_sub(1).and_then(&mut after), after(*instant)) else {
            return Ok(PreimageResult::None);
        };
        let bound = |micros| ScalarValue::TimestampMicrosecond(Some(micros), None);
        let interval = Box::new(Interval::try_new(bound(start), bound(end))?);
        Ok(PreimageResult::Range { expr: wall_times.clone(), interval })
    }
}
