//! Did the log end where it was last acknowledged? Sixteen bytes beside the log, overwritten after each sync, never synced.
//!
//! After kill -9 the operating system still has them, so a log that ends before its witness has lost acknowledged entries. After a
//! power cut they may be older than the log's end, never newer than what was acknowledged.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::ids::array;

pub(crate) struct Witness {
    file: File,
}

impl Witness {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)? })
    }

    /// Everything through RocksDB's sequence number `sequence` is acknowledged.
    pub(crate) fn note(&self, sequence: u64) -> io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&sequence.to_le_bytes());
        bytes[8..].copy_from_slice(&xxh3_64(&sequence.to_le_bytes()).to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }

    /// The last number noted; `None` when there is none or a power cut tore it.
    pub(crate) fn read(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; 16];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        }
        let sum = u64::from_le_bytes(array(&bytes[8..]));
        Ok((xxh3_64(&bytes[..8]) == sum).then(|| u64::from_le_bytes(array(&bytes[..8]))))
    }
}
