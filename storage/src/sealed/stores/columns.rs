//! How are some columns read of a file that is elsewhere? They are fetched, one row group at a time, and nothing else of it but its footer.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};

use super::store_error;
use crate::error::{Code, Error, Result};
use crate::sealed::reader::columns_of;
use crate::untrusted::{TAIL_BYTES, read_sealed_footer, sealed_footer_bytes};

/// A file of a table in a store, and its footer, which was checked.
pub(crate) struct RemoteFile {
    store: Arc<dyn ObjectStore>,
    path: StorePath,
    n_bytes: u64,
    footer: Arc<ParquetMetaData>,
}

/// Columns of one row group.
pub(crate) struct FetchedColumns {
    path: StorePath,
    footer: Arc<ParquetMetaData>,
    group: usize,
    /// Their places in the table.
    columns: Vec<usize>,
    parts: Parts,
}

impl RemoteFile {
    /// `FILE_DAMAGED`: it is no file of a table; `STORE_UNAVAILABLE` and the like for the store.
    pub(crate) async fn open(store: &Arc<dyn ObjectStore>, path: &StorePath, n_bytes: u64) -> Result<Self> {
        let refused = |e: Error| damaged(path, e.message());
        // A place past the end of one that was cut is to a store a request that it cannot serve.
        let found = store.head(path).await.map_err(|e| unread(path, e))?.size;
        if found != n_bytes {
            return Err(damaged(path, &format!("it has {found} bytes instead of {n_bytes}")));
        }
        let tail = end_of(store.as_ref(), path, n_bytes, TAIL_BYTES).await?;
        let length = sealed_footer_bytes(&tail).map_err(refused)?;
        let end = end_of(store.as_ref(), path, n_bytes, length).await?;
        let footer = Arc::new(read_sealed_footer(&end, n_bytes).map_err(refused)?);
        Ok(Self { store: Arc::clone(store), path: path.clone(), n_bytes, footer })
    }

    pub(crate) fn n_groups(&self) -> usize {
        self.footer.num_row_groups()
    }

    /// The table's columns at these places, of one of [`Self::n_groups`] row groups. In memory, as they stand in the file.
    pub(crate) async fn fetch(&self, group: usize, columns: &[usize]) -> Result<FetchedColumns> {
        let leaves = self.footer.file_metadata().schema_descr();
        let all = self.footer.row_group(group).columns().iter().enumerate();
        let wanted = all.filter(|(leaf, _)| columns.contains(&leaves.get_column_root_idx(*leaf)));
        let places = wanted.map(|(_, column)| column.byte_range()).map(|(at, length)| at..at + length);
        let mut places: Vec<Range<u64>> = places.collect();
        places.sort_unstable_by_key(|place| place.start);
        let read = self.store.get_ranges(&self.path, &places).await.map_err(|e| unread(&self.path, e))?;
        let parts = places.iter().map(|place| place.start).zip(read).collect();
        Ok(FetchedColumns {
            path: self.path.clone(),
            footer: Arc::clone(&self.footer),
            group,
            columns: columns.to_vec(),
            parts: Parts { n_bytes: self.n_bytes, parts },
        })
    }
}

impl FetchedColumns {
    pub(crate) fn n_rows(&self) -> u64 {
        self.footer.row_group(self.group).num_rows().unsigned_abs()
    }

    /// The rows, as [`crate::sealed::read_columns`] gives them.
    pub(crate) fn rows(self, schema: &SchemaRef) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let (path, groups) = (self.path.to_string(), self.group..self.group + 1);
        columns_of(Path::new(&path), self.parts, self.footer, groups, schema, &self.columns)
    }
}

/// What was fetched of a file, ascending, each with where it begins.
struct Parts {
    n_bytes: u64,
    parts: Vec<(u64, Bytes)>,
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.n_bytes
    }
}

impl ChunkReader for Parts {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.since(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = self.since(start)?;
        if length > from.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are more than was fetched")));
        }
        Ok(from.slice(..length))
    }
}

impl Parts {
    /// What was fetched from a place on.
    fn since(&self, start: u64) -> Result<Bytes, ParquetError> {
        let behind = self.parts.partition_point(|(first, _)| *first <= start);
        let found = self.parts[..behind].last().and_then(|(first, bytes)| {
            let skip = usize::try_from(start - first).ok().filter(|skip| *skip <= bytes.len())?;
            Some(bytes.slice(skip..))
        });
        found.ok_or_else(|| ParquetError::EOF(format!("nothing was fetched at {start}")))
    }
}

/// So many last bytes of a file.
async fn end_of(store: &dyn ObjectStore, path: &StorePath, n_bytes: u64, n_last: u64) -> Result<Bytes> {
    let at = n_bytes.checked_sub(n_last).ok_or_else(|| damaged(path, "it is shorter than its footer"))?;
    store.get_range(path, at..n_bytes).await.map_err(|e| unread(path, e))
}

fn unread(path: &StorePath, e: object_store::Error) -> Error {
    match e {
        object_store::Error::NotFound { .. } => damaged(path, "it is missing").hint(
            "mount its file system again if that is not mounted; else restore the file from a backup; queries that do not need it go on",
        ),
        e => store_error(&format!("the file {path} cannot be read"), e),
    }
}

fn damaged(path: &StorePath, how: &str) -> Error {
    Error::new(Code::FileDamaged, format!("{path} is damaged: {how}"))
        .hint("restore the file from a backup; queries that do not need it go on")
}
