//! Which sessions are open? Settings by id, each of one user, until nobody has used them for half an hour.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_query::SessionSettings;
use tidewater_storage::env::Clock;
use tidewater_storage::{Code, Error, Result, StoredSession};

use crate::auth::SessionId;

/// A session that nobody uses for this long has ended.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);

/// Sessions of one user. Whoever begins another one ends that which they have not used for longest.
pub(super) const MAX_OF_USER: usize = 1_000;

/// Of all users.
pub(super) const MAX_SESSIONS: usize = 10_000;

/// A session that ended is told from one that never began for as long as a bearer may name it.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Of these, at most; the oldest of who has most go first.
pub(super) const MAX_REMEMBERED: usize = 10_000;

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

struct Ended {
    /// How long that is remembered, by the clock's uptime.
    until: Duration,
    /// When that was, microseconds since 1970.
    at_us: i64,
}

#[derive(Clone, Copy)]
struct Now {
    uptime: Duration,
    us: i64,
}

#[derive(Default)]
struct Inner {
    open: HashMap<SessionId, Open>,
    /// Sessions that ended because nobody used them.
    ended: HashMap<SessionId, Ended>,
    /// Of these, each user's in the order in which they ended.
    order: HashMap<String, VecDeque<SessionId>>,
    /// That a session ended may be forgotten if that was no later than this, microseconds since 1970.
    forgotten_us: i64,
    /// The same of a user's: however many somebody leaves, the bearers of others are good.
    forgotten_of_us: HashMap<String, i64>,
    /// What was forgotten and may still be stored.
    forgotten: Vec<SessionId>,
}

/// The sessions of a process.
pub struct Sessions {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    /// With those that an earlier process left, as if each had been used just now.
    pub fn new(clock: Arc<dyn Clock>, stored: Vec<Arc<StoredSession>>) -> Self {
        let sessions = Self { inner: Mutex::default(), clock };
        sessions.inner.lock().load(stored, sessions.now());
        sessions
    }

    fn now(&self) -> Now {
        Now { uptime: self.clock.uptime(), us: self.clock.now_us() }
    }

    /// The settings of a session of this user, which is used by that. A session of somebody else is none.
    pub(super) fn get(&self, id: SessionId, owner: &str) -> Option<Shared> {
        let now = self.now();
        let mut inner = self.inner.lock();
        let open = inner.open.get_mut(&id).filter(|open| open.owner == owner)?;
        if open.is_idle(now.uptime) {
            inner.open.remove(&id);
            inner.remember(id, owner, now);
            return None;
        }
        open.used = now.uptime;
        Some(Arc::clone(&open.settings))
    }

    /// Opens a session with these settings; one that is open keeps its own. `HANDLE_NOT_FOUND` for one that has ended, `MEMORY_PRESSURE`
    /// when others have all there are.
    pub(super) fn begin(&self, id: SessionId, owner: &str, settings: &Shared) -> Result<Shared> {
        let now = self.now();
        let mut inner = self.inner.lock();
        if let Some(open) = inner.open.get_mut(&id) {
            if open.owner != owner {
                return Err(Error::internal("two users have one session"));
            }
            open.used = now.uptime;
            return Ok(Arc::clone(&open.settings));
        }
        if inner.ended.contains_key(&id) {
            return Err(expired());
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
        inner.open.insert(id, Open { owner: owner.to_owned(), used: now.uptime, settings: Arc::clone(&settings) });
        Ok(settings)
    }

    /// A session comes to what is stored of it, whichever of two changes is the last to say so; one of which nothing is stored was not begun.
    /// `HANDLE_NOT_FOUND` if it has ended meanwhile.
    pub(super) fn settle(
        &self,
        id: SessionId,
        owner: &str,
        stored: impl FnOnce() -> Option<Arc<StoredSession>>,
    ) -> Result<()> {
        let now = self.now();
        let mut inner = self.inner.lock();
        let Some(stored) = stored() else {
            inner.open.remove(&id);
            return Ok(());
        };
        let settings = SessionSettings::from_stored(&stored.settings)?;
        if let Some(open) = inner.open.get(&id) {
            *open.settings.lock() = settings;
        } else if inner.ended.contains_key(&id) {
            return Err(expired());
        } else {
            let settings = Arc::new(Mutex::new(settings));
            inner.open.insert(id, Open { owner: owner.to_owned(), used: now.uptime, settings });
        }
        Ok(())
    }

    /// Ends a session of this user. One that is not open is fine.
    pub(super) fn end(&self, id: SessionId, owner: &str) {
        let mut inner = self.inner.lock();
        if inner.open.get(&id).is_some_and(|open| open.owner == owner) {
            inner.open.remove(&id);
        }
    }

    /// Whether there was such a session and nobody used it for too long, or so many of its user's ended that it may have been one of them, as
    /// far as a bearer of that time tells.
    pub(super) fn may_have_ended(&self, id: SessionId, owner: &str, issued_at_us: i64) -> bool {
        let inner = self.inner.lock();
        let of_owner = inner.forgotten_of_us.get(owner).copied().unwrap_or(i64::MIN);
        inner.ended.contains_key(&id) || issued_at_us <= inner.forgotten_us.max(of_owner)
    }

    /// Ends what nobody uses. Returns the sessions of which nothing needs to be stored any more.
    pub fn sweep(&self) -> Vec<SessionId> {
        let now = self.now();
        let mut inner = self.inner.lock();
        inner.end_idle(now);
        inner.forget(now);
        std::mem::take(&mut inner.forgotten)
    }

    /// Sessions that are open.
    pub fn n_open(&self) -> usize {
        self.inner.lock().open.len()
    }
}

impl Inner {
    fn load(&mut self, mut stored: Vec<Arc<StoredSession>>, now: Now) {
        // Sessions that ended before that are forgotten, and of a folder that is full perhaps some that ended since.
        let is_full = stored.len() >= MAX_REMEMBERED;
        self.forgotten_us = if is_full { now.us } else { now.us.saturating_sub(micros(REMEMBERED)) };
        stored.sort_by_key(|session| Reverse(session.changed_at_us));
        let mut n_of_user: HashMap<&str, usize> = HashMap::new();
        for session in &stored {
            let n_own = n_of_user.entry(session.user.as_str()).or_default();
            let has_place = *n_own < MAX_OF_USER && self.open.len() < MAX_SESSIONS;
            match SessionSettings::from_stored(&session.settings) {
                Ok(settings) if has_place => {
                    *n_own += 1;
                    let settings = Arc::new(Mutex::new(settings));
                    let open = Open { owner: session.user.clone(), used: now.uptime, settings };
                    self.open.insert(SessionId(session.id), open);
                }
                // A newer version may have left settings that mean nothing here.
                _ => self.remember(SessionId(session.id), &session.user, now),
            }
        }
    }

    fn end_idle(&mut self, now: Now) {
        let idle: Vec<_> = self.open.extract_if(|_, open| open.is_idle(now.uptime)).collect();
        idle.into_iter().for_each(|(id, open)| self.remember(id, &open.owner, now));
    }

    fn end_oldest_of(&mut self, owner: &str, now: Now) {
        let own = self.open.iter().filter(|(_, open)| open.owner == owner);
        if let Some(id) = own.min_by_key(|(_, open)| open.used).map(|(id, _)| *id) {
            self.open.remove(&id);
            self.remember(id, owner, now);
        }
    }

    fn remember(&mut self, id: SessionId, owner: &str, now: Now) {
        if self.ended.len() >= MAX_REMEMBERED {
            let largest = self.order.iter().max_by_key(|(_, ids)| ids.len()).map(|(owner, _)| owner.clone());
            largest.iter().for_each(|owner| self.forget_oldest_of(owner));
        }
        self.order.entry(owner.to_owned()).or_default().push_back(id);
        self.ended.insert(id, Ended { until: now.uptime + REMEMBERED, at_us: now.us });
    }

    fn forget(&mut self, now: Now) {
        let owners: Vec<String> = self.order.keys().cloned().collect();
        for owner in owners {
            while self.oldest_of(&owner).is_some_and(|oldest| oldest.until <= now.uptime) {
                self.forget_oldest_of(&owner);
            }
        }
    }

    fn oldest_of(&self, owner: &str) -> Option<&Ended> {
        self.ended.get(self.order.get(owner)?.front()?)
    }

    fn forget_oldest_of(&mut self, owner: &str) {
        let Some(ids) = self.order.get_mut(owner) else { return };
        let oldest = ids.pop_front();
        if ids.is_empty() {
            self.order.remove(owner);
        }
        if let Some(id) = oldest
            && let Some(ended) = self.ended.remove(&id)
        {
            let forgotten_us = self.forgotten_of_us.entry(owner.to_owned()).or_insert(ended.at_us);
            *forgotten_us = ended.at_us.max(*forgotten_us);
            self.forgotten.push(id);
        }
    }
}

pub(super) fn expired() -> Error {
    Error::new(Code::HandleNotFound, "session expired, reconnect")
        .hint("a session ends after 30 minutes without a call: connect again and set what you need")
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
