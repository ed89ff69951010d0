//! How is the log kept? RocksDB at its plainest: three families, synced writes, a start that refuses to lose anything acknowledged.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rocksdb::{
    ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, IteratorMode, Options, WriteBatch, WriteOptions,
};
use rustix::fs::{FlockOperation, flock};

use crate::error::{Code, Error, Result};
use crate::limits::{MAX_WAL_BYTES, MEMTABLE_BYTES};
use crate::log::folder::{LOCK, LOG, WITNESS};
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
        let lock = File::create(folder.join(LOCK)).map_err(|e| unusable("cannot write in", e))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::new(Code::FolderLocked, format!("another process holds {}", folder.display()))
                .hint("stop it, or name another folder with --data"));
        }
        let witness = Witness::open(&folder.join(WITNESS)).map_err(|e| unusable("cannot write in", e))?;
        let db = {
            // RocksDB fills a table of its build's properties when it is first opened, without a lock: two at once end the process.
            static OPENING: Mutex<()> = Mutex::new(());
            let _one = OPENING.lock();
            open_db(&folder.join(LOG), &witness)?
        };
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

    /// The records of `family` whose key begins with `prefix` and is greater than `after`, in key order.
    pub(crate) fn scan_after<'s>(
        &'s self,
        family: Family,
        prefix: &[u8],
        after: &[u8],
    ) -> Result<impl Iterator<Item = Result<Record>> + use<'s>> {
        let handle = self.handle(family)?;
        let (prefix, after) = (prefix.to_vec(), after.to_vec());
        let from = self.db.iterator_cf(&handle, IteratorMode::From(&after, rocksdb::Direction::Forward));
        Ok(from
            .map(|item| item.map_err(read_error))
            .skip_while(move |item| item.as_ref().is_ok_and(|(key, _)| **key == *after))
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

    /// How often the write-ahead log was synced.
    #[cfg(test)]
    pub(crate) fn n_syncs(&self) -> u64 {
        let statistics =
            self.db.property_value("rocksdb.options-statistics").ok().flatten().expect("statistics are on");
        let line = statistics.lines().find_map(|line| line.strip_prefix("rocksdb.wal.synced COUNT : "));
        line.and_then(|count| count.trim().parse().ok()).expect("a count")
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
    if cfg!(test) {
        // The only way to see that a sync took place: after kill -9 what was only written is there, too.
        options.enable_statistics();
    }
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

/// The key that signs bearers is in it: another user of the machine who read that could log in as anybody.
fn make_private(folder: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| {
        Error::new(Code::FolderUnusable, format!("cannot create {}: {e}", folder.display()))
            .hint("name a folder that this user can write, with --data")
            .source(e)
    })
}

/// Opens the log if nothing acknowledged is missing from it. It is looked at read-only first: an opening cuts and rewrites what it takes
/// for a torn tail, and a log that is refused must stay as it was found, for whoever can still save it.
fn open_db(path: &Path, witness: &Witness) -> Result<DB> {
    let damage = |what: String| {
        Error::new(Code::LogDamaged, format!("the log in {} {what}", path.display()))
            .hint("acknowledged rows may be missing, so the server does not start; restore the folder from a backup")
    };
    let acknowledged = witness.read().map_err(|e| damage(format!("has a witness that cannot be read: {e}")))?;
    let open = |mode| DB::open_cf_descriptors(&options(mode), path, families()).map_err(|e| open_error(path, e));
    if !path.join("CURRENT").exists() {
        return match acknowledged {
            None => {
                make_private(path)?;
                open(DBRecoveryMode::TolerateCorruptedTailRecords)
            }
            Some(acknowledged) => {
                Err(damage(format!("has no file CURRENT, so it is lost or not whole; acknowledged was {acknowledged}")))
            }
        };
    }
    let look = |mode| {
        let options = options(mode);
        let families = DB::list_cf(&options, path)?;
        DB::open_cf_for_read_only(&options, path, families, false).map(|db| db.latest_sequence_number())
    };
    // The first mode refuses damage, and sometimes an innocent torn tail: then the second says how far the log can be read.
    let (mode, end, refusal) = match look(DBRecoveryMode::TolerateCorruptedTailRecords) {
        Ok(end) => (DBRecoveryMode::TolerateCorruptedTailRecords, end, None),
        Err(e) if e.kind() == rocksdb::ErrorKind::IOError => return Err(open_error(path, e)),
        Err(refusal) => {
            let end = look(DBRecoveryMode::PointInTime).map_err(|e| damage(format!("cannot be read at all: {e}")))?;
            (DBRecoveryMode::PointInTime, end, Some(refusal))
        }
    };
    let found = refusal.as_ref().map_or_else(String::new, |e| format!("is damaged ({}): it ", describe(path, e)));
    match acknowledged {
        Some(acknowledged) if end < acknowledged => {
            return Err(damage(format!("{found}ends at {end}, acknowledged was {acknowledged}")));
        }
        None if refusal.is_some() => {
            return Err(damage(format!(
                "{found}can be read through {end}, and there is no witness of what was acknowledged"
            )));
        }
        _ => {}
    }
    if refusal.is_some() {
        tracing::warn!(path = %path.display(), end, acknowledged, "the log had a torn tail; nothing acknowledged was in it");
    }
    open(mode)
}

fn open_error(path: &Path, e: rocksdb::Error) -> Error {
    if e.to_string().contains("olumn families not opened") {
        let version = env!("CARGO_PKG_VERSION");
        let message = format!(
            "the log in {} has parts that this program, Tidewater {version}, does not know: {e}",
            path.display()
        );
        return Error::new(Code::LogUnknownVersion, message)
            .hint("nothing was changed; start the version of Tidewater that wrote this folder, or a newer one")
            .source(e);
    }
    Error::new(Code::FolderUnusable, format!("the log in {} cannot be opened: {e}", path.display()))
        .hint("check the folder's permissions and free space")
        .source(e)
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
