//! How is a folder made so that a power cut does not take it back? Each new name is synced in its parent.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes `folder` and those of its parents that are missing. Blocks.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
    std::fs::create_dir_all(folder)?;
    for made in missing {
        if let Some(parent) = made.parent() {
            // The parent of a relative path with one part.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}
