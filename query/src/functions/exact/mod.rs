//! What is never silently another value? Integers that do not fit, casts that lose something, and what conditions compute of rows that others leave
//! out.

mod arithmetic;
mod in_turn;
mod instants;
mod kept;

pub(super) use self::arithmetic::{CheckIntegers, computes_physically};
pub(super) use self::in_turn::register;
