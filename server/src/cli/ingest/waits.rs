//! Why does nothing go on? What the server does not take for now is told on standard error, a line a minute at most.

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use parking_lot::Mutex;
use tidewater_client::Error;
use tokio::time::Instant;

use crate::cli::terminal::say;

/// A pause that is shorter is none to speak of.
const SPOKEN_OF: Duration = Duration::from_secs(1);

/// Between two lines.
const INTERVAL: Duration = Duration::from_secs(60);

/// What waits and what tells share it.
#[derive(Clone, Default)]
pub(super) struct Waits {
    bar: Option<ProgressBar>,
    waited: Arc<Mutex<Waited>>,
}

/// How long nothing was stored, and when that may be told.
#[derive(Default)]
pub(super) struct Waited {
    sum: Duration,
    next_line: Option<Instant>,
}

impl Waits {
    /// Lines do not tear the bar.
    pub(super) fn beside(bar: Option<ProgressBar>) -> Self {
        Self { bar, waited: Arc::default() }
    }

    /// A call was refused for now, and is made again after this wait.
    pub(super) fn note(&self, error: &Error, wait: Duration) {
        let line = self.waited.lock().line(error, wait, Instant::now());
        match (&self.bar, line) {
            (Some(bar), Some(line)) => bar.suspend(|| say(&line)),
            (None, Some(line)) => say(&line),
            (_, None) => {}
        }
    }

    /// The server has answered: it goes on.
    pub(super) fn end(&self) {
        self.waited.lock().sum = Duration::ZERO;
    }
}

impl Waited {
    pub(super) fn line(&mut self, error: &Error, wait: Duration, now: Instant) -> Option<String> {
        self.sum += wait;
        if self.sum < SPOKEN_OF || self.next_line.is_some_and(|next| now < next) {
            return None;
        }
        self.next_line = Some(now + INTERVAL);
        Some(format!("waiting, with pauses of five minutes in all at most, until the server takes the rows: {error}"))
    }
}
