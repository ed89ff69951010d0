//! How are the bytes of a file read? From the store that holds it, its footer through a cache, tested, within the memory of the query.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use datafusion::common::internal_err;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStore};
use datafusion::parquet;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidewater_storage::sealed::stamps::{STAMPS, decode};
use tidewater_storage::sealed::{FileRef, FileStores};
use tidewater_storage::{Code, Error, Quarantine, TableSnapshot};

use super::footer::{Footer, Places, footer};
use super::stamps::Stamps;
use crate::error::from_datafusion;
use crate::provider::counters::ScanCounters;

/// Goes with each file of a scan.
pub(super) struct ScannedFile {
    /// A built file is on the disk as long as somebody holds its place.
    pub of: FileRef,
    /// It was opened, or ruled out when it was to be. Several partitions may read parts of it.
    counted: AtomicBool,
}

impl ScannedFile {
    pub fn new(of: FileRef) -> Self {
        Self { of, counted: AtomicBool::new(false) }
    }
}

/// Makes the readers of one scan.
#[derive(Clone)]
pub(super) struct SealedReaders {
    pub stores: FileStores,
    quarantine: Arc<Quarantine>,
    /// The file of which each partition last asked for rows: what the decoder finds wrong is wrong with it.
    decoded: Arc<Mutex<HashMap<usize, Arc<ScannedFile>>>>,
    /// Names of files are unique for ever, and their bytes never change: what is cached under a path stays true.
    pub cache: Arc<FileMetadataCache>,
    /// Filled as files are opened, if the scan needs them.
    pub stamps: Option<Arc<Stamps>>,
    counters: Arc<ScanCounters>,
    /// What is read counts here; `None` while the query is planned.
    pool: Option<Arc<dyn MemoryPool>>,
    /// The reader asks filters first: their columns of a row group are there while the others are read.
    has_filter: bool,
}

impl SealedReaders {
    pub fn new(
        snapshot: &TableSnapshot,
        cache: Arc<FileMetadataCache>,
        stamps: Option<Arc<Stamps>>,
        counters: Arc<ScanCounters>,
    ) -> Self {
        Self {
            stores: snapshot.stores().clone(),
            quarantine: Arc::clone(snapshot.quarantine()),
            decoded: Arc::default(),
            cache,
            stamps,
            counters,
            pool: None,
            has_filter: true,
        }
    }

    /// The same within the memory of a query that runs.
    pub fn within(&self, pool: &Arc<dyn MemoryPool>, has_filter: bool) -> Self {
        Self { pool: Some(Arc::clone(pool)), has_filter, ..self.clone() }
    }

    /// How often the file, or its sidecar, was restored: what was kept of it before is of no use.
    pub fn n_restored(&self, file: &ScannedFile) -> u32 {
        self.quarantine.n_restored(&file.of.file.name)
    }

    /// A damaged file is not read: its bytes may mean anything. What was kept of it before may be wrong, too.
    fn check(&self, file: &ScannedFile, location: &Path) -> Result<(), Error> {
        let Some(damage) = self.quarantine.damage(&file.of.file.name) else { return Ok(()) };
        self.cache.remove(location);
        Err(damage.error(location.as_ref()))
    }

    /// An error of a file: unless it is that of a store elsewhere, which may be away, the file is tested soon. A disk that cannot give a
    /// file, or not all of it, says so by an error like that of a store.
    pub fn failed(&self, file: &ScannedFile, error: Error) -> Error {
        let is_here = || Arc::ptr_eq(file.of.place.store(&self.stores), &self.stores.local);
        if error.code() == Code::FileDamaged || (error.code() == Code::StoreUnavailable && is_here()) {
            self.quarantine.suspect(&file.of.file.name);
        }
        error
    }

    /// The decoder failed in a partition: the file that it was at is tested soon. Returns where it is, if that is known.
    pub fn failed_in(&self, partition: usize) -> Option<String> {
        let file = self.decoded.lock().get(&partition).cloned()?;
        self.quarantine.suspect(&file.of.file.name);
        Some(file.of.place.path.to_string())
    }

    /// The footer always comes with the page index: without it each query would read that again. `FILE_DAMAGED`: the file is on record as
    /// damaged, or is found to be.
    pub async fn footer(&self, file: &ScannedFile, meta: &ObjectMeta) -> Result<Footer, Error> {
        self.check(file, &meta.location)?;
        self.read_footer(file, meta).await.map_err(|error| self.failed(file, error))
    }

    async fn read_footer(&self, file: &ScannedFile, meta: &ObjectMeta) -> Result<Footer, Error> {
        let store = file.of.place.store(&self.stores);
        let footer = footer(store.as_ref(), meta, file.of.file.tail, self.cache.as_ref()).await?;
        if let Some(stamps) = &self.stamps {
            note_stamps(stamps, file, &meta.location, &footer.parquet)?;
        }
        if !file.counted.swap(true, Ordering::Relaxed) {
            self.counters.add_file_read();
        }
        Ok(footer)
    }

    /// What comes out of a file, or of the part of it that one partition reads, will be counted by this.
    pub fn passing(&self, file: &PartitionedFile) -> Passing {
        let scanned = file.extensions.get_arc::<ScannedFile>();
        let rows = scanned.as_ref().map_or(0, |scanned| scanned.of.live_rows());
        let left = match &file.range {
            Some(range) => part_of(rows, range.end.abs_diff(range.start), file.object_meta.size),
            None => rows,
        };
        let is_built = scanned.is_some_and(|scanned| !scanned.of.place.is_published);
        Passing { counters: Arc::clone(&self.counters), is_built, left }
    }

    /// A file is not opened: it holds no key that is asked for.
    pub fn note_pruned(&self, file: &ScannedFile) {
        if !file.counted.swap(true, Ordering::Relaxed) {
            self.counters.add_files_pruned(1);
        }
    }
}

/// The share that `bytes` of a file of `size` bytes have in its rows.
fn part_of(rows: u64, bytes: u64, size: u64) -> u64 {
    let part = u128::from(rows) * u128::from(bytes) / u128::from(size.max(1));
    u64::try_from(part).unwrap_or(rows)
}

/// Counts the rows of a file while it is read; when this is dropped, the file is passed.
pub(super) struct Passing {
    counters: Arc<ScanCounters>,
    is_built: bool,
    /// Rows that are not passed yet.
    left: u64,
}

impl Passing {
    pub fn add(&mut self, rows: usize) {
        self.counters.add_sealed_rows(rows, self.is_built);
        let passed = self.left.min(rows as u64);
        self.left -= passed;
        self.counters.add_passed(passed);
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.counters.add_passed(self.left);
    }
}

fn note_stamps(stamps: &Stamps, file: &ScannedFile, location: &Path, footer: &ParquetMetaData) -> Result<(), Error> {
    if let Some((seq, stamp_us)) = file.of.file.entry {
        stamps.add(vec![(seq.0 as i64, stamp_us)]);
        return Ok(());
    }
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let text = pairs.filter(|pair| pair.key == STAMPS).find_map(|pair| pair.value.as_deref());
    let Some(text) = text else {
        return Err(damaged(location, "it does not say when its rows came"));
    };
    stamps.add(decode(text).map_err(|error| damaged(location, error.message()))?);
    Ok(())
}

impl fmt::Debug for SealedReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedReaders").field("stores", &self.stores).finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for SealedReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        partitioned_file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let Some(file) = partitioned_file.extensions.get_arc::<ScannedFile>() else {
            return internal_err!("{} is no file of a table", partitioned_file.path());
        };
        Ok(Box::new(SealedReader {
            store: Arc::clone(file.of.place.store(&self.stores)),
            footer: partitioned_file.extensions.get::<Footer>().cloned(),
            meta: partitioned_file.object_meta,
            file,
            partition: partition_index,
            places: None,
            held: self.pool.as_ref().map(|pool| MemoryConsumer::new("sealed file").register(pool)),
            last_bytes: 0,
            bytes_scanned: MetricBuilder::new(metrics).counter("bytes_scanned", partition_index),
            readers: self.clone(),
        }))
    }
}

/// Reads one file, or a part of it.
struct SealedReader {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    file: Arc<ScannedFile>,
    partition: usize,
    /// There if it had to be read to know which rows are wanted.
    footer: Option<Footer>,
    /// There since the first bytes were asked for.
    places: Option<Arc<Places>>,
    held: Option<MemoryReservation>,
    /// What the last reading brought.
    last_bytes: usize,
    bytes_scanned: Count,
    readers: SealedReaders,
}

impl SealedReader {
    /// Asks for the memory of what is about to be read. The decoder keeps what it has of a row group until the group is done: the columns
    /// of its filters, then the others.
    fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        if let Some(held) = &self.held {
            let kept = if self.readers.has_filter { self.last_bytes } else { 0 };
            held.try_resize(kept.saturating_add(bytes)).map_err(from_datafusion)?;
        }
        self.last_bytes = bytes;
        Ok(())
    }

    async fn footer(&mut self) -> Result<Footer, Error> {
        if let Some(footer) = &self.footer {
            return Ok(footer.clone());
        }
        let footer = self.readers.footer(&self.file, &self.meta).await?;
        self.footer = Some(footer.clone());
        Ok(footer)
    }

    /// Parts of the file. Nobody knows what happened to it since it was written: each block is tested when it is first read, as long as its
    /// footer is cached.
    async fn read(&mut self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let footer = self.footer().await?;
        let to_test = footer.sums.as_ref().and_then(|sums| Some((sums, sums.to_read(ranges)?)));
        let wide = to_test.as_ref().map_or(ranges, |(_, wide)| wide.as_slice());
        // The parts keep what was read around them.
        self.hold(n_bytes(wide))?;
        self.bytes_scanned.add(n_bytes(ranges));
        self.readers.decoded.lock().insert(self.partition, Arc::clone(&self.file));
        let read = self.store.get_ranges(&self.meta.location, wide).await;
        let read = read.map_err(|error| self.readers.failed(&self.file, unreadable(&self.meta.location, error)))?;
        let parts = match &to_test {
            Some((sums, wide)) => sums.tested(wide, &read, ranges).map_err(|error| self.damaged(&error))?,
            None => read,
        };
        self.check(&parts, ranges, &footer)?;
        Ok(parts)
    }

    fn damaged(&self, how: &Error) -> Error {
        self.readers.failed(&self.file, damaged(&self.meta.location, how.message()))
    }

    /// The decoder takes the word of what stands before each page: it is checked here, and pages that are very large are counted.
    fn check(&mut self, parts: &[Bytes], ranges: &[Range<u64>], footer: &Footer) -> Result<(), Error> {
        let places = self.places.get_or_insert_with(|| Arc::new(Places::of(Arc::clone(&footer.parquet))));
        let places = Arc::clone(places);
        let mut much = 0;
        for (part, range) in parts.iter().zip(ranges) {
            let checked = places.check(part, range.start);
            much = checked.map_err(|error| self.damaged(&error))?.max(much);
        }
        match (&self.held, usize::try_from(much)) {
            (Some(held), Ok(much)) if much > 0 => held.try_grow(much).map_err(from_datafusion),
            _ => Ok(()),
        }
    }
}

impl AsyncFileReader for SealedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let mut parts = self.get_byte_ranges(vec![range]).await?;
            parts.pop().ok_or_else(|| ParquetError::General("a store gave nothing for a range".to_owned()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { self.read(&ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move { self.footer().await.map(|footer| footer.parquet).map_err(external) }.boxed()
    }
}

fn n_bytes(ranges: &[Range<u64>]) -> usize {
    let bytes: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Our error as one that travels through the decoder; [`super::source`] gets it out again.
fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

pub(super) fn unreadable(location: &Path, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => damaged(location, "it is missing").hint(MISSING_HINT),
        other => Error::new(Code::StoreUnavailable, format!("the file {location} cannot be read now: {other}"))
            .hint("look at the disk or the object store, then try again")
            .source(other),
    }
}

/// What cannot be used of a file's bytes.
pub(super) fn damaged(file: &Path, how: &str) -> Error {
    Error::new(Code::FileDamaged, format!("the file {file} is damaged: {how}")).hint(DAMAGE_HINT)
}

/// What to do about a damaged file.
pub(super) const DAMAGE_HINT: &str = "restore it from a copy and run CALL verify for its table; if there is none, CALL give_up deletes its \
     rows; queries that do not need it go on";

/// The same where it is not there: nobody has asked yet whether anything of its table is.
const MISSING_HINT: &str = "mount its file system again if that is not mounted; else restore it from a copy and run CALL verify for its table; \
     if there is none, CALL give_up deletes its rows; queries that do not need it go on";
