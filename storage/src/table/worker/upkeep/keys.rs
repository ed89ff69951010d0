//! When do key layers become fewer, or go to disk? Beside the worker: probes stay few and memory stays within its budget, however many
//! builds there are.
//!
//! Two jobs of a table at a time: one that takes layers to disk or makes them fewer, which memory waits for, and one that merges runs,
//! which may take minutes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::back_off::BackOff;
use crate::dedup::{FileSpan, FilterJob, KeyIndex, MergeJob, Merged, RewriteJob, Rewritten, SpillJob, Spilled};
use crate::env::in_background;
use crate::error::{Code, Error, Result};
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
    /// Filters in memory.
    Filters,
    /// A run on disk, by the name of its file, and what keeps that from being cleaned until its name's record is gone.
    Spilled(Spilled, String, Arc<FilePlace>),
    /// Files of layers that take the place of others.
    Rewritten(NewFiles),
}

pub(crate) struct NewFiles {
    /// Each with its name, and what keeps it from being cleaned.
    files: Vec<(Rewritten, String, Arc<FilePlace>)>,
    replaced: Vec<LayerFile>,
}

/// What a job does. Each kind that fails is tried again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Spill,
    Filters,
    Merge,
    Rewrite,
    Runs,
}

const KINDS: usize = Kind::Runs as usize + 1;

/// Which of a table's two jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySlot {
    Layers,
    Runs,
}

struct KeyJob {
    id: u64,
    kind: Kind,
    task: AbortOnDropHandle<Result<NewKeys>>,
}

/// The jobs of one table over its keys.
#[derive(Default)]
pub(crate) struct KeyJobs {
    layers: Option<KeyJob>,
    runs: Option<KeyJob>,
    failed: [BackOff; KINDS],
}

impl KeyJobs {
    /// How the next job ends; never, if there is none.
    pub(crate) async fn ended(&mut self) -> (KeySlot, Result<NewKeys>) {
        let Self { layers, runs, .. } = self;
        tokio::select! {
            biased;
            outcome = outcome_of(layers) => (KeySlot::Layers, outcome),
            outcome = outcome_of(runs) => (KeySlot::Runs, outcome),
        }
    }

    fn take(&mut self, slot: KeySlot) -> Option<KeyJob> {
        match slot {
            KeySlot::Layers => self.layers.take(),
            KeySlot::Runs => self.runs.take(),
        }
    }

    /// When the first of those that failed may begin again.
    fn retry_at(&self) -> Option<Duration> {
        self.failed.iter().filter_map(BackOff::until).min()
    }
}

async fn outcome_of(job: &mut Option<KeyJob>) -> Result<NewKeys> {
    match job {
        Some(job) => (&mut job.task).await.unwrap_or_else(|e| Err(Error::ended_early("a job over key layers", &e))),
        None => std::future::pending().await,
    }
}

impl Worker {
    /// Starts what the key index asks for, if anything, unless it failed a moment ago.
    pub(crate) fn start_keys_job(&mut self) {
        if !self.shared.is_closing() {
            self.start_layers_job();
            self.start_runs_job();
        }
        self.shared.keys.note_jobs(self.key_jobs.layers.is_some(), self.key_jobs.retry_at());
    }

    fn start_layers_job(&mut self) {
        if self.key_jobs.layers.is_some() {
            return;
        }
        let (uptime, seal) = (self.shared.env.clock.uptime(), &self.state.seal);
        let built_through = seal.built_through().0;
        let Some(keys) = &mut self.state.keys else { return };
        let [spill_waits, filters_wait, merge_waits, rewrite_waits, _] = &mut self.key_jobs.failed;
        let shared = || Arc::clone(&self.shared);
        let add = |cause| self.shared.jobs.lock().add("keys", cause);
        // Memory first: without it rows are refused.
        let job = if spill_waits.may_begin(uptime)
            && let Some(job) = keys.pick_spill(built_through)
        {
            let id = add("memory");
            Some((id, Kind::Spill, tokio::spawn(spill(shared(), id, job))))
        } else if filters_wait.may_begin(uptime)
            && let Some(job) = keys.pick_filters()
        {
            let id = add("filters");
            Some((id, Kind::Filters, tokio::spawn(load(shared(), id, job))))
        } else if merge_waits.may_begin(uptime)
            && let Some(job) = keys.pick_merge()
        {
            let id = add("layers");
            Some((id, Kind::Merge, tokio::spawn(merge(shared(), id, job))))
        } else if rewrite_waits.may_begin(uptime)
            && let Some((job, replaced)) = pick_rewrite(keys, &seal.layer_files, built_through)
        {
            let id = add("files");
            Some((id, Kind::Rewrite, tokio::spawn(rewrite(shared(), id, job, replaced))))
        } else {
            None
        };
        self.key_jobs.layers = job.map(|(id, kind, task)| KeyJob { id, kind, task: AbortOnDropHandle::new(task) });
    }

    fn start_runs_job(&mut self) {
        let uptime = self.shared.env.clock.uptime();
        let Some(keys) = self.state.keys.as_mut().filter(|_| self.key_jobs.runs.is_none()) else { return };
        if !self.key_jobs.failed[Kind::Runs as usize].may_begin(uptime) {
            return;
        }
        let Some(job) = keys.pick_run_merge() else { return };
        let id = self.shared.jobs.lock().add("keys", "runs");
        let task = AbortOnDropHandle::new(tokio::spawn(spill(Arc::clone(&self.shared), id, job)));
        self.key_jobs.runs = Some(KeyJob { id, kind: Kind::Runs, task });
    }

    /// The index takes over what was made. Files that were written for nothing are deleted.
    pub(crate) async fn on_keys(&mut self, slot: KeySlot, outcome: Result<NewKeys>) -> Result<()> {
        let Some(KeyJob { id, kind, .. }) = self.key_jobs.take(slot) else { return Ok(()) };
        let clock = &self.shared.env.clock;
        self.shared.jobs.lock().end(id, clock.now_us(), outcome.as_ref().err().map(ToString::to_string));
        let waits = &mut self.key_jobs.failed[kind as usize];
        match outcome {
            Ok(new) => {
                waits.note_done();
                self.take_over(new).await?;
            }
            Err(e) => {
                // All is as it was. The engine asks again.
                waits.note_failed(clock.uptime());
                if !self.shared.is_closing() {
                    tracing::warn!(table_id = %self.shared.def.id, reason = %e, "key layers stay as they are for now");
                }
            }
        }
        self.start_keys_job();
        self.shared.note_keys(self.state.keys.as_ref());
        Ok(())
    }

    /// Somebody needs memory, or a job that failed may be tried again. `gives_filters`: others are refused, so that filters go if nothing
    /// else can.
    pub(crate) fn on_tend_keys(&mut self, gives_filters: bool) {
        self.start_keys_job();
        let is_idle = self.key_jobs.layers.is_none();
        if let Some(keys) = self.state.keys.as_ref().filter(|keys| gives_filters && is_idle && !keys.wants_build()) {
            keys.give_filters();
        }
        self.shared.note_keys(self.state.keys.as_ref());
    }

    async fn take_over(&mut self, new: NewKeys) -> Result<()> {
        let Some(keys) = &mut self.state.keys else { return Ok(()) };
        match new {
            NewKeys::Filters => Ok(()),
            NewKeys::Merged(merged) => {
                keys.apply_merge(merged);
                Ok(())
            }
            NewKeys::Spilled(spilled, name, place) => {
                let recorded = run_file(&self.state.seal.layer_files, &spilled, name);
                let is_applied = keys.apply_spill(spilled);
                let Some((file, replaced)) = recorded.filter(|_| is_applied) else {
                    place.let_go();
                    return Ok(());
                };
                self.record_files(vec![file], replaced, vec![place]).await
            }
            NewKeys::Rewritten(NewFiles { files, replaced }) => {
                let here = &self.state.seal.layer_files;
                let is_here = |file: &LayerFile| here.iter().any(|other| other.name == file.name);
                let newest = replaced.iter().max_by_key(|file| (file.epoch, file.through)).cloned();
                let Some(newest) = newest.filter(|_| replaced.iter().all(is_here)) else {
                    files.iter().for_each(|(.., place)| place.let_go());
                    return Ok(());
                };
                let (mut new, mut places) = (Vec::new(), Vec::new());
                for (Rewritten { from, through, keys, bytes }, name, place) in files {
                    new.push(LayerFile { name, bytes, keys, from, through, is_run: false, ..newest.clone() });
                    places.push(place);
                }
                self.record_files(new, replaced, places).await
            }
        }
    }

    /// Files take the place of others, in one commit. Those that were replaced go when it is written.
    async fn record_files(
        &mut self,
        new: Vec<LayerFile>,
        replaced: Vec<LayerFile>,
        places: Vec<Arc<FilePlace>>,
    ) -> Result<()> {
        let gone = replaced.iter().map(|file| self.shared.built_place(&file.name)).collect();
        let commit = commit::layers(self.state.def.id, &new, &replaced);
        put_files(&mut self.state.seal.layer_files, new, &replaced);
        self.submit(Prepared {
            seq: self.state.last_seq,
            commit: Some(commit),
            publish: Publish::Nothing,
            stamp_us: self.state.last_stamp_us,
            answers: vec![hold_until_written(places, gone)],
        })
        .await
    }
}

/// The job with the files that it replaces.
fn pick_rewrite(keys: &KeyIndex, files: &[LayerFile], built_through: u64) -> Option<(RewriteJob, Vec<LayerFile>)> {
    let files: Vec<&LayerFile> = files.iter().filter(|file| !file.is_run).collect();
    let span =
        |file: &&LayerFile| FileSpan { from: file.from, through: file.through, epoch: file.epoch, bytes: file.bytes };
    let spans: Vec<FileSpan> = files.iter().map(span).collect();
    let job = keys.pick_rewrite(&spans, built_through)?;
    let replaced = job.replaces().iter().map(|at| files[*at].clone()).collect();
    Some((job, replaced))
}

/// The record of a run, and those that it takes the place of: it is of the newest one's time.
pub(super) fn run_file(files: &[LayerFile], spilled: &Spilled, name: String) -> Option<(LayerFile, Vec<LayerFile>)> {
    let is_replaced = |file: &&LayerFile| spilled.replaces(file.from, file.through, file.is_run);
    let replaced: Vec<LayerFile> = files.iter().filter(is_replaced).cloned().collect();
    let newest = replaced.iter().max_by_key(|file| (file.epoch, file.through)).cloned()?;
    let run = spilled.run();
    let file = LayerFile {
        name,
        bytes: run.disk_bytes(),
        keys: run.n_keys(),
        from: run.from(),
        through: run.through(),
        is_run: true,
        ..newest
    };
    Some((file, replaced))
}

pub(super) fn put_files(files: &mut Vec<LayerFile>, new: Vec<LayerFile>, replaced: &[LayerFile]) {
    files.retain(|file| !replaced.iter().any(|gone| gone.name == file.name));
    files.extend(new);
}

/// Keeps new files from being cleaned until the commit that this answers is written, and lets those go that it replaces. If its worker
/// ends before, nobody knows whether it was: all are kept for the life of the process then, and the next start looks at the records.
fn hold_until_written(new: Vec<Arc<FilePlace>>, gone: Vec<Arc<FilePlace>>) -> Answer {
    let (answer, written) = oneshot::channel();
    tokio::spawn(async move {
        match written.await {
            Ok(_) => gone.iter().for_each(|place| place.let_go()),
            Err(_) => std::mem::forget(new),
        }
    });
    Answer::Done(answer, Ok(()))
}

/// The same for files of keys that are forgotten: they go with the commit that says so, not with the next start.
pub(crate) fn let_go_when_written(gone: Vec<Arc<FilePlace>>) -> Answer {
    hold_until_written(Vec::new(), gone)
}

/// Waits for one of the places that jobs of all tables share, and begins.
async fn begun(shared: &Shared, id: u64, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    let none = |_| Error::internal("there are no places for jobs over keys any more");
    let place = Arc::clone(places).acquire_owned().await.map_err(none)?;
    shared.jobs.lock().begin(id, shared.env.clock.now_us());
    Ok(place)
}

async fn merge(shared: Arc<Shared>, id: u64, job: MergeJob) -> Result<NewKeys> {
    shared.jobs.lock().begin(id, shared.env.clock.now_us());
    // A job that nobody waits for any more must not hold the folder.
    drop(shared);
    in_background("keys", move || NewKeys::Merged(job.run())).await
}

async fn load(shared: Arc<Shared>, id: u64, job: FilterJob) -> Result<NewKeys> {
    shared.jobs.lock().begin(id, shared.env.clock.now_us());
    drop(shared);
    in_background("keys", move || job.run().map(|()| NewKeys::Filters)).await?
}

/// About what a run of so many keys takes on disk: a key takes at most its hash and a part of its filter.
pub(super) fn run_bytes(job: &SpillJob) -> u64 {
    const KEY_BYTES: u64 = 18;
    job.n_keys() * KEY_BYTES
}

/// The run's name is on record before its first byte, and its folder is synced before it is used.
async fn spill(shared: Arc<Shared>, id: u64, job: SpillJob) -> Result<NewKeys> {
    // Rows wait for layers that go to disk; runs that are merged can wait themselves.
    let (places, write) = match job.is_run_merge() {
        true => (&shared.gate.key_merges, Write::Copies),
        false => (&shared.gate.key_spills, Write::Rows),
    };
    let one = begun(&shared, id, places).await?;
    shared.gate.check_space_beside(write, run_bytes(&job))?;
    let name = format!("{}.run", shared.env.rng.uuid());
    let place = shared.built_place(&name);
    shared.log.commit(commit::names(shared.def.id, std::slice::from_ref(&name))).await?;
    let path = shared.folders.built_path(&name);
    let folder = shared.folders.built();
    let fail = Arc::clone(&shared.env.fail);
    drop(shared);
    let work = move || -> Result<NewKeys> {
        let _one = one;
        let spilled = job.run(&path)?;
        fail.hit("keys.run_written")?;
        sync_folder(&folder)?;
        Ok(NewKeys::Spilled(spilled, name, place))
    };
    in_background("keys", work).await?
}

/// The same for layers that are written in the place of more files.
async fn rewrite(shared: Arc<Shared>, id: u64, job: RewriteJob, replaced: Vec<LayerFile>) -> Result<NewKeys> {
    let one = begun(&shared, id, &shared.gate.key_spills).await?;
    shared.gate.check_space_beside(Write::Copies, replaced.iter().map(|file| file.bytes).sum())?;
    let names: Vec<String> = (0..job.n_files()).map(|_| format!("{}.keys", shared.env.rng.uuid())).collect();
    let places: Vec<Arc<FilePlace>> = names.iter().map(|name| shared.built_place(name)).collect();
    shared.log.commit(commit::names(shared.def.id, &names)).await?;
    let paths: Vec<_> = names.iter().map(|name| shared.folders.built_path(name)).collect();
    let folder = shared.folders.built();
    let fail = Arc::clone(&shared.env.fail);
    drop(shared);
    let work = move || -> Result<NewKeys> {
        let _one = one;
        let written = job.run(&paths)?;
        fail.hit("keys.files_written")?;
        sync_folder(&folder)?;
        let files = written.into_iter().zip(names).zip(places).map(|((file, name), place)| (file, name, place));
        Ok(NewKeys::Rewritten(NewFiles { files: files.collect(), replaced }))
    };
    in_background("keys", work).await?
}

/// New names are found after a power cut.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| Error::new(Code::FolderUnusable, format!("{} cannot be synced: {e}", folder.display())).source(e))
}
