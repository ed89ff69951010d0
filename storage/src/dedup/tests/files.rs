//! Do files of layers stay few, in little memory, with all keys in them?

use std::path::PathBuf;

use tempfile::TempDir;

use super::super::index::MAX_LAYER_FILES;
use super::super::{ClosedLayer, FileSpan, KeyIndex, Keys};
use super::{kind_type, numbered, spec};
use crate::memory::{MemoryLedger, Share};

/// Files on record, with their paths.
struct Record {
    folder: TempDir,
    files: Vec<(FileSpan, PathBuf)>,
    n_files: usize,
}

impl Record {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), files: Vec::new(), n_files: 0 }
    }

    fn path(&mut self) -> PathBuf {
        self.n_files += 1;
        self.folder.path().join(format!("{}.keys", self.n_files))
    }

    /// A build: the open layer is closed and written.
    fn build(&mut self, index: &mut KeyIndex, seq: u64, epoch: u32) {
        for layer in index.close_layer(seq, epoch) {
            let path = self.path();
            let bytes = layer.write_file(&path).expect("a file");
            self.files.push((FileSpan { from: layer.from(), through: layer.through(), epoch, bytes }, path));
        }
        while let Some(job) = index.pick_merge() {
            assert!(index.apply_merge(job.run()));
        }
    }

    /// Returns the keys that were written again.
    fn rewrite(&mut self, index: &KeyIndex, seq: u64) -> u64 {
        let mut n_keys = 0;
        loop {
            let spans: Vec<FileSpan> = self.files.iter().map(|(span, _)| *span).collect();
            let Some(job) = index.pick_rewrite(&spans, seq) else { return n_keys };
            let replaced = job.replaces().to_vec();
            let epoch = spans[replaced[0]].epoch;
            n_keys += job.n_keys();
            let paths: Vec<PathBuf> = (0..job.n_files()).map(|_| self.path()).collect();
            let written = job.run(&paths).expect("files");
            let mut at = 0;
            self.files.retain(|_| {
                at += 1;
                !replaced.contains(&(at - 1))
            });
            self.files.extend(written.into_iter().zip(paths).map(|(file, path)| {
                (FileSpan { from: file.from, through: file.through, epoch, bytes: file.bytes }, path)
            }));
        }
    }
}

/// Keys of a build: of either kind, or integers that lie together.
fn check(is_integer: bool, keys: impl Fn(u64) -> Keys) {
    let (spec, ledger) = (spec(&[kind_type(is_integer)]), MemoryLedger::new(0));
    let mut index = KeyIndex::new(&spec, &ledger);
    let mut record = Record::new();
    let (n_builds, mut n_rewritten) = (70, 0);
    for build in 0..n_builds {
        assert_eq!(index.claim(&keys(build), None).n_losers, 0);
        // The second epoch begins in the middle.
        record.build(&mut index, build + 1, u32::from(build >= 40));
        n_rewritten += record.rewrite(&index, build + 1);
        for epoch in [0, 1] {
            let n_files = record.files.iter().filter(|(file, _)| file.epoch == epoch).count();
            assert!(n_files <= MAX_LAYER_FILES, "{n_files} files after {build} builds");
        }
    }
    let n_keys = index.stats().keys;
    assert!(n_rewritten > 0 && n_rewritten < 8 * n_keys, "{n_rewritten} of {n_keys}");
    assert_eq!(ledger.used(Share::Unassigned), 0);
    // A start reads them all, and has what there was.
    let mut read = KeyIndex::new(&spec, &ledger);
    for (file, path) in &record.files {
        let bytes = std::fs::read(path).expect("a file");
        assert_eq!(bytes.len() as u64, file.bytes);
        let layer = ClosedLayer::read_from(bytes.as_slice(), &spec, "a file").expect("a layer");
        read.add_layer(layer, file.from, file.through, file.epoch);
    }
    assert_eq!(read.stats().keys, n_keys);
    for build in 0..n_builds {
        let keys = keys(build);
        assert_eq!(read.claim(&keys, None).n_losers, keys.len());
    }
    assert_eq!(read.claim(&keys(n_builds), None).n_losers, 0);
    // Epochs did not meet.
    read.forget_through(40);
    assert_eq!(read.claim(&keys(39), None).n_losers, 0);
    assert_eq!(read.claim(&keys(40), None).n_losers, keys(40).len());
}

#[test]
fn many_builds_leave_few_files_with_all_keys() {
    let part = |build: u64| build * 150..(build + 1) * 150;
    check(true, |build| numbered(true, part(build)));
    check(false, |build| numbered(false, part(build)));
    check(true, |build| Keys::Integers((build * 300..(build + 1) * 300).map(|i| i * 2).collect()));
}

#[test]
fn files_that_cannot_be_written_leave_nothing() {
    let (spec, ledger) = (spec(&[kind_type(true)]), MemoryLedger::new(0));
    let mut index = KeyIndex::new(&spec, &ledger);
    let mut record = Record::new();
    for build in 0..=MAX_LAYER_FILES as u64 {
        index.claim(&numbered(true, build * 100..(build + 1) * 100), None);
        record.build(&mut index, build + 1, 0);
    }
    let spans: Vec<FileSpan> = record.files.iter().map(|(span, _)| *span).collect();
    let seq = spans.len() as u64;
    let job = index.pick_rewrite(&spans, seq).expect("too many files");
    let paths: Vec<PathBuf> = (0..job.n_files()).map(|_| record.folder.path().join("no").join("folder")).collect();
    assert!(job.run(&paths).is_err());
    assert_eq!(ledger.used(Share::Unassigned), 0);
    assert!(index.pick_rewrite(&spans, seq).is_some(), "it is tried again");
    assert!(index.pick_rewrite(&spans[1..], seq).is_none(), "there are few");
}
