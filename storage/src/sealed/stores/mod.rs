//! Which object stores are Delta tables in?
//!
//! | file | question |
//! |---|---|
//! | `open` | which store do a URL and options name, and does it keep what commits rest on? |
//! | `place` | when are two of them one, and how does that stay on record? |
//! | `others` | which stores have tables that are not where the others are? |
//! | `columns` | how are some columns read of a file that is elsewhere? |
//! | `away` | what does a store say whose folder is not there? |
//! | `faulty` | what does a store do on a bad day? For tests. |

mod away;
mod columns;
#[cfg(test)]
pub(crate) mod faulty;
mod open;
mod others;
mod place;

pub(crate) use columns::RemoteFile;
#[cfg(test)]
pub(super) use open::s3_settings;
pub use open::{StoreOptions, TablesStore};
pub(crate) use open::{check_conditional_put, open_tables, store_error};
pub(crate) use others::{DeltaPlace, OtherStores};
pub(crate) use place::StorePlace;
