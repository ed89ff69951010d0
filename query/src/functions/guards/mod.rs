//! Which functions can make much out of little? Their size is estimated before they run, and refused above a limit.
//!
//! DataFusion's memory pools do not see what a scalar function allocates, and a function cannot be interrupted: one call of
//! `array_repeat(1, 100000000)` took 5.6 GB in spite of a pool of 256 MB. Functions whose result is about as large as their
//! arguments are left alone.

mod concat;
mod constants;
mod estimate;
mod guarded;
mod planner;
mod pressure;
mod series;

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateDefaults};
use datafusion::logical_expr::planner::ExprPlanner;
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;
pub(crate) use constants::check_constants;
use guarded::{Guard, Guarded};
pub(crate) use pressure::ProcessLimit;

/// The result of one call for one row: bytes, and elements of a list.
pub(super) const MAX_ROW_BYTES: u64 = 16 << 20;
pub(super) const MAX_ROW_ELEMENTS: u64 = 1_000_000;

/// What one call for a batch of rows may add to the size of its arguments: a batch is held as a whole.
pub(super) const MAX_BATCH_BYTES: u64 = 4 * MAX_ROW_BYTES;
pub(super) const MAX_BATCH_ELEMENTS: u64 = 4 * MAX_ROW_ELEMENTS;

/// Below this a result is not worth a look at its rows, nor at the process.
const LARGE_BYTES: u64 = 1 << 20;

/// Scalar functions of DataFusion 55 that expand, by what is looked at before they run.
const GUARDED: [(&str, Guard); 29] = [
    ("repeat", Guard::Rows(estimate::repeat)),
    ("lpad", Guard::Rows(estimate::pad)),
    ("rpad", Guard::Rows(estimate::pad)),
    ("replace", Guard::Rows(estimate::replace)),
    ("regexp_replace", Guard::Rows(estimate::regexp_replace)),
    ("to_char", Guard::Rows(estimate::to_char)),
    (concat::NAME, Guard::Sum(estimate::concat)),
    ("concat", Guard::Sum(estimate::concat)),
    ("concat_ws", Guard::Rows(estimate::concat_ws)),
    ("string_to_array", Guard::Rows(estimate::string_to_array)),
    ("array_repeat", Guard::Rows(estimate::array_repeat)),
    ("array_resize", Guard::Rows(estimate::array_resize)),
    ("array_to_string", Guard::Rows(estimate::array_to_string)),
    ("array_replace", Guard::Rows(estimate::array_replace)),
    ("array_replace_n", Guard::Rows(estimate::array_replace)),
    ("array_replace_all", Guard::Rows(estimate::array_replace)),
    ("array_concat", Guard::Sum(estimate::sum)),
    ("array_append", Guard::Sum(estimate::sum)),
    ("array_prepend", Guard::Sum(estimate::sum)),
    ("array_union", Guard::Sum(estimate::sum)),
    ("arrays_zip", Guard::Rows(estimate::arrays_zip)),
    ("make_array", Guard::Sum(estimate::sum)),
    ("map", Guard::Sum(estimate::sum)),
    // Columns are shared with the structure; a constant is written out for every row.
    ("struct", Guard::Rows(estimate::constants)),
    ("named_struct", Guard::Rows(estimate::constants)),
    ("range", Guard::Rows(estimate::range)),
    ("generate_series", Guard::Rows(estimate::generate_series)),
    // The result's type says how large it is: `arrow_cast(NULL, 'FixedSizeBinary(2000000000)')`.
    ("arrow_cast", Guard::Type),
    ("arrow_try_cast", Guard::Type),
];

fn guard_of(name: &str) -> Option<Guard> {
    GUARDED.iter().find(|(guarded, _)| *guarded == name).map(|(_, guard)| *guard)
}

/// DataFusion's planners of operators and literals, behind ours.
pub(super) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let ours: Arc<dyn ExprPlanner> = Arc::new(planner::GuardedPlanner::new());
    std::iter::once(ours).chain(SessionStateDefaults::default_expr_planners()).collect()
}

/// Wraps every expanding function that the session has, under all its names.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    for (name, guard) in GUARDED {
        // A build without a function family has nothing to guard there.
        if let Some(inner) = state.scalar_functions().get(name).map(Arc::clone) {
            state.register_udf(Arc::new(Guarded::wrap(inner, guard)))?;
        }
    }
    for (name, function) in state.table_functions().clone() {
        if series::NAMES.contains(&name.as_str()) {
            state.register_udtf(&name, Arc::new(series::GuardedSeries::new(name.clone(), function)));
        }
    }
    Ok(())
}

/// Whether a function of a session is guarded.
#[cfg(test)]
pub(super) fn is_guarded(function: &datafusion::logical_expr::ScalarUDF) -> bool {
    function.inner().is::<Guarded>()
}

/// A call that would make too much.
fn too_large(function: &str, what: &str) -> DataFusionError {
    to_datafusion(Error::new(Code::ExpansionTooLarge, format!("the result of {function} would have {what}")).hint(format!(
        "one call makes at most {} MiB or {MAX_ROW_ELEMENTS} elements for a row, four times that for a batch of rows",
        MAX_ROW_BYTES >> 20
    )))
}
