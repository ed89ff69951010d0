//! When is a job that failed tried again? Later each time, by the engine's clock, and each kind of job by itself.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);

/// Of one kind of job.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BackOff {
    n_failed: u32,
    /// Uptime from which it may begin again; `None`: at once.
    until: Option<Duration>,
}

impl BackOff {
    pub(super) fn note_failed(&mut self, uptime: Duration) {
        let wait = FIRST.saturating_mul(1 << self.n_failed.min(16)).min(MOST);
        self.n_failed = self.n_failed.saturating_add(1);
        self.until = Some(uptime + wait);
    }

    pub(super) fn note_done(&mut self) {
        *self = Self::default();
    }

    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Whether a job may begin at `uptime`. Once it may, nothing is waited for any more, until the next one fails.
    pub(super) fn may_begin(&mut self, uptime: Duration) -> bool {
        self.until = self.until.filter(|until| uptime < *until);
        self.until.is_none()
    }
}
