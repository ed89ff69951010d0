//! What do the names of types mean in casts and literals? What they mean in CREATE TABLE.

mod columns;
mod times;

pub(crate) use columns::ColumnTypes;
pub(super) use times::settle as settle_times;
