//! Which stores have tables that are not where the others are? A table that was attached stays where it is; each such store is opened once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::path::Path as StorePath;
use parking_lot::Mutex;
use url::Url;

use super::away::AwayStore;
use super::open::{StoreOptions, TablesStore, open_tables};
use crate::env::DurableLocalStore;
use crate::error::{Code, Error, Result};

/// The stores of a data folder, beside the one that new tables are made in.
pub(crate) struct OtherStores {
    data_dir: PathBuf,
    local: Arc<DurableLocalStore>,
    /// Those of the configuration, for `s3://`.
    options: Vec<(String, String)>,
    own: Arc<TablesStore>,
    opened: Mutex<HashMap<String, Arc<TablesStore>>>,
}

/// Where a Delta table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeltaPlace {
    /// The place that its folder is in; `None`: where new tables are made.
    pub(crate) root: Option<Url>,
    /// The name of its folder.
    pub(crate) folder: String,
}

impl OtherStores {
    /// `own` was opened with the same options; `local` is rooted at `data_dir`.
    pub(crate) fn new(
        data_dir: &Path,
        local: &Arc<DurableLocalStore>,
        options: &StoreOptions,
        own: &Arc<TablesStore>,
    ) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            local: Arc::clone(local),
            options: options.options.clone(),
            own: Arc::clone(own),
            opened: Mutex::new(HashMap::new()),
        }
    }

    /// The store that tables under `root` are in. A local folder that is not there, because it is not mounted, is not made: the store is away
    /// then, as one elsewhere may be, and whoever opens it later looks again. Blocks.
    pub(crate) fn open(&self, root: &Url) -> Result<Arc<TablesStore>> {
        if let Some(known) = self.opened.lock().get(root.as_str()) {
            return Ok(Arc::clone(known));
        }
        let is_local = root.scheme() == "file";
        if is_local && !root.to_file_path().is_ok_and(|folder| folder.is_dir()) {
            tracing::warn!(%root, "the folder of an attached table is not there: check that its file system is mounted");
            let (store, prefix) = (Arc::new(AwayStore { root: root.clone() }), StorePath::default());
            return Ok(Arc::new(TablesStore { store, root: root.clone(), prefix, local: None }));
        }
        let options = if is_local { Vec::new() } else { self.options.clone() };
        let options = StoreOptions { url: Some(root.to_string()), options };
        let opened = Arc::new(open_tables(&self.data_dir, &self.local, &options)?);
        self.opened.lock().insert(root.to_string(), Arc::clone(&opened));
        Ok(opened)
    }

    /// Where the Delta table is that a path, a `file://` URL or an `s3://` URL names. `TABLE_NOT_FOUND`: nothing is at a local one. An object
    /// store is not asked. Blocks.
    pub(crate) fn find(&self, text: &str) -> Result<DeltaPlace> {
        let text = text.trim_end_matches('/');
        let url = match text.starts_with('/') {
            true => Url::from_file_path(text).map_err(|()| invalid(text, "it is not a path"))?,
            false => Url::parse(text).map_err(|e| invalid(text, &e.to_string()))?,
        };
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            // Not shown: a password may be in it.
            return Err(invalid(&format!("{}://…", url.scheme()), "it has more than a place and a path"));
        }
        match url.scheme() {
            // `file:t` would be read as `file:///t`.
            "file" if !text.starts_with('/') && !text.starts_with("file:///") => {
                Err(invalid(text, "it does not begin with file:///"))
            }
            "file" => self.find_local(text, &url),
            "s3" => self.find_object(text, &url),
            other => Err(invalid(text, &format!("it is of the kind '{other}'"))),
        }
    }

    fn find_local(&self, text: &str, url: &Url) -> Result<DeltaPlace> {
        let missing = || {
            Error::new(Code::TableNotFound, format!("there is no Delta table at {text}"))
                .hint("name the folder that has _delta_log in it, as the server's machine sees it")
        };
        let path = url.to_file_path().map_err(|()| invalid(text, "it is not a path"))?;
        let path = std::fs::canonicalize(path).map_err(|e| missing().source(e))?;
        if !path.join("_delta_log").is_dir() {
            return Err(missing());
        }
        let (Some(parent), Some(folder)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(missing());
        };
        let folder = plain(text, folder)?;
        let is_own = self.own.local.as_ref().is_some_and(|own| own.root().join(self.own.prefix.to_string()) == parent);
        let root = Url::from_file_path(parent).map_err(|()| invalid(text, "its folder has no URL"))?;
        Ok(DeltaPlace { root: (!is_own).then_some(root), folder })
    }

    fn find_object(&self, text: &str, url: &Url) -> Result<DeltaPlace> {
        let (parent, folder) = url.path().rsplit_once('/').unwrap_or_default();
        let folder = plain(text, folder)?;
        let mut root = url.clone();
        root.set_path(parent);
        let is_own = root.as_str().trim_end_matches('/') == self.own.root.as_str().trim_end_matches('/');
        Ok(DeltaPlace { root: (!is_own).then_some(root), folder })
    }
}

/// A folder's name that means the same in a path, in a URL and in a store.
fn plain(text: &str, folder: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=');
    if folder.is_empty() || folder.starts_with('.') || !folder.chars().all(is_plain) {
        return Err(invalid(text, "its last part is not a plain name").hint(
            "the folder of a table is called by ASCII letters, digits, '_', '-' and '.': move it under such a name",
        ));
    }
    Ok(folder.to_owned())
}

fn invalid(text: &str, why: &str) -> Error {
    Error::new(Code::InvalidStatement, format!("'{text}' names no Delta table: {why}"))
        .hint("write /folder/table, file:///folder/table or s3://bucket/prefix/table")
}
