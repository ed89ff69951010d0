//! Does the store answer that Delta tables are kept in, and does it keep what commits rest on? It puts a small object there and removes it.

use std::path::PathBuf;

use tidewater_storage::{Error, StoreOptions};

use super::disk;
use super::report::Finding;

const CHECK: &str = "tables' store";

/// Nothing of a store in the data folder, which is measured anyway.
pub(super) async fn check(tables: &StoreOptions) -> Vec<Finding> {
    match tables.check().and_then(|()| tables.folder()) {
        Err(error) => vec![failed(&error)],
        Ok(Some(folder)) => vec![of_folder(folder).await],
        Ok(None) => match tables.reach().await {
            Ok(Some(root)) => vec![Finding::ok(CHECK, format!("{root} answers, and has conditional puts"))],
            Ok(None) => Vec::new(),
            Err(error) => vec![failed(&error)],
        },
    }
}

/// The worst of what is found of its disk.
async fn of_folder(folder: PathBuf) -> Finding {
    let name = folder.display().to_string();
    let found = tokio::task::spawn_blocking(move || disk::check(&folder, tidewater_storage::limits::MIN_FREE_BYTES));
    let worst = found.await.unwrap_or_default().into_iter().find(Finding::is_failure);
    match worst {
        Some(finding) => Finding { check: CHECK, ..finding },
        None => Finding::ok(CHECK, format!("{name} can be written")),
    }
}

fn failed(error: &Error) -> Finding {
    Finding::fail(
        CHECK,
        error.message(),
        error.hint_text().unwrap_or("change storage.url, storage.endpoint or storage.region"),
    )
}
