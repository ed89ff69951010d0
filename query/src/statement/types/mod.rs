//! What do the names of types mean in casts and literals? What they mean in CREATE TABLE. And what do operators mean over them?

mod columns;
mod frames;
mod numbers;
mod operators;
mod rows;
mod similar;
mod structs;
mod texts;
mod times;

pub(crate) use columns::ColumnTypes;
pub(super) use frames::check as check_frames;
pub(crate) use frames::settle_windows;
pub(super) use numbers::settle as settle_numbers;
pub(crate) use numbers::{
    CHOICES, Number, SHIFTS, beside_decimal, compared_with_decimal, is_written_number, keep_digits, settle_values,
};
pub(crate) use operators::{AT_TIME_ZONE, LIKE_ESCAPE, with_backslashes};
pub(super) use operators::{call, settle as settle_operators};
pub(super) use rows::settle as settle_rows;
pub(crate) use similar::{SIMILAR_ESCAPE, refusal as similar_refusal, regex_of};
pub(super) use structs::settle as settle_structs;
pub(super) use texts::settle as settle_texts;
pub(super) use times::{settle as settle_times, settle_type};
