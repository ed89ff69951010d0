//! Who has logged in at the console? Bearers that it was given for a password, in memory, as long as they are used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_storage::User;
use tidewater_storage::env::{Clock, Rng};

use crate::auth::Secret;
use crate::auth::header::SESSION_PREFIX;
use crate::auth::secret::{hash_of, random_secret};

/// A session that nobody uses for this long has ended.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// Past this one goes that was not used for longest: of who begins another, if they have one, so that nobody ends those of others.
pub(in crate::auth) const MAX_SESSIONS: usize = 10_000;

struct Session {
    user: Arc<User>,
    /// By the clock's uptime.
    used: Duration,
}

pub(in crate::auth) struct Sessions {
    /// By the hash of the bearer.
    open: Mutex<HashMap<[u8; 32], Session>>,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { open: Mutex::default(), clock }
    }

    /// Begins a session and returns its bearer.
    pub fn begin(&self, user: Arc<User>, rng: &dyn Rng) -> Secret {
        let bearer = Secret::new(format!("{SESSION_PREFIX}{}", random_secret(rng).expose()));
        let now = self.clock.uptime();
        let mut open = self.open.lock();
        if open.len() >= MAX_SESSIONS {
            open.retain(|_, session| session.used + IDLE > now);
        }
        if open.len() >= MAX_SESSIONS {
            let is_own = |session: &Session| session.user.name == user.name;
            let oldest = open.iter().min_by_key(|(_, session)| (!is_own(session), session.used)).map(|(hash, _)| *hash);
            oldest.and_then(|hash| open.remove(&hash));
        }
        open.insert(hash_of(bearer.expose()), Session { user, used: now });
        bearer
    }

    /// The user, as they were when the session began.
    pub fn get(&self, bearer: &Secret) -> Option<Arc<User>> {
        let now = self.clock.uptime();
        let mut open = self.open.lock();
        let session = open.get_mut(&hash_of(bearer.expose())).filter(|session| session.used + IDLE > now)?;
        session.used = now;
        Some(Arc::clone(&session.user))
    }

    /// The session is of no use any more.
    pub fn end(&self, bearer: &Secret) {
        self.open.lock().remove(&hash_of(bearer.expose()));
    }
}
