//! Where do the bytes of a new file go? To the disk, counted and hashed on the way.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use parquet::errors::ParquetError;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Code, Error, Result};
use crate::sealed::file::Tail;
use crate::untrusted::SumsWriter;

/// What is tested by itself when a part of the file is read.
enum Parts {
    Columns(SumsWriter),
    /// What came since, and where it began.
    Tail(Xxh3, u64),
}

/// A file that nobody had before.
pub(super) struct Output {
    file: File,
    hash: Xxh3,
    bytes: u64,
    parts: Parts,
    /// Why a write failed: the Parquet writer tells it as text only.
    failed: Option<io::ErrorKind>,
}

impl Output {
    /// A file that is there already is an error: its bytes may be part of a table.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::options().write(true).create_new(true).open(path).map_err(|e| file_error(path, e))?;
        Ok(Self { file, hash: Xxh3::new(), bytes: 0, parts: Parts::Columns(SumsWriter::default()), failed: None })
    }

    /// Durable when this returns, but for the file's name.
    pub(super) fn sync(&self, path: &Path) -> Result<()> {
        self.file.sync_all().map_err(|e| file_error(path, e))
    }

    /// Appends bytes that no library hands over.
    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|e| file_error(path, e))
    }

    /// Of everything that was written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// XXH3-64 of everything that was written.
    pub(super) fn checksum(&self) -> u64 {
        self.hash.digest()
    }

    /// All columns are written: returns the checksums of their blocks, as the footer is to have them. Only the first time.
    pub(super) fn begin_tail(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.parts, Parts::Tail(Xxh3::new(), self.bytes)) {
            Parts::Columns(sums) => Some(sums.finish()),
            Parts::Tail(..) => None,
        }
    }

    /// What was written since [`Self::begin_tail`].
    pub(super) fn tail(&self) -> Option<Tail> {
        match &self.parts {
            Parts::Columns(_) => None,
            Parts::Tail(hash, start) => Some(Tail { bytes: self.bytes - start, checksum: hash.digest() }),
        }
    }

    /// What went wrong when the Parquet writer failed.
    pub(super) fn error(&self, path: &Path, e: ParquetError) -> Error {
        match self.failed {
            Some(kind) => file_error(path, io::Error::new(kind, e)),
            None => parquet_error(path, e),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(n) => {
                self.hash.update(&bytes[..n]);
                match &mut self.parts {
                    Parts::Columns(sums) => sums.add(&bytes[..n]),
                    Parts::Tail(hash, _) => hash.update(&bytes[..n]),
                }
                self.bytes += n as u64;
                Ok(n)
            }
            Err(e) => {
                // An interrupted write is tried again by who asked for it.
                self.failed = Some(e.kind()).filter(|kind| *kind != io::ErrorKind::Interrupted);
                Err(e)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the Parquet library refuses.
pub(super) fn parquet_error(path: &Path, e: ParquetError) -> Error {
    Error::internal(format!("{} cannot be written as Parquet: {e}", path.display())).source(e)
}

fn file_error(path: &Path, e: io::Error) -> Error {
    let code = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::FolderUnusable,
    };
    Error::new(code, format!("{} cannot be written: {e}", path.display()))
        .hint("free some space or mend the disk; the rows are safe, and what was interrupted is tried again")
        .source(e)
}
