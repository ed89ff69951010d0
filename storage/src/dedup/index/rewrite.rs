//! When do files of key layers become fewer? When they are many: what a merge in memory made one is then written as one.
//!
//! A start reads every file, and each takes some pages however few its keys are. No file is read for this: the layers are in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::choose::{FileSpan, choose_rewrite};
use super::state::KeyIndex;
use crate::dedup::layer::{ClosedLayer, WRITE_SCRATCH_BYTES};
use crate::error::{Code, Error, Result};
use crate::memory::{MemoryLedger, Share};

/// Files of layers that one epoch has; past it, those that hold one layer together are written as one.
pub(in crate::dedup) const MAX_LAYER_FILES: usize = 16;

/// Layers in memory that are written in the place of more files. Made by [`KeyIndex::pick_rewrite`], run on any thread that may block.
#[derive(Debug)]
pub struct RewriteJob {
    layers: Vec<Arc<ClosedLayer>>,
    replaces: Vec<usize>,
    ledger: Arc<MemoryLedger>,
}

/// The file of a layer, written and synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// The entries whose keys it holds, both included.
    pub from: u64,
    pub through: u64,
    pub keys: u64,
    pub bytes: u64,
}

impl KeyIndex {
    /// Files that should become fewer, if an epoch has too many. `files` are all files of layers that are on record; only those of entries
    /// up to `built_through` are touched. No more than one such job of an index at a time, and no other job that takes its layers to disk.
    pub fn pick_rewrite(&self, files: &[FileSpan], built_through: u64) -> Option<RewriteJob> {
        self.pick_rewrite_past(MAX_LAYER_FILES, files, built_through)
    }

    /// The same for epochs with more than `most_files`.
    pub(in crate::dedup) fn pick_rewrite_past(
        &self,
        most_files: usize,
        files: &[FileSpan],
        built_through: u64,
    ) -> Option<RewriteJob> {
        if files.len() <= most_files {
            return None;
        }
        let span = |layer: &Arc<ClosedLayer>| {
            let span = layer.span();
            FileSpan { from: span.from, through: span.through, epoch: span.epoch, bytes: layer.bytes() as u64 }
        };
        let spans: Vec<FileSpan> = self.closed.iter().map(span).collect();
        let (replaces, layers) = choose_rewrite(files, &spans, built_through, most_files)?;
        let layers = layers.into_iter().map(|i| Arc::clone(&self.closed[i])).collect();
        Some(RewriteJob { layers, replaces, ledger: Arc::clone(&self.ledger) })
    }
}

impl RewriteJob {
    /// Files that will be written.
    pub fn n_files(&self) -> usize {
        self.layers.len()
    }

    /// Keys that are written.
    pub fn n_keys(&self) -> u64 {
        self.layers.iter().map(|layer| layer.len() as u64).sum()
    }

    /// The places, in the files that the job was picked from, of those that the new ones take the place of. As long as all of them are on
    /// record, the new ones hold the same keys, whatever became of the layers in memory.
    pub fn replaces(&self) -> &[usize] {
        &self.replaces
    }

    /// Writes one file to each of `paths`, which are as many as [`RewriteJob::n_files`], and syncs it. The caller syncs the folder and
    /// records the files. Blocks; takes some megabytes of [`Share::Unassigned`], whatever the size.
    ///
    /// # Errors
    /// `DISK_FULL` or `FOLDER_UNUSABLE`, with the file's name. What was written is deleted.
    pub fn run(self, paths: &[PathBuf]) -> Result<Vec<Rewritten>> {
        let _scratch = self.ledger.charge(Share::Unassigned, WRITE_SCRATCH_BYTES);
        let written = self.layers.iter().zip(paths).map(|(layer, path)| -> Result<Rewritten> {
            let bytes = layer.write_file(path).map_err(|e| unwritten(path, e))?;
            Ok(Rewritten { from: layer.from(), through: layer.through(), keys: layer.len() as u64, bytes })
        });
        written.collect::<Result<Vec<_>>>().inspect_err(|_| {
            // Their names are on record: what stays is deleted at the next start.
            paths.iter().for_each(|path| drop(std::fs::remove_file(path)));
        })
    }
}

fn unwritten(path: &Path, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::FolderUnusable,
    };
    Error::new(code, format!("the key layer {} cannot be written: {error}", path.display()))
        .hint("check the disk's free space and the rights of the data folder")
        .source(error)
}
