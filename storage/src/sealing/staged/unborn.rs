//! Which files were to be the first rows of a table that was never made? A stream that makes its table records their names as any other
//! does, and a process that ends before the commit leaves names of a table that nobody knows.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::env::Env;
use crate::error::Result;
use crate::ids::TableId;
use crate::log::{Family, Store, meta_key, state_key, suffix_of, table_of, write};
use crate::sealed::remove_local;
use crate::table::{Folders, cleaned};

/// Deletes such files, and their names. To be called at the start, before a table can be made. What cannot be deleted is tried again at the
/// next one. Blocks.
pub(crate) fn clean_unborn(store: &Store, env: &Env, data_dir: &Path) -> Result<()> {
    let mut known = HashSet::new();
    for kind in [meta_key::TABLE, meta_key::DROPPED] {
        for record in store.scan(Family::Meta, &[kind])? {
            known.insert(meta_key::table_of(&record?.0));
        }
    }
    let mut unborn: HashMap<TableId, Vec<String>> = HashMap::new();
    for record in store.scan(Family::State, &[state_key::NAME])? {
        let (key, _) = record?;
        let table = table_of(&key);
        if !known.contains(&table) {
            unborn.entry(table).or_default().push(String::from_utf8_lossy(suffix_of(&key)).into_owned());
        }
    }
    for (table, names) in unborn {
        let folder = Folders::built_of(data_dir, table);
        let gone: Vec<String> = names.into_iter().filter(|name| is_removed(&folder.join(name))).collect();
        // Others may be in it.
        let _ = std::fs::remove_dir(&folder);
        let commit = cleaned(table, &gone);
        write(store, env, &[commit.kind], &commit.ops, commit.sync)?;
    }
    Ok(())
}

/// Whether the file is not there any more, nor its sidecar.
fn is_removed(path: &Path) -> bool {
    match remove_local(path) {
        Err(e) => {
            tracing::warn!(path = %path.display(), reason = %e, "a file of a table that was never made stays on disk");
            false
        }
        Ok(()) => true,
    }
}
