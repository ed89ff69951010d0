//! Where do settled rows rest? Parquet files: their layout, what is known of each, where they lie, the Delta log that names them.
//!
//! ```text
//! SourceRows ──► writer (plan, rows, layout) ──► SegmentFile (bounds, checksum) ──► disk: its record
//!                                        │
//!            reader, stamps, sidecar ◄───┘──► delta: its add
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
pub mod sidecar;

#[cfg(test)]
mod tests;

pub use bounds::ColumnBounds;
pub use delta::DeletionVector;
pub(crate) use delta::{
    Add, Change, DeltaTable, Expected, Features, Loaded, Put, Remove, Winner, has_local_commit, last_local_checkpoint,
    local_checkpoint_txns, read_local, read_local_from_disk,
};
pub use file::{FileRef, SegmentFile, Sidecar, Tail};
pub(crate) use place::remove_local;
pub use place::{FilePlace, FileStores};
#[cfg(test)]
pub(crate) use reader::read_file;
pub(crate) use reader::{ReadingBytes, checksum_of, read_columns, read_file_by, read_stamps, reading_bytes};
pub(crate) use sidecar::{local_sidecar_of, may_have_sidecar, sidecar_of};

#[cfg(test)]
pub(crate) use stores::faulty;
pub(crate) use stores::{
    DeltaPlace, OtherStores, RemoteFile, StorePlace, check_conditional_put, open_tables, store_error,
};
pub use stores::{StoreOptions, TablesStore};
pub(crate) use writer::{
    Entries, FileWriter, HOUR_ROWS, Order, PlannedFile, SourceRows, Target, order_of, plan_file, plan_files,
    rows_bytes, sort_keys, working_bytes, write_file,
};
