//! Where are the files of one table? Built ones and key layers under the data folder, published ones in its Delta folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::path::Path as StorePath;
use url::Url;

use crate::catalog::TableDef;
use crate::ids::TableId;
use crate::sealed::{FilePlace, FileStores, TablesStore};

/// Under the data folder.
const BUILT: &str = "built";

/// The folders of one table.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    data_dir: PathBuf,
    /// Of built files and key layers; named by the table's id, so that DROP and CREATE of one name never meet.
    built: String,
    /// Of the Delta table, by name and id.
    published: String,
    tables: Arc<TablesStore>,
    stores: FileStores,
}

impl Folders {
    pub(crate) fn new(data_dir: &Path, def: &TableDef, tables: &Arc<TablesStore>, stores: &FileStores) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            built: format!("{BUILT}/{}", def.id),
            published: def.folder.clone(),
            tables: Arc::clone(tables),
            stores: stores.clone(),
        }
    }

    /// The folder of built files of any table.
    pub(crate) fn built_of(data_dir: &Path, table: TableId) -> PathBuf {
        data_dir.join(BUILT).join(table.to_string())
    }

    pub(crate) fn stores(&self) -> &FileStores {
        &self.stores
    }

    pub(crate) fn tables(&self) -> &Arc<TablesStore> {
        &self.tables
    }

    /// The folder of built files.
    pub(crate) fn built(&self) -> PathBuf {
        self.data_dir.join(&self.built)
    }

    /// A built file or a key layer.
    pub(crate) fn built_path(&self, name: &str) -> PathBuf {
        self.built().join(name)
    }

    pub(crate) fn built_place(&self, name: &str) -> FilePlace {
        FilePlace::built(StorePath::from(format!("{}/{name}", self.built)), self.built_path(name))
    }

    /// The Delta folder, in its store.
    pub(crate) fn published(&self) -> StorePath {
        self.tables.prefix.clone().join(self.published.as_str())
    }

    /// A file of the Delta folder; its name may begin with a folder in there.
    pub(crate) fn published_path(&self, name: &str) -> StorePath {
        StorePath::from(format!("{}/{name}", self.published()))
    }

    /// The Delta folder, as its readers name it.
    pub(crate) fn location(&self) -> Url {
        let mut url = self.tables.root.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push(&self.published);
        }
        url
    }
}
