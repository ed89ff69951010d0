//! Which sessions are open? Settings by id, each of one user, until nobody has used them for half an hour.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_query::SessionSettings;
use tidewater_storage::env::Clock;
use tidewater_storage::{Code, Error, Result};

use crate::auth::SessionId;

/// A session that nobody uses for this long has ended.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);

/// Sessions of one user. Whoever begins another one ends that which they have not used for longest.
pub(super) const MAX_OF_USER: usize = 1_000;

/// Of all users.
pub(super) const MAX_SESSIONS: usize = 10_000;

/// A session that ended is told from one that never began for as long as a bearer may name it.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Of these, at most; the oldest go first.
const MAX_REMEMBERED: usize = 10_000;

/// Settings that all calls of a session share.
pub(super) type Shared = Arc<Mutex<SessionSettings>>;

struct Open {
    owner: String,
    /// By the clock's uptime.
    used: Duration,
    settings: Shared,
}

impl Open {
    /// Whether nobody has used it for too long. A statement that runs has the settings, too: it uses them until its end.
    fn is_idle(&mut self, now: Duration) -> bool {
        if Arc::strong_count(&self.settings) > 1 {
            self.used = now;
        }
        self.used + IDLE <= now
    }
}

#[derive(Default)]
struct Inner {
    open: HashMap<SessionId, Open>,
    /// Sessions that ended because nobody used them, until when that is remembered.
    ended: HashMap<SessionId, Duration>,
    /// Of these, in the order in which they ended.
    order: VecDeque<SessionId>,
}

/// The sessions of a process.
pub struct Sessions {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: Mutex::default(), clock }
    }

    /// The settings of a session of this user, which is used by that. A session of somebody else is none.
    pub(super) fn get(&self, id: SessionId, owner: &str) -> Option<Shared> {
        let now = self.clock.uptime();
        let mut inner = self.inner.lock();
        let open = inner.open.get_mut(&id).filter(|open| open.owner == owner)?;
        if open.is_idle(now) {
            inner.open.remove(&id);
            inner.remember(id, now);
            return None;
        }
        open.used = now;
        Some(Arc::clone(&open.settings))
    }

    /// Opens a session with these settings; one that is open keeps its own. `MEMORY_PRESSURE` when others have all there are.
    pub(super) fn begin(&self, id: SessionId, owner: &str, settings: &Shared) -> Result<Shared> {
        let now = self.clock.uptime();
        let mut inner = self.inner.lock();
        if let Some(open) = inner.open.get_mut(&id) {
            if open.owner != owner {
                return Err(Error::internal("two users have one session"));
            }
            open.used = now;
            return Ok(Arc::clone(&open.settings));
        }
        inner.end_idle(now);
        let n_own = inner.open.values().filter(|open| open.owner == owner).count();
        if n_own >= MAX_OF_USER || (n_own > 0 && inner.open.len() >= MAX_SESSIONS) {
            inner.end_oldest_of(owner, now);
        }
        if inner.open.len() >= MAX_SESSIONS {
            return Err(Error::new(Code::MemoryPressure, format!("{MAX_SESSIONS} sessions are open"))
                .hint("close those that are not needed, or try again later")
                .retry_after(Duration::from_secs(60)));
        }
        let settings = Arc::clone(settings);
        inner.open.insert(id, Open { owner: owner.to_owned(), used: now, settings: Arc::clone(&settings) });
        Ok(settings)
    }

    /// Ends a session of this user. One that is not open is fine.
    pub(super) fn end(&self, id: SessionId, owner: &str) {
        let mut inner = self.inner.lock();
        if inner.open.get(&id).is_some_and(|open| open.owner == owner) {
            inner.open.remove(&id);
        }
    }

    /// Whether there was such a session, and nobody used it for too long.
    pub(super) fn has_ended(&self, id: SessionId) -> bool {
        let now = self.clock.uptime();
        self.inner.lock().ended.get(&id).is_some_and(|until| *until > now)
    }

    /// Ends what nobody uses.
    pub fn sweep(&self) {
        let now = self.clock.uptime();
        let mut inner = self.inner.lock();
        inner.end_idle(now);
        inner.forget(now);
    }

    /// Sessions that are open.
    pub fn n_open(&self) -> usize {
        self.inner.lock().open.len()
    }
}

impl Inner {
    fn end_idle(&mut self, now: Duration) {
        let idle: Vec<SessionId> = self.open.extract_if(|_, open| open.is_idle(now)).map(|(id, _)| id).collect();
        idle.into_iter().for_each(|id| self.remember(id, now));
    }

    fn end_oldest_of(&mut self, owner: &str, now: Duration) {
        let own = self.open.iter().filter(|(_, open)| open.owner == owner);
        if let Some(id) = own.min_by_key(|(_, open)| open.used).map(|(id, _)| *id) {
            self.open.remove(&id);
            self.remember(id, now);
        }
    }

    fn remember(&mut self, id: SessionId, now: Duration) {
        if self.order.len() >= MAX_REMEMBERED {
            let oldest = self.order.pop_front();
            oldest.and_then(|id| self.ended.remove(&id));
        }
        self.order.push_back(id);
        self.ended.insert(id, now + REMEMBERED);
    }

    fn forget(&mut self, now: Duration) {
        while let Some(oldest) = self.order.front() {
            if self.ended.get(oldest).is_some_and(|until| *until > now) {
                break;
            }
            let oldest = self.order.pop_front();
            oldest.and_then(|id| self.ended.remove(&id));
        }
    }
}
