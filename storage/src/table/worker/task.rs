//! Who changes a table? One worker: it takes what is waiting, decides, forms one group, and publishes when the log has it.

use std::collections::VecDeque;
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
use crate::table::snapshot::TableVersion;
use crate::table::worker::TableRequest;
use crate::table::worker::group::{AcceptedRows, Answer, Publish, RowsGroup};
use crate::table::worker::reclaim::{Reclaim, Reclaimed};
use crate::table::worker::runs::{RunJob, Sorted};
use crate::table::worker::state::TableState;

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
    /// Rows that the log will hold once everything in flight is written.
    pub(crate) decided_rows: u64,
    /// Rejected rows in the group that is being formed: their records are numbered.
    pub(crate) rejected_in_group: usize,
    pub(crate) reclaim: Reclaim,
}

/// What woke the worker.
enum Event {
    Written(Result<()>),
    Run(Result<Sorted>),
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
        let decided_rows = shared.version.load().realtime.n_rows();
        let reclaim = Reclaim::owed_at(&shared.store, state.def.id, state.last_seq);
        Self {
            state,
            shared,
            log,
            requests,
            in_flight: VecDeque::new(),
            run_job: None,
            decided_rows,
            rejected_in_group: 0,
            reclaim,
        }
    }

    /// Runs until the queue is closed and everything in it is answered. An error means that memory and log may differ: the table is
    /// closed and must be opened from the log again.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut closing = false;
        self.start_run_job();
        self.start_reclaim();
        loop {
            // A reclaim job holds the folder.
            if closing && self.in_flight.is_empty() && !self.reclaim.is_running() {
                // What the level `os` has not synced.
                return self.log.commit(commit::sync()).await;
            }
            match self.next_event(closing).await {
                Event::Written(outcome) => self.publish(outcome)?,
                Event::Run(outcome) => self.apply_run(outcome)?,
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
                    let prepared = match other {
                        TableRequest::InitProducer { id, reset, principal, answer } => {
                            self.on_init_producer(id, reset, &principal, answer)
                        }
                        TableRequest::LookUpProducer { id, answer } => self.on_look_up_producer(&id, answer),
                        TableRequest::Housekeep => self.on_housekeep()?,
                        TableRequest::LookUpKey { suffix, answer } => self.on_look_up_key(&suffix, answer),
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
        let version = self.shared.version.load_full();
        let next = match prepared.publish {
            Publish::Rows(accepted) => {
                let mut realtime = version.realtime.clone();
                for AcceptedRows { rows, zones } in accepted {
                    realtime = realtime.with_zoned_rows(rows, zones, prepared.seq.0, prepared.stamp_us)?;
                }
                version.with_entry(prepared.seq, realtime)
            }
            Publish::Truncate => {
                self.drop_run_job();
                self.reclaim.note_written(prepared.seq);
                self.start_reclaim();
                version.with_entry(prepared.seq, Realtime::empty())
            }
            Publish::Nothing => version.with_entry(prepared.seq, version.realtime.clone()),
        };
        self.show(next);
        self.shared.note_publish(prepared.stamp_us, self.state.keys.as_ref());
        fail.hit_in("table.after_publish", kind)?;
        prepared.answers.into_iter().for_each(Answer::send);
        fail.hit_in("table.after_answer", kind)?;
        self.start_run_job();
        Ok(())
    }

    pub(crate) fn show(&self, version: TableVersion) {
        let version = Arc::new(version);
        self.shared.version.store(Arc::clone(&version));
        // When what it replaces is let go: whoever brings rows counts them until here.
        version.charge_to(&self.shared.memory);
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
