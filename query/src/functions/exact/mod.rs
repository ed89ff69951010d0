//! What is never silently another value? Integers that do not fit, casts that lose something, DECIMALs that become DOUBLEs, and what conditions
//! compute of rows that others leave out, or say of a value that two lists may have.

mod arithmetic;
mod doubles;
mod floats;
mod in_turn;
mod instants;
mod kept;
mod lists;
mod partitions;
mod scaled;
mod varying;

pub(super) use self::arithmetic::{CheckIntegers, computes_physically};
pub(super) use self::floats::{OneNan, OneZero, one_nan_in, register_nullif};
pub(super) use self::in_turn::{may_stand_twice, register};
pub(super) use self::instants::instants_of;
pub(super) use self::kept::opaque;
pub(super) use self::lists::ListsApart;
pub(super) use self::scaled::ScaledSpans;
