//! How is the log kept? RocksDB at its plainest: three families, synced writes, a start that refuses to lose anything acknowledged.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{
    ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, IteratorMode, Options, WriteBatch, WriteOptions,
};
use rustix::fs::{FlockOperation, flock};

use crate::error::{Code, Error, Result};
use crate::limits::{MAX_WAL_BYTES, MEMTABLE_BYTES};
use crate::log::keys::Family;
use crate::log::witness::Witness;
use crate::log::writer::Op;

/// A key and its value.
pub(crate) type Record = (Box<[u8]>, Box<[u8]>);

/// The open data folder: its lock, its RocksDB, its witness.
pub(crate) struct Store {
    db: DB,
    witness: Witness,
    _lock: File,
    /// Fields drop in order: when this is gone, the folder is free.
    #[cfg(test)]
    pub(crate) open: Arc<()>,
}

impl Store {
    /// Opens or creates `folder`. Refuses a folder that another process holds, that cannot be written, or whose log ends before
    /// what it acknowledged.
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>> {
        let unusable = |what: &str, e: std::io::Error| {
            Error::new(Code::FolderUnusable, format!("{what} {}: {e}", folder.display()))
                .hint("name a folder that this user can write, with --data")
                .source(e)
        };
        let unsynced = folder.ancestors().take_while(|f| !f.exists()).count();
        std::fs::create_dir_all(folder).map_err(|e| unusable("cannot create", e))?;
        let lock = File::create(folder.join("LOCK")).map_err(|e| unusable("cannot write in", e))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::new(Code::FolderLocked, format!("another process holds {}", folder.display()))
                .hint("stop it, or name another folder with --data"));
        }
        let witness = Witness::open(&folder.join("witness")).map_err(|e| unusable("cannot write in", e))?;
        let db = open_db(&folder.join("log"), &witness)?;
        sync_names(folder, unsynced).map_err(|e| unusable("cannot sync", e))?;
        Ok(Arc::new(Self {
            db,
            witness,
            _lock: lock,
            #[cfg(test)]
            open: Arc::new(()),
        }))
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(&self.handle(family)?, key).map_err(read_error)
    }

    /// All records of `family` whose key begins with `prefix`, in key order.
    pub(crate) fn scan<'s>(
        &'s self,
        family: Family,
        prefix: &[u8],
    ) -> Result<impl Iterator<Item = Result<Record>> + use<'s>> {
        let handle = self.handle(family)?;
        let prefix = prefix.to_vec();
        let from = self.db.iterator_cf(&handle, IteratorMode::From(&prefix, rocksdb::Direction::Forward));
        Ok(from
            .map(|item| item.map_err(read_error))
            .take_while(move |item| item.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))))
    }

    /// Writes all of `ops` as one batch, synced if asked for.
    pub(crate) fn write(&self, ops: &[Op], sync: bool) -> Result<()> {
        let mut batch = WriteBatch::default();
        for op in ops {
            match op {
                Op::Put(family, key, value) => batch.put_cf(&self.handle(*family)?, key, value),
                Op::Delete(family, key) => batch.delete_cf(&self.handle(*family)?, key),
                Op::DeleteRange(family, from, to) => batch.delete_range_cf(&self.handle(*family)?, from, to),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(write_error)
    }

    /// Gives back the space of what was deleted between `from` and `to`. Blocks while files are rewritten.
    pub(crate) fn reclaim(&self, family: Family, from: &[u8], to: &[u8]) -> Result<()> {
        // All families: a write-ahead log goes when nothing in it is in memory alone.
        for family in Family::ALL {
            self.db.flush_cf(&self.handle(family)?).map_err(write_error)?;
        }
        let handle = self.handle(family)?;
        self.db.compact_range_cf(&handle, Some(from), Some(to));
        Ok(())
    }

    /// Syncs what was written before.
    pub(crate) fn sync(&self) -> Result<()> {
        self.db.flush_wal(true).map_err(write_error)
    }

    /// Notes in the witness that everything written is acknowledged.
    pub(crate) fn note_acknowledged(&self) -> Result<()> {
        self.witness
            .note(self.db.latest_sequence_number())
            .map_err(|e| Error::new(Code::LogUnavailable, format!("the witness cannot be written: {e}")).source(e))
    }

    /// Whether the witness says that everything written is acknowledged.
    #[cfg(test)]
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.witness.read().ok().flatten() == Some(self.db.latest_sequence_number())
    }

    fn handle(&self, family: Family) -> Result<Arc<rocksdb::BoundColumnFamily<'_>>> {
        self.db
            .cf_handle(family.name())
            .ok_or_else(|| Error::internal(format!("the family {} is not open", family.name())))
    }
}

/// A new file is found after a power cut only if the folder that names it was synced: the data folder itself, and the parents of the
/// `n_new` folders that were made for it.
fn sync_names(folder: &Path, n_new: usize) -> std::io::Result<()> {
    // One parent at least: who made the folder may not have synced it.
    for named in folder.ancestors().take(n_new.max(1) + 1) {
        // The parent of a relative path with one part.
        let named = if named.as_os_str().is_empty() { Path::new(".") } else { named };
        match File::open(named) {
            Ok(folder) => folder.sync_all()?,
            // A parent that may be entered and not read was not made by us.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn read_error(e: rocksdb::Error) -> Error {
    Error::new(Code::LogDamaged, format!("the log cannot be read: {e}"))
        .hint("restore the folder from a backup; nothing was changed")
        .source(e)
}

fn write_error(e: rocksdb::Error) -> Error {
    Error::new(Code::LogUnavailable, format!("the log cannot be written: {e}")).source(e)
}

fn options(recovery: DBRecoveryMode) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(recovery);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    // All families share the memtable budget: one is written while one is flushed.
    options.set_db_write_buffer_size(2 * MEMTABLE_BYTES);
    options.set_keep_log_file_num(4);
    options.set_max_open_files(512);
    options
}

fn families() -> Vec<ColumnFamilyDescriptor> {
    Family::ALL
        .into_iter()
        .map(|family| {
            let mut options = Options::default();
            options.set_write_buffer_size(MEMTABLE_BYTES);
            options.set_max_write_buffer_number(2);
            // Entries are compressed already; the other families are small.
            let compression = if family == Family::Log { DBCompressionType::None } else { DBCompressionType::Lz4 };
            options.set_compression_type(compression);
            ColumnFamilyDescriptor::new(family.name(), options)
        })
        .collect()
}

/// Opens with the mode that refuses damage. When it refuses, the damage may still be an innocent torn tail: the log is read up to the
/// first bad record, and the start goes on only if the witness says that nothing acknowledged lies behind it.
fn open_db(path: &Path, witness: &Witness) -> Result<DB> {
    let strict = options(DBRecoveryMode::TolerateCorruptedTailRecords);
    let refusal = match DB::open_cf_descriptors(&strict, path, families()) {
        Ok(db) => return check_end(db, path, witness),
        Err(e) => e,
    };
    if refusal.kind() == rocksdb::ErrorKind::IOError {
        return Err(Error::new(
            Code::FolderUnusable,
            format!("the log in {} cannot be opened: {refusal}", path.display()),
        )
        .hint("check the folder's permissions and free space")
        .source(refusal));
    }
    let damage = |detail: String| {
        Error::new(
            Code::LogDamaged,
            format!("the log in {} is damaged ({}): {detail}", path.display(), describe(path, &refusal)),
        )
        .hint("acknowledged rows may be missing, so the server does not start; restore the folder from a backup")
    };
    let lenient = options(DBRecoveryMode::PointInTime);
    let readable = {
        let db = DB::open_cf_descriptors_read_only(&lenient, path, families(), false)
            .map_err(|e| damage(format!("it cannot be read at all: {e}")))?;
        db.latest_sequence_number()
    };
    match witness.read() {
        Ok(Some(acknowledged)) if readable >= acknowledged => {
            tracing::warn!(path = %path.display(), readable, acknowledged, "the log had a torn tail; nothing acknowledged was in it");
            DB::open_cf_descriptors(&lenient, path, families()).map_err(|e| damage(e.to_string()))
        }
        Ok(Some(acknowledged)) => {
            Err(damage(format!("it can be read through {readable}, acknowledged was {acknowledged}")))
        }
        Ok(None) => {
            Err(damage(format!("it can be read through {readable}, and there is no witness of what was acknowledged")))
        }
        Err(e) => Err(damage(format!("the witness cannot be read: {e}"))),
    }
}

/// A log that opened cleanly and still ends before the witness lost whole files.
fn check_end(db: DB, path: &Path, witness: &Witness) -> Result<DB> {
    let end = db.latest_sequence_number();
    match witness.read() {
        Ok(Some(acknowledged)) if end < acknowledged => Err(Error::new(
            Code::LogDamaged,
            format!("the log in {} ends at {end}, acknowledged was {acknowledged}", path.display()),
        )
        .hint("acknowledged rows are missing, so the server does not start; restore the folder from a backup")),
        _ => Ok(db),
    }
}

/// The damaged file, as RocksDB names it or else the newest write-ahead log.
fn describe(path: &Path, refusal: &rocksdb::Error) -> String {
    let text = refusal.to_string();
    if text.contains(".log") || text.contains(".sst") {
        return text;
    }
    let newest = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|x| x == "log"))
        .max();
    format!("{text}; newest file {}", newest.unwrap_or_else(|| PathBuf::from("none")).display())
}
