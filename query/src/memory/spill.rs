//! How much disk may queries take for what they cannot hold in memory? Up to a cap, and never what stored rows need.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use tidewater_storage::{Code, Error};

use crate::limits::SPILL_MARGIN_BYTES;

/// Makes the spill files of all queries. DataFusion's own, which know the cap; that the disk has space is looked up before each write:
/// a figure that is set now and then would be wrong just when the disk fills up.
pub(crate) struct SpillFiles {
    disk: Arc<DiskManager>,
    floor: Arc<Floor>,
}

impl SpillFiles {
    /// In `folder`, all together at most `max_bytes`, and only while more than `min_free_bytes` are free on its disk.
    pub(crate) fn new(folder: &Path, max_bytes: u64, min_free_bytes: u64) -> Result<Arc<Self>> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![folder.to_path_buf()]))
            .with_max_temp_directory_size(max_bytes)
            .build()?;
        let floor = Floor { folder: folder.to_path_buf(), bytes: min_free_bytes.saturating_add(SPILL_MARGIN_BYTES) };
        Ok(Arc::new(Self { disk: Arc::new(disk), floor: Arc::new(floor) }))
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let file = self.disk.create_tmp_file(description)?;
        Ok(Arc::new(FileAboveFloor { file, floor: Arc::clone(&self.floor) }))
    }
}

struct Floor {
    folder: PathBuf,
    bytes: u64,
}

impl Floor {
    fn check(&self, more: u64) -> io::Result<()> {
        let stat = rustix::fs::statvfs(&self.folder)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= self.bytes.saturating_add(more) {
            return Ok(());
        }
        let message = format!("{free} bytes are free on the disk, and queries leave {} to what is stored", self.bytes);
        let full = Error::new(Code::QuerySpill, message).hint("filter or aggregate earlier, or free disk space");
        Err(io::Error::other(full))
    }
}

struct FileAboveFloor {
    file: Arc<dyn SpillFile>,
    floor: Arc<Floor>,
}

impl SpillFile for FileAboveFloor {
    fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        self.file.read_stream()
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let writer = self.file.open_writer()?;
        Ok(Box::new(WriterAboveFloor { writer, floor: Arc::clone(&self.floor) }))
    }
}

struct WriterAboveFloor {
    writer: Box<dyn SpillWriter>,
    floor: Arc<Floor>,
}

impl Write for WriterAboveFloor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.floor.check(bytes.len() as u64)?;
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl SpillWriter for WriterAboveFloor {
    fn finish(&mut self) -> Result<()> {
        self.writer.finish()
    }
}
