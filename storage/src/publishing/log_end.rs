//! Does the log know of all that it committed to its Delta table? A data folder that was put back from an older copy does not: what it
//! acknowledged since is missing, and its next entries would get numbers that are in the table already.
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

/// Where the question ends.
enum Next {
    GoOn,
    /// Another log commits from here on.
    TakenOver,
}

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

    /// What a commit says that stands behind the settled ones. `LOG_BEHIND`: it is ours, and not the one that is on its way.
    fn judge(&self, version: u64, found: &Winner) -> Result<Next> {
        if found.commit_id.is_some() && found.commit_id == self.sent {
            return Ok(Next::GoOn);
        }
        if found.txns.iter().any(|(id, _)| *id == self.own) {
            return Err(self.behind(&format!("its version {version}")));
        }
        match found.txns.iter().find(|(id, _)| id.starts_with(&self.ours)) {
            Some((id, _)) => {
                let (table_id, by) = (self.shared.def.id, id.trim_start_matches(self.ours.as_str()));
                tracing::warn!(%table_id, version, log = by, "another data folder has taken the Delta table over: nothing is sealed here any more");
                Ok(Next::TakenOver)
            }
            None => Ok(Next::GoOn),
        }
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
        let holds = |version: i64| u64::try_from(version).unwrap_or(0);
        let is_own = txns.iter().any(|(id, version)| *id == self.own && holds(*version) > self.through);
        // Whoever took the table over has all that was in it. Those before us have not.
        let is_others = txns
            .iter()
            .any(|(id, version)| id.starts_with(&self.ours) && *id != self.own && holds(*version) >= self.through);
        if is_others && !is_own {
            return Err(taken_over(self.shared));
        }
        Err(self.behind(&format!("its checkpoint {checkpoint}")))
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

/// As whoever committed before finds it.
fn taken_over(shared: &Shared) -> Error {
    let location = shared.folders.location();
    Error::new(Code::DeltaConflict, format!("another data folder has taken {location} over"))
        .hint("the rows are safe and queries go on, but nothing is sealed here any more: DROP the table where it is not needed")
}

/// A version that was there has neither a commit nor a checkpoint any more.
fn lost(shared: &Shared, version: u64) -> Error {
    let location = shared.folders.location();
    Error::new(Code::StoreUnavailable, format!("version {version} of {location} is not there any more"))
        .hint("check that its file system is mounted, and that nobody moved the table or emptied its log")
}

/// Asks the Delta table. `LOG_BEHIND` closes the table; after any other error the question is open, but for `DELTA_CONFLICT`: another
/// folder's table it is.
pub(crate) async fn check_log_end(shared: &Shared, delta: &DeltaTable) -> Result<()> {
    if shared.log_is_checked.load(Ordering::Acquire) {
        return Ok(());
    }
    let outcome = ask(&Known::of(shared)?, delta).await;
    match &outcome {
        Ok(()) => shared.log_is_checked.store(true, Ordering::Release),
        Err(e) if e.code() == Code::LogBehind => shared.stop(e),
        Err(_) => {}
    }
    outcome
}

async fn ask(known: &Known<'_>, delta: &DeltaTable) -> Result<()> {
    let mut version = known.next;
    while let Some(found) = delta.read(version).await? {
        if let Next::TakenOver = known.judge(version, &found)? {
            return Ok(());
        }
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
        Some(checkpoint) if checkpoint >= version => Err(taken_over(shared)),
        Some(checkpoint) if checkpoint == before => Ok(()),
        _ => Err(lost(shared, before)),
    }
}

/// The same as [`check_log_end`] for a table that is not open yet: an error only if it is `LOG_BEHIND`. Asks nothing of a store that is not on
/// the local disk. Blocks.
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
        if let Next::TakenOver = known.judge(version, &found)? {
            return Ok(());
        }
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
