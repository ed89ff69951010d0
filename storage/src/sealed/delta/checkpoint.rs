//! How is a checkpoint made, and is it whole? Written by the kernel, read back as any Parquet file, and only then announced.

use std::collections::BTreeMap;
use std::sync::Arc;

use delta_kernel::checkpoint::LastCheckpointHintStats;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;
use url::Url;

use super::kernel::{Kernel, is_not_found, lines_of};
use super::log::DeltaTable;
use crate::env::{FailPoints, in_background};
use crate::error::{Code, Error, Result};
use crate::sealed::store_error;
use crate::untrusted::check_file;

/// A row group of a checkpoint takes no more when it is read: it has all files of a table, with their statistics.
const MAX_GROUP_BYTES: u64 = 4 << 30;

/// One that is larger is not read.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// What a checkpoint must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Files of the version.
    pub n_files: u64,
    /// Our own appId and version.
    pub txn: (String, u64),
}

impl DeltaTable {
    /// Makes a checkpoint of `version`, unless it has one, and reads it back. `DELTA_DAMAGED`: it has not what is `expected`; then one that
    /// was just made is removed again, and nothing older may go.
    pub async fn checkpoint(&self, version: u64, expected: &Expected) -> Result<()> {
        let (expected, fail) = (expected.clone(), Arc::clone(self.fail()));
        self.kernel().run(move |kernel| write(kernel, version, &expected, &fail)).await
    }

    /// Whether the checkpoints in a log that somebody else wrote may be read, as far as the kernel does it for `version`, or for the newest.
    /// `DELTA_DAMAGED` names the one that may not.
    pub(super) async fn check_checkpoints(&self, version: Option<u64>) -> Result<()> {
        let unread = |e| store_error(&format!("the checkpoints of {} cannot be read", self.location()), e);
        let log = Path::from("_delta_log");
        let found = match self.store().list(Some(&log)).try_collect::<Vec<ObjectMeta>>().await {
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            found => found.map_err(unread)?,
        };
        for file in read_for(version, found) {
            let refused = |why: &str| {
                let what = format!("the checkpoint {} of {} may not be read: {why}", file.location, self.location());
                Error::new(Code::DeltaDamaged, what).hint("restore the Delta log from a copy that nobody has changed")
            };
            if file.size > MAX_FILE_BYTES {
                return Err(refused(&format!("it has {} bytes", file.size)));
            }
            let found = match self.store().get(&file.location).await {
                // Housekeeping removes old ones, and so does whoever else writes to the log.
                Err(object_store::Error::NotFound { .. }) => continue,
                found => found.map_err(unread)?,
            };
            let bytes = found.bytes().await.map_err(unread)?;
            let checked = in_background("checkpoint", move || check_file(&bytes, MAX_GROUP_BYTES)).await?;
            checked.map_err(|e| refused(e.message()).source(e))?;
        }
        Ok(())
    }
}

/// The files of checkpoints that may be read for a version. The kernel takes the newest checkpoint that is whole: it goes no further back than
/// to one that is a single file. One may be of several files, and they of others in a folder below, whose names say nothing.
fn read_for(version: Option<u64>, files: Vec<ObjectMeta>) -> impl Iterator<Item = ObjectMeta> {
    let single = |file: &ObjectMeta| {
        let of = version_of(&file.location)?;
        (file.location.filename()? == format!("{of:020}.checkpoint.parquet")).then_some(of)
    };
    let newest = files.iter().filter_map(single).filter(|of| version.is_none_or(|version| *of <= version)).max();
    let files = files.into_iter().filter(|file| file.location.as_ref().ends_with(".parquet"));
    files.filter(move |file| version_of(&file.location).zip(newest).is_none_or(|(of, newest)| of >= newest))
}

/// The version that the name of a file of the log begins with.
fn version_of(file: &Path) -> Option<u64> {
    let name = file.filename().filter(|_| file.parts().count() == 2)?;
    name.get(..20)?.parse().ok()
}

fn write(kernel: &Kernel, version: u64, expected: &Expected, fail: &FailPoints) -> Result<()> {
    let what = format!("the checkpoint of version {version} cannot be made");
    let failed = |e| kernel.error(&what, e);
    let engine = kernel.engine();
    let writer = kernel.snapshot(Some(version))?.create_checkpoint_writer(engine).map_err(failed)?;
    let path = writer.checkpoint_path().map_err(failed)?;
    let storage = engine.storage_handler();
    match storage.head(&path) {
        Ok(_) => return verify(kernel, &path, version, expected),
        Err(e) if is_not_found(&e) => {}
        Err(e) => return Err(failed(e)),
    }
    fail.hit("checkpoint.before_write")?;
    let data = writer.checkpoint_data(engine).map_err(failed)?;
    let state = data.state();
    let rows = data.map(|batch| batch.and_then(|batch| batch.apply_selection_vector()));
    engine.parquet_handler().write_parquet_file(path.clone(), Box::new(rows)).map_err(failed)?;
    fail.hit("checkpoint.written")?;
    if let Err(e) = verify(kernel, &path, version, expected) {
        // The commits before it are all there: without it nobody misses anything.
        if let Err(kept) = storage.delete(&path) {
            tracing::warn!(%path, reason = %kept, "a wrong checkpoint stays in the Delta log");
        }
        return Err(e);
    }
    fail.hit("checkpoint.read_back")?;
    let bytes = storage.head(&path).map_err(failed)?.size;
    let state = Arc::into_inner(state).ok_or_else(|| Error::internal(format!("{what}: its writer goes on")))?;
    let stats = LastCheckpointHintStats::from_reconciliation_state(state, bytes, 0).map_err(failed)?;
    writer.finalize(engine, &stats).map_err(failed)
}

/// Reads a checkpoint: as many files as expected, and our own `txn`.
fn verify(kernel: &Kernel, path: &Url, version: u64, expected: &Expected) -> Result<()> {
    let what = format!("the checkpoint of version {version} cannot be read back");
    let bytes = kernel.bytes(path, &what)?;
    let unread = |e: String| kernel.damaged(&format!("{what}: {e}"));
    check_file(&bytes, MAX_GROUP_BYTES).map_err(|e| unread(e.message().to_owned()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| unread(e.to_string()))?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["add.path", "txn.appId", "txn.version"]);
    let batches = builder.with_projection(columns).build().map_err(|e| unread(e.to_string()))?;
    let (mut n_files, mut txns) = (0u64, BTreeMap::new());
    for batch in batches {
        let batch = batch.map_err(|e| unread(e.to_string()))?;
        for line in lines_of(&batch).map_err(unread)? {
            n_files += u64::from(line.add.is_some());
            txns.extend(line.txn.map(|txn| (txn.app_id, txn.version)));
        }
    }
    let (app_id, expected_txn) = &expected.txn;
    let found = txns.get(app_id).and_then(|&version| u64::try_from(version).ok());
    if n_files == expected.n_files && found == Some(*expected_txn) {
        return Ok(());
    }
    let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
    Err(kernel.damaged(&format!(
        "the checkpoint of version {version} has {n_files} files and our txn {found}, not {} and {expected_txn}",
        expected.n_files
    )))
}

/// The `txn`s that a checkpoint has, appId and version. An error says why it cannot be read.
pub(super) fn txns_of(file: impl ChunkReader + 'static) -> Result<Vec<(String, i64)>, String> {
    check_file(&file, MAX_GROUP_BYTES).map_err(|e| e.message().to_owned())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    let batches = builder.with_projection(columns).build().map_err(|e| e.to_string())?;
    let mut txns = Vec::new();
    for batch in batches {
        let lines = lines_of(&batch.map_err(|e| e.to_string())?)?;
        txns.extend(lines.into_iter().filter_map(|line| line.txn.map(|txn| (txn.app_id, txn.version))));
    }
    Ok(txns)
}
