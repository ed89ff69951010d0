//! Which settled files does a version of a table have? An immutable list; a change makes a new one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::sealed::{FilePlace, FileRef};

/// The files of one version: those that are built, then those that are published.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    refs: Arc<[FileRef]>,
    live_rows: u64,
}

impl Files {
    pub(crate) fn new(mut refs: Vec<FileRef>) -> Self {
        refs.sort_by_key(|file| file.place.is_published);
        let live_rows = refs.iter().map(FileRef::live_rows).sum();
        Self { refs: refs.into(), live_rows }
    }

    pub(crate) fn refs(&self) -> &[FileRef] {
        &self.refs
    }

    /// Rows that a reader sees.
    pub(crate) fn live_rows(&self) -> u64 {
        self.live_rows
    }

    pub(crate) fn with(&self, added: impl IntoIterator<Item = FileRef>) -> Self {
        Self::new(self.refs.iter().cloned().chain(added).collect())
    }

    pub(crate) fn without(&self, names: &HashSet<&str>) -> Self {
        Self::new(self.refs.iter().filter(|file| !names.contains(file.file.name.as_str())).cloned().collect())
    }

    /// With all deleted rows of the named files.
    pub(crate) fn with_deleted(&self, deleted: &HashMap<String, Arc<RoaringBitmap>>) -> Self {
        let changed = self.refs.iter().map(|file| match deleted.get(&file.file.name) {
            Some(rows) => FileRef { deleted: Some(Arc::clone(rows)), ..file.clone() },
            None => file.clone(),
        });
        Self::new(changed.collect())
    }

    /// With the named files as they are elsewhere, and the deleted rows that they have here. Returns where they were.
    pub(crate) fn with_places(&self, places: &HashMap<String, FileRef>) -> (Self, Vec<Arc<FilePlace>>) {
        let mut left = Vec::new();
        let moved = self.refs.iter().map(|file| match places.get(file.file.name.as_str()) {
            Some(there) => {
                left.push(Arc::clone(&file.place));
                FileRef { deleted: file.deleted.clone(), ..there.clone() }
            }
            None => file.clone(),
        });
        let files = Self::new(moved.collect());
        (files, left)
    }
}
