//! How does a settled file come to be? Rows are joined in their order, looked at for the layout, encoded, counted and hashed on their way
//! to the disk.

mod filters;
mod layout;
mod output;
mod plan;
mod rows;
mod write;

#[cfg(test)]
pub(super) use plan::plan_by;
pub(crate) use plan::{
    HOUR_ROWS, Order, PlannedFile, SourceRows, order_of, plan_file, plan_files, rows_bytes, sort_keys, working_bytes,
};
pub(crate) use write::{Entries, FileWriter, Target, write_file};
