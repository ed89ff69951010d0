//! What is `current_time()`? The time of day at which the statement began, by the clocks of the session's zone, as fine as columns of TIME.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::functions::zone::ZoneClock;

const DAY_US: i64 = 86_400_000_000;

/// In the place of DataFusion's, which counts nanoseconds and does not compare with a TIME.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct CurrentTime {
    signature: Signature,
}

impl CurrentTime {
    pub fn new() -> Self {
        Self { signature: Signature::nullary(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for CurrentTime {
    fn name(&self) -> &str {
        "current_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Time64(TimeUnit::Microsecond))
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, false)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("current_time() is a constant of its statement")
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(start) = info.query_execution_start_time() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let instant = start.timestamp_micros();
        let offset = match info.config_options().execution.time_zone.as_deref() {
            Some(zone) => ZoneClock::new(zone)?.offset(instant),
            None => 0,
        };
        let time = ScalarValue::Time64Microsecond(Some((instant + offset).rem_euclid(DAY_US)));
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(time, None)))
    }
}
