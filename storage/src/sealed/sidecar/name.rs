//! What is a sidecar called, and where is it? Its name follows from its file's, so that a record of the one is a record of both.

use std::path::{Path, PathBuf};

/// In the Delta folder. Other engines' VACUUM passes over folders whose names begin like this, as it does over Delta's own.
const FOLDER: &str = "_filters";

const EXTENSION: &str = "filters";
const FILE_EXTENSION: &str = "parquet";

/// The name of a file's sidecar: its place in the Delta folder.
pub(crate) fn sidecar_of(file: &str) -> String {
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or(file);
    format!("{FOLDER}/{stem}.{EXTENSION}")
}

/// Where the sidecar of a built file lies: beside it.
pub(crate) fn local_sidecar_of(file: &Path) -> PathBuf {
    file.with_extension(EXTENSION)
}

/// A name or a path is of a file that may have a sidecar.
pub(crate) fn may_have_sidecar(name: impl AsRef<Path>) -> bool {
    name.as_ref().extension().is_some_and(|extension| extension == FILE_EXTENSION)
}
