//! Which functions does SQL have beyond DataFusion's own? Time buckets, zoned truncation, guards on what expands.

mod bucket;
mod date_trunc;
mod guards;
mod time_bucket;
mod times;
mod zone;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::ScalarUDF;

/// Adds our functions to a session's state and replaces those that could expand without limit.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(time_bucket::TimeBucket::new())))?;
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(date_trunc::DateTrunc::new())))?;
    guards::register(state)
}
