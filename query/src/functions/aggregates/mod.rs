//! Which aggregates does DataFusion get wrong? Sums that wrap round, extremes of groups of floats, and of INTERVALs, DOUBLEs in frames that move, and
//! those with another NaN than the one of tables; ours stand in their place.

mod extremes;
mod sum;

mod distinct;
mod floats;
mod groups;
mod moving;
mod results;
mod spans;
mod total;
mod wide;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::AggregateUDF;

pub(super) use self::results::{with_result, with_results};

/// Replaces them in a session.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    state.register_udaf(Arc::new(AggregateUDF::new_from_impl(sum::CheckedSum::default())))?;
    state.register_udaf(Arc::new(AggregateUDF::new_from_impl(extremes::Extreme::largest(Max::new()))))?;
    state.register_udaf(Arc::new(AggregateUDF::new_from_impl(extremes::Extreme::smallest(Min::new()))))?;
    for name in floats::COMPUTING {
        if let Some(inner) = state.aggregate_functions().get(name).map(Arc::clone) {
            state.register_udaf(Arc::new(floats::OneNan::wrap(inner)))?;
        }
    }
    Ok(())
}
