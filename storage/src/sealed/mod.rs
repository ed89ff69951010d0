//! Where do settled rows rest? Parquet files: their layout, what is known of each, where they lie, the Delta log that names them.
//!
//! ```text
//! SourceRows ──► writer (plan, rows, layout) ──► SegmentFile (bounds, checksum) ──► disk: its record
//!                                        │
//!                     reader, stamps ◄───┘──► delta: its add
//! ```

mod bounds;
mod file;
mod place;
mod stores;

pub mod stamps;
mod types;
mod writer;

mod disk;
mod reader;

mod delta;

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
mod tests;

pub use bounds::ColumnBounds;
pub use delta::DeletionVector;
pub(crate) use delta::{Add, Change, DeltaTable, Expected, Features, Put, Remove, Winner};
pub use file::{FileRef, SegmentFile, Sidecar};
pub use place::{FilePlace, FileStores};
#[cfg(test)]
pub(crate) use reader::read_file;
pub(crate) use reader::{ReadingBytes, checksum_of, read_columns, read_file_by, read_stamps, reading_bytes};

pub use stores::{StoreOptions, TablesStore};
pub(crate) use stores::{check_conditional_put, open_tables, store_error};
pub(crate) use writer::{
    FileWriter, HOUR_ROWS, PlannedFile, SourceRows, Target, order_of, plan_file, plan_files, rows_bytes, sort_keys,
    working_bytes, write_file, write_staged_file,
};
