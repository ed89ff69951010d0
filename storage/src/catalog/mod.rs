//! Which tables exist, in what shape? Definitions, their options, their disk form.

mod alter;
mod define;
mod definition;
mod disk;
mod names;
mod nan;
mod options;
mod types;

#[cfg(test)]
pub(crate) mod tests;

pub use alter::TableChange;
pub use define::define;
pub use definition::{ColumnDef, NewTable, TableDef, View};
pub(crate) use disk::{check_header, decode, dropped_from_disk, dropped_to_disk, encode};
pub use disk::{view_from_disk, view_to_disk};
pub(crate) use names::normalized;
pub use names::{check_name, nearest};
pub use nan::one_nan;
pub use options::{Durability, SealOptions, TableOptions};
pub(crate) use types::MAX_TYPE_DEPTH;
pub use types::{canonical_type, delta_type, sql_type};
