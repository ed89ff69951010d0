//! How is the footer of a file read? From its end, through the cache, tested against its checksum, and not before what it claims was checked:
//! another server may have written the file, or a disk changed it.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::HashMap;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadata, FileMetadataCache};
use datafusion::object_store::{self, ObjectMeta, ObjectStore};
use datafusion::parquet::DecodeResult;
use datafusion::parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder,
};
use datafusion::parquet::file::page_index::offset_index::PageLocation;
use tidewater_storage::Error;
use tidewater_storage::sealed::Tail;
use tidewater_storage::untrusted::{
    SUMS, Sums, TAIL_BYTES, check_index, check_locations, check_sealed_part, guarded, index_place, no_parquet,
    read_sealed_footer, sealed_footer_bytes,
};

use super::reader::{damaged, unreadable};

/// So much of a file's end is read at first: footer and page index of most files are within it.
const END_BYTES: u64 = 64 << 10;

/// What stands at the end of a file.
#[derive(Debug, Clone)]
pub(super) struct Footer {
    /// With the page index.
    pub parquet: Arc<ParquetMetaData>,
    /// What is read of the file is tested by them. `None`: the file was written before there were any.
    pub sums: Option<Arc<Sums>>,
}

impl FileMetadata for Footer {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn memory_size(&self) -> usize {
        self.parquet.memory_size() + self.sums.as_ref().map_or(0, |sums| sums.bytes())
    }

    fn extra_info(&self) -> HashMap<String, String> {
        HashMap::default()
    }
}

/// The footer of a file with its page index: without that each query would read it again. `tail` is what is known of the file's.
/// `FILE_DAMAGED`: it may not be believed.
pub(super) async fn footer(
    store: &dyn ObjectStore,
    meta: &ObjectMeta,
    tail: Option<Tail>,
    cache: &FileMetadataCache,
) -> Result<Footer, Error> {
    if let Some(cached) = cache.get(&meta.location)
        && cached.is_valid_for(meta)
        && let Some(known) = cached.file_metadata.as_any().downcast_ref::<Footer>()
    {
        return Ok(known.clone());
    }
    let end = match tail {
        Some(tail) => whole_tail(store, meta, tail).await?,
        None => some_end(store, meta).await?,
    };
    let parquet = Arc::new(read(store, meta, end).await?);
    let sums = tail.map(|tail| sums(&parquet, meta, tail)).transpose()?.map(Arc::new);
    let footer = Footer { parquet, sums };
    cache.put(&meta.location, CachedFileMetadataEntry::new(meta.clone(), Arc::new(footer.clone())));
    Ok(footer)
}

/// Footer and page index, as they were written.
async fn whole_tail(store: &dyn ObjectStore, meta: &ObjectMeta, tail: Tail) -> Result<Bytes, Error> {
    let at =
        meta.size.checked_sub(tail.bytes).ok_or_else(|| damaged(&meta.location, "its footer is longer than it"))?;
    let end = part(store, meta, at..meta.size).await?;
    match tail.is(&end) {
        true => Ok(end),
        false => Err(damaged(&meta.location, "its footer does not match its checksum")),
    }
}

fn sums(footer: &ParquetMetaData, meta: &ObjectMeta, tail: Tail) -> Result<Sums, Error> {
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let text = pairs.filter(|pair| pair.key == SUMS).find_map(|pair| pair.value.as_deref()).unwrap_or_default();
    Sums::read(text, meta.size.saturating_sub(tail.bytes)).map_err(|error| damaged(&meta.location, error.message()))
}

/// The footer, and as much before it as the page index mostly takes.
async fn some_end(store: &dyn ObjectStore, meta: &ObjectMeta) -> Result<Bytes, Error> {
    let end = part(store, meta, meta.size.saturating_sub(END_BYTES)..meta.size).await?;
    let tail = end.slice(end.len().saturating_sub(TAIL_BYTES as usize)..);
    let n_bytes = sealed_footer_bytes(&tail).map_err(|error| damaged(&meta.location, error.message()))?;
    if n_bytes <= end.len() as u64 {
        return Ok(end);
    }
    let at = meta.size.checked_sub(n_bytes).ok_or_else(|| damaged(&meta.location, "its footer is longer than it"))?;
    part(store, meta, at..meta.size).await
}

/// `end` has the footer.
async fn read(store: &dyn ObjectStore, meta: &ObjectMeta, end: Bytes) -> Result<ParquetMetaData, Error> {
    let refused = |error: Error| damaged(&meta.location, error.message());
    let footer = read_sealed_footer(&end, meta.size).map_err(refused)?;
    let Some(place) = index_place(&footer, meta.size).map_err(refused)? else { return Ok(footer) };
    let end_at = meta.size - end.len() as u64;
    let index = match place.start.checked_sub(end_at) {
        Some(at) => end.slice(at as usize..(place.end - end_at) as usize),
        None => part(store, meta, place.clone()).await?,
    };
    check_index(&footer, &index, place.start).map_err(refused)?;
    let footer = with_index(footer, meta, place, index)?;
    check_locations(&footer, meta.size).map_err(refused)?;
    Ok(footer)
}

fn with_index(
    footer: ParquetMetaData,
    meta: &ObjectMeta,
    place: Range<u64>,
    index: Bytes,
) -> Result<ParquetMetaData, Error> {
    let decoded = guarded(|| {
        let decoder = ParquetMetaDataPushDecoder::try_new_with_metadata(meta.size, footer).map_err(no_parquet)?;
        let mut decoder = decoder.with_page_index_policy(PageIndexPolicy::Optional);
        decoder.push_range(place, index).map_err(no_parquet)?;
        decoder.try_decode().map_err(no_parquet)
    });
    match decoded {
        Ok(DecodeResult::Data(footer)) => Ok(footer),
        Ok(_) => Err(damaged(&meta.location, "its page index is not where its footer says")),
        Err(error) => Err(damaged(&meta.location, error.message())),
    }
}

async fn part(store: &dyn ObjectStore, meta: &ObjectMeta, range: Range<u64>) -> Result<Bytes, Error> {
    let n_bytes = range.end - range.start;
    let unread = |error: object_store::Error| unreadable(&meta.location, error);
    let read = store.get_ranges(&meta.location, std::slice::from_ref(&range)).await.map_err(unread)?;
    match read.into_iter().next() {
        Some(bytes) if bytes.len() as u64 == n_bytes => Ok(bytes),
        _ => Err(damaged(&meta.location, "it is shorter than it was")),
    }
}

/// Where the columns of a file are, in the order of their places.
#[derive(Debug)]
pub(super) struct Places {
    footer: Arc<ParquetMetaData>,
    /// Where a column begins and ends, its row group and its place in that.
    columns: Vec<(Range<u64>, usize, usize)>,
}

impl Places {
    /// `footer` is one of [`footer`].
    pub(super) fn of(footer: Arc<ParquetMetaData>) -> Self {
        let mut columns = Vec::new();
        for (group, metadata) in footer.row_groups().iter().enumerate() {
            columns.extend(metadata.columns().iter().enumerate().map(|(leaf, column)| {
                let (at, length) = column.byte_range();
                (at..at + length, group, leaf)
            }));
        }
        columns.sort_unstable_by_key(|(place, ..)| (place.start, place.end));
        Self { footer, columns }
    }

    /// Whether the decoder may have these bytes of the file, which begin at `at`. Returns what decoding them takes beside them, if that is
    /// much.
    pub(super) fn check(&self, part: &Bytes, at: u64) -> Result<u64, Error> {
        let found = self.column(at, at + part.len() as u64);
        let (column, pages) =
            found.ok_or_else(|| no_parquet("its page index says that pages are where no column is"))?;
        check_sealed_part(part, at, column, pages)
    }

    /// The column that has these bytes, and its pages as far as that is known.
    fn column(&self, start: u64, end: u64) -> Option<(&ColumnChunkMetaData, &[PageLocation])> {
        let behind = self.columns.partition_point(|(place, ..)| place.start <= start);
        let (place, group, leaf) = self.columns[..behind].last()?;
        let pages = self.footer.offset_index().and_then(|index| index.get(*group)?.get(*leaf));
        let pages = pages.map_or(&[][..], |pages| pages.page_locations().as_slice());
        (end <= place.end).then(|| (self.footer.row_group(*group).column(*leaf), pages))
    }
}
