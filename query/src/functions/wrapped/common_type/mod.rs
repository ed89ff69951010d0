//! Which type have values that one is chosen from, that are compared, or that become a list? One that holds them all, with all their digits.

mod coalesce;
mod lists;
mod shifted;
mod spans;
mod unions;
mod values;
mod wide;
mod zones;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};

pub(in crate::functions) use self::lists::beside_null;
pub(super) use self::shifted::as_shifted;
pub(crate) use self::spans::with_hours;
pub(in crate::functions) use self::spans::{BesideSpans, lengths};
pub(super) use self::spans::{as_extreme, as_length, as_lengths};
pub(super) use self::unions::{Unions, check_recursive, is_open};
pub(super) use self::values::{as_doubles, as_subquery, as_times, chosen};
pub(super) use self::wide::as_wide;
pub(super) use self::zones::{as_instants, zone_of};

/// The type of all that is not NULL, if it is one: what NULL is read as beside it.
pub(in crate::functions) fn only_type(types: &[DataType]) -> Option<&DataType> {
    let mut known = types.iter().filter(|data_type| !data_type.is_null());
    let first = known.next()?;
    known.all(|data_type| data_type == first).then_some(first)
}

/// Replaces the functions in a session; to be called while it has them.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    if let Some(types) = state.scalar_functions().get(coalesce::NAME).map(Arc::clone) {
        for name in [coalesce::NAME, coalesce::OF_TWO, coalesce::OF_THREE] {
            if let Some(inner) = state.scalar_functions().get(name).map(Arc::clone) {
                state.register_udf(Arc::new(coalesce::Coalesce::wrap(inner, Arc::clone(&types))))?;
            }
        }
    }
    for name in lists::NAMES {
        if let Some(inner) = state.scalar_functions().get(name).map(Arc::clone) {
            state.register_udf(Arc::new(beside_null(inner)))?;
        }
    }
    Ok(())
}
