//! Which functions of DataFusion have another type here? Counts are BIGINT, a bucket is as fine as the time in it, text read as times has
//! the session's zone, bytes have a length, a time is compared with text and a DECIMAL with a number as exactly as it is, a RANGE
//! reaches as far as is written, LIKE has any character of escape, and SIMILAR TO fits a whole text.
//!
//! DataFusion counts rows and elements in unsigned integers, which many clients cannot read (Go's database/sql, JDBC beyond 2^63) and no
//! other database gives. So functions that make a number of nothing unsigned give BIGINT, in every place and on every interface. UBIGINT
//! stays for columns that are declared so, and for what is computed from them.

mod aggregates;
mod common_type;
mod compared;
mod date_bin;
mod frames;
mod like_escape;
mod octets;
mod scalars;
mod subqueries;
mod to_timestamp;
mod windows;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::ScalarUDF;

pub(crate) use self::common_type::with_hours;
pub(in crate::functions) use self::common_type::{BesideSpans, beside_null, lengths as span_lengths, only_type};
pub(crate) use self::compared::{AsCompared, as_answered};
pub(crate) use self::frames::Frames;
pub(super) use self::subqueries::PullUp;
pub(crate) use self::subqueries::Subqueries;

/// Replaces them in a session; to be called while it has them.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    for name in scalars::COUNTS {
        if let Some(inner) = state.scalar_functions().get(name).map(Arc::clone) {
            state.register_udf(Arc::new(scalars::Counts::wrap(inner)))?;
        }
    }
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(like_escape::Escape::of_like())))?;
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(like_escape::Escape::of_similar_to())))?;
    for name in octets::NAMES {
        if let Some(inner) = state.scalar_functions().get(name).map(Arc::clone) {
            state.register_udf(Arc::new(octets::Octets::wrap(inner)))?;
        }
    }
    common_type::register(state)?;
    if let Some(inner) = state.scalar_functions().get(date_bin::NAME).map(Arc::clone) {
        state.register_udf(Arc::new(date_bin::DateBin::wrap(inner)))?;
    }
    let plain = state.scalar_functions().get(to_timestamp::PLAIN).map(Arc::clone);
    let micros = state.scalar_functions().get(to_timestamp::MICROS).map(Arc::clone);
    if let (Some(plain), Some(micros)) = (plain, micros) {
        state.register_udf(Arc::new(to_timestamp::ToTimestamp::in_micros(plain, micros)))?;
    }
    for name in to_timestamp::NAMES {
        if let Some(inner) = state.scalar_functions().get(name).map(Arc::clone) {
            state.register_udf(Arc::new(to_timestamp::ToTimestamp::wrap(inner)))?;
        }
    }
    for name in aggregates::COUNTS {
        if let Some(inner) = state.aggregate_functions().get(name).map(Arc::clone) {
            state.register_udaf(Arc::new(aggregates::Counts::wrap(inner)))?;
        }
    }
    for name in windows::COUNTS {
        if let Some(inner) = state.window_functions().get(name).map(Arc::clone) {
            state.register_udwf(Arc::new(windows::Counts::wrap(inner)))?;
        }
    }
    Ok(())
}

/// The signed type in the place of an unsigned one, also as the type of a list's elements.
fn signed(data_type: DataType) -> DataType {
    match data_type {
        DataType::UInt64 => DataType::Int64,
        DataType::List(item) if item.data_type() == &DataType::UInt64 => DataType::List(signed_field(&item)),
        other => other,
    }
}

fn signed_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(signed(field.data_type().clone())))
}

/// The same numbers; more of them than fit are an error.
fn signed_array(array: &ArrayRef) -> Result<ArrayRef> {
    let to = signed(array.data_type().clone());
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, &to, &options)?)
}
