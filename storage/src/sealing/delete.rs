//! How do rows of files go? One entry names them; a file that is being replaced meanwhile is waited for.

use std::time::Duration;

use roaring::RoaringBitmap;

use crate::error::{Code, Error, Result};
use crate::ids::CommitToken;
use crate::table::{Table, TableRequest, TableSnapshot};

/// How long a DELETE waits for a commit that replaces files of its rows.
const LEAVING_WAIT: Duration = Duration::from_secs(10);

impl Table {
    /// Deletes rows of files, named by their place in `snapshot.files()`. Returns how many were there until now. `DELETE_CONFLICT`: a file
    /// left the table since the snapshot was taken, so the rows must be found again.
    pub async fn delete(
        &self,
        snapshot: &TableSnapshot,
        rows: Vec<(usize, RoaringBitmap)>,
    ) -> Result<(u64, CommitToken)> {
        let named = rows.into_iter().map(|(at, rows)| match snapshot.files().get(at) {
            Some(file) => Ok((file.file.name.clone(), rows)),
            None => Err(Error::internal(format!("file {at} of {}", snapshot.files().len()))),
        });
        let rows = named.collect::<Result<Vec<_>>>()?;
        let outcome = self.ask(|answer| TableRequest::Delete { rows, answer }).await;
        if !outcome.as_ref().is_err_and(|e| e.code() == Code::FileLeaving) {
            return outcome;
        }
        // A compaction's commit is on its way. Once it is settled the rows are elsewhere; while the store is away nobody knows.
        match tokio::time::timeout(LEAVING_WAIT, self.shared.publishing.lock()).await {
            Ok(_settled) => Err(Error::new(Code::DeleteConflict, "a file of the rows was replaced meanwhile")
                .hint("run the statement again")),
            Err(_) => outcome,
        }
    }
}
