//! DELETE: one entry that names rows of files. Their keys stay remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringBitmap;
use tokio::sync::oneshot;

use crate::error::{Code, Error, Result};
use crate::ids::CommitToken;
use crate::log::{Delete, DeletedRows};
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::worker::group::{Answer, Publish};
use crate::table::worker::task::{Prepared, Worker};

/// A commit of the Delta table takes about so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Worker {
    /// `rows` by file. Counts the rows that were not deleted before. Refused if a file is not in the table any more.
    pub(crate) fn on_delete(
        &mut self,
        rows: Vec<(String, RoaringBitmap)>,
        answer: oneshot::Sender<Result<(u64, CommitToken)>>,
    ) -> Prepared {
        let new = match self.new_deletes(rows) {
            Ok(new) => new,
            Err(refused) => return Prepared::answer(Answer::Counted(answer, Err(refused))),
        };
        let n_rows: u64 = new.iter().map(|(_, rows)| rows.len()).sum();
        if n_rows == 0 {
            return Prepared::answer(Answer::Counted(answer, Ok((0, self.token(self.state.last_seq)))));
        }
        let place = self.next_place();
        let seal = &mut self.state.seal;
        let mut all: HashMap<String, Arc<RoaringBitmap>> = HashMap::with_capacity(new.len());
        let mut files = Vec::with_capacity(new.len());
        for (name, rows) in new {
            files.push(DeletedRows { file: name.clone(), rows: serialized(&rows) });
            let deleted = seal.deleted.entry(name.clone()).or_default();
            *Arc::make_mut(deleted) |= rows;
            all.insert(name.clone(), Arc::clone(deleted));
            seal.unrecorded.insert(name);
        }
        if let Some(gone) = &mut seal.gone {
            gone.deleted = gone.deleted.saturating_add(n_rows);
        }
        let gone = seal.gone;
        self.decided_rows = self.decided_rows.saturating_sub(n_rows);
        self.state.unsynced = false;
        Prepared {
            seq: place.seq,
            commit: Some(commit::delete(place, Delete { files }, gone)),
            publish: Publish::Deleted(all),
            stamp_us: place.at.wall_us,
            answers: vec![Answer::Counted(answer, Ok((n_rows, self.token(place.seq))))],
        }
    }

    fn new_deletes(&self, rows: Vec<(String, RoaringBitmap)>) -> Result<Vec<(String, RoaringBitmap)>> {
        self.shared.gate.check_space(Write::Small)?;
        let seal = &self.state.seal;
        let mut new = Vec::with_capacity(rows.len());
        for (name, mut rows) in rows {
            let Some(n_rows) = seal.rows_of(&name) else {
                return Err(Error::new(Code::DeleteConflict, format!("the file {name} left the table meanwhile"))
                    .hint("run the statement again"));
            };
            if seal.leaving.contains(&name) {
                return Err(Error::new(Code::FileLeaving, format!("the file {name} is being replaced"))
                    .hint("run the statement again in a moment")
                    .retry_after(RETRY_AFTER));
            }
            if rows.max().is_some_and(|last| u64::from(last) >= n_rows) {
                return Err(Error::internal(format!("row {:?} of file {name} with {n_rows} rows", rows.max())));
            }
            if let Some(deleted) = seal.deleted.get(&name) {
                rows -= &**deleted;
            }
            if !rows.is_empty() {
                new.push((name, rows));
            }
        }
        Ok(new)
    }
}

fn serialized(rows: &RoaringBitmap) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.serialized_size());
    // Writing to a Vec does not fail.
    let _ = rows.serialize_into(&mut out);
    out
}
