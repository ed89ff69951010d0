//! How are files tested while everything else goes on? A list is made, and gone through file by file; then it is made anew.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::picker::{Candidate, LOOK_INTERVAL, LogTests, Now, ScrubOptions, due};
use crate::env::Env;
use crate::error::{Code, Error, Result};
use crate::ids::TableId;
use crate::publishing::{Tested, local_path, note_tested, test_file, test_log, test_sidecar};
use crate::sealed::FileRef;
use crate::table::Table;

/// What of a table is tested.
pub(crate) enum Subject {
    /// Whether its Delta log has what other engines need.
    Log,
    File(FileRef),
}

/// Published files of a table that is away, which came up meanwhile.
#[derive(Default)]
struct Waiting {
    skipped: Vec<String>,
    /// The one by which it was found.
    failed: Option<String>,
}

/// What is known of the tests of one process.
pub(crate) struct Scrubber {
    options: ScrubOptions,
    env: Env,
    /// Uptime when a file was last tested.
    tested: HashMap<String, Duration>,
    queue: VecDeque<(TableId, String)>,
    waiting: HashMap<TableId, Waiting>,
    /// Files that could not be reached, and whose log has answered since.
    again: HashSet<String>,
    logs: HashMap<TableId, LogTests>,
    /// What was given last was a Delta log.
    was_log: bool,
    /// When the queue was last made: uptime and wall clock.
    looked: Option<(Duration, i64)>,
}

impl Scrubber {
    pub(crate) fn new(options: ScrubOptions, env: &Env) -> Self {
        Self {
            options,
            env: env.clone(),
            tested: HashMap::new(),
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            again: HashSet::new(),
            logs: HashMap::new(),
            was_log: false,
            looked: None,
        }
    }

    /// What is due next, with its table. Files and logs in turn: to ask a store that is away takes long, and files do not wait for it.
    pub(crate) fn next(&mut self, tables: &[Table]) -> Option<(Table, Subject)> {
        self.options.rate?;
        let next = match self.was_log {
            true => self.next_file(tables).or_else(|| self.next_log(tables)),
            false => self.next_log(tables).or_else(|| self.next_file(tables)),
        };
        self.was_log = matches!(next, Some((_, Subject::Log)));
        next
    }

    fn next_file(&mut self, tables: &[Table]) -> Option<(Table, Subject)> {
        if self.queue.is_empty() {
            self.resume(tables);
        }
        if self.queue.is_empty() {
            self.look(tables);
        }
        while let Some((id, name)) = self.queue.pop_front() {
            let Some(table) = tables.iter().find(|table| table.shared.def.id == id) else { continue };
            let snapshot = table.snapshot();
            // It may have left the table.
            let Some(file) = snapshot.files().iter().find(|file| file.file.name == name) else { continue };
            if file.place.is_published && self.is_away(table) {
                self.waiting.entry(id).or_default().skipped.push(name);
                continue;
            }
            return Some((table.clone(), Subject::File(file.clone())));
        }
        None
    }

    /// Nobody asks the log of a table that is closed, so that its files do not wait for it.
    fn is_away(&self, table: &Table) -> bool {
        !table.shared.is_closing() && self.logs.get(&table.shared.def.id).is_some_and(LogTests::is_away)
    }

    /// What waits comes behind all others when its log has answered; the file by which a table was found to be away is the last one, because
    /// it may be this file alone that cannot be reached.
    fn resume(&mut self, tables: &[Table]) {
        for table in tables {
            if self.is_away(table) {
                continue;
            }
            let id = table.shared.def.id;
            let Some(Waiting { skipped, failed }) = self.waiting.remove(&id) else { continue };
            self.again.extend(failed.clone());
            self.queue.extend(skipped.into_iter().chain(failed).map(|name| (id, name)));
        }
    }

    /// The one that is due for longest.
    fn next_log(&self, tables: &[Table]) -> Option<(Table, Subject)> {
        let uptime = self.env.clock.uptime();
        let due = |table: &Table| self.logs.get(&table.shared.def.id).map_or(Duration::ZERO, |log| log.due);
        let open = tables.iter().filter(|table| due(table) <= uptime && !table.shared.is_closing());
        open.min_by_key(|table| due(table)).map(|table| (table.clone(), Subject::Log))
    }

    /// Tests what [`Self::next`] gave, at the pace of the options. Whether it could be.
    pub(crate) async fn test(&mut self, table: &Table, subject: &Subject) -> bool {
        let shared = &table.shared;
        let (outcome, path, is_news) = match subject {
            Subject::Log => {
                let (outcome, is_news) = self.test_log(table).await;
                (outcome, shared.folders.location().to_string(), is_news)
            }
            Subject::File(file) => {
                let (outcome, is_news) = self.test_file(table, file).await;
                (outcome, file.place.path.to_string(), is_news)
            }
        };
        if let Err(e) = &outcome
            && is_news
            && e.code() != Code::ShuttingDown
            && !shared.is_closing()
        {
            tracing::warn!(table_id = %shared.def.id, path, reason = %e, "a file or a Delta log could not be tested");
        }
        outcome.is_ok()
    }

    /// And whether an error is news.
    async fn test_file(&mut self, table: &Table, file: &FileRef) -> (Result<()>, bool) {
        let (id, name) = (table.shared.def.id, &file.file.name);
        let outcome = test(table, file, self.options.rate).await;
        let (uptime, code) = (self.env.clock.uptime(), outcome.as_ref().err().map(Error::code));
        let is_again = self.again.remove(name);
        // It may be this file alone of a store elsewhere. Of a local disk it is always the table.
        let is_first = (!is_again || local_path(&table.shared, file).is_some()) && !table.shared.is_closing();
        if file.place.is_published && code == Some(Code::StoreUnavailable) && is_first {
            // The table's other files are where it is: one warning is enough, and the log, which is asked soon, tells when they are back.
            self.waiting.entry(id).or_default().failed = Some(name.clone());
            let log = self.logs.entry(id).or_default();
            return (outcome, log.note(Err(Code::StoreUnavailable), uptime, &self.options));
        }
        // Also one that could not be tested, though its log answers: its turn comes again.
        self.tested.insert(name.clone(), uptime);
        (outcome, true)
    }

    /// And whether an error is news.
    async fn test_log(&mut self, table: &Table) -> (Result<()>, bool) {
        let outcome = test_log(table).await;
        let known = outcome.as_ref().copied().map_err(Error::code);
        let log = self.logs.entry(table.shared.def.id).or_default();
        let is_news = log.note(known, self.env.clock.uptime(), &self.options);
        (outcome.map(drop), is_news)
    }

    fn look(&mut self, tables: &[Table]) {
        let (uptime, wall_us) = (self.env.clock.uptime(), self.env.clock.now_us());
        if self.looked.is_some_and(|(last, _)| uptime.saturating_sub(last) < LOOK_INTERVAL) {
            return;
        }
        let last_wall_us = self.looked.map_or(wall_us, |(_, last)| last);
        self.looked = Some((uptime, wall_us));
        let files: Vec<(TableId, bool, FileRef)> = tables.iter().flat_map(files_of).collect();
        let names: HashSet<&str> = files.iter().map(|(_, _, file)| file.file.name.as_str()).collect();
        self.tested.retain(|name, _| names.contains(name.as_str()));
        let ids: HashSet<TableId> = tables.iter().map(|table| table.shared.def.id).collect();
        self.logs.retain(|id, _| ids.contains(id));
        self.waiting.retain(|id, _| ids.contains(id));
        self.again.retain(|name| names.contains(name.as_str()));
        let waiting = self.waiting.values().flat_map(|waiting| waiting.skipped.iter().chain(&waiting.failed));
        let waiting: HashSet<&str> = waiting.map(String::as_str).collect();
        let files: Vec<_> = files.iter().filter(|(_, _, file)| !waiting.contains(file.file.name.as_str())).collect();
        let mut candidates = Vec::with_capacity(files.len());
        for (_, is_local, file) in &files {
            candidates.push(Candidate {
                name: &file.file.name,
                created_at_us: file.file.created_at_us,
                is_local: *is_local,
                tested: self.tested.get(&file.file.name).copied(),
            });
        }
        let due = due(&candidates, Now { uptime, wall_us, last_wall_us }, &self.options);
        self.queue = due.into_iter().map(|at| (files[at].0, files[at].2.file.name.clone())).collect();
    }
}

/// All files of a table, and whether they are on the local disk.
fn files_of(table: &Table) -> Vec<(TableId, bool, FileRef)> {
    let (shared, snapshot) = (&table.shared, table.snapshot());
    let files = snapshot.files().iter();
    files.map(|file| (shared.def.id, local_path(shared, file).is_some(), file.clone())).collect()
}

async fn test(table: &Table, file: &FileRef, rate: Option<u64>) -> Result<()> {
    let tested = test_file(&table.shared, file, rate).await?;
    note_tested(&table.shared, file, &tested).await?;
    match tested {
        Tested::Whole => test_sidecar(table, file, rate).await,
        Tested::Damaged(_) => Ok(()),
    }
}
