//! What do the names of types mean in casts and literals? What they mean in CREATE TABLE. And what do operators mean over them?

mod columns;
mod numbers;
mod operators;
mod structs;
mod times;

pub(crate) use columns::ColumnTypes;
pub(super) use numbers::settle as settle_numbers;
pub(crate) use numbers::{Number, settle_values};
pub(super) use operators::settle as settle_operators;
pub(super) use structs::settle as settle_structs;
pub(super) use times::{settle as settle_times, settle_type};
