//! What was built and published when the process ended? Read from records alone: no folder is listed, no Parquet is opened.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::files::Files;
use super::quarantine::Damage;
use super::records::{Base, BuiltRange, Gone, Intent, LayerFile, NameKind, PublishedFile, Settled, deleted_from_disk};
use super::state::SealState;
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{SHARD_ZERO, TableId};
use crate::log::{Family, Record, Store, meta_key, state_key, state_prefix, suffix_of};
use crate::sealed::{DeletionVector, FilePlace, FileRef, SegmentFile};
use crate::table::handle::Shared;

/// What the records say.
pub(crate) struct LoadedSeal {
    pub(crate) state: SealState,
    pub(crate) files: Files,
}

/// Where the table's log begins.
pub(crate) fn load_base(shared: &Shared) -> Result<Base> {
    let records = Records { store: &shared.store, table: shared.def.id };
    records.get(state_key::BASE)?.map_or(Ok(Base::FIRST), |base| Base::from_disk(&base))
}

/// Reads the records of one table. A built file that is missing or has another length is an error, unless that is on record: its rows are
/// nowhere else.
pub(crate) fn load_seal(shared: &Shared, base: Base) -> Result<LoadedSeal> {
    let records = Records { store: &shared.store, table: shared.def.id };
    let mut state = SealState::empty();
    state.base = base;
    state.settled = records.get(state_key::SETTLED)?.map(|record| Settled::from_disk(&record)).transpose()?;
    state.truncated = match records.get(state_key::TRUNCATED)? {
        Some(record) => Some(Base::from_disk(&record)?.seq),
        None => None,
    };
    for record in records.all(state_key::RANGE)? {
        state.ranges.push_back(BuiltRange::from_disk(&record?.1)?);
    }
    for record in records.all(state_key::PUBLISHED)? {
        let file = PublishedFile::from_disk(&record?.1)?;
        state.published.insert(file.file.name.clone(), file);
    }
    for record in records.all(state_key::DELETED)? {
        let (key, value) = record?;
        let name = String::from_utf8_lossy(suffix_of(&key)).into_owned();
        state.deleted.insert(name, Arc::new(deleted_from_disk(&value)?));
    }
    for record in records.all(state_key::LAYER)? {
        state.layer_files.push(LayerFile::from_disk(&record?.1)?);
    }
    if let Some(record) = records.get(state_key::INTENT)? {
        state.leaving = Intent::from_disk(&record)?.removed.into_iter().collect();
    }
    state.gone = match records.get(state_key::GONE)? {
        Some(record) => Some(Gone::from_disk(&record)?),
        None => is_being_made(shared)?.then(Gone::default),
    };
    let mut damaged = BTreeMap::new();
    for record in records.all(state_key::DAMAGED)? {
        let (key, value) = record?;
        damaged.insert(String::from_utf8_lossy(suffix_of(&key)).into_owned(), Damage::from_disk(&value)?);
    }
    shared.quarantine.load(damaged);
    check_ranges(&state)?;
    let files = files_of(&state, shared)?;
    Ok(LoadedSeal { state, files })
}

/// The folder does not know the table yet.
fn is_being_made(shared: &Shared) -> Result<bool> {
    let is_unknown = |kind| -> Result<bool> {
        Ok(shared.store.get(Family::Meta, &meta_key::of_table(kind, shared.def.id))?.is_none())
    };
    Ok(is_unknown(meta_key::TABLE)? && is_unknown(meta_key::DROPPED)?)
}

/// Names on record, with what they are of.
pub(crate) fn recorded_names(store: &Store, table: TableId) -> Result<HashMap<String, NameKind>> {
    let records = Records { store, table };
    let named = records.all(state_key::NAME)?.map(|record| {
        let (key, value) = record?;
        Ok((String::from_utf8_lossy(suffix_of(&key)).into_owned(), NameKind::from_disk(&value)?))
    });
    named.collect()
}

/// Files that are on record as the table's, and what they are of once nothing on record counts any more; files of streams whose entries
/// are not built are not among them.
pub(crate) fn recorded_files(store: &Store, table: TableId, now: Moment) -> Result<Vec<(String, NameKind)>> {
    let records = Records { store, table };
    let mut files = Vec::new();
    for record in records.all(state_key::PUBLISHED)? {
        let file = PublishedFile::from_disk(&record?.1)?;
        let beside = file.file.sidecar.map(|sidecar| sidecar.name);
        let vector = file.vector.as_ref().and_then(DeletionVector::file_name);
        let names = [Some(file.file.name), beside, vector].into_iter().flatten();
        files.extend(names.map(|name| (name, NameKind::Removed(now))));
    }
    for record in records.all(state_key::RANGE)? {
        // A publish may have brought them to the Delta folder.
        let range = BuiltRange::from_disk(&record?.1)?;
        files.extend(range.files.into_iter().map(|file| (file.name, NameKind::Anywhere)));
    }
    for record in records.all(state_key::LAYER)? {
        files.push((LayerFile::from_disk(&record?.1)?.name, NameKind::Built));
    }
    Ok(files)
}

struct Records<'s> {
    store: &'s Store,
    table: TableId,
}

impl<'s> Records<'s> {
    fn get(&self, kind: u8) -> Result<Option<Vec<u8>>> {
        self.store.get(Family::State, &state_prefix(kind, self.table, SHARD_ZERO))
    }

    fn all(&self, kind: u8) -> Result<impl Iterator<Item = Result<Record>> + use<'s>> {
        self.store.scan(Family::State, &state_prefix(kind, self.table, SHARD_ZERO))
    }
}

/// Ranges ascend up to the log's base. Between them may be entries that had no rows.
fn check_ranges(state: &SealState) -> Result<()> {
    let mut expected = None;
    for range in &state.ranges {
        if expected.is_some_and(|expected| range.from < expected) || range.through < range.from {
            return Err(Error::new(
                Code::LogDamaged,
                format!("the built range {} to {} begins before the end of the one before", range.from, range.through),
            ));
        }
        expected = Some(range.through.next());
    }
    match expected {
        Some(end) if end > state.base.seq => {
            Err(Error::new(Code::LogDamaged, format!("a built range ends at {end}, behind where the log begins")))
        }
        _ => Ok(()),
    }
}

fn files_of(state: &SealState, shared: &Shared) -> Result<Files> {
    let deleted = |name: &str| state.deleted.get(name).map(Arc::clone);
    let mut refs = Vec::new();
    for file in state.ranges.iter().flat_map(|range| &range.files) {
        refs.push(built_file(file, state, shared)?);
    }
    let visible = state.published.values().filter(|file| !state.is_hidden(file));
    refs.extend(visible.map(|file| FileRef {
        file: Arc::new(file.file.clone()),
        place: Arc::new(FilePlace::published(shared.folders.published_path(&file.file.name))),
        deleted: deleted(&file.file.name),
    }));
    // The newest first, in either half.
    refs.sort_by(|a, b| b.file.max_seq.cmp(&a.file.max_seq).then_with(|| a.file.name.cmp(&b.file.name)));
    Ok(Files::new(refs))
}

/// A file on the local disk, which must be as it is recorded, or be on record as damaged.
pub(crate) fn built_file(file: &SegmentFile, state: &SealState, shared: &Shared) -> Result<FileRef> {
    let place = shared.built_place(&file.name);
    if !shared.quarantine.has(&file.name) {
        check_file(file, &place)?;
    }
    Ok(FileRef { file: Arc::new(file.clone()), place, deleted: state.deleted.get(&file.name).map(Arc::clone) })
}

fn check_file(file: &SegmentFile, place: &FilePlace) -> Result<()> {
    let found = place.local_bytes();
    if found.as_ref().is_ok_and(|bytes| *bytes == file.bytes) {
        return Ok(());
    }
    let found = found.map_or_else(|e| e.to_string(), |bytes| format!("it has {bytes} bytes"));
    Err(Error::new(
        Code::LogDamaged,
        format!("the built file {} of {} bytes cannot be used: {found}", place.path, file.bytes),
    )
    .hint(
        "its rows are acknowledged and not sealed yet, so the server does not start; restore the folder from a backup",
    ))
}
