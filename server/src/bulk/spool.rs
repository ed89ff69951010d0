//! Where is a body that memory has no space for? In files without a name, which are gone with whoever has them open, and with the process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tidewater_storage::{Code, Engine, Error, Result};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::coding::too_large;

/// The folder in the data folder. Queries keep what they cannot hold there too, and it is emptied at each start.
const FOLDER: &str = "spill";

/// All bodies together.
const MAX_SPOOLED_BYTES: u64 = 64 << 30;

/// So much more than rows need stays free on the disk.
const MARGIN_BYTES: u64 = 512 << 20;

/// The bodies of one process that are in files.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    min_free_bytes: u64,
    used: AtomicU64,
}

impl Spool {
    pub fn new(storage: &Engine) -> Arc<Self> {
        let min_free_bytes = storage.min_free_bytes().saturating_add(MARGIN_BYTES);
        Arc::new(Self { folder: storage.data_dir().join(FOLDER), min_free_bytes, used: AtomicU64::new(0) })
    }

    /// An empty file. Blocks.
    pub(super) fn file(self: &Arc<Self>) -> Result<SpoolFile> {
        let path = self.folder.join(format!("body-{}", Uuid::new_v4().simple()));
        let open = || -> io::Result<File> {
            std::fs::create_dir_all(&self.folder)?;
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            // From here on nothing can leave it behind.
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        let file = open().map_err(|error| unusable(error, "a file for a request body cannot be made"))?;
        Ok(SpoolFile { file, bytes: 0, spool: Arc::clone(self) })
    }

    fn take(&self, bytes: u64) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > MAX_SPOOLED_BYTES {
            self.give_back(bytes);
            return Err(full("request bodies on their way in fill their part of the disk"));
        }
        let checked = self.check_disk(bytes);
        if checked.is_err() {
            self.give_back(bytes);
        }
        checked
    }

    fn check_disk(&self, bytes: u64) -> Result<()> {
        let stat = rustix::fs::statvfs(&self.folder)
            .map_err(|error| unusable(error.into(), "the free space of the disk cannot be told"))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        match free >= self.min_free_bytes.saturating_add(bytes) {
            true => Ok(()),
            false => Err(full("the disk has no space for a request body beside what is stored")),
        }
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn full(message: &str) -> Error {
    Error::new(Code::DiskFull, message).hint("free disk space, or send the rows in several smaller requests")
}

fn unusable(error: io::Error, what: &str) -> Error {
    if error.kind() == io::ErrorKind::StorageFull {
        return full("the disk has no space for a request body");
    }
    Error::new(Code::FolderUnusable, format!("{what}: {}", error.kind())).source(error)
}

/// One body, or what it was before it was compressed.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    bytes: u64,
    spool: Arc<Spool>,
}

impl SpoolFile {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds to its end. Blocks.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.spool.take(bytes.len() as u64)?;
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| unusable(error, "a request body cannot be kept"))
    }

    /// Copies all that `from` has, of which there may be `max_bytes`, unless nobody waits for it any more.
    pub fn fill(&mut self, from: &mut dyn Read, max_bytes: u64, given_up: &CancellationToken) -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            if given_up.is_cancelled() {
                return Err(Error::internal("nobody waits for this body any more"));
            }
            let n = from.read(&mut buffer).map_err(super::coding::unreadable)?;
            if n == 0 {
                return Ok(());
            }
            if self.bytes.saturating_add(n as u64) > max_bytes {
                return Err(too_large(max_bytes));
            }
            self.append(&buffer[..n])?;
        }
    }

    /// Reads it from its beginning, independent of other readers.
    pub fn reader(self: &Arc<Self>) -> SpoolReader {
        SpoolReader { file: Arc::clone(self), at: 0 }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, at)
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.spool.give_back(self.bytes);
    }
}

/// Reads a file that others may read too.
#[derive(Debug)]
pub(super) struct SpoolReader {
    file: Arc<SpoolFile>,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// As the Parquet reader wants its input.
#[derive(Clone)]
pub(super) struct SpoolChunks(pub Arc<SpoolFile>);

impl Length for SpoolChunks {
    fn len(&self) -> u64 {
        self.0.bytes
    }
}

impl ChunkReader for SpoolChunks {
    type T = io::BufReader<SpoolReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(io::BufReader::new(SpoolReader { file: Arc::clone(&self.0), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // What a file claims is not believed before it is allocated.
        if start.saturating_add(length as u64) > self.0.bytes {
            return Err(ParquetError::EOF(format!("{length} bytes are wanted at {start}, behind the end")));
        }
        let mut bytes = Vec::with_capacity(length);
        SpoolReader { file: Arc::clone(&self.0), at: start }.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}
