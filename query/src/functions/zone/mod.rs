//! What do clocks show at an instant, and when is it a day later? By the session's zone, or another one. Columns of instants are of the type of
//! UTC, which nobody chose, and DataFusion counts in it whatever the session's zone is.

mod at_time_zone;
mod clock;
mod elements;
mod frames;
mod moved;
mod rule;
mod shown;
mod texts;

use std::sync::Arc;

use arrow::datatypes::TimeUnit;
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::ScalarUDF;

pub use self::clock::instant_us;
pub(super) use self::clock::{ZoneClock, parse};
pub(super) use self::elements::{each_element, with_element};
pub(super) use self::rule::InSessionZone;
pub(super) use self::texts::{read_texts, text_instants};

/// Adds the function behind `AT TIME ZONE` to a session.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    let function = at_time_zone::AtTimeZone::new(state.config_options());
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(function)))?;
    Ok(())
}

/// What `convert` makes of microseconds, for a time in another unit. What is finer than that stays as it is: offsets are whole seconds.
fn in_micros(time: i64, unit: TimeUnit, convert: impl FnOnce(i64) -> Option<i64>) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(convert(time.checked_mul(1_000_000)?)?.div_euclid(1_000_000)),
        TimeUnit::Millisecond => Some(convert(time.checked_mul(1_000)?)?.div_euclid(1_000)),
        TimeUnit::Microsecond => convert(time),
        TimeUnit::Nanosecond => {
            let micros = convert(time.div_euclid(1_000))?;
            micros.checked_mul(1_000)?.checked_add(time.rem_euclid(1_000))
        }
    }
}
