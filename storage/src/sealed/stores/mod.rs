//! Which object stores are Delta tables in?
//!
//! | file | question |
//! |---|---|
//! | `open` | which store do a URL and options name, and does it keep what commits rest on? |
//! | `others` | which stores have tables that are not where the others are? |
//! | `away` | what does a store say whose folder is not there? |
//! | `faulty` | what does a store do on a bad day? For tests. |

mod away;
#[cfg(test)]
pub(crate) mod faulty;
mod open;
mod others;

#[cfg(test)]
pub(super) use open::s3_settings;
pub use open::{StoreOptions, TablesStore};
pub(crate) use open::{check_conditional_put, open_tables, store_error};
pub(crate) use others::{DeltaPlace, OtherStores};
