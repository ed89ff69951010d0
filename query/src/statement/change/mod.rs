//! Which rows or tables does a statement change? INSERT, DELETE, ALTER TABLE, UNDROP TABLE, and what CALL runs by hand.

pub(super) mod alter;
pub(super) mod call;
pub(super) mod delete;
pub(super) mod insert;
pub(super) mod undrop;

pub(crate) use self::alter::Alter;
pub(crate) use self::call::{Attach, Call, Only, Procedure};
pub(crate) use self::delete::{ADDRESS_COLUMNS, Delete, LOCATOR};
