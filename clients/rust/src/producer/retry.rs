//! How long is an answer waited for, and who is told? Exponential back-off with jitter.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;

use crate::error::Error;

/// Whom a producer tells that it waits, before each wait: why, and for how long. It should return at once, since nothing goes on meanwhile.
#[derive(Clone, Default)]
pub struct OnWait(Option<Tell>);

type Tell = Arc<dyn Fn(&Error, Duration) + Send + Sync>;

impl OnWait {
    pub fn new(tell: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(super) fn tell(&self, error: &Error, wait: Duration) {
        if let Some(tell) = &self.0 {
            tell(error, wait);
        }
    }
}

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "OnWait(somebody)" } else { "OnWait(nobody)" })
    }
}

/// Waits between tries double from `min_delay` to `max_delay`, with jitter; a longer wish of the server is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    pub min_delay: Duration,
    pub max_delay: Duration,
    /// The sum of waits without progress after which the last error is final. `None`: never.
    pub give_up_after: Option<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
            give_up_after: Some(Duration::from_secs(300)),
        }
    }
}

impl RetryPolicy {
    pub(crate) fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(self.min_delay)
            .with_max_delay(self.max_delay)
            .without_max_times()
            .with_total_delay(self.give_up_after)
    }
}
