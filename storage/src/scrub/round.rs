//! How are files tested while everything else goes on? A list is made, and gone through file by file; then it is made anew.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::picker::{Candidate, Now, ScrubOptions, due};
use crate::env::Env;
use crate::error::{Code, Result};
use crate::ids::TableId;
use crate::publishing::{Tested, local_path, note_tested, test_file, test_log, test_sidecar};
use crate::sealed::FileRef;
use crate::table::Table;

/// When nothing was due, all files are looked through again so much later, and a Delta log that is not known to be whole.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What of a table is tested.
pub(crate) enum Subject {
    /// Whether its Delta log has what other engines need.
    Log,
    File(FileRef),
}

/// What is known of the tests of one process.
pub(crate) struct Scrubber {
    options: ScrubOptions,
    env: Env,
    /// Uptime when a file was last tested.
    tested: HashMap<String, Duration>,
    queue: VecDeque<(TableId, String)>,
    /// Uptime when the Delta log of a table is due again.
    logs: HashMap<TableId, Duration>,
    /// When the queue was last made: uptime and wall clock.
    looked: Option<(Duration, i64)>,
}

impl Scrubber {
    pub(crate) fn new(options: ScrubOptions, env: &Env) -> Self {
        let (tested, queue, logs) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Self { options, env: env.clone(), tested, queue, logs, looked: None }
    }

    /// What is due next, with its table.
    pub(crate) fn next(&mut self, tables: &[Table]) -> Option<(Table, Subject)> {
        self.options.rate?;
        if let Some(table) = self.next_log(tables) {
            return Some((table.clone(), Subject::Log));
        }
        if self.queue.is_empty() {
            self.look(tables);
        }
        while let Some((id, name)) = self.queue.pop_front() {
            let Some(table) = tables.iter().find(|table| table.shared.def.id == id) else { continue };
            let snapshot = table.snapshot();
            // It may have left the table.
            if let Some(file) = snapshot.files().iter().find(|file| file.file.name == name) {
                return Some((table.clone(), Subject::File(file.clone())));
            }
        }
        None
    }

    fn next_log<'t>(&self, tables: &'t [Table]) -> Option<&'t Table> {
        let uptime = self.env.clock.uptime();
        let is_due = |table: &Table| self.logs.get(&table.shared.def.id).is_none_or(|due| *due <= uptime);
        tables.iter().find(|table| is_due(table) && !table.shared.is_closing())
    }

    /// Tests what [`Self::next`] gave, at the pace of the options. Whether it could be.
    pub(crate) async fn test(&mut self, table: &Table, subject: &Subject) -> bool {
        let shared = &table.shared;
        let (outcome, path) = match subject {
            Subject::Log => (self.test_log(table).await, shared.folders.location().to_string()),
            Subject::File(file) => (self.test_file(table, file).await, file.place.path.to_string()),
        };
        if let Err(e) = &outcome
            && e.code() != Code::ShuttingDown
            && !shared.is_closing()
        {
            tracing::warn!(table_id = %shared.def.id, path, reason = %e, "a file or a Delta log could not be tested");
        }
        outcome.is_ok()
    }

    async fn test_file(&mut self, table: &Table, file: &FileRef) -> Result<()> {
        let outcome = test(table, file, self.options.rate).await;
        // Also one that could not be tested: its turn comes again.
        self.tested.insert(file.file.name.clone(), self.env.clock.uptime());
        outcome
    }

    async fn test_log(&mut self, table: &Table) -> Result<()> {
        let outcome = test_log(table).await;
        let wait = match outcome {
            Ok(true) => self.options.interval.unwrap_or(Duration::MAX),
            Ok(false) | Err(_) => LOOK_INTERVAL,
        };
        self.logs.insert(table.shared.def.id, self.env.clock.uptime().saturating_add(wait));
        outcome.map(drop)
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
