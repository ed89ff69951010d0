//! When are two stores of tables one? Their place in one form, whatever URL names it, which is also what stays on record: a folder that is in
//! the data folder goes wherever that goes.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::open::{Place, StoreOptions, TABLES, bucket_of};
use crate::error::{Code, Error, Result};

/// Stands first in the record.
const VERSION: u8 = 1;

/// The root of the local disk, as a URL.
const DISK: &str = "file:///";

/// Where the Delta tables of a data folder are: `s3://bucket/prefix`, `file:///folder`, or, without a scheme, the path of a folder in the data
/// folder, escaped as in a URL. Nobody's credentials: a URL that has any names no store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorePlace(String);

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_inside() {
            true => write!(f, "its folder '{}'", self.0),
            false => f.write_str(&self.0),
        }
    }
}

impl StorePlace {
    /// The place that is not named by a URL.
    pub(crate) fn usual() -> Self {
        Self(TABLES.to_owned())
    }

    /// The place that the options name, for a data folder that is there. Nothing is made, and no store is asked. `INVALID_CONFIG`.
    pub(crate) fn of(data_dir: &Path, options: &StoreOptions) -> Result<Self> {
        match options.place()? {
            Place::Default => Ok(Self::usual()),
            Place::Folder(folder, _) => Self::of_folder(data_dir, &folder),
            Place::S3(text, url) => {
                let (bucket, prefix) = bucket_of(text, &url)?;
                Ok(Self(format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned()))
            }
        }
    }

    fn of_folder(data_dir: &Path, folder: &Path) -> Result<Self> {
        let named = |path: &Path| {
            Url::from_file_path(path).map_err(|()| Error::internal(format!("{} has no URL", path.display())))
        };
        Ok(match resolved(folder).strip_prefix(resolved(data_dir)) {
            Ok(inside) => Self(named(&Path::new("/").join(inside))?.as_str().trim_start_matches(DISK).to_owned()),
            Err(_) => Self(named(folder)?.to_string()),
        })
    }

    /// It goes where the data folder goes.
    pub(crate) fn is_inside(&self) -> bool {
        !self.0.contains("://")
    }

    /// The folder; `None`: it is not on the local disk.
    pub(crate) fn folder(&self, data_dir: &Path) -> Option<PathBuf> {
        let url = if self.is_inside() { format!("{DISK}{}", self.0) } else { self.0.clone() };
        let path = Url::parse(&url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()?;
        match path.strip_prefix("/") {
            Ok(inside) if self.is_inside() => Some(data_dir.join(inside)),
            _ => Some(path),
        }
    }

    /// Whether they are one place, by name or because links lead to it.
    pub(crate) fn is(&self, other: &Self, data_dir: &Path) -> bool {
        let folders = || Some((self.folder(data_dir)?, other.folder(data_dir)?));
        self == other || folders().is_some_and(|(one, other)| resolved(&one) == resolved(&other))
    }

    /// What `storage.url` says to name it.
    pub(crate) fn setting(&self, data_dir: &Path) -> String {
        let folder = self.folder(data_dir).filter(|_| self.is_inside() && *self != Self::usual());
        match folder.map(|folder| Url::from_file_path(resolved(&folder))) {
            Some(Ok(url)) => url.to_string(),
            _ if *self == Self::usual() => "local".to_owned(),
            _ => self.0.clone(),
        }
    }

    pub(crate) fn to_disk(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.0.as_bytes());
        out
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        let damaged = |why: &str| {
            Error::new(Code::LogDamaged, format!("the record of the tables' store is damaged: {why}"))
                .hint("nothing was changed; restore the folder from a backup")
        };
        match bytes.split_first() {
            Some((&VERSION, text)) => {
                let text = std::str::from_utf8(text).map_err(|e| damaged(&e.to_string()).source(e))?;
                Ok(Self(text.to_owned()))
            }
            Some((version, _)) => Err(Error::new(
                Code::LogUnknownVersion,
                format!("the record of the tables' store has version {version}, this program reads {VERSION}"),
            )
            .hint("start the version of Tidewater that wrote this folder, or a newer one")),
            None => Err(damaged("it is empty")),
        }
    }
}

/// Without symbolic links, as far as it is there.
fn resolved(folder: &Path) -> PathBuf {
    let known =
        folder.ancestors().find_map(|part| Some((std::fs::canonicalize(part).ok()?, folder.strip_prefix(part).ok()?)));
    match known {
        Some((part, rest)) => part.components().chain(rest.components()).collect(),
        None => folder.to_owned(),
    }
}
