//! Is a table what its records say? Files against checksums, the file index against the Delta log, keys against each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path as StorePath;
use tokio::time::{Instant, timeout_at};

use super::accounts::check_accounts;
use super::checkpoint::note_log;
use super::checksum::{Tested, check_is_there, test_file};
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

const LOG: &str = "delta_log";

/// Of problems of one kind, so many are named.
const MAX_NAMED: usize = 10;

/// How a check gets more time than it had.
pub(super) const MORE_TIME: &str = "statement_timeout gives it more, up to an hour";

impl Table {
    /// Looks at everything that the table holds, while everything else goes on. Reads all files once: those that turn out to be damaged are
    /// not read by anybody else from then on, and those that were restored are read again; filters that are damaged are written again. Key
    /// columns are read once more, or several times where their keys do not fit into memory together.
    /// An error only if the table itself cannot be asked: what is wrong with it is in the checks.
    pub async fn verify(&self) -> Result<Vec<Check>> {
        self.verify_within(Duration::from_secs(MAX_SNAPSHOT_S)).await
    }

    /// The same within about so long: what was not looked at by then is said, and what was found is told all the same. What the table and
    /// its store are asked first is not bounded by it, but by the caller.
    pub async fn verify_within(&self, longest: Duration) -> Result<Vec<Check>> {
        // The rest is for what is told in any case.
        let until = Instant::now() + longest / 10 * 9;
        let shared = Arc::clone(&self.shared);
        let (snapshot, figures) = {
            let _publishing = shared.publishing.lock().await;
            let delta = delta_table(&shared)?;
            settle_recorded(self, &delta).await?;
            // Who cannot list the log cannot load it either, which is said below.
            drop(note_log(&shared, &delta).await);
            (self.snapshot(), *shared.sealing.lock())
        };
        let halves = check_halves(&snapshot);
        // What holds the files keeps nothing from going on while they are read, nor the memory of rows that are built meanwhile.
        let files = snapshot.without_fresh_rows();
        drop(snapshot);
        let rows = check_accounts(self).await?;
        let log = match in_time(until, check_log(&shared, &files, figures)).await {
            Some(check) => check,
            None => unknown(LOG, format!("it was not read in time: {MORE_TIME}")),
        };
        let whole = check_files(&shared, &files, until).await?;
        forget_gone(&shared).await?;
        let sidecars = check_sidecars(&shared, &files, until).await;
        drop(files);
        let keys = check_keys(self, until).await?;
        Ok(vec![whole, halves, rows, log, sidecars, keys])
    }
}

/// What comes of `work` by then. `None`: the time is up; what was begun is dropped, and nothing is begun.
pub(super) async fn in_time<T>(until: Instant, work: impl Future<Output = T>) -> Option<T> {
    if Instant::now() >= until {
        return None;
    }
    timeout_at(until, work).await.ok()
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

/// It could not be made.
pub(super) fn unknown(name: &'static str, why: String) -> Check {
    Check { name, is_ok: None, detail: why }
}

fn outcome(name: &'static str, problems: &[String], detail: String) -> Check {
    if problems.is_empty() { passed(name, detail) } else { failed(name, problems) }
}

/// The files that a check cannot tell of.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Not looked at before the time was up.
    pub(super) n_left: u64,
    /// Nobody can say now what they are, as where their store is away; and why the first could not be tested.
    n_untested: u64,
    first: String,
}

impl Untold {
    pub(super) fn note(&mut self, path: &StorePath, why: &Error) {
        if self.n_untested == 0 {
            self.first = format!("{path}: {why}");
        }
        self.n_untested += 1;
    }
}

pub(super) fn outcome_of_files(name: &'static str, problems: &[String], detail: String, untold: Untold) -> Check {
    let mut check = outcome(name, problems, detail);
    let Untold { n_left, n_untested, first } = untold;
    if n_left > 0 {
        check = incomplete(check, &format!("{n_left} more were not looked at in time: {MORE_TIME}"));
    }
    if n_untested > 0 {
        check = incomplete(check, &format!("{n_untested} more could not be tested, the first {first}"));
    }
    check
}

/// Nobody can tell of all that belongs to the check. What is wrong with the rest is wrong all the same.
fn incomplete(check: Check, why: &str) -> Check {
    let detail = format!("{}; {why}", check.detail);
    Check { is_ok: check.is_ok.filter(|is_ok| !is_ok), detail, ..check }
}

/// Each file is there, with the length and the checksum that it was built with. One that is not is damaged from here on; one that was, and is
/// whole again, is not; nobody can tell of those that cannot be tested now, as where their store has gone away. Files whose rows are all
/// deleted leave with the next publish, and nobody needs them.
async fn check_files(shared: &Arc<Shared>, snapshot: &TableSnapshot, until: Instant) -> Result<Check> {
    let mut problems = Vec::new();
    let (mut n_read, mut bytes, mut n_restored) = (0_u64, 0, 0);
    let mut untold = Untold::default();
    for file in with_rows(snapshot) {
        let was_damaged = shared.quarantine.has(&file.file.name);
        let Some(tested) = in_time(until, test_file(shared, file, None)).await else {
            untold.n_left += 1;
            continue;
        };
        let tested = match tested {
            Ok(tested) => tested,
            Err(e) => {
                untold.note(&file.place.path, &e);
                continue;
            }
        };
        n_read += 1;
        bytes += file.file.bytes;
        note_tested(shared, file, &tested).await?;
        match tested {
            Tested::Whole => n_restored += u64::from(was_damaged),
            Tested::Damaged(how) => problems.push(format!("{} is damaged: {how}", file.place.path)),
        }
    }
    let mut detail = format!("{n_read} files of {bytes} bytes match their checksums");
    if n_restored > 0 {
        detail += &format!("; {n_restored} of them were damaged before");
    }
    Ok(outcome_of_files("files", &problems, detail, untold))
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

/// The Delta log has the files that our index has, with the same deleted rows, and our last entry. Nobody can tell while its store is away.
pub(crate) async fn check_log(shared: &Shared, snapshot: &TableSnapshot, figures: SealFigures) -> Check {
    let e = match compare_log(shared, snapshot, figures).await {
        Ok(check) => return check,
        Err(e) => e,
    };
    // A file that is missing of a log that is there is told like this as well.
    let is_of_store = matches!(e.code(), Code::StoreUnavailable | Code::ShuttingDown);
    let is_of_store = is_of_store && shared.quarantine.missing_log().is_empty();
    match check_is_there(shared).await {
        Err(away) => unknown(LOG, away.to_string()),
        // Its file system may have been mounted between the two.
        Ok(()) if shared.folders.tables().local.is_some() && e.code() != Code::ShuttingDown => {
            compare_log(shared, snapshot, figures).await.unwrap_or_else(|e| failed(LOG, &[e.to_string()]))
        }
        Ok(()) if is_of_store => unknown(LOG, e.to_string()),
        Ok(()) => failed(LOG, &[e.to_string()]),
    }
}

async fn compare_log(shared: &Shared, snapshot: &TableSnapshot, figures: SealFigures) -> Result<Check> {
    let Some(settled) = figures.settled else {
        return Ok(passed(LOG, "nothing was published yet".to_owned()));
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
    Ok(outcome(LOG, &problems, detail))
}
