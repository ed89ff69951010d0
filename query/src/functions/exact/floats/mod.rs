//! Which floats are one value? Every NaN, greater than all numbers, and both zeros, as in PostgreSQL; by their bits, which Arrow compares, they are
//! many.
//!
//! Tables have one NaN, so that their columns are compared, sorted and grouped as they are. What a query computes may be another one, 0.0 / 0.0 is on
//! most machines: it becomes the one where it is made ([`OneNan`]). Zeros keep their sign, which 1 / x shows. DataFusion compares them as one in most
//! places, and in the others they are made one for the comparison ([`OneZero`], [`with_one_zero`]).

mod calls;
mod nan;
mod nullif;
mod zero;

pub(super) use self::calls::one_nan;
pub(in crate::functions) use self::calls::one_nan_in;
pub(in crate::functions) use self::nan::OneNan;
pub(in crate::functions) use self::nullif::register as register_nullif;
pub(in crate::functions) use self::zero::OneZero;
pub(super) use self::zero::with_one_zero;
