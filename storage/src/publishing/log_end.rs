//! Does the log know of all that it committed to its Delta table? A data folder that was put back from an older copy does not: what it
//! acknowledged since is missing, and its next entries would get numbers that are in the table already. And is the table still this folder's?
//! One that another has taken over takes no changes here: no row that is acknowledged here would ever be in it.
//!
//! Asked once a start, before anything is committed: for a table on the local disk before it is opened, else as soon as its store answers.
//! Before each publish: is the last commit still where it was?

use std::sync::atomic::Ordering;

use super::commit::{app_id, app_ids_of_table};
use super::settle::recorded_intent;
use crate::error::{Code, Error, Result};
use crate::ids::SHARD_ZERO;
use crate::log::{Family, state_key, state_prefix};
use crate::sealed::{DeltaTable, Winner, has_local_commit, last_local_checkpoint, local_checkpoint_txns, read_local};
use crate::table::{Settled, Shared};

/// What the log knows of its commits.
struct Known<'s> {
    shared: &'s Shared,
    /// The version behind the last one that is settled, and the last entry that is in that one.
    next: u64,
    through: u64,
    /// The commit that is on its way, or has arrived.
    sent: Option<String>,
    /// As we commit, and how the names of all begin that ever did.
    own: String,
    ours: String,
}

/// An error names by this the log that goes on with a table of ours: nothing that comes here gets into it any more.
pub(super) const TAKEN_OVER_BY: &str = "taken_over_by";

impl<'s> Known<'s> {
    fn of(shared: &'s Shared) -> Result<Self> {
        let key = state_prefix(state_key::SETTLED, shared.def.id, SHARD_ZERO);
        let settled = shared.store.get(Family::State, &key)?.map(|record| Settled::from_disk(&record)).transpose()?;
        Ok(Self {
            shared,
            next: settled.map_or(0, |settled| settled.version + 1),
            through: settled.map_or(0, |settled| settled.through),
            sent: recorded_intent(shared)?.map(|intent| intent.commit_id.to_string()),
            own: app_id(shared),
            ours: app_ids_of_table(shared),
        })
    }

    /// What a commit says that stands behind the settled ones. `LOG_BEHIND`: it is ours, and not the one that is on its way;
    /// `DELTA_CONFLICT`: another log commits from there on.
    fn judge(&self, version: u64, found: &Winner) -> Result<()> {
        if found.commit_id.is_some() && found.commit_id == self.sent {
            return Ok(());
        }
        if found.txns.iter().any(|(id, _)| *id == self.own) {
            return Err(self.behind(&format!("its version {version}")));
        }
        match found.txns.iter().find_map(|(id, _)| id.strip_prefix(self.ours.as_str())) {
            Some(by) => Err(taken_over(self.shared, by)),
            None => Ok(()),
        }
    }

    /// The log that has taken the table over, as the `txn`s of a checkpoint tell: it has all that was in it. Those before us have not.
    fn successor<'t>(&self, txns: &'t [(String, i64)]) -> Option<&'t str> {
        let mut later = txns.iter().filter(|(id, version)| *id != self.own && entries(*version) >= self.through);
        later.find_map(|(id, _)| id.strip_prefix(self.ours.as_str()))
    }

    /// Whether a commit behind the settled ones is of a log of this table, and not the one that is on its way.
    fn is_unknown(&self, found: &Winner) -> bool {
        let is_sent = found.commit_id.is_some() && found.commit_id == self.sent;
        !is_sent && found.txns.iter().any(|(id, _)| id.starts_with(&self.ours))
    }

    /// Commits behind the settled ones are gone because they are old, and readers begin at a checkpoint, which has these `txn`s. An error
    /// in any case: a commit that is put where others were removed is nobody's. `LOG_BEHIND`: they were of this log, or nobody can tell;
    /// `DELTA_CONFLICT`: of another.
    fn judge_checkpoint(&self, checkpoint: u64, txns: Result<Vec<(String, i64)>>) -> Result<()> {
        let txns = match txns {
            Err(e) if e.code() != Code::DeltaDamaged => return Err(e),
            txns => txns.unwrap_or_default(),
        };
        let is_own = txns.iter().any(|(id, version)| *id == self.own && entries(*version) > self.through);
        match self.successor(&txns).filter(|_| !is_own) {
            Some(by) => Err(taken_over(self.shared, by)),
            None => Err(self.behind(&format!("its checkpoint {checkpoint}"))),
        }
    }

    fn behind(&self, what: &str) -> Error {
        let (def, location) = (&self.shared.def, self.shared.folders.location());
        let known = match self.next {
            0 => "of no commit".to_owned(),
            next => format!("of commits through version {}", next - 1),
        };
        Error::new(
            Code::LogBehind,
            format!(
                "table {}.{}: the data folder knows {known} of {location}, and {what} is of this same folder: acknowledged rows are missing here",
                def.schema_name, def.name
            ),
        )
        .hint(
            "the folder is an older copy: put back the newest one, or start with --accept-data-loss to go on with what the Delta \
             table has",
        )
        .with("table", def.id)
    }
}

/// The last entry that a `txn` says is in the table.
fn entries(version: i64) -> u64 {
    u64::try_from(version).unwrap_or(0)
}

/// As whoever committed before finds it. `by` is the log that commits now.
pub(super) fn taken_over(shared: &Shared, by: &str) -> Error {
    let location = shared.folders.location();
    Error::new(
        Code::DeltaConflict,
        format!("another data folder has taken {location} over: the table takes no changes here any more"),
    )
    .hint(
        "write to the server that has the table now; rows that were acknowledged here and not sealed are in this folder alone, where \
         queries see them: store them there as well, then DROP the table here, which leaves the other's files alone",
    )
    .with(TAKEN_OVER_BY, by)
}

/// Others went on from the commit that is asked for, and removed what was old. Who they are stands in their checkpoint.
async fn passed(shared: &Shared, delta: &DeltaTable, checkpoint: u64) -> Result<Error> {
    let txns = match delta.checkpoint_txns(checkpoint).await {
        Err(e) if e.code() != Code::DeltaDamaged => return Err(e),
        txns => txns.unwrap_or_default(),
    };
    if let Some(by) = Known::of(shared)?.successor(&txns) {
        return Ok(taken_over(shared, by));
    }
    let location = shared.folders.location();
    let went_on = format!("somebody else commits to {location}, and the last commit of this server is gone");
    Ok(Error::new(Code::DeltaConflict, went_on)
        .hint("the rows are safe and queries go on; find out who writes to the folder before anything else is sealed"))
}

/// A table that another log goes on with takes no more changes: an acknowledged row must be in the one table that people read.
pub(super) fn stop_if_taken_over(shared: &Shared, error: &Error) {
    if error.metadata().iter().any(|(key, _)| *key == TAKEN_OVER_BY) {
        shared.stop(error);
    }
}

/// A version that was there has neither a commit nor a checkpoint any more.
fn lost(shared: &Shared, version: u64) -> Error {
    let location = shared.folders.location();
    Error::new(Code::StoreUnavailable, format!("version {version} of {location} is not there any more"))
        .hint("check that its file system is mounted, and that nobody moved the table or emptied its log")
}

/// Asks the Delta table. `LOG_BEHIND` closes the table, and so does `DELTA_CONFLICT` if it is another folder's now; after any other error
/// the question is open.
pub(crate) async fn check_log_end(shared: &Shared, delta: &DeltaTable) -> Result<()> {
    if shared.log_is_checked.load(Ordering::Acquire) {
        return Ok(());
    }
    let outcome = ask(&Known::of(shared)?, delta).await;
    // Whoever publishes has asked as well, and may have committed since: that it is not known here is no sign of a loss.
    if shared.log_is_checked.load(Ordering::Acquire) {
        return Ok(());
    }
    match &outcome {
        Ok(()) => shared.log_is_checked.store(true, Ordering::Release),
        Err(e) if e.code() == Code::LogBehind => shared.stop(e),
        Err(e) => stop_if_taken_over(shared, e),
    }
    outcome
}

async fn ask(known: &Known<'_>, delta: &DeltaTable) -> Result<()> {
    let mut version = known.next;
    while let Some(found) = delta.read(version).await? {
        known.judge(version, &found)?;
        version += 1;
    }
    judge_end(known, delta, version).await
}

/// Nothing stands at `version`, which is the next one as far as the log can be read.
async fn judge_end(known: &Known<'_>, delta: &DeltaTable, version: u64) -> Result<()> {
    let checkpoint = delta.last_checkpoint().await?;
    if let Some(checkpoint) = checkpoint.filter(|checkpoint| *checkpoint >= version) {
        return known.judge_checkpoint(checkpoint, delta.checkpoint_txns(checkpoint).await);
    }
    check_before(known.shared, delta, known.next).await
}

/// Whether the commit before `version` is there. If it is not, its file system is not mounted, or others went on and removed what was old:
/// what is put behind it would be in a table that nobody reads. `STORE_UNAVAILABLE`, `DELTA_CONFLICT`.
pub(super) async fn check_before(shared: &Shared, delta: &DeltaTable, version: u64) -> Result<()> {
    let Some(before) = version.checked_sub(1) else { return Ok(()) };
    if delta.has_commit(before).await? {
        return Ok(());
    }
    match delta.last_checkpoint().await? {
        Some(checkpoint) if checkpoint >= version => Err(passed(shared, delta, checkpoint).await?),
        Some(checkpoint) if checkpoint == before => Ok(()),
        _ => Err(lost(shared, before)),
    }
}

/// The same as [`check_log_end`] for a table that is not open yet: an error only if it is `LOG_BEHIND`. One that another folder has taken over
/// opens, and takes no changes: its rows are read, and it can be dropped. Asks nothing of a store that is not on the local disk. Blocks.
pub(crate) fn check_local_log_end(shared: &Shared) -> Result<()> {
    let folders = &shared.folders;
    let Some(local) = &folders.tables().local else { return Ok(()) };
    // Whoever replays the log says which record cannot be read.
    let Ok(known) = Known::of(shared) else { return Ok(()) };
    match ask_local(&known, &local.root().join(folders.published().to_string())) {
        Ok(()) => {
            shared.log_is_checked.store(true, Ordering::Release);
            Ok(())
        }
        Err(e) if e.code() == Code::LogBehind => Err(e),
        Err(e) if e.code() == Code::DeltaConflict => {
            stop_if_taken_over(shared, &e);
            Ok(())
        }
        Err(e) => {
            // The next commit asks again, and names it.
            tracing::warn!(table_id = %shared.def.id, reason = %e, "nothing is sealed as long as the Delta log is like this");
            Ok(())
        }
    }
}

fn ask_local(known: &Known<'_>, folder: &std::path::Path) -> Result<()> {
    let mut version = known.next;
    while let Some(found) = read_local(folder, version)? {
        known.judge(version, &found)?;
        version += 1;
    }
    let checkpoint = last_local_checkpoint(folder)?;
    if let Some(checkpoint) = checkpoint.filter(|checkpoint| *checkpoint >= version) {
        return known.judge_checkpoint(checkpoint, local_checkpoint_txns(folder, checkpoint));
    }
    match known.next.checked_sub(1).filter(|last| checkpoint != Some(*last)) {
        Some(last) if !has_local_commit(folder, last)? => Err(lost(known.shared, last)),
        _ => Ok(()),
    }
}

/// Somebody commits to the Delta table of whom this folder does not know, another data folder or a newer copy of this one: its files are not
/// ours to delete.
pub(crate) async fn is_taken_over(shared: &Shared, delta: &DeltaTable) -> Result<bool> {
    let known = Known::of(shared)?;
    let mut version = known.next;
    loop {
        match delta.read(version).await {
            Ok(Some(found)) if known.is_unknown(&found) => return Ok(true),
            Ok(Some(_)) => version += 1,
            Ok(None) => break,
            // Nobody can commit behind it.
            Err(e) if e.code() == Code::DeltaDamaged => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    // They may have removed what was old, and with it what they committed first.
    Ok(delta.last_checkpoint().await?.is_some_and(|checkpoint| checkpoint >= version))
}
