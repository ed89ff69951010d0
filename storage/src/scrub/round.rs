//! How are files tested while everything else goes on? A list is made, and gone through file by file; then it is made anew.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::picker::{Candidate, Now, ScrubOptions, due};
use crate::env::Env;
use crate::error::{Code, Result};
use crate::ids::TableId;
use crate::publishing::{local_path, note_tested, test_file};
use crate::sealed::FileRef;
use crate::table::Table;

/// When nothing was due, all files are looked through again so much later.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What is known of the tests of one process.
pub(crate) struct Scrubber {
    options: ScrubOptions,
    env: Env,
    /// Uptime when a file was last tested.
    tested: HashMap<String, Duration>,
    queue: VecDeque<(TableId, String)>,
    /// When the queue was last made: uptime and wall clock.
    looked: Option<(Duration, i64)>,
}

impl Scrubber {
    pub(crate) fn new(options: ScrubOptions, env: &Env) -> Self {
        Self { options, env: env.clone(), tested: HashMap::new(), queue: VecDeque::new(), looked: None }
    }

    /// The next file that is due, with its table.
    pub(crate) fn next(&mut self, tables: &[Table]) -> Option<(Table, FileRef)> {
        self.options.rate?;
        if self.queue.is_empty() {
            self.look(tables);
        }
        while let Some((id, name)) = self.queue.pop_front() {
            let Some(table) = tables.iter().find(|table| table.shared.def.id == id) else { continue };
            let snapshot = table.snapshot();
            // It may have left the table.
            if let Some(file) = snapshot.files().iter().find(|file| file.file.name == name) {
                return Some((table.clone(), file.clone()));
            }
        }
        None
    }

    /// Tests a file that [`Self::next`] gave, at the pace of the options. Whether it could be.
    pub(crate) async fn test(&mut self, table: &Table, file: &FileRef) -> bool {
        let outcome = test(table, file, self.options.rate).await;
        // Also one that could not be tested: its turn comes again.
        self.tested.insert(file.file.name.clone(), self.env.clock.uptime());
        match outcome {
            Ok(()) => true,
            Err(e) => {
                let shared = &table.shared;
                if e.code() != Code::ShuttingDown && !shared.is_closing() {
                    tracing::warn!(table_id = %shared.def.id, path = %file.place.path, reason = %e, "a file could not be tested");
                }
                false
            }
        }
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
    note_tested(&table.shared, file, &tested).await
}
