//! Which functions can make much out of little? Their size is estimated before they run, and refused above a limit.
//!
//! DataFusion's memory pools do not see what a scalar function allocates, and a function cannot be interrupted: one call of
//! `array_repeat(1, 100000000)` took 5.6 GB in spite of a pool of 256 MB. Functions whose result is about as large as their
//! arguments are left alone.

mod estimate;
mod guarded;
mod series;

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{FunctionRegistry, SessionState};
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;
use guarded::Guarded;

/// The result of one call for one row: bytes, and elements of a list.
pub(super) const MAX_ROW_BYTES: u64 = 16 << 20;
pub(super) const MAX_ROW_ELEMENTS: u64 = 1_000_000;

/// What one call for a batch of rows may add to the size of its arguments: a batch is held as a whole.
pub(super) const MAX_BATCH_BYTES: u64 = 4 * MAX_ROW_BYTES;
pub(super) const MAX_BATCH_ELEMENTS: u64 = 4 * MAX_ROW_ELEMENTS;

/// Scalar functions of DataFusion 55 that expand, by how their result is estimated.
const EXPANDING: [(&str, estimate::Estimator); 16] = [
    ("repeat", estimate::repeat),
    ("lpad", estimate::pad),
    ("rpad", estimate::pad),
    ("replace", estimate::replace),
    ("regexp_replace", estimate::regexp_replace),
    ("concat", estimate::concat),
    ("concat_ws", estimate::concat_ws),
    ("array_repeat", estimate::array_repeat),
    ("array_resize", estimate::array_resize),
    ("array_to_string", estimate::array_to_string),
    ("array_replace", estimate::array_replace),
    ("array_replace_n", estimate::array_replace),
    ("array_replace_all", estimate::array_replace),
    ("range", estimate::range),
    ("generate_series", estimate::generate_series),
    ("to_char", estimate::to_char),
];

/// Functions whose result type says how large it is: `arrow_cast(NULL, 'FixedSizeBinary(2000000000)')`.
const TYPED: [&str; 2] = ["arrow_cast", "arrow_try_cast"];

/// Wraps every expanding function that the session has, under all its names.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    let estimators = EXPANDING.iter().map(|&(name, estimator)| (name, Some(estimator)));
    for (name, estimator) in estimators.chain(TYPED.map(|name| (name, None))) {
        // A build without a function family has nothing to guard there.
        if let Some(inner) = state.scalar_functions().get(name).map(Arc::clone) {
            state.register_udf(Arc::new(Guarded::wrap(inner, estimator)))?;
        }
    }
    for (name, function) in state.table_functions().clone() {
        if series::NAMES.contains(&name.as_str()) {
            state.register_udtf(&name, Arc::new(series::GuardedSeries::new(name.clone(), function)));
        }
    }
    Ok(())
}

/// A call that would make too much.
fn too_large(function: &str, what: &str) -> DataFusionError {
    to_datafusion(Error::new(Code::ExpansionTooLarge, format!("the result of {function} would have {what}")).hint(format!(
        "one call makes at most {} MiB or {MAX_ROW_ELEMENTS} elements for a row, four times that for a batch of rows",
        MAX_ROW_BYTES >> 20
    )))
}
