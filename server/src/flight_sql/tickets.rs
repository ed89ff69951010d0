//! Which planned queries wait to be fetched, and for how long?
//!
//! GetFlightInfo plans a query and pins its snapshots; DoGet fetches it once. What nobody fetches is dropped after
//! [`TICKET_TTL`], and its snapshots with it, unless it is renewed before. The end of the connection does not end it: another process may
//! fetch it. Only when there is no place left those go first whose connections have ended, then the oldest of who has most.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost_types::Timestamp;
use tidewater_query::Principal;
use tidewater_storage::env::Clock;
use tidewater_storage::{Code, Error, Result};

use crate::connections::Presence;

/// How long a planned query waits for its DoGet.
pub(super) const TICKET_TTL: Duration = Duration::from_secs(60);

/// Planned queries that wait at once: each pins a snapshot of its tables.
pub(super) const MAX_PENDING: usize = 1_000;

/// Tickets that were fetched or cancelled, or that expired, and are still told apart from unknown ones.
const MAX_GONE: usize = 10_000;

/// What became of a ticket that waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Consumed,
    Cancelled,
    Expired,
}

impl Gone {
    /// What who asks for such a ticket is told.
    fn error(self) -> Error {
        match self {
            Gone::Consumed => Error::new(Code::TicketConsumed, "this ticket was already fetched")
                .hint("run the query again: a result can be read once"),
            Gone::Cancelled => Error::new(Code::QueryCancelled, "the query of this ticket was cancelled"),
            Gone::Expired => expired(),
        }
    }
}

struct Waiting<P> {
    owner: String,
    /// By the clock's uptime.
    expires: Duration,
    /// The one over which it was planned.
    connection: Presence,
    payload: P,
}

struct Past {
    owner: String,
    /// By the clock's uptime.
    expires: Duration,
    how: Gone,
}

struct Inner<P> {
    waiting: HashMap<String, Waiting<P>>,
    past: HashMap<String, Past>,
    /// Ids of `past`, oldest first.
    order: VecDeque<String>,
}

/// What cancelling a ticket found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CancelledTicket {
    /// It was waiting and is dropped.
    Dropped,
    /// It was cancelled before.
    Already,
    /// It was fetched: its query may still run.
    Fetched,
}

/// The registry of one service.
pub(super) struct Tickets<P> {
    inner: Mutex<Inner<P>>,
    clock: Arc<dyn Clock>,
}

impl<P> Tickets<P> {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { waiting: HashMap::new(), past: HashMap::new(), order: VecDeque::new() };
        Self { inner: Mutex::new(inner), clock }
    }

    /// Keeps `payload` under `id` for `owner`, who is connected `over` that. `QUERY_QUEUE_FULL` when too many wait.
    pub fn insert(&self, id: &str, owner: &str, payload: P, over: &Presence) -> Result<()> {
        let now = self.clock.uptime();
        drop(self.take_expired(now));
        let mut inner = self.inner.lock();
        let mut gone = match inner.waiting.len() >= MAX_PENDING {
            true => inner.take_where(now, |waiting| waiting.connection.is_gone()),
            false => Vec::new(),
        };
        if inner.waiting.len() >= MAX_PENDING {
            gone.extend(inner.take_of_largest(owner, now));
        }
        if inner.waiting.len() >= MAX_PENDING {
            return Err(Error::new(Code::QueryQueueFull, format!("{MAX_PENDING} planned queries wait to be fetched"))
                .hint("fetch each FlightInfo with DoGet, or try again in a minute")
                .retry_after(Duration::from_secs(5)));
        }
        let waiting = Waiting { owner: owner.to_owned(), expires: now + TICKET_TTL, connection: over.clone(), payload };
        inner.waiting.insert(id.to_owned(), waiting);
        drop(inner);
        drop(gone);
        Ok(())
    }

    /// Hands the payload over, once. What `check` refuses waits on: who may not have it now does not keep others from it.
    pub fn take(&self, id: &str, caller: &Principal, check: impl FnOnce(&P) -> Result<()>) -> Result<P> {
        drop(self.take_expired(self.clock.uptime()));
        let mut inner = self.inner.lock();
        if let Some(waiting) = inner.waiting.get(id) {
            check_owner(&waiting.owner, caller)?;
            check(&waiting.payload)?;
        }
        if let Some(Waiting { owner, payload, .. }) = inner.waiting.remove(id) {
            inner.bury(id, owner, self.clock.uptime() + TICKET_TTL, Gone::Consumed);
            return Ok(payload);
        }
        let Some(past) = inner.past.get(id) else { return Err(not_found()) };
        check_owner(&past.owner, caller)?;
        Err(past.how.error())
    }

    /// Drops a waiting query, or says what became of it. `TICKET_EXPIRED`, and `HANDLE_NOT_FOUND` for a ticket that is not known.
    pub fn cancel(&self, id: &str, caller: &Principal) -> Result<CancelledTicket> {
        drop(self.take_expired(self.clock.uptime()));
        let mut inner = self.inner.lock();
        if let Some(waiting) = inner.waiting.get(id) {
            check_owner(&waiting.owner, caller)?;
        }
        if let Some(Waiting { owner, payload, .. }) = inner.waiting.remove(id) {
            inner.bury(id, owner, self.clock.uptime() + TICKET_TTL, Gone::Cancelled);
            drop(inner);
            drop(payload);
            return Ok(CancelledTicket::Dropped);
        }
        let Some(past) = inner.past.get(id) else { return Err(not_found()) };
        check_owner(&past.owner, caller)?;
        match past.how {
            Gone::Consumed => Ok(CancelledTicket::Fetched),
            Gone::Cancelled => Ok(CancelledTicket::Already),
            Gone::Expired => Err(expired()),
        }
    }

    /// Has a query wait on for its DoGet, for as long as `extend` says of its payload, which is told. Errors as those of [`Self::take`].
    pub fn renew(&self, id: &str, caller: &Principal, extend: impl FnOnce(&P) -> Duration) -> Result<Duration> {
        let now = self.clock.uptime();
        drop(self.take_expired(now));
        let mut inner = self.inner.lock();
        if let Some(waiting) = inner.waiting.get_mut(id) {
            check_owner(&waiting.owner, caller)?;
            let left = extend(&waiting.payload).min(TICKET_TTL);
            waiting.expires = now + left;
            return Ok(left);
        }
        let past = inner.past.get(id).ok_or_else(not_found)?;
        check_owner(&past.owner, caller)?;
        Err(past.how.error())
    }

    /// The query of a ticket that was fetched is cancelled: who comes with it again is told that.
    pub fn note_cancelled(&self, id: &str) {
        if let Some(past) = self.inner.lock().past.get_mut(id) {
            past.how = Gone::Cancelled;
        }
    }

    /// Drops what expired.
    pub fn sweep(&self) {
        drop(self.take_expired(self.clock.uptime()));
    }

    /// Drops all that wait.
    pub fn clear(&self) {
        let waiting = std::mem::take(&mut self.inner.lock().waiting);
        drop(waiting);
    }

    /// Queries that wait.
    pub fn n_waiting(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// What expired, to be dropped outside of the lock: a payload's end may take time.
    fn take_expired(&self, now: Duration) -> Vec<Waiting<P>> {
        let mut inner = self.inner.lock();
        while let Some(oldest) = inner.order.front() {
            if inner.past.get(oldest).is_some_and(|past| past.expires > now) {
                break;
            }
            let oldest = inner.order.pop_front();
            oldest.and_then(|id| inner.past.remove(&id));
        }
        inner.take_where(now, |waiting| waiting.expires <= now)
    }
}

impl<P> Inner<P> {
    /// Ends the wait of some, which the caller drops outside of the lock.
    fn take_where(&mut self, now: Duration, ends: impl Fn(&Waiting<P>) -> bool) -> Vec<Waiting<P>> {
        let gone: Vec<_> = self.waiting.extract_if(|_, waiting| ends(waiting)).collect();
        for (id, waiting) in &gone {
            self.bury(id, waiting.owner.clone(), now + TICKET_TTL, Gone::Expired);
        }
        gone.into_iter().map(|(_, waiting)| waiting).collect()
    }

    /// Ends the oldest wait of who has most of them, if those are more than `owner` would have: one user does not keep the others out.
    fn take_of_largest(&mut self, owner: &str, now: Duration) -> Option<Waiting<P>> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for waiting in self.waiting.values() {
            *counts.entry(waiting.owner.as_str()).or_default() += 1;
        }
        let own = counts.get(owner).copied().unwrap_or(0);
        let (largest, _) = counts.into_iter().filter(|(_, n)| *n > own + 1).max_by_key(|(_, n)| *n)?;
        let of_largest = self.waiting.iter().filter(|(_, waiting)| waiting.owner == largest);
        let id = of_largest.min_by_key(|(_, waiting)| waiting.expires).map(|(id, _)| id.clone())?;
        let gone = self.waiting.remove(&id)?;
        self.bury(&id, gone.owner.clone(), now + TICKET_TTL, Gone::Expired);
        Some(gone)
    }

    fn bury(&mut self, id: &str, owner: String, expires: Duration, how: Gone) {
        if self.order.len() >= MAX_GONE {
            let oldest = self.order.pop_front();
            oldest.and_then(|id| self.past.remove(&id));
        }
        self.order.push_back(id.to_owned());
        self.past.insert(id.to_owned(), Past { owner, expires, how });
    }
}

/// When what lasts for so long from now on ends, as clients are told it.
pub(super) fn expiration(clock: &dyn Clock, left: Duration) -> Timestamp {
    let left_us = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
    let at_us = clock.now_us().saturating_add(left_us);
    let nanos = i32::try_from(at_us.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    Timestamp { seconds: at_us.div_euclid(1_000_000), nanos }
}

/// A handle is of use to the one who got it, and to an admin.
pub(super) fn check_owner(owner: &str, caller: &Principal) -> Result<()> {
    if owner == caller.name || caller.is_admin() {
        return Ok(());
    }
    Err(Error::new(Code::PermissionDenied, "this handle belongs to another user"))
}

fn expired() -> Error {
    let seconds = TICKET_TTL.as_secs();
    let message =
        format!("this ticket was not fetched within {seconds} s, or others needed its place: its snapshot is gone");
    Error::new(Code::TicketExpired, message).hint("run the query again and fetch each ticket at once")
}

fn not_found() -> Error {
    Error::new(Code::HandleNotFound, "the ticket is unknown or expired").hint("run the query again")
}
