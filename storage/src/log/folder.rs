//! Is this the data folder of a server, or may it become one? Somebody else's files are not put among ours.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::{Code, Error, Result};

/// What a first start makes, in this order; it may have ended in between.
pub(super) const LOCK: &str = "LOCK";
pub(super) const WITNESS: &str = "witness";
pub(super) const LOG: &str = "log";

/// A new file system has it.
const LOST_AND_FOUND: &str = "lost+found";

/// `FOLDER_UNUSABLE`: the folder has files and is no data folder. Fine are a data folder, one whose first start ended early, one that is
/// empty but for hidden names, `lost+found` (a fresh volume has those) and the caller's `own`, and one that is not there. Nothing is made.
pub fn check_data_folder(folder: &Path, own: &[&str]) -> Result<()> {
    let has = |name: &str| folder.join(name).exists();
    if folder.join(LOG).is_dir() && (has(LOCK) || has(WITNESS)) {
        return Ok(());
    }
    // Whether it can be used at all is seen when it is opened.
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut others: Vec<_> = names.filter(|name| !is_no_data(name) && !own.iter().any(|own| name == *own)).collect();
    others.sort();
    let Some(first) = others.first() else { return Ok(()) };
    let what = format!(
        "{} has other files ({}{}) and is no data folder",
        folder.display(),
        first.display(),
        if others.len() > 1 { ", …" } else { "" }
    );
    Err(Error::new(Code::FolderUnusable, what)
        .hint("name an empty folder, or one that is not there yet, with --data; for example a folder in this one"))
}

fn is_no_data(name: &OsStr) -> bool {
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    is_hidden || [LOCK, WITNESS, LOST_AND_FOUND].iter().any(|known| name == *known)
}
