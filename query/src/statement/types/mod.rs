//! What do the names of types mean in casts and literals? What they mean in CREATE TABLE. And what do operators mean over them?

mod columns;
mod numbers;
mod operators;
mod structs;
mod texts;
mod times;

pub(crate) use columns::ColumnTypes;
pub(super) use numbers::settle as settle_numbers;
pub(crate) use numbers::{
    CHOICES, Number, beside_decimal, compared_with_decimal, is_written_number, keep_digits, settle_values,
};
pub(super) use operators::settle as settle_operators;
pub(crate) use operators::{LIKE_ESCAPE, with_backslashes};
pub(super) use structs::settle as settle_structs;
pub(super) use texts::settle as settle_texts;
pub(super) use times::{settle as settle_times, settle_type};
