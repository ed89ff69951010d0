//! What does the next commit of the Delta table say? Chosen from what a worker knows and readers see; nothing is done here.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::files::Files;
use super::quarantine::{Damage, Quarantine};
use super::records::{PublishedFile, Settled};
use super::state::SealState;
use crate::catalog::TableDef;
use crate::error::Result;
use crate::ids::CommitSeq;
use crate::limits::MAX_PUBLISHED_FILES;
use crate::sealed::FileRef;

/// A commit to be made: the table as it is after the entry `through`.
#[derive(Debug)]
pub(crate) struct PublishPlan {
    /// What is settled; `None`: there is no Delta table yet.
    pub(crate) from: Option<Settled>,
    pub(crate) through: CommitSeq,
    /// The last TRUNCATE that Delta's log does not have: after another one the plan says what is not so any more.
    pub(crate) truncated: Option<CommitSeq>,
    /// Built files that have rows, with what is deleted of them.
    pub(crate) adds: Vec<FileRef>,
    /// Published files of which more is deleted than Delta's log says.
    pub(crate) revised: Vec<Replaced>,
    /// Published files that go: truncated, or all their rows deleted.
    pub(crate) removes: Vec<PublishedFile>,
    pub(crate) def: Arc<TableDef>,
}

/// A published file and all its deleted rows.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) file: PublishedFile,
    pub(crate) deleted: Arc<RoaringBitmap>,
}

/// `None`: Delta's log says everything already that is built. `files` are those of the visible version: what is deleted there is durable.
/// A damaged file is never published, nor is anything that came after it: `FILE_DAMAGED` names it if there is nothing else to say.
pub(crate) fn plan_publish(
    state: &SealState,
    files: &Files,
    def: &Arc<TableDef>,
    quarantine: &Quarantine,
) -> Result<Option<PublishPlan>> {
    let visible: HashMap<&str, &FileRef> = files.refs().iter().map(|file| (file.file.name.as_str(), file)).collect();
    let before = state.settled.map_or(CommitSeq(0), |settled| settled.through());
    let mut through = before;
    let mut adds: Vec<FileRef> = Vec::new();
    let mut blocked: Option<(FileRef, Damage)> = None;
    for (at, range) in state.ranges.iter().enumerate() {
        // A prefix, and never nothing.
        if at > 0 && adds.len() + range.files.len() > MAX_PUBLISHED_FILES {
            break;
        }
        // A range that is decided and not visible yet waits for the next time.
        let found: Option<Vec<FileRef>> =
            range.files.iter().map(|file| visible.get(file.name.as_str()).map(|file| FileRef::clone(file))).collect();
        let Some(found) = found else { break };
        let live: Vec<FileRef> = found.into_iter().filter(|file| file.live_rows() > 0).collect();
        blocked = live.iter().find_map(|file| Some((file.clone(), quarantine.damage(&file.file.name)?)));
        if blocked.is_some() {
            break;
        }
        adds.extend(live);
        through = range.through;
    }
    // All ranges are behind a TRUNCATE: it is published with the first of them, or by itself.
    if state.ranges.is_empty() && state.truncated.is_some_and(|truncated| truncated <= state.built_through()) {
        through = through.max(state.built_through());
    }
    // It need not wait for what came later.
    if blocked.is_some() && through == before {
        through = through.max(state.truncated.unwrap_or_default());
    }
    let is_due = state.truncated.is_some_and(|truncated| truncated <= through);
    let mut removes = Vec::new();
    let mut revised = Vec::new();
    for file in state.published.values() {
        if state.is_hidden(file) {
            if is_due {
                removes.push(file.clone());
            }
            continue;
        }
        let Some(deleted) = visible.get(file.file.name.as_str()).and_then(|file| file.deleted.as_ref()) else {
            continue;
        };
        if deleted.len() == file.file.rows {
            removes.push(file.clone());
        } else if deleted.len() > file.n_deleted() {
            revised.push(Replaced { file: file.clone(), deleted: Arc::clone(deleted) });
        }
    }
    let has_schema = state.settled.is_none_or(|settled| settled.schema() == def.schema_id);
    let is_new = state.settled.is_none_or(|settled| settled.through() < through);
    let says_nothing = adds.is_empty() && revised.is_empty() && removes.is_empty() && has_schema;
    if let Some((file, damage)) = blocked.filter(|_| says_nothing && through == before) {
        return Err(damage.error(file.place.path.as_ref()).with("file", &file.file.name));
    }
    // A TRUNCATE that hides nothing is settled by a commit all the same.
    if says_nothing && !(is_new && (is_due || !state.ranges.is_empty())) {
        return Ok(None);
    }
    removes.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    revised.sort_by(|a, b| a.file.file.name.cmp(&b.file.file.name));
    let (from, truncated, def) = (state.settled, state.truncated, Arc::clone(def));
    Ok(Some(PublishPlan { from, through, truncated, adds, revised, removes, def }))
}
