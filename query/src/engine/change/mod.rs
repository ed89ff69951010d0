//! How does a statement change something? Rows in and out, definitions, and what CALL runs by hand.

mod addresses;
mod call;
mod computed;
pub(super) mod ddl;
mod delete;
mod gather;
mod insert;
mod locator;
mod tuples;

pub(super) use self::call::{attach_schema, call_schema};
pub(super) use self::delete::{DeleteWork, check_delete, prepare_delete};
pub(super) use self::gather::IfExists;
pub(super) use self::insert::{InsertWork, plan_create_as, plan_insert, prepare_insert};
