//! What is told of who tried in vain? Each is counted; the log gets one line a second at most: somebody who guesses must not fill it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_storage::env::Clock;

use super::place;

const TOLD_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Told {
    /// By the clock's uptime.
    last: Option<Duration>,
    /// Since then.
    untold: u64,
}

impl Told {
    /// How many were not told since the last one that was; `None` if it is too early for another.
    fn due(&mut self, now: Duration) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_sub(last) < TOLD_EVERY) {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

pub(in crate::auth) struct Failures {
    failed: Mutex<Told>,
    limited: Mutex<Told>,
    clock: Arc<dyn Clock>,
}

impl Failures {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { failed: Mutex::default(), limited: Mutex::default(), clock }
    }

    /// Somebody was not let in. `principal` is a user who exists: what else was given as a name may be a password.
    pub fn note(&self, principal: Option<&str>, by: &'static str) {
        metrics::counter!("tidewater_logins_failed_total", "by" => by).increment(1);
        let Some(untold) = self.failed.lock().due(self.clock.uptime()) else { return };
        let (principal, address) = (principal.unwrap_or("unknown"), told_address());
        tracing::warn!(principal, kind = "login.failed", by, address, untold, "a login failed");
    }

    /// A password was not looked at: too many before it were wrong, by this limit. `principal` as above.
    pub fn note_limited(&self, principal: Option<&str>, limit: &'static str, wait: Duration) {
        metrics::counter!("tidewater_logins_failed_total", "by" => "limited").increment(1);
        let Some(untold) = self.limited.lock().due(self.clock.uptime()) else { return };
        let (principal, address, wait_s) = (principal.unwrap_or("unknown"), told_address(), wait.as_secs_f64());
        let message = "too many wrong passwords: for a while no other is looked at";
        tracing::warn!(principal, kind = "login.limited", limit, address, wait_s, untold, "{message}");
    }
}

fn told_address() -> Option<String> {
    place::here().map(|address| address.to_string())
}
