//! How do tail rows become sorted runs? One job of a table at a time, beside its worker; all tables share the places for them.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use crate::env::in_background;
use crate::error::{Error, Result};
use crate::memory::{Charge, Share};
use crate::realtime::{RealtimePart, build_runs, n_fitting, working_bytes};
use crate::table::handle::Shared;
use crate::table::worker::task::Worker;

/// Runs, and the parts whose place they take.
pub(crate) struct Sorted {
    replaced: Vec<Arc<RealtimePart>>,
    runs: Vec<RealtimePart>,
    /// What the runs hold, until a version that has them is charged for them.
    memory: Charge,
}

/// A job that sorts, or waits for its place. Dropped before it has one, it never begins.
pub(crate) struct RunJob {
    id: u64,
    task: AbortOnDropHandle<Result<Sorted>>,
}

impl RunJob {
    pub(crate) async fn outcome(&mut self) -> Result<Sorted> {
        (&mut self.task).await.unwrap_or_else(|e| Err(Error::internal(format!("a run could not be built: {e}"))))
    }
}

impl Worker {
    pub(crate) fn start_run_job(&mut self) {
        if self.run_job.is_some() {
            return;
        }
        let version = self.shared.version.load();
        let Some(parts) = version.realtime.sortable() else { return };
        let sort_by = self.state.def.options.sort_by.clone();
        let id = self.shared.jobs.lock().add("run", "tail_rows");
        let task = tokio::spawn(sort(Arc::clone(&self.shared), id, parts, sort_by));
        self.run_job = Some(RunJob { id, task: AbortOnDropHandle::new(task) });
    }

    /// A run that is being built would be for nothing.
    pub(crate) fn drop_run_job(&mut self) {
        if let Some(RunJob { id, .. }) = self.run_job.take() {
            self.shared.jobs.lock().cancel(id, self.shared.env.clock.now_us());
        }
    }

    pub(crate) fn apply_run(&mut self, outcome: Result<Sorted>) -> Result<()> {
        let Some(RunJob { id, .. }) = self.run_job.take() else { return Ok(()) };
        let now_us = self.shared.env.clock.now_us();
        self.shared.jobs.lock().end(id, now_us, outcome.as_ref().err().map(ToString::to_string));
        let Sorted { replaced, runs, memory } = outcome?;
        let next = {
            let version = self.shared.version.load_full();
            version.with_realtime(version.realtime.with_run(&replaced, runs.into_iter().map(Arc::new).collect()))
        };
        // Only readers hold the parts now: rows that are there once are not counted twice.
        drop(replaced);
        self.show(next);
        drop(memory);
        self.start_run_job();
        Ok(())
    }
}

/// Sorts `parts`, or the first of them if all need more memory than sorts may ever have, as soon as there is a place and memory.
async fn sort(shared: Arc<Shared>, id: u64, mut parts: Vec<Arc<RealtimePart>>, sort_by: Vec<usize>) -> Result<Sorted> {
    let none = |_| Error::internal("there are no places for run jobs any more");
    let gate = Arc::clone(&shared.gate);
    let place = Arc::clone(&gate.run_jobs).acquire_owned().await.map_err(none)?;
    // Every part of these stays as it is: those behind are left for the next run.
    parts.truncate(n_fitting(&parts, &sort_by, gate.sorting_bytes()));
    let needed = working_bytes(&parts, &sort_by);
    let space = gate.sorting.take(needed).await.map_err(none)?;
    shared.jobs.lock().begin(id, shared.env.clock.now_us());
    let mut memory = shared.memory.charge(Share::Unassigned, needed);
    // A sort that nobody waits for any more must not hold the folder.
    drop((shared, gate));
    let work = move || -> Result<Sorted> {
        // Until the sort ends, whether or not the worker still waits for it.
        let _places = (place, space);
        let runs = build_runs(&parts, &sort_by)?;
        memory.resize(runs.iter().map(|run| run.bytes).sum());
        Ok(Sorted { replaced: parts, runs, memory })
    };
    in_background("sort", work).await?
}
