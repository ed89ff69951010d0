//! Which rows of a file may have a key? Its sidecar says: read whole, kept where footers are. Without it, any of them may.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::common::HashMap;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadata, FileMetadataCache};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStore, ObjectStoreExt};
use tidewater_storage::sealed::sidecar::{Block, Directory, Filter};
use tidewater_storage::sealed::{FileRef, FileStores};
use tidewater_storage::{Code, Error};

use super::lookup::Keys;

/// The rows of a file that may have one of some keys.
pub(super) struct Admitted {
    /// Their numbers in the file: ranges that ascend and do not touch.
    pub rows: Vec<Range<u64>>,
    /// Blocks of rows that they are.
    pub n_blocks: usize,
    /// Blocks that have none of the keys.
    pub n_pruned: usize,
}

/// A sidecar as it was found: the numbers of each block's rows, and their filter. `None`: it is of no use, which was logged.
struct Found(Option<Vec<(Range<u64>, Filter)>>);

impl Found {
    fn admitted(&self, keys: &Keys) -> Option<Admitted> {
        let blocks = self.0.as_ref()?;
        let mut admitted = Admitted { rows: Vec::new(), n_blocks: 0, n_pruned: 0 };
        for (rows, filter) in blocks {
            if !keys.are_admitted_by(filter) {
                admitted.n_pruned += 1;
                continue;
            }
            admitted.n_blocks += 1;
            match admitted.rows.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                _ => admitted.rows.push(rows.clone()),
            }
        }
        Some(admitted)
    }
}

impl FileMetadata for Found {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn memory_size(&self) -> usize {
        let filters = self.0.iter().flatten().map(|(_, filter)| size_of::<(Range<u64>, Filter)>() + filter.bytes());
        size_of::<Self>() + filters.sum::<usize>()
    }

    fn extra_info(&self) -> HashMap<String, String> {
        HashMap::default()
    }
}

/// The rows that may have one of the keys. `None`: nothing is known, because the file has no sidecar, or because its sidecar is
/// missing, is damaged, cannot be read now, or needs more memory than the query may have. No answer depends on it. `n_restored`: how often
/// it, or its file, was restored.
pub(super) async fn admitted(
    file: &FileRef,
    n_restored: u32,
    keys: &Keys,
    stores: &FileStores,
    cache: &FileMetadataCache,
    pool: &Arc<dyn MemoryPool>,
) -> Option<Admitted> {
    let (sidecar, path) = file.sidecar()?;
    // Its name is unique for ever, and its bytes never change, unless it was damaged and is written again.
    let last_modified = DateTime::<Utc>::from_timestamp_micros(i64::from(n_restored)).unwrap_or_default();
    let meta = ObjectMeta { location: path.clone(), last_modified, size: sidecar.bytes, e_tag: None, version: None };
    if let Some(cached) = cache.get(&path)
        && cached.is_valid_for(&meta)
        && let Some(found) = cached.file_metadata.as_any().downcast_ref::<Found>()
    {
        return found.admitted(keys);
    }
    let held = MemoryConsumer::new("key filters").register(pool);
    held.try_grow(usize::try_from(sidecar.bytes).ok()?).ok()?;
    let read = match read(file.place.store(stores).as_ref(), &path, sidecar.bytes).await {
        Ok(Some(bytes)) if sidecar.is(&bytes) => filters(&bytes, file.file.rows),
        Ok(_) => Err(damaged("its length or its checksum is not the one that was recorded")),
        Err(object_store::Error::NotFound { .. }) => Err(damaged("it is missing")),
        Err(error) => {
            // Where the store is away, reading the file says so.
            tracing::warn!(sidecar = %path, reason = %error, "a sidecar cannot be read now: its file is read whole");
            return None;
        }
    };
    let found = Found(match read {
        Ok(filters) => Some(filters),
        Err(error) => {
            tracing::warn!(sidecar = %path, reason = %error, "a sidecar is of no use: its file is read whole; CALL verify writes it again");
            None
        }
    });
    let admitted = found.admitted(keys);
    cache.put(&path, CachedFileMetadataEntry::new(meta, Arc::new(found)));
    admitted
}

/// `None`: it has another length. A range would not tell that from a store that is away.
async fn read(store: &dyn ObjectStore, path: &Path, n_bytes: u64) -> object_store::Result<Option<Bytes>> {
    let object = store.get(path).await?;
    if object.meta.size != n_bytes {
        return Ok(None);
    }
    object.bytes().await.map(Some)
}

/// The filters in the bytes of a whole sidecar, whose file has so many rows, each with the numbers of its rows.
fn filters(bytes: &Bytes, n_rows: u64) -> Result<Vec<(Range<u64>, Filter)>, Error> {
    let directory = Directory::parse(bytes, bytes.len() as u64)?;
    let known = directory.blocks.iter().map(|block| block.rows).sum::<u64>();
    if known != n_rows {
        return Err(damaged(&format!("it is of {known} rows, and its file has {n_rows}")));
    }
    let mut next = 0;
    let filter = |block: &Block| {
        let first = next;
        next += block.rows;
        let filter = Filter::parse(block, bytes.slice(block.range.start as usize..block.range.end as usize))?;
        Ok((first..next, filter))
    };
    directory.blocks.iter().map(filter).collect()
}

fn damaged(how: &str) -> Error {
    Error::new(Code::FileDamaged, format!("a sidecar is damaged: {how}"))
}
