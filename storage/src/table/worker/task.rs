//! Who changes a table? One worker: it takes what is waiting, decides, forms one group, and publishes when the log has it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::limits::{GROUP_BYTES, GROUPS_IN_FLIGHT};
use crate::log::{Commit, LogWriter, written};
use crate::realtime::Realtime;
use crate::table::commit::{self, Place};
use crate::table::handle::Shared;
use crate::table::seal::Files;
use crate::table::snapshot::TableVersion;
use crate::table::worker::TableRequest;
use crate::table::worker::group::{AcceptedRows, Answer, Publish, RowsGroup};
use crate::table::worker::seal::Freezing;
use crate::table::worker::state::TableState;
use crate::table::worker::upkeep::{KeyJobs, KeySlot, NewKeys, Reclaim, Reclaimed, RunJob, Sorted};

/// What a handler prepared: perhaps a commit, then a change of the version, then answers.
pub(crate) struct Prepared {
    pub(crate) seq: CommitSeq,
    /// `None`: there is only something to answer.
    pub(crate) commit: Option<Commit>,
    pub(crate) publish: Publish,
    pub(crate) stamp_us: i64,
    pub(crate) answers: Vec<Answer>,
}

impl Prepared {
    pub(crate) fn answer(answer: Answer) -> Self {
        Self { seq: CommitSeq(0), commit: None, publish: Publish::Nothing, stamp_us: 0, answers: vec![answer] }
    }
}

/// A commit that the log has and that is not yet visible.
struct InFlight {
    kind: &'static str,
    prepared: Prepared,
    done: oneshot::Receiver<Result<()>>,
}

/// The worker of one table.
pub(crate) struct Worker {
    pub(crate) state: TableState,
    pub(crate) shared: Arc<Shared>,
    log: Arc<LogWriter>,
    requests: mpsc::Receiver<TableRequest>,
    in_flight: VecDeque<InFlight>,
    pub(crate) run_job: Option<RunJob>,
    pub(crate) key_jobs: KeyJobs,
    /// Rows that the log will hold once everything in flight is written.
    pub(crate) decided_rows: u64,
    /// Rejected rows in the group that is being formed: their records are numbered.
    pub(crate) rejected_in_group: usize,
    pub(crate) reclaim: Reclaim,
    /// A prefix of the log that is to be closed as soon as it is visible.
    pub(crate) freezing: Option<Freezing>,
    /// Changes when keys are forgotten: who compared others with them begins again.
    pub(crate) keys_id: u64,
}

/// What woke the worker.
enum Event {
    Written(Result<()>),
    Run(Result<Sorted>),
    Keys(KeySlot, Result<NewKeys>),
    Reclaimed(Reclaimed),
    Request(TableRequest),
    Closing,
}

impl Worker {
    pub(crate) fn new(
        state: TableState,
        shared: Arc<Shared>,
        log: Arc<LogWriter>,
        requests: mpsc::Receiver<TableRequest>,
    ) -> Self {
        let decided_rows = shared.version.load().n_rows();
        let reclaim = Reclaim::owed_at(&shared.store, state.def.id, state.last_seq);
        let keys_id = shared.next_frozen_id();
        let worker = Self {
            state,
            shared,
            log,
            requests,
            in_flight: VecDeque::new(),
            run_job: None,
            key_jobs: KeyJobs::default(),
            decided_rows,
            rejected_in_group: 0,
            reclaim,
            freezing: None,
            keys_id,
        };
        // Before the table is seen, whenever `run` is first polled.
        worker.note_seal();
        worker
    }

    /// Runs until the queue is closed and everything in it is answered. An error means that memory and log may differ: the table is
    /// closed and must be opened from the log again.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut closing = false;
        self.start_run_job();
        self.start_reclaim();
        self.start_keys_job();
        loop {
            // A reclaim job holds the folder.
            if closing && self.in_flight.is_empty() && !self.reclaim.is_running() {
                // What the level `os` has not synced.
                return self.log.commit(commit::sync()).await;
            }
            match self.next_event(closing).await {
                Event::Written(outcome) => self.publish(outcome)?,
                Event::Run(outcome) => self.apply_run(outcome)?,
                Event::Keys(slot, outcome) => self.on_keys(slot, outcome).await?,
                Event::Reclaimed(what) => self.on_reclaimed(what).await?,
                Event::Request(request) => self.take(request).await?,
                Event::Closing => closing = true,
            }
        }
    }

    async fn next_event(&mut self, closing: bool) -> Event {
        let takes = self.in_flight.len() < GROUPS_IN_FLIGHT && !closing;
        let oldest = self.in_flight.front_mut();
        let run = self.run_job.as_mut();
        tokio::select! {
            biased;
            outcome = async { written((&mut oldest_or_never(oldest).await.done).await) } => Event::Written(outcome),
            outcome = async { run_or_never(run).await.outcome().await } => Event::Run(outcome),
            (slot, outcome) = self.key_jobs.ended() => Event::Keys(slot, outcome),
            what = self.reclaim.outcome() => Event::Reclaimed(what),
            request = self.requests.recv(), if takes => request.map_or(Event::Closing, Event::Request),
        }
    }

    /// Takes what is waiting and forms groups: rows share one, everything else has an entry of its own.
    async fn take(&mut self, first: TableRequest) -> Result<()> {
        let mut group = None;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                TableRequest::Rows { rows, held, answer } => {
                    let group = group.get_or_insert_with(|| self.new_group());
                    self.on_rows(group, *rows, held, answer)?;
                }
                other => {
                    self.finish_group(group.take()).await?;
                    if let Some(prepared) = self.handle(other)? {
                        self.submit(prepared).await?;
                    }
                }
            }
            if group.as_ref().is_some_and(|g| g.bytes() >= GROUP_BYTES) {
                break;
            }
            next = self.requests.try_recv().ok();
        }
        self.finish_group(group).await
    }

    /// A request that has an entry of its own, or none. `None`: it is answered, or will be by itself.
    fn handle(&mut self, request: TableRequest) -> Result<Option<Prepared>> {
        Ok(Some(match request {
            TableRequest::InitProducer { id, reset, principal, answer } => {
                self.on_init_producer(id, reset, &principal, answer)
            }
            TableRequest::LookUpProducer { id, answer } => self.on_look_up_producer(&id, answer),
            TableRequest::Housekeep => self.on_housekeep()?,
            TableRequest::TendKeys { gives_filters } => {
                self.on_tend_keys(gives_filters);
                return Ok(None);
            }
            TableRequest::LookUpKey { suffix, answer } => self.on_look_up_key(&suffix, answer),
            TableRequest::Truncate { answer } => self.on_truncate(answer),
            TableRequest::Delete { rows, answer } => self.on_delete(rows, answer),
            TableRequest::Alter { change, answer } => self.on_alter(&change, answer),
            TableRequest::Built { built, answer } => self.on_built(*built, answer),
            TableRequest::Published { outcome, answer } => self.on_published(outcome, answer),
            TableRequest::Freeze { answer } => {
                self.on_freeze(answer);
                return Ok(None);
            }
            TableRequest::LookUpPublished { names, answer } => self.on_look_up_published(&names, answer),
            TableRequest::Leave { files, retention_us, intent, answer } => {
                self.on_leave(files, retention_us, &intent, answer)
            }
            TableRequest::PlanPublish { answer } => self.on_plan_publish(answer),
            TableRequest::Send { truncated, intent, answer } => self.on_send(truncated, &intent, answer),
            TableRequest::Count { answer } => self.on_count(answer),
            TableRequest::SeeKeys { answer } => {
                self.on_see_keys(answer);
                return Ok(None);
            }
            TableRequest::ProbeKeys { keys, answer } => {
                self.on_probe_keys(&keys, answer);
                return Ok(None);
            }
            TableRequest::Segment { staged, answer } => self.on_segment(*staged, answer),
            TableRequest::Rows { .. } => return Err(Error::internal("rows are handled in groups")),
        }))
    }

    fn new_group(&mut self) -> RowsGroup {
        self.rejected_in_group = 0;
        let at = self.now();
        self.state.begin_epoch(at);
        RowsGroup::new(self.state.last_seq.next(), at)
    }

    /// Now, but never before the last entry.
    pub(crate) fn now(&self) -> Moment {
        let clock = &self.shared.env.clock;
        Moment {
            wall_us: clock.now_us().max(self.state.last_stamp_us),
            uptime_us: self.state.uptime_before_us + clock.uptime().as_micros() as u64,
        }
    }

    /// The next entry's place; its sequence is used from now on.
    pub(crate) fn next_place(&mut self) -> Place {
        let seq = self.state.last_seq.next();
        let at = self.now();
        self.use_place(seq, at)
    }

    fn use_place(&mut self, seq: CommitSeq, at: Moment) -> Place {
        self.state.last_seq = seq;
        self.state.last_stamp_us = at.wall_us;
        self.state.seal.arrivals.note(seq, at);
        Place { table: self.state.def.id, schema: self.state.def.schema_id, seq, at }
    }

    async fn finish_group(&mut self, group: Option<RowsGroup>) -> Result<()> {
        let Some(mut group) = group else { return Ok(()) };
        let answers = std::mem::take(&mut group.answers);
        if group.is_empty() {
            // Repeats write only counts and refusals nothing, but both may have to wait for a sync of what they rest on.
            let mut ops = group.ops;
            ops.extend(self.state.take_unwritten());
            let commit = (group.sync || !ops.is_empty()).then(|| commit::records(ops, group.sync));
            self.state.unsynced &= !group.sync;
            let seq = self.state.last_seq;
            return self
                .submit(Prepared {
                    seq,
                    commit,
                    publish: Publish::Nothing,
                    stamp_us: self.state.last_stamp_us,
                    answers,
                })
                .await;
        }
        let place = self.use_place(group.seq, group.at);
        let (blocks, accepted) = group.take_rows()?;
        self.decided_rows += accepted.iter().map(|accepted| accepted.rows.num_rows() as u64).sum::<u64>();
        let mut records = std::mem::take(&mut group.ops);
        records.extend(self.state.take_unwritten());
        self.state.unsynced = !group.sync;
        let commit = commit::rows(place, std::mem::take(&mut group.batches), blocks, records, group.sync);
        let publish = Publish::Rows(accepted);
        self.submit(Prepared { seq: place.seq, commit: Some(commit), publish, stamp_us: place.at.wall_us, answers })
            .await
    }

    /// Hands a commit to the log. What has none is answered when everything before it is visible.
    pub(crate) async fn submit(&mut self, mut prepared: Prepared) -> Result<()> {
        let Some(commit) = prepared.commit.take() else {
            match self.in_flight.back_mut() {
                Some(last) => last.prepared.answers.append(&mut prepared.answers),
                None => prepared.answers.into_iter().for_each(Answer::send),
            }
            return Ok(());
        };
        let kind = commit.kind;
        self.shared.env.fail.hit_in("table.before_submit", kind)?;
        let done = self.log.submit(commit).await;
        self.in_flight.push_back(InFlight { kind, prepared, done });
        Ok(())
    }

    /// The oldest commit is written: make it visible, then answer.
    fn publish(&mut self, outcome: Result<()>) -> Result<()> {
        let Some(InFlight { kind, prepared, .. }) = self.in_flight.pop_front() else {
            return Err(Error::internal("a write finished that nobody waits for"));
        };
        outcome?;
        let fail = Arc::clone(&self.shared.env.fail);
        fail.hit_in("table.before_publish", kind)?;
        self.make_visible(prepared.seq, prepared.stamp_us, prepared.publish)?;
        self.shared.note_publish(prepared.stamp_us, self.state.keys.as_ref());
        fail.hit_in("table.after_publish", kind)?;
        prepared.answers.into_iter().for_each(Answer::send);
        fail.hit_in("table.after_answer", kind)?;
        self.freeze_if_visible();
        self.start_run_job();
        if matches!(kind, "build" | "segment") {
            // There is a layer more.
            self.start_keys_job();
        }
        Ok(())
    }

    /// The version after a commit.
    fn make_visible(&mut self, seq: CommitSeq, stamp_us: i64, publish: Publish) -> Result<()> {
        let version = self.shared.version.load_full();
        let mut left = Vec::new();
        let next = match publish {
            Publish::Rows(accepted) => {
                let mut realtime = version.realtime.clone();
                for AcceptedRows { rows, zones } in accepted {
                    realtime = realtime.with_zoned_rows(rows, zones, seq.0, stamp_us)?;
                }
                version.with_entry(seq, realtime)
            }
            Publish::Segment(files) => {
                version.with_entry(seq, version.realtime.clone()).with_files(version.files.with(files))
            }
            Publish::Truncate => {
                self.drop_run_job();
                self.reclaim.note_written(seq);
                self.start_reclaim();
                left.extend(version.files.refs().iter().map(|file| Arc::clone(&file.place)));
                version.with_entry(seq, Realtime::empty()).with_files(Files::default())
            }
            Publish::Built { files, through } => {
                self.reclaim.note_written(through.next());
                self.start_reclaim();
                let (realtime, files) = (version.realtime.without_frozen(), version.files.with(files));
                version.with_entry(seq, realtime).with_files(files)
            }
            Publish::Published { places, gone, added } => {
                let gone: HashSet<&str> = gone.iter().map(String::as_str).collect();
                let gone_files = version.files.refs().iter().filter(|file| gone.contains(file.file.name.as_str()));
                left.extend(gone_files.map(|file| Arc::clone(&file.place)));
                let (files, moved) = version.files.without(&gone).with_places(&places);
                left.extend(moved);
                version.with_files(files.with(added))
            }
            Publish::Deleted(deleted) => {
                let files = version.files.with_deleted(&deleted);
                version.with_entry(seq, version.realtime.clone()).with_files(files)
            }
            Publish::Altered(def) => version.with_entry(seq, version.realtime.clone()).with_def(def),
            Publish::Nothing => version.with_entry(seq, version.realtime.clone()),
        };
        self.show(next);
        self.note_seal();
        // Their files go with the last reader that has an older version.
        left.iter().for_each(|place| place.let_go());
        Ok(())
    }

    pub(crate) fn show(&self, version: TableVersion) {
        let version = Arc::new(version);
        let old = self.shared.version.swap(Arc::clone(&version));
        self.shared.old_versions.note(&old);
        // Whoever brings rows counts them until here.
        version.replaces(&old, &self.shared.memory);
        drop(old);
        self.shared.visible.send_replace(version.upper);
    }
}

async fn oldest_or_never(oldest: Option<&mut InFlight>) -> &mut InFlight {
    match oldest {
        Some(oldest) => oldest,
        None => std::future::pending().await,
    }
}

async fn run_or_never(run: Option<&mut RunJob>) -> &mut RunJob {
    match run {
        Some(job) => job,
        None => std::future::pending().await,
    }
}

/// The error of a request that a closed table did not take.
pub(crate) fn closed(name: &str, reason: Option<String>) -> Error {
    let reason = reason.unwrap_or_else(|| "the server is shutting down or the table was dropped".to_owned());
    Error::new(Code::TableClosed, format!("table {name} takes no requests: {reason}"))
        .hint("try again; acknowledged rows are safe in the log")
        .retry_after(Duration::from_secs(1))
}
