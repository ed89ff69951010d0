//! Who changes a table? One worker: it takes what is waiting, decides, forms one group, and publishes when the log has it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::limits::{GROUP_BYTES, GROUPS_IN_FLIGHT};
use crate::log::{Commit, LogWriter, written};
use crate::realtime::{Realtime, RealtimePart, build_runs};
use crate::table::commit::{self, Place};
use crate::table::handle::Shared;
use crate::table::snapshot::TableVersion;
use crate::table::worker::TableRequest;
use crate::table::worker::group::{Answer, Publish, RowsGroup};
use crate::table::worker::state::TableState;

/// Counts of pure repeats write no entry; when nothing else comes they are written after this long.
const LEDGER_IDLE: Duration = Duration::from_secs(1);

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
    prepared: Prepared,
    done: oneshot::Receiver<Result<()>>,
}

type RunJob = JoinHandle<Result<(Vec<Arc<RealtimePart>>, Vec<RealtimePart>)>>;

/// The worker of one table.
pub(crate) struct Worker {
    pub(crate) state: TableState,
    pub(crate) shared: Arc<Shared>,
    log: Arc<LogWriter>,
    requests: mpsc::Receiver<TableRequest>,
    in_flight: VecDeque<InFlight>,
    run_job: Option<(u64, RunJob)>,
    /// Rows that the log will hold once everything in flight is written.
    pub(crate) decided_rows: u64,
    /// Rejected rows in the group that is being formed: their records are numbered.
    pub(crate) rejected_in_group: usize,
    /// The table ended while requests may wait: they are not answered, so that their callers find it closed.
    pub(crate) ended: bool,
    /// Entries were deleted whose space is not yet given back.
    pub(crate) reclaims: bool,
    pub(crate) reclaim_job: Option<JoinHandle<()>>,
}

/// What woke the worker.
enum Event {
    Written(Result<()>),
    Run(Result<(Vec<Arc<RealtimePart>>, Vec<RealtimePart>)>),
    Request(TableRequest),
    Closing,
    Idle,
}

impl Worker {
    pub(crate) fn new(
        state: TableState,
        shared: Arc<Shared>,
        log: Arc<LogWriter>,
        requests: mpsc::Receiver<TableRequest>,
    ) -> Self {
        let decided_rows = shared.version.load().realtime.n_rows();
        Self {
            state,
            shared,
            log,
            requests,
            in_flight: VecDeque::new(),
            run_job: None,
            decided_rows,
            rejected_in_group: 0,
            ended: false,
            reclaims: false,
            reclaim_job: None,
        }
    }

    /// Runs until the queue is closed and everything in it is answered. An error means that memory and log may differ: the table is
    /// closed and must be opened from the log again.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut closing = false;
        self.start_run_job();
        loop {
            if closing && self.in_flight.is_empty() {
                if let Some(job) = self.reclaim_job.take() {
                    // It holds the folder. What it could not do is in its record.
                    let _ = job.await;
                }
                let commit = Commit { ops: self.state.take_unwritten(), sync: true };
                return self.log.commit(commit).await;
            }
            match self.next_event(closing).await {
                Event::Written(outcome) => self.publish(outcome)?,
                Event::Run(outcome) => self.apply_run(outcome)?,
                Event::Request(request) => self.take(request).await?,
                Event::Closing => closing = true,
                Event::Idle => {
                    let ops = self.state.take_unwritten();
                    self.log.commit(Commit { ops, sync: false }).await?;
                }
            }
        }
    }

    async fn next_event(&mut self, closing: bool) -> Event {
        let idle = self.in_flight.is_empty() && !self.state.unwritten.is_empty();
        let takes = self.in_flight.len() < GROUPS_IN_FLIGHT && !closing;
        let oldest = self.in_flight.front_mut();
        let run = self.run_job.as_mut();
        tokio::select! {
            biased;
            outcome = async { written((&mut oldest_or_never(oldest).await.done).await) } => Event::Written(outcome),
            outcome = async { run_or_never(run).await.await } => {
                Event::Run(outcome.unwrap_or_else(|e| Err(Error::internal(format!("a run could not be built: {e}")))))
            }
            request = self.requests.recv(), if takes => request.map_or(Event::Closing, Event::Request),
            () = tokio::time::sleep(LEDGER_IDLE), if idle => Event::Idle,
        }
    }

    /// Takes what is waiting and forms groups: rows share one, everything else has an entry of its own.
    async fn take(&mut self, first: TableRequest) -> Result<()> {
        let mut group = None;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                _ if self.ended => {}
                TableRequest::Rows { rows, held, answer } => {
                    let group = group.get_or_insert_with(|| self.new_group());
                    self.on_rows(group, *rows, held, answer)?;
                }
                other => {
                    self.finish_group(group.take()).await?;
                    let prepared = match other {
                        TableRequest::InitProducer { id, reset, principal, answer } => {
                            self.on_init_producer(id, reset, &principal, answer)
                        }
                        TableRequest::LookUpProducer { id, answer } => self.on_look_up_producer(&id, answer),
                        TableRequest::Housekeep => self.on_housekeep()?,
                        TableRequest::CloseIfEmpty { answer } => {
                            self.on_close_if_empty(answer);
                            next = self.requests.try_recv().ok();
                            continue;
                        }
                        TableRequest::Truncate { answer } => self.on_truncate(answer),
                        TableRequest::Rows { .. } => return Err(Error::internal("rows are handled above")),
                    };
                    self.submit(prepared).await?;
                }
            }
            if group.as_ref().is_some_and(|g| g.bytes() >= GROUP_BYTES) {
                break;
            }
            next = self.requests.try_recv().ok();
        }
        self.finish_group(group).await
    }

    fn new_group(&mut self) -> RowsGroup {
        self.rejected_in_group = 0;
        RowsGroup::new(self.state.last_seq.next(), self.now())
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
        Place { table: self.state.def.id, schema: self.state.def.schema_id, seq, at }
    }

    async fn finish_group(&mut self, group: Option<RowsGroup>) -> Result<()> {
        let Some(mut group) = group else { return Ok(()) };
        let answers = std::mem::take(&mut group.answers);
        if group.is_empty() {
            // Repeats and refusals write nothing, but may have to wait for a sync of what they rest on.
            let mut ops = group.ops;
            ops.extend(self.state.take_unwritten());
            let commit = (group.sync || !ops.is_empty()).then_some(Commit { ops, sync: group.sync });
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
        self.decided_rows += accepted.iter().map(|r| r.num_rows() as u64).sum::<u64>();
        let mut records = std::mem::take(&mut group.ops);
        records.extend(self.state.take_unwritten());
        self.state.unsynced = !group.sync;
        let commit = commit::rows(place, std::mem::take(&mut group.batches), blocks, records, group.sync);
        let publish = Publish::Rows(accepted);
        self.submit(Prepared { seq: place.seq, commit: Some(commit), publish, stamp_us: place.at.wall_us, answers })
            .await
    }

    /// Hands a commit to the log. What has none is answered when everything before it is visible.
    async fn submit(&mut self, mut prepared: Prepared) -> Result<()> {
        let Some(commit) = prepared.commit.take() else {
            match self.in_flight.back_mut() {
                Some(last) => last.prepared.answers.append(&mut prepared.answers),
                None => prepared.answers.into_iter().for_each(Answer::send),
            }
            return Ok(());
        };
        self.shared.env.fail.hit("table.before_submit")?;
        let done = self.log.submit(commit).await;
        self.in_flight.push_back(InFlight { prepared, done });
        Ok(())
    }

    /// The oldest commit is written: make it visible, then answer.
    fn publish(&mut self, outcome: Result<()>) -> Result<()> {
        let Some(InFlight { prepared, .. }) = self.in_flight.pop_front() else {
            return Err(Error::internal("a write finished that nobody waits for"));
        };
        outcome?;
        let fail = Arc::clone(&self.shared.env.fail);
        fail.hit("table.before_publish")?;
        let version = self.shared.version.load_full();
        let next = match prepared.publish {
            Publish::Rows(rows) => {
                let mut realtime = version.realtime.clone();
                for batch in rows {
                    realtime = realtime.with_rows(batch, prepared.seq.0, prepared.stamp_us)?;
                }
                version.with_entry(prepared.seq, realtime)
            }
            Publish::Truncate => {
                self.drop_run_job();
                self.reclaims |= version.upper > CommitSeq::default();
                self.start_reclaim();
                version.with_entry(prepared.seq, Realtime::empty())
            }
            Publish::Nothing => version.with_entry(prepared.seq, version.realtime.clone()),
        };
        self.show(next);
        self.shared.note_publish(prepared.stamp_us, self.state.keys.as_ref());
        fail.hit("table.after_publish")?;
        prepared.answers.into_iter().for_each(Answer::send);
        fail.hit("table.after_answer")?;
        self.start_run_job();
        Ok(())
    }

    fn show(&self, version: TableVersion) {
        let upper = version.upper;
        self.shared.charge.lock().resize(version.realtime.bytes());
        self.shared.version.store(Arc::new(version));
        self.shared.visible.send_replace(upper);
    }

    /// One run is built at a time, beside the worker.
    fn start_run_job(&mut self) {
        if self.run_job.is_some() {
            return;
        }
        let version = self.shared.version.load();
        let Some(parts) = version.realtime.sortable() else { return };
        let sort_by = self.state.def.options.sort_by.clone();
        let id = self.shared.jobs.lock().start("run", "tail_rows", self.shared.env.clock.now_us());
        let job = tokio::task::spawn_blocking(move || {
            let runs = build_runs(&parts, &sort_by)?;
            Ok((parts, runs))
        });
        self.run_job = Some((id, job));
    }

    /// A run that is being built holds rows that are gone.
    fn drop_run_job(&mut self) {
        if let Some((id, _)) = self.run_job.take() {
            let gone = Some("the table was truncated".to_owned());
            self.shared.jobs.lock().end(id, self.shared.env.clock.now_us(), gone);
        }
    }

    fn apply_run(&mut self, outcome: Result<(Vec<Arc<RealtimePart>>, Vec<RealtimePart>)>) -> Result<()> {
        let Some((id, _)) = self.run_job.take() else { return Ok(()) };
        let now_us = self.shared.env.clock.now_us();
        self.shared.jobs.lock().end(id, now_us, outcome.as_ref().err().map(ToString::to_string));
        let (replaced, runs) = outcome?;
        let version = self.shared.version.load_full();
        let realtime = version.realtime.with_run(&replaced, runs.into_iter().map(Arc::new).collect());
        self.show(version.with_realtime(realtime));
        self.start_run_job();
        Ok(())
    }
}

async fn oldest_or_never(oldest: Option<&mut InFlight>) -> &mut InFlight {
    match oldest {
        Some(oldest) => oldest,
        None => std::future::pending().await,
    }
}

async fn run_or_never(run: Option<&mut (u64, RunJob)>) -> &mut RunJob {
    match run {
        Some((_, job)) => job,
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
