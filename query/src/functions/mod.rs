//! Which functions does SQL have beyond DataFusion's own? Time buckets, clocks of the session's zone, constants of the session, integers that do not
//! wrap round, one NaN, signed counts, guards on what expands.

mod aggregates;
mod bucket;
mod constants;
mod date_trunc;
mod delegated;
mod exact;
mod guards;
mod time_bucket;
mod times;
mod wrapped;
mod zone;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::physical_expr::PhysicalExpr;

pub(crate) use self::constants::CallerName;
pub(crate) use self::guards::{ProcessLimit, check_constants};
pub(crate) use self::wrapped::{AsCompared, Frames, Subqueries, as_answered, with_hours};
pub use self::zone::instant_us;

/// What operators and literals of a session become.
pub(crate) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let ours: [Arc<dyn ExprPlanner>; 2] = [Arc::new(wrapped::BesideSpans), Arc::new(exact::ScaledSpans)];
    ours.into_iter().chain(guards::expr_planners()).collect()
}

/// Whether a condition holds arithmetic that may fail. It is to be asked about the rows that other conditions leave.
pub(crate) fn may_overflow(condition: &Arc<dyn PhysicalExpr>) -> bool {
    exact::computes_physically(condition)
}

/// Adds our functions to a session's state and replaces those that could expand without limit or answer wrongly. Analyzer rules must be
/// there before: integers and casts are looked at behind all of them.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    exact::register(state);
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(time_bucket::TimeBucket::new())))?;
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(date_trunc::DateTrunc::new())))?;
    constants::register(state)?;
    wrapped::register(state)?;
    exact::register_nullif(state)?;
    zone::register(state)?;
    aggregates::register(state)?;
    state.add_analyzer_rule(Arc::new(zone::InSessionZone));
    state.add_analyzer_rule(Arc::new(exact::CheckIntegers));
    state.add_analyzer_rule(Arc::new(exact::OneNan));
    state.add_analyzer_rule(Arc::new(exact::OneZero));
    state.add_analyzer_rule(Arc::new(exact::ListsApart));
    state.add_analyzer_rule(Arc::new(wrapped::PullUp));
    guards::register(state)
}
