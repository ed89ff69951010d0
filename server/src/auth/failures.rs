//! Who tried in vain? Counted always, told in the log once a second at most: somebody who guesses must not fill it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_storage::env::Clock;

const TOLD_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Told {
    /// By the clock's uptime.
    last: Option<Duration>,
    /// Since then.
    untold: u64,
}

pub(super) struct Failures {
    told: Mutex<Told>,
    clock: Arc<dyn Clock>,
}

impl Failures {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { told: Mutex::default(), clock }
    }

    /// Somebody was not let in. `principal` is a user who exists: what else was given as a name may be a password.
    pub fn note(&self, principal: Option<&str>, by: &'static str) {
        metrics::counter!("tidewater_logins_failed_total", "by" => by).increment(1);
        let now = self.clock.uptime();
        let untold = {
            let mut told = self.told.lock();
            if told.last.is_some_and(|last| now.saturating_sub(last) < TOLD_EVERY) {
                told.untold += 1;
                return;
            }
            told.last = Some(now);
            std::mem::take(&mut told.untold)
        };
        let principal = principal.unwrap_or("unknown");
        tracing::warn!(principal, kind = "login.failed", by, untold, "a login failed");
    }
}
