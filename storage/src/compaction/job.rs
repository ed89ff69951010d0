//! How are files merged while the table goes on? Read as they were at one moment, written beside everything, and committed only if nothing
//! happened to them since.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{MutexGuard, OwnedSemaphorePermit};

use super::merge::{Input, MAX_FILES, Merge, Merged};
use super::picker::{Candidate, Group, Kind, hour_bytes, pick};
use crate::env::in_background;
use crate::error::{Code, Error, Result};
use crate::memory::Share;
use crate::publishing::{
    Draft, Tested, bring, checkpoint, decide, delta_table, download, look_closer, settle, settle_recorded, while_open,
};
use crate::sealed::{FilePlace, FileRef, SegmentFile};
use crate::table::{PublishedFile, Shared, Table, TableRequest, Write, names_anywhere};

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// The Delta table's version afterwards; `None`: it was never published.
    pub delta_version: Option<u64>,
    /// Files that left the table, and those that took their place.
    pub merged_files: u64,
    pub new_files: u64,
    /// In the new files.
    pub rows: u64,
    pub bytes: u64,
}

impl Table {
    /// Merges small files of the Delta table, and leaves deleted rows out, until nothing is left to do. Rows that are not published yet
    /// stay where they are. Waits as long as the store is away; the caller bounds that.
    pub async fn compact(&self) -> Result<Compacted> {
        compact(self, "request", usize::MAX).await
    }
}

/// Merges up to so many groups of files, each when its turn comes among those of all tables. Runs to its end whether or not the caller
/// waits. A single group is left to who merges files of the table already, or waits for the turn.
pub(crate) async fn compact(table: &Table, cause: &'static str, max_groups: usize) -> Result<Compacted> {
    let table = table.clone();
    let task = tokio::spawn(async move { compact_all(&table, cause, max_groups).await });
    task.await.unwrap_or_else(|e| Err(Error::ended_early("a compaction", &e)))
}

async fn compact_all(table: &Table, cause: &'static str, max_groups: usize) -> Result<Compacted> {
    let shared = Arc::clone(&table.shared);
    let mut done = Compacted::default();
    let mut left_alone = match shared.merging.try_lock() {
        Ok(left_alone) => left_alone,
        Err(_) if max_groups == 1 => return Ok(done),
        Err(_) => shared.merging.lock().await,
    };
    // What was changed while it was read is left for the next time.
    let mut passed = HashSet::new();
    for _ in 0..max_groups {
        // Where nothing is to be done nobody waits for a turn.
        if next_work(table, [&passed, &left_alone]).is_none() {
            break;
        }
        let id = shared.jobs.lock().add("compact", cause);
        let end = |failed: Option<&Error>| {
            let now_us = shared.env.clock.now_us();
            shared.jobs.lock().end(id, now_us, failed.map(ToString::to_string));
        };
        let begun = begin(table, [&passed, &left_alone]).await.inspect_err(|e| end(Some(e)))?;
        let Some((work, place, _compacting)) = begun else {
            end(None);
            break;
        };
        let inputs = work.inputs.clone();
        let names = inputs.iter().map(|input| input.file.name.clone());
        let outcome = work_through(table, work, place, id).await;
        end(outcome.as_ref().err());
        match outcome {
            Ok(Some(merged)) => done.add(&merged),
            // They do not fit into memory together.
            Ok(None) => left_alone.extend(names),
            Err(e) if e.code() == Code::BuildOvertaken => passed.extend(names),
            Err(e) if e.code() == Code::FileDamaged => {
                tracing::warn!(table_id = %shared.def.id, table = %table.def().name, reason = %e, "files are not merged");
                // A damaged file is left alone from here on, and the others are looked at again.
                if !matches!(look_closer(&shared, &inputs, &e).await?, Some(Tested::Damaged(_))) {
                    left_alone.extend(names);
                }
            }
            Err(e) => return Err(e),
        }
    }
    done.delta_version = shared.sealing.lock().settled.map(|settled| settled.version);
    Ok(done)
}

impl Compacted {
    fn add(&mut self, merged: &Merged) {
        self.merged_files += merged.n_inputs as u64;
        self.new_files += merged.files.len() as u64;
        self.rows += merged.files.iter().map(|file| file.rows).sum::<u64>();
        self.bytes += merged.files.iter().map(|file| file.bytes).sum::<u64>();
    }
}

/// Files that are to be merged, as a snapshot has them. Not the snapshot: nobody needs its fresh rows.
struct Work {
    inputs: Vec<FileRef>,
    kind: Kind,
    hours: BTreeMap<i64, u64>,
    /// Uptime when they were picked.
    since: Duration,
}

/// The group that makes the most files into fewest, of those that are not `left` alone. Nothing is done here.
fn next_work(table: &Table, left: [&HashSet<String>; 2]) -> Option<Work> {
    let shared = &table.shared;
    let since = shared.env.clock.uptime();
    let snapshot = table.snapshot();
    let published: Vec<&FileRef> = snapshot.files().iter().filter(|file| file.place.is_published).collect();
    let candidate = |file: &&FileRef| Candidate {
        hour: file.file.hour,
        bytes: file.file.bytes,
        rows: file.file.rows,
        deleted: file.n_deleted(),
        times: snapshot.event_times(file),
        min_seq: file.file.min_seq.0,
        is_left_alone: left.iter().any(|names| names.contains(&file.file.name))
            || shared.quarantine.has(&file.file.name),
    };
    let candidates: Vec<Candidate> = published.iter().map(candidate).collect();
    let groups = pick(&candidates, shared.env.clock.now_us());
    let Group { files, kind } = groups.into_iter().max_by_key(|group| group.files.len())?;
    let inputs = files.into_iter().map(|at| published[at].clone()).collect();
    Some(Work { inputs, kind, hours: hour_bytes(&candidates), since })
}

/// Names of files that a job makes, each held until the job ends: nobody deletes them meanwhile, and the local ones go with it.
struct Minted {
    files: Vec<String>,
    /// Copies of files that are elsewhere, by input; empty where the table is on the local disk.
    copies: Vec<String>,
    places: Vec<Arc<FilePlace>>,
}

impl Minted {
    fn new(shared: &Shared, work: &Work) -> Self {
        let mint = |n: usize, end: &str| (0..n).map(|_| format!("{}.{end}", shared.env.rng.uuid())).collect::<Vec<_>>();
        let is_local = shared.folders.tables().local.is_some();
        let (files, copies) = (mint(MAX_FILES, "parquet"), mint(if is_local { 0 } else { work.inputs.len() }, "copy"));
        let places = files.iter().chain(&copies).map(|name| shared.built_place(name)).collect();
        Self { files, copies, places }
    }

    fn all(&self) -> Vec<String> {
        self.files.iter().chain(&self.copies).cloned().collect()
    }
}

impl Drop for Minted {
    fn drop(&mut self) {
        // What became part of the table is in its own folder by then.
        self.places.iter().for_each(|place| place.let_go());
    }
}

/// Waits for the one place for merges of all tables, and has the table's `compacting` then; the caller holds its `merging`. What is waited
/// for in which order stands at [`crate::table::Gate`]. `None`: others did meanwhile what there was to do.
async fn begin<'t>(
    table: &'t Table,
    left: [&HashSet<String>; 2],
) -> Result<Option<(Work, OwnedSemaphorePermit, MutexGuard<'t, ()>)>> {
    let shared = &table.shared;
    // What cannot be committed is not made: it would stay in the Delta folder, again and again. Whoever publishes asks the same. Before the
    // place is taken: this waits for as long as the store is away.
    if let Ok(_publishing) = shared.publishing.try_lock() {
        settle_recorded(table, &delta_table(shared)?).await?;
    }
    loop {
        let place = while_open(shared, Arc::clone(&shared.gate.merges).acquire_owned()).await?;
        if let Ok(compacting) = shared.compacting.try_lock() {
            // As the files are now: a version that was held since the wait began may be too old when the merge ends.
            return Ok(next_work(table, left).map(|work| (work, place, compacting)));
        }
        // Files leave that are past the retention. That may wait for as long as the store is away, and others need the place.
        drop(place);
        drop(while_open(shared, async { Ok(shared.compacting.lock().await) }).await?);
    }
}

/// `None`: the files do not fit into memory together. `BUILD_OVERTAKEN`: one of them was changed meanwhile. `place` is that for merges.
async fn work_through(table: &Table, work: Work, place: OwnedSemaphorePermit, job: u64) -> Result<Option<Merged>> {
    let shared = &table.shared;
    let names = work.inputs.iter().map(|input| input.file.name.clone()).collect();
    // What Delta's log has of them; that it is still so is tested with the commit.
    let published = table.ask(|answer| TableRequest::LookUpPublished { names, answer }).await?;
    if published.len() < work.inputs.len() {
        return Err(Error::new(Code::BuildOvertaken, "a file was changed since it was picked"));
    }
    let bytes: u64 = work.inputs.iter().map(|input| input.file.bytes).sum();
    let copies = if shared.folders.tables().local.is_some() { 0 } else { bytes };
    shared.gate.check_space_beside(Write::Copies, bytes + copies)?;
    shared.jobs.lock().begin(job, shared.env.clock.now_us());

    let minted = Minted::new(shared, &work);
    shared.log.commit(names_anywhere(shared.def.id, &minted.all())).await?;
    shared.env.fail.hit("compact.names_recorded")?;
    let inputs = bring_here(shared, &work, &minted).await?;
    // It gives way: the builds that came before it have their places first, and those that come after it find this one free.
    drop(while_open(shared, shared.gate.builds.acquire()).await?);
    let merge = Merge {
        shared: Arc::clone(shared),
        def: table.def(),
        inputs,
        kind: work.kind,
        hours: work.hours.clone(),
        names: minted.files.clone(),
        budget: shared.gate.merging_bytes(),
        now_us: shared.env.clock.now_us(),
        since: work.since,
    };
    let (merged, place) = run(shared, merge, place).await?;
    let Some(mut merged) = merged else { return Ok(None) };
    shared.env.fail.hit("compact.files_synced")?;
    for file in &mut merged.files {
        *file = bring(shared, file).await?;
        shared.env.fail.hit("compact.file_brought")?;
    }
    // The commit takes as long as the store is away: others have their turn.
    drop(place);
    let n_deleted = work.inputs.iter().map(|input| (input.file.name.clone(), input.n_deleted()));
    let left = n_deleted.take(merged.n_inputs).collect();
    commit(table, &merged.files, &published[..merged.n_inputs], left).await?;
    let (n_inputs, n_files) = (merged.n_inputs, merged.files.len());
    let def = table.def();
    tracing::info!(table_id = %def.id, table = %def.name, n_inputs, n_files, work = ?work.kind, "files were merged");
    Ok(Some(merged))
}

/// Where the inputs are on the local disk. What is elsewhere is copied.
async fn bring_here(shared: &Shared, work: &Work, minted: &Minted) -> Result<Vec<Input>> {
    let tables = shared.folders.tables();
    let mut inputs = Vec::with_capacity(work.inputs.len());
    for (at, FileRef { file, place, deleted }) in work.inputs.iter().enumerate() {
        shared.gate.check_age(work.since)?;
        let path: PathBuf = match (&tables.local, minted.copies.get(at)) {
            (Some(local), _) => local.root().join(place.path.to_string()),
            (None, Some(copy)) => {
                let path = shared.folders.built_path(copy);
                let copied = download(shared, &place.path, file.bytes, &path).await;
                copied.map_err(|e| e.with("file", &file.name))?;
                path
            }
            (None, None) => return Err(Error::internal("a file that is elsewhere has no name here")),
        };
        inputs.push(Input { file: Arc::clone(file), path, deleted: deleted.clone() });
    }
    Ok(inputs)
}

/// Beside everything, with its place and memory until it ends. Gives the place back.
async fn run(
    shared: &Arc<Shared>,
    merge: Merge,
    place: OwnedSemaphorePermit,
) -> Result<(Option<Merged>, OwnedSemaphorePermit)> {
    let memory = shared.memory.charge(Share::Unassigned, merge.budget);
    let work = move || {
        let _held = memory;
        merge.run().map(|merged| (merged, place))
    };
    in_background("compact", work).await?
}

/// One commit: `files`, which are in the Delta folder, for the first inputs. Their rows are the same. `left` are their names, with how many
/// deleted rows each was read.
async fn commit(
    table: &Table,
    files: &[SegmentFile],
    inputs: &[PublishedFile],
    left: Vec<(String, u64)>,
) -> Result<()> {
    let shared = &table.shared;
    let _one = shared.publishing.lock().await;
    let delta = delta_table(shared)?;
    settle_recorded(table, &delta).await?;
    let settled = shared.sealing.lock().settled;
    let from = settled.ok_or_else(|| Error::internal("files of no version were merged"))?;
    // As old as the newest of them: retention goes by it.
    let since = inputs.iter().map(|file| file.since).max().flatten();
    let version = from.version + 1;
    let added = files.iter().map(|file| PublishedFile { file: file.clone(), version, vector: None, since });
    let added: Vec<PublishedFile> = added.collect();
    // Another one than the files may have: an ALTER that came since is declared as well.
    let def = table.def();
    let draft = Draft {
        operation: "OPTIMIZE",
        from: Some(from),
        through: from.through(),
        def: &def,
        adds: &added,
        removes: inputs.iter().collect(),
        data_change: false,
    };
    let intent = draft.intent(shared)?;
    let decided = Box::new(intent.clone());
    decide(table, |answer| TableRequest::Leave { files: left, retention_us: None, intent: decided, answer }).await?;
    shared.env.fail.hit("compact.decided")?;
    settle(table, &delta, intent).await?;
    checkpoint(table, &delta).await;
    Ok(())
}
