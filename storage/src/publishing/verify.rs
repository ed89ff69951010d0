//! Is a table what its records say? Files against checksums, the file index against the Delta log, keys against each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::accounts::check_accounts;
use super::checksum::{Tested, test_file};
use super::commit::app_id;
use super::keys::check_keys;
use super::quarantine::{forget_gone, note_tested};
use super::settle::{delta_table, settle_recorded};
use super::sidecars::check_sidecars;
use crate::error::{Code, Error, Result};
use crate::limits::MAX_SNAPSHOT_S;
use crate::sealed::{FileRef, SegmentFile};
use crate::table::{SealFigures, Shared, Table, TableSnapshot};

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    /// `None`: it could not be made, and `detail` says why.
    pub is_ok: Option<bool>,
    /// What was looked at, or what is wrong.
    pub detail: String,
}

/// Of problems of one kind, so many are named.
const MAX_NAMED: usize = 10;

impl Table {
    /// Looks at everything that the table holds, while everything else goes on. Reads all files once: those that turn out to be damaged are
    /// not read by anybody else from then on, and those that were restored are read again; filters that are damaged are written again. Key columns are read once more, or several times
    /// where their keys do not fit into memory together.
    /// An error only if the table itself cannot be asked: what is wrong with it is in the checks.
    /// `SNAPSHOT_EXPIRED` if that takes longer than any version of a table is kept for; keys that take so long are not checked.
    pub async fn verify(&self) -> Result<Vec<Check>> {
        self.verify_within(Duration::from_secs(MAX_SNAPSHOT_S)).await
    }

    pub(crate) async fn verify_within(&self, longest: Duration) -> Result<Vec<Check>> {
        // Keys may take longer than everything else: what the other checks found is told in any case.
        let keys_until = Instant::now() + longest / 10 * 9;
        let checks = tokio::time::timeout(longest, self.verify_all(keys_until)).await;
        checks.unwrap_or_else(|_| {
            let longest_s = longest.as_secs();
            Err(Error::new(Code::SnapshotExpired, format!("the check did not end within {longest_s} s"))
                .hint("check its files with another engine, or run it when the store is faster"))
        })
    }

    async fn verify_all(&self, keys_until: Instant) -> Result<Vec<Check>> {
        let shared = Arc::clone(&self.shared);
        let (snapshot, figures) = {
            let _publishing = shared.publishing.lock().await;
            let delta = delta_table(&shared)?;
            settle_recorded(self, &delta).await?;
            (self.snapshot(), *shared.sealing.lock())
        };
        // The snapshot holds the files: nothing is kept from going on while they are read.
        let mut checks = vec![check_files(&shared, &snapshot).await?, check_halves(&snapshot)];
        checks.push(check_accounts(self).await?);
        forget_gone(&shared).await?;
        checks.push(match check_log(&shared, &snapshot, figures).await {
            Ok(check) => check,
            Err(e) => failed("delta_log", &[e.to_string()]),
        });
        checks.push(check_sidecars(&shared, &snapshot).await);
        checks.push(check_keys(&shared, &snapshot, keys_until).await?);
        Ok(checks)
    }
}

pub(super) fn passed(name: &'static str, detail: String) -> Check {
    Check { name, is_ok: Some(true), detail }
}

pub(super) fn failed(name: &'static str, problems: &[String]) -> Check {
    let named = problems.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    let more = problems.len().saturating_sub(MAX_NAMED);
    let detail = if more > 0 { format!("{named}; and {more} more") } else { named };
    Check { name, is_ok: Some(false), detail }
}

pub(super) fn outcome(name: &'static str, problems: &[String], detail: String) -> Check {
    if problems.is_empty() { passed(name, detail) } else { failed(name, problems) }
}

/// Each file is there, with the length and the checksum that it was built with. One that is not is damaged from here on; one that was, and is
/// whole again, is not. Files whose rows are all deleted leave with the next publish, and nobody needs them.
async fn check_files(shared: &Arc<Shared>, snapshot: &TableSnapshot) -> Result<Check> {
    let mut problems = Vec::new();
    let (mut bytes, mut n_restored) = (0, 0);
    let files: Vec<&FileRef> = with_rows(snapshot).collect();
    for &file in &files {
        bytes += file.file.bytes;
        let was_damaged = shared.quarantine.has(&file.file.name);
        match test_file(shared, file, None).await {
            Ok(tested) => {
                note_tested(shared, file, &tested).await?;
                match tested {
                    Tested::Whole => n_restored += u64::from(was_damaged),
                    Tested::Damaged(how) => problems.push(format!("{} is damaged: {how}", file.place.path)),
                }
            }
            Err(e) => problems.push(e.to_string()),
        }
    }
    let mut detail = format!("{} files of {bytes} bytes match their checksums", files.len());
    if n_restored > 0 {
        detail += &format!("; {n_restored} of them were damaged before");
    }
    Ok(outcome("files", &problems, detail))
}

/// Files that somebody may have to read.
pub(super) fn with_rows(snapshot: &TableSnapshot) -> impl Iterator<Item = &FileRef> {
    snapshot.files().iter().filter(|file| file.live_rows() > 0)
}

/// No row is in two places: each file is named once, and fresh rows came after all that are in files.
fn check_halves(snapshot: &TableSnapshot) -> Check {
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for file in snapshot.files() {
        if !names.insert(file.file.name.as_str()) {
            problems.push(format!("the file {} is in the table twice", file.file.name));
        }
    }
    // A stream's files may stand among fresh rows: they came with an entry of their own.
    let settled =
        snapshot.files().iter().filter(|file| file.file.entry.is_none()).map(|file| file.file.max_seq.0).max();
    let fresh = snapshot.parts().iter().filter_map(|part| part.stamps.first()).map(|(seq, _)| seq.unsigned_abs()).min();
    if let (Some(settled), Some(fresh)) = (settled, fresh)
        && fresh <= settled
    {
        problems.push(format!("entry {fresh} is in memory, and files have all through {settled}"));
    }
    let fresh_rows: usize = snapshot.parts().iter().map(|part| part.n_rows()).sum();
    let file_rows: u64 = snapshot.files().iter().map(FileRef::live_rows).sum();
    let detail = format!("{fresh_rows} rows in memory and {file_rows} in files are {} rows", snapshot.n_rows());
    outcome("halves", &problems, detail)
}

/// The Delta log has the files that our index has, with the same deleted rows, and our last entry.
async fn check_log(shared: &Shared, snapshot: &TableSnapshot, figures: SealFigures) -> Result<Check> {
    const NAME: &str = "delta_log";
    let Some(settled) = figures.settled else {
        return Ok(passed(NAME, "nothing was published yet".to_owned()));
    };
    let loaded = delta_table(shared)?.load_at(settled.version).await?;
    let mut problems = Vec::new();
    let own = app_id(shared);
    let through = loaded.txns.iter().find(|(id, _)| *id == own).map(|(_, version)| version.unsigned_abs());
    if through != Some(settled.through) {
        problems.push(format!("its txn is {through:?}, the records say {}", settled.through));
    }
    problems.extend(loaded.problems(snapshot.def(), settled.schema()));
    let segments = loaded.segments(snapshot.def())?;
    let mut ours: HashMap<&str, &FileRef> = snapshot
        .files()
        .iter()
        .filter(|file| file.place.is_published)
        .map(|file| (file.file.name.as_str(), file))
        .collect();
    for (theirs, segment) in loaded.files.iter().zip(&segments) {
        let Some(file) = ours.remove(theirs.name.as_str()) else {
            // What a TRUNCATE hides leaves the log with the next publish.
            if !figures.is_unpublished && !figures.has_changes {
                problems.push(format!("the file {} is in the log alone", theirs.name));
            }
            continue;
        };
        let said = |file: &SegmentFile| (file.bytes, file.rows, file.checksum, file.tail, file.sidecar.clone());
        if said(segment) != said(&file.file) {
            problems.push(format!("the log says other things of the file {}", theirs.name));
        }
        // Deletes that are not published yet are ours alone.
        let is_known = |row: u32| file.deleted.as_ref().is_some_and(|deleted| deleted.contains(row));
        if theirs.deleted.iter().flatten().any(|row| !is_known(row)) {
            problems.push(format!("the log has rows of {} deleted that are not", theirs.name));
        }
    }
    problems.extend(ours.keys().map(|name| format!("the file {name} is not in the log")));
    let detail =
        format!("version {} has our {} files through entry {}", loaded.version, segments.len(), settled.through);
    Ok(outcome(NAME, &problems, detail))
}
