//! Are the folder's tables in the store that the settings name? Over another one a start would look for them where they are not, and take
//! their files for lost: it is refused. Those that were attached are where they are, whatever the settings say.

use std::path::Path;

use super::Origin;
use crate::catalog::{TableDef, dropped_from_disk};
use crate::error::{Code, Error, Result};
use crate::ids::{SHARD_ZERO, TableId};
use crate::log::{Family, Op, Store, meta_key, state_key, state_prefix};
use crate::sealed::StorePlace;

/// Of so many tables the names are told.
const MAX_NAMED: usize = 3;

/// Asks whether tables are in another place than `place`, the one that the settings name: `STORE_CHANGED`, and nothing is changed. What is to
/// be put on record when its store is open; `None`: it is.
///
/// Tables of a folder from before there was a record are taken to be where it is told, but for those that are in its own folder of tables
/// alone: what is in both was copied, and the settings name the place where it was written to since. A place that the local disk knows nothing
/// of is not put on record for them: it may be the wrong one, and they would be held to it. Blocks.
pub(crate) fn check_place(store: &Store, data_dir: &Path, place: &StorePlace) -> Result<Option<Op>> {
    let recorded = store.get(Family::Meta, meta_key::STORE)?;
    let recorded = recorded.map(|record| StorePlace::from_disk(&record)).transpose()?;
    if recorded.as_ref() == Some(place) {
        return Ok(None);
    }
    let tables = sealed_tables(store)?;
    let is_recorded = recorded.is_some();
    let known = recorded.unwrap_or_else(StorePlace::usual);
    if !known.is(place, data_dir) {
        let is_left = |table: &&Sealed| match is_recorded {
            true => !table.is_gone(&known, place, data_dir),
            false => table.is_in(&known, data_dir) && !table.is_in(place, data_dir),
        };
        let left: Vec<&Sealed> = tables.iter().filter(is_left).collect();
        if !left.is_empty() {
            return Err(changed(&known, &left, place, data_dir));
        }
    }
    let may_be_wrong = !is_recorded && !tables.is_empty() && place.folder(data_dir).is_none();
    Ok((!may_be_wrong).then(|| Op::Put(Family::Meta, meta_key::STORE.to_vec(), place.to_disk())))
}

/// A table of which something was committed to the store, and that is where the settings said at that time.
struct Sealed {
    name: String,
    folder: String,
}

impl Sealed {
    /// As far as the local disk tells.
    fn is_in(&self, place: &StorePlace, data_dir: &Path) -> bool {
        place.folder(data_dir).is_some_and(|folder| folder.join(&self.folder).exists())
    }

    /// It is not where it was, and not because a file system is not mounted: somebody moved it, or it was never there.
    fn is_gone(&self, from: &StorePlace, to: &StorePlace, data_dir: &Path) -> bool {
        let is_local = from.folder(data_dir).is_some();
        is_local && !self.is_in(from, data_dir) && (from.is_inside() || self.is_in(to, data_dir))
    }
}

/// Those that were dropped may come back.
fn sealed_tables(store: &Store) -> Result<Vec<Sealed>> {
    let mut defs = Vec::new();
    for record in store.scan(Family::Meta, &[meta_key::TABLE])? {
        defs.push(TableDef::from_disk(&record?.1)?);
    }
    for record in store.scan(Family::Meta, &[meta_key::DROPPED])? {
        // One that cannot be read stays on disk, and housekeeping says so.
        defs.extend(dropped_from_disk(&record?.1).ok().map(|(def, _)| def));
    }
    let mut sealed = Vec::new();
    for def in defs {
        let is_elsewhere = Origin::of(store, def.id)?.is_some_and(|origin| origin.root.is_some());
        if !is_elsewhere && is_sealed(store, def.id)? {
            sealed.push(Sealed { name: format!("{}.{}", def.schema_name, def.name), folder: def.folder });
        }
    }
    Ok(sealed)
}

/// A commit of its Delta table is settled, or may be there.
fn is_sealed(store: &Store, table: TableId) -> Result<bool> {
    for kind in [state_key::SETTLED, state_key::INTENT] {
        if store.get(Family::State, &state_prefix(kind, table, SHARD_ZERO))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn changed(known: &StorePlace, left: &[&Sealed], place: &StorePlace, data_dir: &Path) -> Error {
    let mut names = left.iter().take(MAX_NAMED).map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ");
    if left.len() > MAX_NAMED {
        names += &format!(" and {} more", left.len() - MAX_NAMED);
    }
    let (folder, setting, before) = (data_dir.display(), place.setting(data_dir), known.setting(data_dir));
    let copies = known.folder(data_dir).map_or_else(String::new, |folder| {
        let folder = folder.display();
        format!("; if all of them were copied to '{setting}' and written to there since, move the old copies out of {folder} first")
    });
    Error::new(
        Code::StoreChanged,
        format!("the tables of the data folder {folder} are in {known} ({names}), and storage.url is '{setting}'"),
    )
    .hint(format!(
        "nothing was changed; set storage.url back to '{before}', or start over an empty data folder, where new tables are made at the \
         other place, and have these there with 'tidewater table attach'{copies}"
    ))
}
