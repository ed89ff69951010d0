//! When do key layers become fewer, or go to disk? Beside the worker, one job at a time: probes stay few and memory stays within its budget,
//! however many builds there are.

use std::fs::File;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use crate::dedup::{MergeJob, Merged, SpillJob, Spilled};
use crate::env::in_background;
use crate::error::{Error, Result};
use crate::sealed::FilePlace;
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::handle::Shared;
use crate::table::seal::LayerFile;
use crate::table::worker::group::{Answer, Publish};
use crate::table::worker::task::{Prepared, Worker};

/// What a job made.
pub(crate) enum NewKeys {
    /// A layer in memory.
    Merged(Merged),
    /// A run on disk, by the name of its file, and what keeps that from being cleaned until its name's record is gone.
    Spilled(Spilled, String, Arc<FilePlace>),
}

pub(crate) struct KeysJob {
    id: u64,
    task: AbortOnDropHandle<Result<NewKeys>>,
}

impl KeysJob {
    pub(crate) async fn outcome(&mut self) -> Result<NewKeys> {
        (&mut self.task).await.unwrap_or_else(|e| Err(Error::internal(format!("key layers could not be merged: {e}"))))
    }
}

impl Worker {
    /// Starts what the key index asks for, if anything, unless it failed a moment ago.
    pub(crate) fn start_keys_job(&mut self) {
        if self.keys_job.is_some() || self.shared.is_closing() {
            return;
        }
        let built_through = self.state.seal.built_through().0;
        let Some(keys) = &mut self.state.keys else { return };
        let shared = Arc::clone(&self.shared);
        let start = |kind: &'static str, cause: &'static str| {
            let id = shared.jobs.lock().add(kind, cause);
            shared.jobs.lock().begin(id, shared.env.clock.now_us());
            id
        };
        // Memory first: without it rows are refused.
        if let Some(job) = keys.pick_spill(built_through) {
            let id = start("keys", "memory");
            let task = tokio::spawn(spill(Arc::clone(&self.shared), job));
            self.keys_job = Some(KeysJob { id, task: AbortOnDropHandle::new(task) });
        } else if let Some(job) = keys.pick_merge() {
            let id = start("keys", "layers");
            let task = tokio::spawn(merge(job));
            self.keys_job = Some(KeysJob { id, task: AbortOnDropHandle::new(task) });
        } else if let Some(job) = keys.pick_run_merge() {
            let id = start("keys", "runs");
            let task = tokio::spawn(spill(Arc::clone(&self.shared), job));
            self.keys_job = Some(KeysJob { id, task: AbortOnDropHandle::new(task) });
        }
    }

    /// The index takes over what was made. Runs that were written for nothing are deleted by their recorded names.
    pub(crate) async fn on_keys(&mut self, outcome: Result<NewKeys>) -> Result<()> {
        let Some(KeysJob { id, .. }) = self.keys_job.take() else { return Ok(()) };
        let now_us = self.shared.env.clock.now_us();
        self.shared.jobs.lock().end(id, now_us, outcome.as_ref().err().map(ToString::to_string));
        let new = match outcome {
            Ok(new) => new,
            Err(e) => {
                // Layers stay as they are. The next build asks again.
                tracing::warn!(table_id = %self.shared.def.id, reason = %e, "key layers stay as they are");
                return Ok(());
            }
        };
        let Some(keys) = &mut self.state.keys else { return Ok(()) };
        match new {
            NewKeys::Merged(merged) => drop(keys.apply_merge(merged)),
            NewKeys::Spilled(spilled, name, place) => {
                let seal = &mut self.state.seal;
                let (replaced, kept): (Vec<LayerFile>, Vec<LayerFile>) = std::mem::take(&mut seal.layer_files)
                    .into_iter()
                    .partition(|layer| spilled.replaces(layer.from, layer.through, layer.is_run));
                let newest = replaced.iter().max_by_key(|layer| (layer.epoch, layer.through)).cloned();
                let run = spilled.run();
                let file = newest.map(|newest| LayerFile {
                    name,
                    bytes: run.disk_bytes(),
                    keys: run.n_keys(),
                    from: run.from(),
                    through: run.through(),
                    is_run: true,
                    ..newest
                });
                let is_applied = keys.apply_spill(spilled);
                seal.layer_files = kept;
                let Some(file) = file.filter(|_| is_applied) else {
                    seal.layer_files.extend(replaced);
                    return Ok(());
                };
                seal.layer_files.push(file.clone());
                self.submit(Prepared {
                    seq: self.state.last_seq,
                    commit: Some(commit::layers(self.state.def.id, &file, &replaced)),
                    publish: Publish::Nothing,
                    stamp_us: self.state.last_stamp_us,
                    answers: vec![hold_until_written(place)],
                })
                .await?;
            }
        }
        self.start_keys_job();
        Ok(())
    }
}

/// Keeps a file from being cleaned until the commit that this answers is written. If its worker ends before, nobody knows whether it was:
/// the file is kept for the life of the process then, and the next start looks at the records.
fn hold_until_written(place: Arc<FilePlace>) -> Answer {
    let (answer, written) = oneshot::channel();
    tokio::spawn(async move {
        if written.await.is_err() {
            std::mem::forget(place);
        }
    });
    Answer::Done(answer, Ok(()))
}

async fn merge(job: MergeJob) -> Result<NewKeys> {
    in_background("keys", move || NewKeys::Merged(job.run())).await
}

/// The run's name is on record before its first byte, and its folder is synced before it is used.
async fn spill(shared: Arc<Shared>, job: SpillJob) -> Result<NewKeys> {
    // A key takes at most its hash and a part of its filter.
    const KEY_BYTES: u64 = 18;
    shared.gate.check_space_beside(Write::Copies, job.n_keys() * KEY_BYTES)?;
    let name = format!("{}.run", shared.env.rng.uuid());
    let place = shared.built_place(&name);
    shared.log.commit(commit::names(shared.def.id, std::slice::from_ref(&name))).await?;
    let path = shared.folders.built_path(&name);
    let folder = shared.folders.built();
    let fail = Arc::clone(&shared.env.fail);
    // A job that nobody waits for any more must not hold the folder.
    drop(shared);
    let work = move || -> Result<NewKeys> {
        let spilled = job.run(&path)?;
        fail.hit("keys.run_written")?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|e| {
            Error::new(crate::error::Code::FolderUnusable, format!("{} cannot be synced: {e}", folder.display()))
        })?;
        Ok(NewKeys::Spilled(spilled, name, place))
    };
    in_background("keys", work).await?
}
