//! What was built or published becomes part of the table: one commit, then a version with the same rows in another place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::sealed::{DeletionVector, FilePlace, FileRef};
use crate::table::commit::{self, BuildRecord, PublishRecord};
use crate::table::seal::{
    Base, Books, Built, BuiltRange, Intent, NameKind, PublishOutcome, PublishPlan, PublishedFile, RowCounts, SealState,
    plan_publish,
};
use crate::table::worker::group::{Answer, Publish};
use crate::table::worker::task::{Prepared, Worker};

impl Worker {
    /// The files take the place of the prefix that was closed as `built.id`. Refused if that is gone: the files belong to nothing then.
    pub(crate) fn on_built(&mut self, built: Built, answer: oneshot::Sender<Result<()>>) -> Prepared {
        let is_frozen = self.state.seal.frozen.is_some_and(|mark| mark.id == built.id);
        if !is_frozen || self.state.seal.base.seq != built.from {
            let is_gone = self.state.seal.base.seq > built.through;
            let refused = match is_gone {
                true => Error::new(Code::BuildOvertaken, "what was built is not in the table any more"),
                // Another worker closed nothing: the rows are in its memory, and have to be built again.
                false => Error::new(Code::BuildLost, "the table was opened again while its rows were built"),
            };
            return Prepared::answer(Answer::Done(answer, Err(refused)));
        }
        if built.expired > 0 && is_kept_longer(self.state.def.options.retention_us, built.retention_us) {
            return Prepared::answer(Answer::Done(
                answer,
                Err(Error::new(Code::BuildLost, "the table keeps rows for longer than it did when they were built")),
            ));
        }
        let table = self.state.def.id;
        let seal = &mut self.state.seal;
        note_expired(seal, built.expired);
        self.decided_rows = self.decided_rows.saturating_sub(built.expired);
        seal.frozen = None;
        seal.arrivals.forget(built.through);
        seal.layers.retain(|layer| layer.through > built.through);
        seal.layer_files.extend(built.layers.iter().cloned());
        let mut files: Vec<_> = built.files.iter().map(|(file, _)| file.clone()).collect();
        // Readers have them since their entries.
        files.extend(seal.take_segments(built.through));
        let range = (!files.is_empty()).then(|| BuiltRange { from: built.from, through: built.through, files });
        let unrecorded = std::mem::take(&mut seal.unrecorded);
        let deleted = unrecorded.iter().filter_map(|name| Some((name.clone(), &**seal.deleted.get(name)?)));
        let record = BuildRecord {
            through: built.through,
            range: range.as_ref(),
            layers: &built.layers,
            at: built.at,
            deleted: deleted.collect(),
            used_names: built.used_names.iter().map(String::as_str).collect(),
            gone: seal.gone.filter(|_| built.expired > 0),
        };
        let commit = commit::build(table, &record);
        seal.base = Base { seq: built.through.next(), at: built.at };
        if let Some(keys) = &mut self.state.keys {
            keys.note_built(built.through.0);
        }
        seal.ranges.extend(range);
        self.reclaim.decide(built.through.next());
        self.state.unsynced = false;
        let refs = built.files.into_iter().map(|(file, place)| FileRef { file: Arc::new(file), place, deleted: None });
        self.prepared(
            commit,
            Publish::Built { files: refs.collect(), through: built.through },
            Answer::Done(answer, Ok(())),
        )
    }

    /// What the next commit of the Delta table is to say.
    pub(crate) fn on_plan_publish(&self, answer: oneshot::Sender<Result<Option<PublishPlan>>>) -> Prepared {
        let version = self.shared.version.load();
        let plan = plan_publish(&self.state.seal, &version.files, &version.def, &self.shared.quarantine);
        let plan = plan.map(|plan| plan.map(Box::new));
        // Answered when everything that it rests on is on disk.
        Prepared::answer(Answer::Plan(answer, plan))
    }

    /// A commit that was planned is on record from here on, as if it were sent. In one step with everything that was decided before: rows
    /// that a TRUNCATE took in the meantime get into no version of the Delta table.
    pub(crate) fn on_send(
        &self,
        truncated: Option<CommitSeq>,
        intent: &Intent,
        answer: oneshot::Sender<Result<()>>,
    ) -> Prepared {
        if self.state.seal.truncated != truncated {
            let gone = Error::new(Code::BuildOvertaken, "the table was truncated since the commit was planned");
            return Prepared::answer(Answer::Done(answer, Err(gone)));
        }
        self.prepared(commit::intent(self.state.def.id, intent), Publish::Nothing, Answer::Done(answer, Ok(())))
    }

    /// Both sides of the table's accounts: what was decided, and, when all of that is visible, what is there.
    pub(crate) fn on_count(&self, answer: oneshot::Sender<Result<Books>>) -> Prepared {
        let counts = RowCounts { accepted: self.shared.ledger.lock().totals().accepted, gone: self.state.seal.gone };
        Prepared::answer(Answer::Books(answer, counts, Arc::clone(&self.shared)))
    }

    /// A commit of the Delta table was found at its version.
    pub(crate) fn on_published(&mut self, outcome: PublishOutcome, answer: oneshot::Sender<Result<()>>) -> Prepared {
        let PublishOutcome { after, mut published, removed } = outcome;
        let now = self.now();
        for file in &mut published {
            file.since.get_or_insert(now);
        }
        let seal = &mut self.state.seal;
        let through = after.through();
        let ranges: Vec<BuiltRange> =
            std::iter::from_fn(|| seal.ranges.pop_front_if(|range| range.through <= through)).collect();
        let throughs: Vec<CommitSeq> = ranges.iter().map(|range| range.through).collect();
        let is_added: HashSet<&str> = published.iter().map(|file| file.file.name.as_str()).collect();
        let was_built = ranges.iter().flat_map(|range| &range.files).map(|file| file.name.clone());
        let was_built: Vec<String> = was_built.collect();
        // Built files of which every row was deleted are nowhere now.
        let gone: Vec<String> = was_built.iter().filter(|name| !is_added.contains(name.as_str())).cloned().collect();
        let settles_truncate = seal.truncated.is_some_and(|truncated| truncated <= through);
        let removed_at = NameKind::Removed(now);
        let mut left: Vec<(String, NameKind)> = was_built
            .iter()
            .map(|name| match is_added.contains(name.as_str()) {
                true => (name.clone(), NameKind::Built),
                // An attempt before its last row was deleted may have brought it to the Delta folder.
                false => (name.clone(), NameKind::Anywhere),
            })
            .collect();
        left.extend(removed.iter().filter_map(|name| seal.published.get(name)).flat_map(|file| {
            let vector = file.vector.as_ref().and_then(DeletionVector::file_name);
            // Its sidecar goes with it.
            [Some(file.file.name.clone()), vector].into_iter().flatten().map(|name| (name, removed_at))
        }));
        // A deletion vector that was replaced.
        left.extend(published.iter().filter_map(|file| {
            let old = seal.published.get(&file.file.name)?.vector.as_ref()?.file_name()?;
            // An outcome that is noted again, after its worker failed, replaces nothing.
            let is_replaced = file.vector.as_ref().and_then(DeletionVector::file_name).as_ref() != Some(&old);
            is_replaced.then_some((old, removed_at))
        }));
        let forgotten: Vec<String> = removed.iter().chain(&gone).cloned().collect();
        // Files that a compaction made; those of a range that was truncated meanwhile are hidden.
        let is_known = |name: &str| seal.published.contains_key(name) || was_built.iter().any(|built| built == name);
        let new = published.iter().filter(|file| !is_known(&file.file.name) && !seal.is_hidden(file));
        let added: Vec<FileRef> = new
            .map(|file| FileRef {
                file: Arc::new(file.file.clone()),
                place: Arc::new(FilePlace::published(self.shared.folders.published_path(&file.file.name))),
                deleted: None,
            })
            .collect();
        let came: u64 = added.iter().map(FileRef::live_rows).sum();
        let went: u64 = removed.iter().map(|name| seal.live_rows(name)).sum();
        // None, unless rows are past their retention.
        let expired = went.saturating_sub(came);
        note_expired(seal, expired);
        let commit = commit::published(
            self.state.def.id,
            &PublishRecord {
                after,
                published: &published,
                removed: &removed,
                ranges: &throughs,
                settles_truncate,
                left: &left,
                forgotten: &forgotten,
                gone: seal.gone.filter(|_| expired > 0),
            },
        );
        self.decided_rows = (self.decided_rows + came).saturating_sub(went);
        seal.leaving.clear();
        seal.settled = Some(after);
        if settles_truncate {
            seal.truncated = None;
        }
        for name in &forgotten {
            seal.deleted.remove(name);
            seal.unrecorded.remove(name);
        }
        for name in &removed {
            seal.published.remove(name);
        }
        let places: HashMap<String, FileRef> = published
            .iter()
            .map(|file| {
                let path = self.shared.folders.published_path(&file.file.name);
                // A sidecar that was damaged is not there.
                let (place, known) = (Arc::new(FilePlace::published(path)), Arc::new(file.file.clone()));
                (file.file.name.clone(), FileRef { file: known, place, deleted: None })
            })
            .collect();
        let published = published.into_iter().map(|file: PublishedFile| (file.file.name.clone(), file));
        self.state.seal.published.extend(published);
        self.prepared(commit, Publish::Published { places, gone: forgotten, added }, Answer::Done(answer, Ok(())))
    }

    /// What Delta's log has of files that are to be replaced, without those that may not be; changes nothing.
    pub(crate) fn on_look_up_published(
        &self,
        names: &[String],
        answer: oneshot::Sender<Result<Vec<PublishedFile>>>,
    ) -> Prepared {
        let found = names.iter().filter_map(|name| self.state.seal.quiet(name).cloned());
        Prepared::answer(Answer::Published(answer, Ok(found.collect())))
    }

    /// The files leave with a commit that is on record from here on, if they are as they were read: they are there, no entry names rows of
    /// them that Delta's log does not know, and no more is deleted of any than its reader saw. In one step with everything that was
    /// decided before, so that nothing can be deleted from them that the commit does not know, and no retention be made longer that still
    /// counted when they were picked: the store may have been away since.
    pub(crate) fn on_leave(
        &mut self,
        files: Vec<(String, u64)>,
        retention_us: Option<i64>,
        intent: &Intent,
        answer: oneshot::Sender<Result<()>>,
    ) -> Prepared {
        if is_kept_longer(self.state.def.options.retention_us, retention_us) {
            let kept = Error::new(Code::BuildOvertaken, "the table keeps rows for longer than when its files expired");
            return Prepared::answer(Answer::Done(answer, Err(kept)));
        }
        let seal = &mut self.state.seal;
        let is_as_read =
            |(name, n_deleted): &(String, u64)| seal.quiet(name).is_some_and(|file| file.n_deleted() == *n_deleted);
        if let Some((name, _)) = files.iter().find(|&file| !is_as_read(file)) {
            return Prepared::answer(Answer::Done(answer, Err(changed(name))));
        }
        seal.leaving.extend(files.into_iter().map(|(name, _)| name));
        self.prepared(commit::intent(self.state.def.id, intent), Publish::Nothing, Answer::Done(answer, Ok(())))
    }

    /// Tells who builds and publishes what there is to do.
    pub(crate) fn note_seal(&self) {
        let seal = &self.state.seal;
        *self.shared.sealing.lock() = seal.figures(self.state.def.options.dedup_window_us.is_some());
    }

    /// A commit without an entry of its own: the rows are the same before and after.
    fn prepared(&self, commit: crate::log::Commit, publish: Publish, answer: Answer) -> Prepared {
        Prepared {
            seq: self.state.last_seq,
            commit: Some(commit),
            publish,
            stamp_us: self.state.last_stamp_us,
            answers: vec![answer],
        }
    }
}

/// So many rows leave the table because they are past its retention: they are not built, or go with their file.
fn note_expired(seal: &mut SealState, n_rows: u64) {
    if n_rows == 0 {
        return;
    }
    if let Some(gone) = &mut seal.gone {
        gone.expired = gone.expired.saturating_add(n_rows);
    }
    metrics::counter!("tidewater_expired_rows_total").increment(n_rows);
}

/// A longer retention than `before`, or none. Without one `before` nothing is.
fn is_kept_longer(now: Option<i64>, before: Option<i64>) -> bool {
    match (now, before) {
        (Some(now), Some(before)) => now > before,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

fn changed(name: &str) -> Error {
    Error::new(Code::BuildOvertaken, format!("the file {name} was changed meanwhile"))
}
