//! Who makes entries durable? One thread for all tables: it joins what is waiting into one RocksDB batch and one sync.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::env::{Env, prefer_latency};
use crate::error::{Code, Error, Result};
use crate::log::keys::Family;
use crate::log::store::Store;

/// One change of a record.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put(Family, Vec<u8>, Vec<u8>),
    Delete(Family, Vec<u8>),
    /// From (inclusive) to (exclusive).
    DeleteRange(Family, Vec<u8>, Vec<u8>),
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Put(_, key, value) => key.len() + value.len(),
            Op::Delete(_, key) => key.len(),
            Op::DeleteRange(_, from, to) => from.len() + to.len(),
        }
    }
}

/// What is written at once: all of it or none of it.
#[derive(Debug)]
pub(crate) struct Commit {
    /// What it is, for fail points.
    pub(crate) kind: &'static str,
    pub(crate) ops: Vec<Op>,
    /// Wait for the disk, not only for the operating system.
    pub(crate) sync: bool,
}

struct Request {
    commit: Commit,
    done: oneshot::Sender<Result<()>>,
}

/// Requests that wait for the thread. Each table has at most a few groups in flight.
const QUEUE: usize = 1024;
/// Commits are joined up to this size, so that one write stays one short sync.
const JOINED_BYTES: usize = 4 << 20;

/// The handle to the thread. Dropping the last one ends it.
pub(crate) struct LogWriter {
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LogWriter {
    pub(crate) fn start(store: Arc<Store>, env: Env) -> Result<Arc<Self>> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                prefer_latency();
                run(&store, &env, requests);
            })
            .map_err(|e| Error::internal(format!("the log's thread cannot start: {e}")))?;
        Ok(Arc::new(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) }))
    }

    /// Hands over a commit. The receiver resolves when it is written (and synced, if asked for); commits of one caller are written in
    /// the order in which they were submitted.
    pub(crate) async fn submit(&self, commit: Commit) -> oneshot::Receiver<Result<()>> {
        let (done, receiver) = oneshot::channel();
        let queue = self.queue.lock().clone();
        if let Some(queue) = queue {
            // A closed queue drops the request, and with it `done`: the receiver reports it.
            let _ = queue.send(Request { commit, done }).await;
        }
        receiver
    }

    /// Writes and waits.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<()> {
        written(self.submit(commit).await.await)
    }

    /// The same without a runtime to wait in. On a thread of its own: whoever calls this may be a task of one. Blocks.
    pub(crate) fn commit_blocking(&self, commit: Commit) -> Result<()> {
        let (done, receiver) = oneshot::channel();
        let queue = self.queue.lock().clone();
        let wait = move || {
            if let Some(queue) = queue {
                // As in [`Self::submit`].
                let _ = queue.blocking_send(Request { commit, done });
            }
            written(receiver.blocking_recv())
        };
        let ended = std::thread::scope(|scope| scope.spawn(wait).join());
        ended.unwrap_or_else(|_| Err(Error::internal("a commit ended early")))
    }

    /// Ends the thread after everything submitted is written.
    pub(crate) fn close(&self) {
        self.queue.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// The folder is free when the last handle is gone, not some time later.
impl Drop for LogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

/// The outcome of a submitted commit.
pub(crate) fn written(outcome: Result<Result<()>, oneshot::error::RecvError>) -> Result<()> {
    outcome.unwrap_or_else(|_| {
        Err(Error::new(Code::LogUnavailable, "the log is closed").hint("the server is shutting down"))
    })
}

fn run(store: &Store, env: &Env, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.blocking_recv() {
        let mut kinds = vec![first.commit.kind];
        let mut sync = first.commit.sync;
        let mut bytes: usize = first.commit.ops.iter().map(Op::bytes).sum();
        let mut ops = first.commit.ops;
        let mut waiting = vec![first.done];
        while bytes < JOINED_BYTES {
            let Ok(next) = requests.try_recv() else { break };
            kinds.push(next.commit.kind);
            sync |= next.commit.sync;
            bytes += next.commit.ops.iter().map(Op::bytes).sum::<usize>();
            ops.extend(next.commit.ops);
            waiting.push(next.done);
        }
        metrics::histogram!("tidewater_log_group_bytes").record(bytes as f64);
        let outcome = write(store, env, &kinds, &ops, sync);
        if let Err(e) = &outcome {
            // Memory is ahead of the disk now: nothing that it says may be acknowledged.
            (env.fatal)(&e.to_string());
        }
        let failed = outcome.is_err();
        for done in waiting {
            let answer =
                if failed { Err(Error::new(Code::LogUnavailable, "the log cannot be written")) } else { Ok(()) };
            let _ = done.send(answer);
        }
        if failed {
            return;
        }
    }
}

/// The durable step: one batch, one sync, then the witness.
pub(crate) fn write(store: &Store, env: &Env, kinds: &[&str], ops: &[Op], sync: bool) -> Result<()> {
    let point = |name: &'static str| kinds.iter().try_for_each(|kind| env.fail.hit_in(name, kind));
    point("log.before_write")?;
    let started = env.clock.uptime();
    match (ops.is_empty(), sync) {
        (true, true) => store.sync()?,
        (true, false) => {}
        (false, _) => store.write(ops, sync)?,
    }
    metrics::histogram!("tidewater_log_write_seconds").record((env.clock.uptime() - started).as_secs_f64());
    point("log.after_write")?;
    if sync {
        // What was not synced may be gone after a power cut while the witness is not: that must not look like a loss.
        store.note_acknowledged()?;
    }
    point("log.after_witness")
}
