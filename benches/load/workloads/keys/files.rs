//! Which files are there, and were they read? By their names; and by the time of last access, where the system keeps it.

use std::collections::BTreeSet;
use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::workloads::bytes_under;

/// A time of last access that no reader leaves behind. The system replaces it even where it keeps that time loosely (`relatime`).
const UNREAD: Duration = Duration::from_secs(24 * 3600);

/// The files of a data folder.
#[derive(Debug, Default)]
pub struct Files {
    /// Rows, built or published.
    parquet: Vec<PathBuf>,
    pub parquet_bytes: u64,
    /// Layers and runs of keys.
    pub key_bytes: u64,
    pub log_bytes: u64,
    seen: BTreeSet<u64>,
}

impl Files {
    pub fn look(data: &Path) -> Result<Self> {
        let mut files = Self { log_bytes: bytes_under(&data.join("log"))?, ..Self::default() };
        files.add(&data.join("built"))?;
        files.add(&data.join("tables"))?;
        Ok(files)
    }

    /// The files under `folder`, if it is there.
    pub fn add(&mut self, folder: &Path) -> Result<()> {
        if !folder.exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            // A server that runs may remove it meanwhile.
            let Ok(known) = path.metadata() else { continue };
            if known.is_dir() {
                // What is in the log of a Delta table are no rows.
                if !path.ends_with("_delta_log") {
                    self.add(&path)?;
                }
                continue;
            }
            // A file that is built and published may be one file with two names.
            let is_new = self.seen.insert(known.ino());
            match path.extension().and_then(|end| end.to_str()) {
                Some("parquet") if is_new => {
                    self.parquet_bytes += known.len();
                    self.parquet.push(path);
                }
                Some("keys" | "run") => self.key_bytes += known.len(),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn n_parquet(&self) -> usize {
        self.parquet.len()
    }

    pub fn mark_unread(&self) -> Result<()> {
        self.parquet.iter().try_for_each(|path| set_unread(path))
    }

    /// How many of the Parquet files were read since. `None` if the system does not keep it, which a file in `folder` tells.
    pub fn n_read(&self, folder: &Path) -> Result<Option<usize>> {
        let known = folder.join("access");
        std::fs::write(&known, "x")?;
        set_unread(&known)?;
        std::fs::read(&known)?;
        if !is_read(&known)? {
            return Ok(None);
        }
        let mut n = 0;
        for path in self.parquet.iter().filter(|path| path.exists()) {
            n += usize::from(is_read(path)?);
        }
        Ok(Some(n))
    }
}

fn set_unread(path: &Path) -> Result<()> {
    Ok(File::open(path)?.set_times(FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH + UNREAD))?)
}

fn is_read(path: &Path) -> Result<bool> {
    Ok(path.metadata()?.accessed()? != SystemTime::UNIX_EPOCH + UNREAD)
}
